//! What is wrong with a payload, and where.

use std::fmt;

use crate::reader::SyntaxError;

/// An invalid payload (spec 4.4). Displays as `key "t": value expected at byte 5`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadError {
    /// Decides whether a lenient second reading makes sense.
    pub cause: Cause,
    /// The key whose value is at fault, if it is one.
    pub key: Option<String>,
    /// What is wrong or was expected.
    pub problem: &'static str,
    /// Offset into the payload.
    pub at: usize,
}

/// Which kind of rule a payload breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The JSON grammar.
    Syntax,
    /// Well-formed, but not what the device API asks for; or not text at all.
    Content,
}

impl PayloadError {
    /// Well-formed JSON that breaks a payload rule.
    pub fn content(problem: &'static str, at: usize) -> Self {
        Self { cause: Cause::Content, key: None, problem, at }
    }

    /// Bytes that no reading can make sense of.
    pub fn not_text(error: SyntaxError) -> Self {
        Self::content(error.problem, error.at)
    }

    /// The same, said of the value of `key`.
    pub fn of_key(self, key: &str) -> Self {
        Self { key: Some(self.key.unwrap_or_else(|| key.to_owned())), ..self }
    }
}

impl From<SyntaxError> for PayloadError {
    fn from(error: SyntaxError) -> Self {
        Self { cause: Cause::Syntax, key: None, problem: error.problem, at: error.at }
    }
}

impl fmt::Display for PayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(key) = &self.key {
            write!(f, "key {key:?}: ")?;
        }
        write!(f, "{} at byte {}", self.problem, self.at)
    }
}
