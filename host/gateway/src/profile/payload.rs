//! What every converter is told of the payload rules (spec 7, 20).

use serde::Serialize;
use serde_json::json;

use crate::config::Settings;

/// The rules of the host, or of a profile that says otherwise.
#[derive(Debug, Clone, Copy)]
pub struct PayloadSettings {
    /// Strings that look like numbers become numbers (spec 7.4).
    pub type_cast_enabled: bool,
    /// What is not JSON gets a second, lenient reading (spec 7.1).
    pub json_lenient: bool,
    /// Longest string value in characters, 0 means unlimited (spec 7.4).
    pub max_string_value_length: usize,
    /// Longest key in UTF-8 bytes (spec 7.4).
    pub max_key_length: usize,
}

impl PayloadSettings {
    /// Those of the host, which profiles inherit.
    pub fn of_host(settings: &Settings) -> Self {
        Self {
            type_cast_enabled: settings.type_cast_enabled,
            json_lenient: settings.json_lenient,
            max_string_value_length: settings.max_string_value_length,
            max_key_length: settings.max_key_length,
        }
    }

    /// What `configure` gets: these, and the profile's table `[converter.config]`.
    pub fn configuration(self, config: &impl Serialize) -> String {
        json!({
            "type_cast_enabled": self.type_cast_enabled,
            "json_lenient": self.json_lenient,
            "max_string_value_length": self.max_string_value_length,
            "max_key_length": self.max_key_length,
            "config": config,
        })
        .to_string()
    }
}
