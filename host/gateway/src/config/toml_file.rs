//! Reading TOML so that every mistake is named with its file, line and key.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// A mistake in a file. Displays as `tidegate.toml:7: admin.bind: invalid socket address syntax`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The file.
    pub file: PathBuf,
    /// The line, counted from 1, if the mistake has one.
    pub line: Option<usize>,
    /// The key with the tables it is in, empty if the mistake is not that of a key.
    pub key: String,
    /// What is wrong or was expected.
    pub problem: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.problem)
    }
}

impl std::error::Error for Mistake {}

/// Reads a file as `T`.
///
/// # Errors
/// The file cannot be read, is not TOML, or does not fit.
pub fn read<T: DeserializeOwned>(file: &Path) -> Result<T, Mistake> {
    parse(file, &read_text(file)?)
}

/// Reads a file as text.
///
/// # Errors
/// The file cannot be read or is not UTF-8.
pub fn read_text(file: &Path) -> Result<String, Mistake> {
    std::fs::read_to_string(file).map_err(|error| Mistake {
        file: file.to_owned(),
        line: None,
        key: String::new(),
        problem: error.to_string(),
    })
}

/// Parses `text`, which stands in `file`.
///
/// # Errors
/// The text is not TOML or does not fit.
pub fn parse<T: DeserializeOwned>(file: &Path, text: &str) -> Result<T, Mistake> {
    let mistake = |key: String, error: &toml::de::Error| {
        let line = error.span().map(|span| 1 + text.bytes().take(span.start).filter(|byte| *byte == b'\n').count());
        let (key, problem) = unknown_key(key, error.message());
        Mistake { file: file.to_owned(), line, key, problem }
    };
    let document = toml::Deserializer::parse(text).map_err(|error| mistake(String::new(), &error))?;
    serde_path_to_error::deserialize(document).map_err(|error| {
        let path = error.path().to_string();
        mistake(if path == "." { String::new() } else { path }, error.inner())
    })
}

/// serde names an unknown key in the message only; it belongs to the path like every other key.
pub(crate) fn unknown_key(path: String, message: &str) -> (String, String) {
    let Some((key, rest)) = message.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`')) else {
        return (path, message.to_owned());
    };
    let path = match path.strip_suffix(key) {
        Some(_) => path,
        None if path.is_empty() => key.to_owned(),
        None => format!("{path}.{key}"),
    };
    (path, format!("unknown key{rest}"))
}
