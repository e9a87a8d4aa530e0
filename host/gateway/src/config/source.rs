//! Where settings come from: a file, the environment, the command line; each over the one before.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::{Table, Value};

use super::Settings;
use super::toml_file::{self, Mistake};

/// The file that is read when none is named, if it exists.
pub const DEFAULT_FILE: &str = "tidegate.toml";
/// What environment variables of settings begin with; `__` stands for the dot of a key: `TIDEGATE_ADMIN__BIND`.
const PREFIX: &str = "TIDEGATE_";

/// What a user said, and where.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// `--config FILE`: it must exist.
    pub file: Option<PathBuf>,
    /// The process's environment.
    pub environment: Vec<(OsString, OsString)>,
    /// `key=value` from the command line, with the flag that said it.
    pub flags: Vec<(String, String, String)>,
}

/// A mistake in the settings, with the place to mend it.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// In the file.
    #[error(transparent)]
    File(#[from] Mistake),
    /// In a variable or a flag.
    #[error("{place}: {problem}")]
    Override {
        /// The variable or the flag.
        place: String,
        /// The key, what is wrong and what was expected.
        problem: String,
    },
}

impl Sources {
    /// The settings that follow from all sources.
    ///
    /// # Errors
    /// The first mistake, with its place.
    pub fn settings(&self) -> Result<Settings, ConfigError> {
        let (file, text) = self.file_text()?;
        let mut settings: Settings = toml_file::parse(&file, &text)?;
        let in_file = |(key, problem): (&str, String)| Mistake {
            line: line_of(&text, key),
            file: file.clone(),
            key: key.to_owned(),
            problem,
        };
        settings.check().map_err(in_file)?;
        // One after the other, so that a mistake is known to be that of the last one.
        let mut table: Table = toml_file::parse(&file, &text)?;
        let overrides = self.overrides()?;
        for (place, key, value) in &overrides {
            let problem = |key: &str, problem: &dyn fmt::Display| ConfigError::Override {
                place: place.clone(),
                problem: format!("{key}: {problem}"),
            };
            insert(&mut table, key, parse_value(value)).map_err(|error| problem(key, &error))?;
            let mut parsed = serde_path_to_error::deserialize(table.clone());
            if parsed.is_err() {
                // What looks like a number may be the name of a folder.
                let mut as_text = table.clone();
                insert(&mut as_text, key, Value::String(value.clone())).map_err(|error| problem(key, &error))?;
                if let Ok(settings) = Settings::deserialize(as_text.clone()) {
                    (table, parsed) = (as_text, Ok(settings));
                }
            }
            settings = parsed.map_err(|error| {
                let (key, message) = toml_file::unknown_key(key.clone(), error.inner().message());
                problem(&key, &message)
            })?;
            settings.check().map_err(|(key, message)| problem(key, &message))?;
        }
        settings.check_together().map_err(|(key, problem)| {
            match overrides.iter().rev().find(|(_, overridden, _)| overridden == key) {
                Some((place, ..)) => {
                    ConfigError::Override { place: place.clone(), problem: format!("{key}: {problem}") }
                }
                None => in_file((key, problem)).into(),
            }
        })?;
        Ok(settings)
    }

    fn file_text(&self) -> Result<(PathBuf, String), Mistake> {
        match &self.file {
            Some(file) => Ok((file.clone(), toml_file::read_text(file)?)),
            None if Path::new(DEFAULT_FILE).exists() => {
                Ok((DEFAULT_FILE.into(), toml_file::read_text(Path::new(DEFAULT_FILE))?))
            }
            None => Ok((DEFAULT_FILE.into(), String::new())),
        }
    }

    /// Place, key and value of everything that stands over the file.
    fn overrides(&self) -> Result<Vec<(String, String, String)>, ConfigError> {
        let mut overrides = Vec::new();
        for (name, value) in &self.environment {
            let Some(key) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
            let place = format!("environment variable {PREFIX}{key}");
            let Some(value) = value.to_str() else {
                return Err(ConfigError::Override { place, problem: "UTF-8 expected".to_owned() });
            };
            overrides.push((place, key.to_ascii_lowercase().replace("__", "."), value.to_owned()));
        }
        overrides.sort();
        overrides.extend(self.flags.iter().cloned());
        Ok(overrides)
    }
}

/// TOML if it is, else the text itself, so that `--set bind=0.0.0.0:1884` needs no quotes.
fn parse_value(text: &str) -> Value {
    let parsed = format!("value = {text}").parse::<Table>().ok();
    parsed.and_then(|mut table| table.remove("value")).unwrap_or_else(|| Value::String(text.to_owned()))
}

fn insert(table: &mut Table, key: &str, value: Value) -> Result<(), String> {
    let mut table = table;
    let mut parts = key.split('.').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            table.insert(part.to_owned(), value);
            return Ok(());
        }
        let entry = table.entry(part).or_insert_with(|| Value::Table(Table::new()));
        table = entry.as_table_mut().ok_or_else(|| format!("{part} is no table"))?;
    }
    Err("a key expected".to_owned())
}

