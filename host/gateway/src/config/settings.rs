//! The settings of the host and their defaults (spec 21).

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use platform::log;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// All settings. Every one has a default, so an empty file is a valid one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Folder of everything the gateway writes: registry, event log, keys, compiled plugins.
    pub data: PathBuf,
    /// Folder of the shipped plugins, `NAME.wasm` each.
    pub plugins: PathBuf,
    /// Folder of the device profiles: `NAME.toml`, or `NAME/profile.toml` with its own plugin beside it.
    pub profiles: PathBuf,

    /// Where devices connect by plain TCP.
    pub bind: SocketAddr,
    /// Threads that serve connections and call plugins; 0 means one for each core.
    pub workers: usize,
    /// Connections at once; more are closed when they are accepted.
    pub max_connections: usize,
    /// The largest packet in bytes, without its fixed header (spec 2).
    pub max_payload_size: u32,
    /// Receive Maximum in both directions, and how many packets of one connection are processed at once.
    pub max_inflight: u16,
    /// Time without any packet until a connection is closed (spec 2.6).
    pub session_timeout: Seconds,
    /// Time from accepting a connection to its CONNECT.
    pub connect_timeout: Seconds,
    /// Time without progress in writing to a socket until it is closed (design §1).
    pub write_timeout: Seconds,
    /// What a client whose authentication failed is told (spec 2.3).
    pub auth_failure_codes: AuthFailureCodes,
    /// What a v3 client that publishes on an unknown topic sees (spec 4.3).
    pub v3_invalid_topic: InvalidTopic,
    /// What happens to QoS 2 of v3 clients (spec 4.2).
    pub qos2_v3: Qos2,
    /// Messages in a row on which a plugin fails until their connection is closed; 0 means never (spec 4.3).
    pub converter_failures_close: u32,

    /// Strings that look like numbers become numbers (spec 7.4); a profile may say otherwise.
    pub type_cast_enabled: bool,
    /// What is not JSON gets a second, lenient reading (spec 7.1); a profile may say otherwise.
    pub json_lenient: bool,
    /// Longest string value in characters, 0 means unlimited (spec 7.4).
    pub max_string_value_length: usize,
    /// Longest key in UTF-8 bytes (spec 7.4).
    pub max_key_length: usize,

    /// Whether the latest value of every telemetry key is kept for reading back.
    pub latest_values: Switch,

    /// The event log.
    pub event_log: EventLog,
    /// The admin API.
    pub admin: Admin,
    /// What the gateway says about itself.
    pub log: Log,
}

/// Settings of the event log (design §6).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EventLog {
    /// Size of one segment file.
    pub segment_size: ByteSize,
    /// How much of the disk the log should take; beyond it the oldest segments go.
    pub retention_size: ByteSize,
    /// Segments whose records are all older than this go.
    pub retention_age: Seconds,
    /// How much of the disk the log may take when readers hold segments back; beyond it intake stops.
    pub disk_limit: ByteSize,
}

/// Settings of the admin API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Where it listens; loopback unless something in front of it does TLS.
    pub bind: SocketAddr,
}

/// Settings of the gateway's own log, which goes to standard error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// Lines for people or for programs.
    pub format: LogFormat,
    /// What is logged, such as `info` or `info,tidegate=debug`.
    pub filter: String,
}

/// See [`Log::format`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// A line of text for each record.
    Text,
    /// A JSON object on a line for each record.
    Json,
}

/// See [`Settings::auth_failure_codes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthFailureCodes {
    /// "Not authorized", whatever the reason.
    Uniform,
    /// ThingsBoard's mapping.
    Detailed,
}

/// See [`Settings::v3_invalid_topic`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InvalidTopic {
    /// The connection is closed.
    Close,
    /// PUBACK, as ThingsBoard does.
    Ack,
}

/// See [`Settings::qos2_v3`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Qos2 {
    /// Served as QoS 1.
    Accept,
    /// The connection is closed.
    Close,
}

/// `on` or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Switch {
    /// It is done.
    On,
    /// It is not.
    Off,
}

/// A time span: a number of seconds, or a text with units such as `"10 min"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seconds(pub Duration);

