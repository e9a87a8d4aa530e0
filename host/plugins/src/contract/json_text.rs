//! JSON text from a guest: it goes into events and answers as it is, so it has to be what it says.

use serde::de::IgnoredAny;

/// Any JSON value, without line breaks.
///
/// # Errors
/// Says what was expected of `place`.
pub(crate) fn value(text: &str, place: &str) -> Result<(), String> {
    // A control character in valid JSON is white space between its parts. Readers of the events get a line for each of
    // them, and the contract asks for compact text.
    if text.bytes().any(|byte| byte < 0x20) {
        return Err(format!("returned {place} with control characters: compact JSON text expected"));
    }
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("returned {place}, not JSON text: {error}")),
    }
}

/// An object or an array.
///
/// # Errors
/// As [`value`].
pub(crate) fn document(text: &str, place: &str) -> Result<(), String> {
    if !text.starts_with(['{', '[']) {
        return Err(format!("returned {place} that is neither an object nor an array"));
    }
    value(text, place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_and_values() {
        for text in ["{}", "[]", r#"{"a":[1,null,"x\n"]}"#, r#"{"a": 1}"#] {
            assert_eq!(document(text, "a value"), Ok(()), "{text}");
            assert_eq!(value(text, "a value"), Ok(()), "{text}");
        }
        for text in ["null", "1", "\"x\""] {
            assert_eq!(value(text, "params"), Ok(()), "{text}");
            let reason = "returned a value that is neither an object nor an array";
            assert_eq!(document(text, "a value"), Err(reason.to_owned()), "{text}");
        }
        for text in ["", "{", "{}{}", "[1,]", "{a:1}", "[NaN]", "[\"\u{1}\"]", "{\n}", "{}\n"] {
            assert!(value(text, "params").is_err(), "{text}");
            assert!(document(text, "params").is_err(), "{text}");
        }
    }

    /// The text is the guest's, so its nesting must not be able to use up the stack.
    #[test]
    fn nesting_does_not_matter() {
        let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
        assert_eq!(value(&deep, "params"), Ok(()));
    }
}