/// The line on which a key is set, for mistakes that are found after parsing.
fn line_of(text: &str, key: &str) -> Option<usize> {
    let last = key.rsplit('.').next()?;
    text.lines().position(|line| line.trim_start().starts_with(last)).map(|index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::{AuthFailureCodes, Seconds, Switch};
    use std::time::Duration;

    fn file(name: &str, text: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("tidegate-config-{}-{name}.toml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        path
    }

    fn from_text(name: &str, text: &str) -> Result<Settings, String> {
        let path = file(name, text);
        let result = Sources { file: Some(path.clone()), ..Sources::default() }.settings();
        std::fs::remove_file(&path).unwrap();
        result.map_err(|error| error.to_string().replace(&path.display().to_string(), "FILE"))
    }

    #[test]
    fn an_empty_file_gives_the_defaults_of_spec_21() {
        let settings = from_text("empty", "").unwrap();
        assert_eq!(settings, Settings::default());
        assert_eq!((settings.max_payload_size, settings.max_inflight), (65_536, 100));
        assert_eq!(settings.session_timeout.0, Duration::from_secs(600));
        assert!(settings.type_cast_enabled && settings.json_lenient);
    }

    #[test]
    fn settings_are_read() {
        let text = "session_timeout = \"10 min\"\nconnect_timeout = 3\nlatest_values = \"off\"\n\
                    auth_failure_codes = \"detailed\"\n[event_log]\nsegment_size = \"1 MiB\"\n[admin]\nbind = \"[::1]:1\"\n";
        let settings = from_text("all", text).unwrap();
        assert_eq!(settings.session_timeout, Seconds(Duration::from_secs(600)));
        assert_eq!(settings.connect_timeout, Seconds(Duration::from_secs(3)));
        assert_eq!(settings.latest_values, Switch::Off);
        assert_eq!(settings.auth_failure_codes, AuthFailureCodes::Detailed);
        assert_eq!(settings.event_log.segment_size.as_u64(), 1024 * 1024);
        assert_eq!(settings.admin.bind.port(), 1);
    }

    /// Every mistake names file, line and key.
    #[test]
    fn mistakes_are_named_with_file_line_and_key() {
        let rows = [
            ("bind = 5\n", "FILE:1: bind: "),
            ("\n\nspeed = 1\n", "FILE:3: speed: unknown key, expected one of `data`, "),
            ("workers = 1\n[admin]\n\nport = 8080\n", "FILE:4: admin.port: unknown key, expected `bind`"),
            (
                "[event_log]\nretention_age = \"soon\"\n",
                "FILE:2: event_log.retention_age: invalid value: string \"soon\", expected a number of seconds, or a text such as \"10 min\"",
            ),
            (
                "session_timeout = -1",
                "FILE:1: session_timeout: invalid value: integer `-1`, expected a number of seconds",
            ),
            ("\nmax_inflight = 0\n", "FILE:2: max_inflight: at least 1 expected"),
            ("qos2_v3 = \"maybe\"", "FILE:1: qos2_v3: unknown variant `maybe`, expected `accept` or `close`"),
            ("[log]\nfilter = \"x=y=z\"\n", "FILE:2: log.filter: "),
            ("bind = \"0.0.0.0:1883\"\nbind = \"0.0.0.0:1884\"\n", "FILE:2: duplicate key"),
            ("bind = ", "FILE:1: "),
            (
                "[event_log]\nretention_size = \"1 MiB\"\n",
                "FILE:2: event_log.retention_size: at least 3 segments, 201326592 expected, got 1048576",
            ),
        ];
        for (index, (text, expected)) in rows.into_iter().enumerate() {
            let error = from_text(&format!("mistake-{index}"), text).unwrap_err();
            assert!(error.starts_with(expected), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_missing_file_is_an_error_when_it_was_named() {
        let error =
            Sources { file: Some("/nowhere/tidegate.toml".into()), ..Sources::default() }.settings().unwrap_err();
        assert!(error.to_string().starts_with("/nowhere/tidegate.toml: No such file"), "{error}");
    }

    #[test]
    fn environment_stands_over_the_file_and_flags_over_both() {
        let path = file("order", "max_inflight = 1\nworkers = 1\n[admin]\nbind = \"127.0.0.1:1\"\n");
        let mut sources = Sources {
            file: Some(path.clone()),
            environment: vec![
                ("PATH".into(), "/bin".into()),
                ("TIDEGATE_ADMIN__BIND".into(), "127.0.0.1:2".into()),
                ("TIDEGATE_WORKERS".into(), "2".into()),
            ],
            flags: vec![("--set".to_owned(), "workers".to_owned(), "3".to_owned())],
        };
        let settings = sources.settings().unwrap();
        assert_eq!((settings.max_inflight, settings.workers, settings.admin.bind.port()), (1, 3, 2));

        sources.environment.push(("TIDEGATE_SPEED".into(), "1".into()));
        let error = sources.settings().unwrap_err().to_string();
        assert!(
            error.starts_with("environment variable TIDEGATE_SPEED: speed: unknown key, expected one of"),
            "{error}"
        );
        sources.environment.pop();
        sources.flags.push(("--set".to_owned(), "bind.x".to_owned(), "1".to_owned()));
        let error = sources.settings().unwrap_err().to_string();
        assert!(error.starts_with("--set: bind"), "{error}");
        sources.flags = vec![("--set".to_owned(), "admin.bind".to_owned(), "nowhere".to_owned())];
        let error = sources.settings().unwrap_err().to_string();
        assert_eq!(error, "--set: admin.bind: invalid socket address syntax");
        std::fs::remove_file(path).unwrap();
    }
}
