//! What went wrong, once for people and once for the log.
//!
//! A [`Problem`] has a code of `wire::code`, a sentence that a person can act on, and the cause,
//! which only the log sees. How it becomes an HTTP answer is in `http::answer`.

use std::fmt;

use moorline_wire::{Code, Ending};

/// A failure at a boundary of the broker.
#[derive(Debug)]
pub struct Problem {
    /// The stable code: API errors, close frames, metric labels.
    pub code: Code,
    /// A sentence for the person, with what can be done about it.
    pub text: String,
    source: Option<anyhow::Error>,
}

impl Problem {
    /// A problem with the sentence and the remedy that its code has by default.
    pub fn new(code: Code) -> Self {
        let text = [code.sentence(), code.remedy()].join(" ").trim_end().to_owned();
        Self { code, text, source: None }
    }

    /// The same problem with a sentence that says more.
    pub fn saying(mut self, text: impl Into<String>) -> Self {
        self.text = text.into();
        self
    }

    /// The same problem with its cause, for the log.
    pub fn because(mut self, cause: impl Into<anyhow::Error>) -> Self {
        self.source = Some(cause.into());
        self
    }

    /// The whole chain of causes, for the log.
    pub fn chain(&self) -> String {
        match &self.source {
            Some(source) => format!("{}: {source:#}", self.code),
            None => self.code.to_string(),
        }
    }

    /// The ending of a session that this problem ends.
    pub fn ending(&self) -> Ending {
        Ending::of(self.code).saying(self.text.clone())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Problem {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source.as_ref() as &(dyn std::error::Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_see_the_sentence_and_the_log_sees_the_chain() {
        let problem = Problem::new(Code::STORE_FAILED)
            .because(anyhow::anyhow!("the disk said no").context("wrote a row"));
        assert_eq!(
            problem.to_string(),
            "The broker's store does not answer. Try again; look at the broker's log."
        );
        assert_eq!(problem.chain(), "store_failed: wrote a row: the disk said no");
    }
}
