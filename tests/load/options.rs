//! What the generator is asked to do.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::{Args, Parser, Subcommand};

use crate::packets::Version;

/// Puts an MQTT server under load and measures what that costs it
#[derive(Debug, Parser)]
#[command(name = "load", version)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) mode: Mode,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Mode {
    /// Publish messages
    Publish(Publish),
    /// Open connections and leave them alone
    Idle(Idle),
}

#[derive(Debug, Args)]
pub(crate) struct Common {
    /// The server
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:1883")]
    pub(crate) address: SocketAddr,
    /// Connections at once
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) connections: u32,
    /// Protocol version
    #[arg(long, value_enum, default_value = "3.1.1")]
    pub(crate) version: Version,
    /// User names, such as access tokens: one on a line, one for each connection; without it nobody has a name
    #[arg(long, value_name = "FILE")]
    pub(crate) users: Option<PathBuf>,
    /// Process of the server on this machine, whose CPU time and memory are measured
    #[arg(long, value_name = "PID")]
    pub(crate) pid: Option<u32>,
    /// Give up when the server says nothing for so long while something is to be answered
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    pub(crate) patience: Duration,
    /// Print JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
    /// End with success though there were errors; they are still counted
    #[arg(long)]
    pub(crate) tolerate_errors: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Publish {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Messages of one connection that may wait for their acknowledgement
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) window: u16,
    /// Quality of service: 0 or 1
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=1))]
    pub(crate) qos: u8,
    /// Topic of every message
    #[arg(long, default_value = "v1/devices/me/telemetry")]
    pub(crate) topic: String,
    /// Payload of every message; without it {"temperature":25.5,"humidity":60,"status":"active"}
    #[arg(long, value_name = "FILE")]
    pub(crate) payload_file: Option<PathBuf>,
    /// Open loop: messages a second over all connections, sent when they are due whatever the server does. Without it the
    /// loop is closed: the next message goes when an earlier one was acknowledged
    #[arg(long, value_name = "NUMBER")]
    pub(crate) rate: Option<f64>,
    /// Measure for so long
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    pub(crate) duration: Duration,
    /// Measure until so many messages were acknowledged, instead of for a time
    #[arg(long, value_name = "NUMBER", conflicts_with = "duration", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) messages: Option<u64>,
    /// Publish for so long before measuring begins
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = humantime::parse_duration)]
    pub(crate) warm_up: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct Idle {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Hold the connections for so long before memory is measured
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
    pub(crate) hold: Duration,
}

/// The default payload: 52 bytes, three keys, three kinds of value.
const PAYLOAD: &str = r#"{"temperature":25.5,"humidity":60,"status":"active"}"#;

impl Common {
    /// As many user names as there are connections, or none at all.
    pub(crate) fn user_names(&self) -> anyhow::Result<Vec<String>> {
        let Some(file) = &self.users else { return Ok(Vec::new()) };
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let wanted = self.connections as usize;
        let names: Vec<String> = text.lines().take(wanted).map(str::to_owned).collect();
        ensure!(names.len() == wanted, "{}: {} names for {wanted} connections", file.display(), names.len());
        for (index, name) in names.iter().enumerate() {
            let line = index + 1;
            ensure!((1..=65_535).contains(&name.len()), "{}:{line}: 1 to 65535 bytes expected", file.display());
        }
        Ok(names)
    }
}

impl Publish {
    /// Checks what no parser of a single option can, and reads the payload.
    pub(crate) fn payload(&self) -> anyhow::Result<Vec<u8>> {
        ensure!((1..=65_535).contains(&self.topic.len()), "--topic: 1 to 65535 bytes expected");
        if let Some(rate) = self.rate {
            ensure!(rate.is_finite() && rate > 0.0, "--rate: a number above 0 expected");
        }
        match &self.payload_file {
            Some(file) => std::fs::read(file).with_context(|| file.display().to_string()),
            None => Ok(PAYLOAD.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn options_are_consistent() {
        Options::command().debug_assert();
        assert_eq!(PAYLOAD.len(), 52);
    }

    #[test]
    fn there_must_be_a_name_for_each_connection() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("users");
        std::fs::write(&file, "a\nb\n").unwrap();
        let names = |connections: &str| {
            let arguments = ["load", "idle", "--users", file.to_str().unwrap(), "--connections", connections];
            let Mode::Idle(idle) = Options::parse_from(arguments).mode else { panic!() };
            idle.common.user_names()
        };
        assert_eq!(names("2").unwrap(), ["a", "b"]);
        assert!(names("3").unwrap_err().to_string().contains("2 names for 3 connections"));
    }
}
