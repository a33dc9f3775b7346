//! Why a session is over: a stable code, a sentence, who did it.

use serde::{Deserialize, Serialize};

use crate::Code;

/// How a program on the device ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// It returned this status (RFC 4254 section 6.10, `exit-status`).
    Status(u32),
    /// A signal killed it; the name without `SIG` (RFC 4254 section 6.10, `exit-signal`).
    Signal(String),
}

/// Why a session is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// The stable code, for programs and metrics.
    pub code: Code,
    /// A sentence for the person.
    pub text: String,
    /// Who ended it, when a person did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// How the program ended, when it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
}

impl Ending {
    /// An ending with the sentence that its code has by default.
    pub fn of(code: Code) -> Self {
        Self { code, text: code.sentence().to_owned(), by: None, exit: None }
    }

    /// The program ended by itself.
    pub fn exited(exit: Exit) -> Self {
        let text = match &exit {
            Exit::Status(status) => format!("The shell exited with status {status}."),
            Exit::Signal(name) => format!("The shell was ended by the signal {name}."),
        };
        Self { code: Code::EXITED, text, by: None, exit: Some(exit) }
    }

    /// A person ended it.
    pub fn killed(by: &str, reason: Option<&str>) -> Self {
        let text = match reason {
            Some(reason) => format!("{by} ended this session: {reason}"),
            None => format!("{by} ended this session."),
        };
        Self { code: Code::KILLED, text, by: Some(by.to_owned()), exit: None }
    }

    /// The same ending with a sentence that says more.
    pub fn saying(mut self, text: impl Into<String>) -> Self {
        self.text = text.into();
        self
    }
}
