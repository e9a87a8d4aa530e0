//! The text of a profile (design §4, spec 20) and what is wrong with it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;
use mqtt::topic::Filter;
use plugins::Limits;
use serde::{Deserialize, Deserializer};
use toml::{Table, Value};

use crate::config::settings::Seconds;
use crate::config::toml_file::{self, Mistake};

const TELEMETRY_TOPIC: &str = "v1/devices/me/telemetry";
const ATTRIBUTES_TOPIC: &str = "v1/devices/me/attributes";

/// A profile as written. Every key may be left out.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Text {
    transport_payload_type: PayloadType,
    telemetry_topic: String,
    attributes_topic: String,
    attributes_subscribe_topic: String,
    send_ack_on_validation_exception: bool,
    type_cast_enabled: Option<bool>,
    json_lenient: Option<bool>,
    converter: Option<ConverterText>,
}

/// `transportPayloadType` of spec 20.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum PayloadType {
    /// The shipped plugin `json`.
    #[default]
    #[serde(rename = "JSON")]
    Json,
    /// The shipped plugin `protobuf`.
    #[serde(rename = "PROTOBUF")]
    Protobuf,
}

/// `converter = "boiler"`, or the table `[converter]`.
#[derive(Debug, Clone)]
struct ConverterText {
    plugin: String,
    config: Table,
    limits: LimitsText,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConverterTable {
    plugin: String,
    #[serde(default)]
    config: Table,
    #[serde(default)]
    limits: LimitsText,
}

/// What the profile allows the plugin; see [`Limits`].
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LimitsText {
    call_time: Option<Seconds>,
    message_time: Option<Seconds>,
    memory: Option<ByteSize>,
    fresh_instances: bool,
}

impl<'de> Deserialize<'de> for ConverterText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = ConverterText;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("the name of a plugin, or a table with the key `plugin`")
            }

            fn visit_str<E: serde::de::Error>(self, plugin: &str) -> Result<ConverterText, E> {
                Ok(ConverterText { plugin: plugin.to_owned(), config: Table::new(), limits: LimitsText::default() })
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<ConverterText, A::Error> {
                let table = ConverterTable::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                Ok(ConverterText { plugin: table.plugin, config: table.config, limits: table.limits })
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// A profile read and checked, with the files it names read in.
#[derive(Debug, Clone)]
pub struct ProfileFile {
    /// The name that devices call it by.
    pub name: String,
    /// The folder of the profile, where its own plugin may lie; `None` for a single file and for the built-in default.
    pub folder: Option<PathBuf>,
    /// The text it was made of, followed by the contents of every file it names; for the revision.
    pub source: String,
    /// Row 4 of spec 4.1.
    pub telemetry: Filter,
    /// Row 3 of spec 4.1.
    pub attributes: Filter,
    /// Spec 10.4; `None` for the default, which is always accepted.
    pub attributes_subscribe: Option<Filter>,
    /// `sendAckOnValidationException`.
    pub ack_on_error: bool,
    /// `None` inherits from the host.
    pub type_cast_enabled: Option<bool>,
    /// `None` inherits from the host.
    pub json_lenient: Option<bool>,
    /// Name of the plugin.
    pub plugin: String,
    /// The plugin's own configuration.
    pub config: Table,
    /// What the plugin may use.
    pub limits: Limits,
}

impl ProfileFile {
    /// The profile `default` where there is no file of that name.
    ///
    /// # Errors
    /// None in practice: an empty text is a valid profile.
    pub fn built_in() -> Result<Self, Mistake> {
        Self::parse(super::DEFAULT, Path::new("default.toml"), None, "")
    }

    /// Reads `NAME.toml`, or `profile.toml` in the folder `NAME`.
    ///
    /// # Errors
    /// The file, or a file it names, cannot be read or does not fit.
    pub fn read(name: &str, file: &Path, folder: Option<&Path>) -> Result<Self, Mistake> {
        Self::parse(name, file, folder, &toml_file::read_text(file)?)
    }

    fn parse(name: &str, file: &Path, folder: Option<&Path>, source: &str) -> Result<Self, Mistake> {
        let text: Text = toml_file::parse(file, source)?;
        let line_of =
            |key: &str| source.lines().position(|line| line.trim_start().starts_with(key)).map(|index| index + 1);
        let mistake = |key: &str, problem: String| Mistake {
            file: file.to_owned(),
            line: line_of(key.rsplit('.').next().unwrap_or(key)),
            key: key.to_owned(),
            problem,
        };
        // Blank topic settings mean the default (spec 20).
        let filter = |key: &str, text: &str, default: &str| {
            let text = if text.trim().is_empty() { default } else { text };
            Filter::parse_profile(text).map_err(|error| mistake(key, error.to_string()))
        };
        let telemetry = filter("telemetry_topic", &text.telemetry_topic, TELEMETRY_TOPIC)?;
        let attributes = filter("attributes_topic", &text.attributes_topic, ATTRIBUTES_TOPIC)?;
        if telemetry == attributes {
            return Err(mistake("telemetry_topic", "another filter than that of attributes_topic expected".to_owned()));
        }
        let subscribe = filter("attributes_subscribe_topic", &text.attributes_subscribe_topic, ATTRIBUTES_TOPIC)?;
        let converter = text.converter.unwrap_or_else(|| ConverterText {
            plugin: match text.transport_payload_type {
                PayloadType::Json => "json".to_owned(),
                PayloadType::Protobuf => "protobuf".to_owned(),
            },
            config: Table::new(),
            limits: LimitsText::default(),
        });
        let mut whole_source = source.to_owned();
        let config = read_named_files(converter.config, file, &mut whole_source)
            .map_err(|(key, problem)| mistake(&key, problem))?;
        Ok(Self {
            name: name.to_owned(),
            folder: folder.map(Path::to_owned),
            source: whole_source,
            telemetry,
            attributes,
            attributes_subscribe: (subscribe.as_str() != ATTRIBUTES_TOPIC).then_some(subscribe),
            ack_on_error: text.send_ack_on_validation_exception,
            type_cast_enabled: text.type_cast_enabled,
            json_lenient: text.json_lenient,
            plugin: converter.plugin,
            config,
            limits: limits(&converter.limits),
        })
    }
}

fn limits(text: &LimitsText) -> Limits {
    let default = Limits::default();
    let time = |text: Option<Seconds>, default: Duration| text.map_or(default, |Seconds(time)| time);
    Limits {
        call_time: time(text.call_time, default.call_time),
        message_time: time(text.message_time, default.message_time),
        memory: text.memory.map_or(default.memory, |memory| usize::try_from(memory.as_u64()).unwrap_or(usize::MAX)),
        fresh_instances: text.fresh_instances,
        ..default
    }
}

/// `schema_file = "a.proto"` becomes `schema = "<the text of a.proto beside the profile>"`.
fn read_named_files(config: Table, file: &Path, source: &mut String) -> Result<Table, (String, String)> {
    let beside = file.parent().unwrap_or_else(|| Path::new("."));
    let mut read = Table::new();
    for (key, value) in config {
        let Some(name) = key.strip_suffix("_file") else {
            read.insert(key, value);
            continue;
        };
        let path = value.as_str().ok_or_else(|| (key.clone(), "the name of a file expected".to_owned()))?;
        let path = beside.join(path);
        let text = toml_file::read_text(&path).map_err(|error| (key.clone(), error.to_string()))?;
        source.push_str(&text);
        if read.insert(name.to_owned(), Value::String(text)).is_some() {
            return Err((key.clone(), format!("either this or {name} expected, not both")));
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ProfileFile, String> {
        ProfileFile::parse("p", Path::new("p.toml"), None, text).map_err(|error| error.to_string())
    }

    /// Spec 20: the defaults.
    #[test]
    fn an_empty_profile_has_the_defaults() {
        let profile = parse("").unwrap();
        assert_eq!(profile.telemetry.as_str(), TELEMETRY_TOPIC);
        assert_eq!(profile.attributes.as_str(), ATTRIBUTES_TOPIC);
        assert_eq!(profile.attributes_subscribe, None);
        assert_eq!((profile.plugin.as_str(), profile.ack_on_error), ("json", false));
        assert_eq!(profile.limits, Limits::default());
    }

    #[test]
    fn a_profile_names_topics_plugin_and_limits() {
        let profile = parse(
            "telemetry_topic = \"sensor/+/data\"\nattributes_topic = \" \"\nattributes_subscribe_topic = \"down/a\"\n\
             send_ack_on_validation_exception = true\ntype_cast_enabled = false\n\
             [converter]\nplugin = \"boiler\"\nconfig = { unit = \"C\" }\n\
             [converter.limits]\ncall_time = \"1 s\"\nmemory = \"8 MiB\"\nfresh_instances = true\n",
        )
        .unwrap();
        assert_eq!(profile.telemetry.as_str(), "sensor/+/data");
        assert_eq!(profile.attributes.as_str(), ATTRIBUTES_TOPIC);
        assert_eq!(profile.attributes_subscribe.unwrap().as_str(), "down/a");
        assert!(profile.ack_on_error);
        assert_eq!((profile.type_cast_enabled, profile.json_lenient), (Some(false), None));
        assert_eq!(profile.plugin, "boiler");
        assert_eq!(profile.limits.call_time, Duration::from_secs(1));
        assert_eq!(profile.limits.memory, 8 << 20);
        assert!(profile.limits.fresh_instances);
        assert_eq!(parse("converter = \"boiler\"").unwrap().plugin, "boiler");
        assert_eq!(parse("transport_payload_type = \"PROTOBUF\"").unwrap().plugin, "protobuf");
    }

    #[test]
    fn mistakes_are_named_with_file_line_and_key() {
        let rows = [
            ("speed = 1", "p.toml:1: speed: unknown key"),
            ("\nconverter = 5", "p.toml:2: converter: invalid type: integer `5`, expected the name of a plugin"),
            ("[converter]\nconfig = {}", "p.toml:1: converter: missing field `plugin`"),
            ("[converter]\nplugin = \"x\"\nlimit = 1", "p.toml:3: converter.limit: unknown key"),
            ("\ntelemetry_topic = \"Sensor/Temperature#\"", "p.toml:2: telemetry_topic: "),
            ("telemetry_topic = \"a\"\nattributes_topic = \"a\"", "p.toml:1: telemetry_topic: another filter"),
            ("transport_payload_type = \"XML\"", "p.toml:1: transport_payload_type: unknown variant `XML`"),
            (
                "[converter]\nplugin = \"x\"\nconfig.schema_file = \"nowhere.proto\"",
                "p.toml: schema_file: nowhere.proto: No such file",
            ),
        ];
        for (text, expected) in rows {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(expected), "{text:?}: {error}");
        }
    }

    #[test]
    fn named_files_are_read_in_and_belong_to_the_source() {
        let folder = std::env::temp_dir().join(format!("tidegate-profile-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("a.proto"), "message A {}").unwrap();
        let toml = "[converter]\nplugin = \"x\"\n[converter.config]\nschema_file = \"a.proto\"\nn = 1\n";
        std::fs::write(folder.join("profile.toml"), toml).unwrap();
        let profile = ProfileFile::read("p", &folder.join("profile.toml"), Some(&folder)).unwrap();
        assert_eq!(profile.config.get("schema").and_then(Value::as_str), Some("message A {}"));
        assert_eq!(profile.config.get("n").and_then(Value::as_integer), Some(1));
        assert!(profile.source.ends_with("message A {}"));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
