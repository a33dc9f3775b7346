//! What is said when the agent cannot go on.

use moorline_wire::Code;

/// A reason of the table, a sentence for a person, and the cause for the log.
#[derive(Debug)]
pub struct Problem {
    /// Which of the reasons.
    pub code: Code,
    /// What happened, with the remedy where there is one.
    pub text: String,
    source: Option<anyhow::Error>,
}

impl Problem {
    /// A problem with the words of the table.
    pub fn new(code: Code) -> Self {
        let text = match code.remedy() {
            "" => code.sentence().to_owned(),
            remedy => format!("{} {remedy}", code.sentence()),
        };
        Self { code, text, source: None }
    }

    /// A setting that cannot be used.
    pub fn setting(key: &str, why: impl std::fmt::Display) -> Self {
        Self::new(Code::BAD_CONFIG).saying(format!("{key}: {why}"))
    }

    /// Says it in these words instead.
    pub fn saying(mut self, text: impl Into<String>) -> Self {
        self.text = text.into();
        self
    }

    /// Keeps the cause for the log.
    pub fn because(mut self, source: impl Into<anyhow::Error>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Problem {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source.as_ref() as _)
    }
}