impl Seconds {
    const fn new(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl serde::de::Visitor<'_> for Visitor {
            type Value = Seconds;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number of seconds, or a text such as \"10 min\"")
            }

            fn visit_i64<E: serde::de::Error>(self, seconds: i64) -> Result<Seconds, E> {
                let unexpected = || E::invalid_value(serde::de::Unexpected::Signed(seconds), &self);
                u64::try_from(seconds).map(Seconds::new).map_err(|_| unexpected())
            }

            fn visit_u64<E: serde::de::Error>(self, seconds: u64) -> Result<Seconds, E> {
                Ok(Seconds::new(seconds))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Seconds, E> {
                let unexpected = |_| E::invalid_value(serde::de::Unexpected::Str(text), &self);
                humantime::parse_duration(text).map(Seconds).map_err(unexpected)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(self.0))
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            data: "data".into(),
            plugins: "plugins".into(),
            profiles: "profiles".into(),
            bind: (Ipv4Addr::UNSPECIFIED, 1883).into(),
            workers: 0,
            max_connections: 100_000,
            max_payload_size: 65_536,
            max_inflight: 100,
            session_timeout: Seconds::new(600),
            connect_timeout: Seconds::new(10),
            write_timeout: Seconds::new(30),
            auth_failure_codes: AuthFailureCodes::Uniform,
            v3_invalid_topic: InvalidTopic::Close,
            qos2_v3: Qos2::Accept,
            converter_failures_close: 0,
            type_cast_enabled: true,
            json_lenient: true,
            max_string_value_length: 0,
            max_key_length: 255,
            latest_values: Switch::On,
            event_log: EventLog::default(),
            admin: Admin::default(),
            log: Log::default(),
        }
    }
}

impl Default for EventLog {
    fn default() -> Self {
        Self {
            segment_size: ByteSize::mib(64),
            retention_size: ByteSize::gib(1),
            retention_age: Seconds::new(7 * 24 * 60 * 60),
            disk_limit: ByteSize::gib(4),
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self { bind: (Ipv4Addr::LOCALHOST, 8083).into() }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info".to_owned() }
    }
}

impl Settings {
    /// Checks what no type can say.
    ///
    /// # Errors
    /// The key and what was expected.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let positive = [
            ("max_connections", self.max_connections as u64),
            ("max_payload_size", self.max_payload_size.into()),
            ("max_inflight", self.max_inflight.into()),
            ("max_key_length", self.max_key_length as u64),
            ("session_timeout", self.session_timeout.0.as_secs()),
            ("connect_timeout", self.connect_timeout.0.as_secs()),
            ("write_timeout", self.write_timeout.0.as_secs()),
        ];
        for (key, value) in positive {
            if value == 0 {
                return Err((key, "at least 1 expected".to_owned()));
            }
        }
        if let Err(error) = self.log.filter.parse::<tracing_subscriber::filter::EnvFilter>() {
            return Err(("log.filter", error.to_string()));
        }
        Ok(())
    }

    /// The first setting that does not go with the others, and what was expected; for when all sources have been read.
    pub(super) fn check_together(&self) -> Result<(), (&'static str, String)> {
        let log = self.event_log_settings();
        let Err(error) = log.check() else {
            // As events, a message may take up to about two and a half times its size; as a dead letter, a little more
            // than its size. What is larger than a record would be refused for ever.
            let most = log.record_limit() / 3;
            if u64::from(self.max_payload_size) > most {
                let expected =
                    format!("at most {most} expected, a third of the largest event that the event log stores");
                return Err(("max_payload_size", expected));
            }
            return Ok(());
        };
        match error {
            log::OpenError::Setting { setting, expected, got } => {
                let key = match setting {
                    "segment_bytes" => "event_log.segment_size",
                    "retention_bytes" => "event_log.retention_size",
                    "retention_age" => "event_log.retention_age",
                    _ => "event_log.disk_limit",
                };
                Err((key, format!("{expected} expected, got {got}")))
            }
            error => Err(("event_log", error.to_string())),
        }
    }

    /// The event log in the data folder.
    pub fn event_log_settings(&self) -> log::Settings {
        log::Settings {
            segment_bytes: self.event_log.segment_size.as_u64(),
            retention_bytes: self.event_log.retention_size.as_u64(),
            retention_age: self.event_log.retention_age.0,
            disk_limit: self.event_log.disk_limit.as_u64(),
            ..log::Settings::new(self.data.join("events"))
        }
    }

    /// Threads that serve connections.
    pub fn worker_threads(&self) -> usize {
        match self.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        }
    }
}
