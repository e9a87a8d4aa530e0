//! What a profile may set (spec 7.4, 20), read from the JSON text that `configure` gets.

use crate::error::PayloadError;
use crate::reader::{Reader, Token};

/// The payload settings of a device profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `type_cast_enabled`: strings that look like numbers become numbers.
    pub type_cast: bool,
    /// `json_lenient`: what is not JSON gets a second, lenient reading.
    pub lenient: bool,
    /// `max_string_value_length` in characters; 0 is unlimited.
    pub max_string_value_length: usize,
    /// `max_key_length` in UTF-8 bytes.
    pub max_key_length: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { type_cast: true, lenient: true, max_string_value_length: 0, max_key_length: 255 }
    }
}

impl Settings {
    /// Reads the settings object.
    ///
    /// # Errors
    /// One reason for each key that is unknown or of the wrong type.
    pub fn parse(config: &str) -> Result<Self, Vec<String>> {
        let mut settings = Self::default();
        let mut reasons = Vec::new();
        match settings.read(config, &mut reasons) {
            Err(error) => Err(vec![format!("settings: {error}")]),
            Ok(()) if reasons.is_empty() => Ok(settings),
            Ok(()) => Err(reasons),
        }
    }

    fn read(&mut self, config: &str, reasons: &mut Vec<String>) -> Result<(), PayloadError> {
        let mut reader = Reader::new(config.as_bytes(), false).map_err(PayloadError::not_text)?;
        if reader.value()? != Token::Object {
            return Err(PayloadError::content("an object expected", 0));
        }
        let mut first = true;
        while let Some(name) = reader.member(&mut first)? {
            let token = reader.value()?;
            let (valid, expected) = match (name.as_ref(), &token) {
                ("type_cast_enabled", token) => (boolean(token, &mut self.type_cast), "true or false"),
                ("json_lenient", token) => (boolean(token, &mut self.lenient), "true or false"),
                ("max_string_value_length", token) => (length(token, &mut self.max_string_value_length), "a length"),
                ("max_key_length", token) => (length(token, &mut self.max_key_length), "a length"),
                ("config", Token::Object) => {
                    let mut first = true;
                    while let Some(name) = reader.member(&mut first)? {
                        reasons.push(format!("config.{name}: the JSON converter has no such setting"));
                        let token = reader.value()?;
                        reader.skip(&token)?;
                    }
                    continue;
                }
                ("config", _) => (false, "an object"),
                _ => (false, "no such setting"),
            };
            if !valid {
                reasons.push(format!("{name}: {expected} expected"));
            }
            reader.skip(&token)?;
        }
        reader.end()?;
        Ok(())
    }
}

fn boolean(token: &Token<'_>, setting: &mut bool) -> bool {
    let Token::Boolean(value) = token else { return false };
    *setting = *value;
    true
}

fn length(token: &Token<'_>, setting: &mut usize) -> bool {
    let Token::Number(literal) = token else { return false };
    let Ok(value) = literal.parse() else { return false };
    *setting = value;
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_and_mistakes_are_named() {
        assert_eq!(Settings::parse("{}"), Ok(Settings::default()));
        let text = r#"{"type_cast_enabled":false,"json_lenient":false,"max_string_value_length":5,"max_key_length":9,"config":{}}"#;
        let expected = Settings { type_cast: false, lenient: false, max_string_value_length: 5, max_key_length: 9 };
        assert_eq!(Settings::parse(text), Ok(expected));
        let text = r#"{"type_cast_enabled":1,"max_key_length":-1,"speed":[{}],"config":{"schema":""}}"#;
        assert_eq!(
            Settings::parse(text),
            Err(vec![
                "type_cast_enabled: true or false expected".to_owned(),
                "max_key_length: a length expected".to_owned(),
                "speed: no such setting expected".to_owned(),
                "config.schema: the JSON converter has no such setting".to_owned(),
            ])
        );
        assert_eq!(Settings::parse("[]"), Err(vec!["settings: an object expected at byte 0".to_owned()]));
        assert_eq!(
            Settings::parse("{"),
            Err(vec!["settings: member name in double quotes expected at byte 1".to_owned()])
        );
    }
}
