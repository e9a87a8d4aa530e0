//! What was measured: as JSON for programs, as a table for people. Each field name carries its unit.

use std::time::Duration;

use comfy_table::{Table, presets};
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::packets::Version;
use crate::process::{Memory, Usage};
use crate::tally::Tally;

/// What publishing came to.
#[derive(Debug, Serialize)]
pub(crate) struct Published {
    pub(crate) connections: u32,
    pub(crate) window: u16,
    pub(crate) qos: u8,
    pub(crate) version: Version,
    pub(crate) payload_bytes: usize,
    /// Open loop; `None`: closed loop.
    pub(crate) offered_per_second: Option<f64>,
    /// How long was measured.
    pub(crate) seconds: f64,
    /// Acknowledged while measuring.
    pub(crate) messages: u64,
    pub(crate) messages_per_second: f64,
    pub(crate) latency: Latency,
    pub(crate) server: Option<Server>,
    pub(crate) generator_cpu_seconds_per_million: f64,
    /// Share of the machine's CPU time that its host gave to other machines.
    pub(crate) steal: f64,
    /// Share of the machine's CPU time that was used by neither the server nor the generator.
    pub(crate) others: f64,
    pub(crate) errors: Tally,
}

/// From when a message was due to its acknowledgement, in microseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50_us: f64,
    pub(crate) p90_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p99_9_us: f64,
    pub(crate) max_us: f64,
}

impl From<&Histogram<u64>> for Latency {
    fn from(nanoseconds: &Histogram<u64>) -> Self {
        let at = |quantile| nanoseconds.value_at_quantile(quantile) as f64 / 1e3;
        Self { p50_us: at(0.5), p90_us: at(0.9), p99_us: at(0.99), p99_9_us: at(0.999), max_us: at(1.0) }
    }
}

/// What it cost the server while measuring.
#[derive(Debug, Serialize)]
pub(crate) struct Server {
    pub(crate) cpu_user_seconds: f64,
    pub(crate) cpu_system_seconds: f64,
    /// User and system, for each million of acknowledged messages.
    pub(crate) cpu_seconds_per_million: f64,
    pub(crate) voluntary_switches_per_message: f64,
    pub(crate) involuntary_switches_per_message: f64,
    pub(crate) rss_bytes: u64,
    pub(crate) peak_rss_bytes: u64,
}

impl Server {
    pub(crate) fn new(usage: &Usage, memory: Memory, messages: u64) -> Self {
        let messages = messages.max(1) as f64;
        Self {
            cpu_user_seconds: usage.user.as_secs_f64(),
            cpu_system_seconds: usage.system.as_secs_f64(),
            cpu_seconds_per_million: usage.cpu().as_secs_f64() / messages * 1e6,
            voluntary_switches_per_message: usage.voluntary as f64 / messages,
            involuntary_switches_per_message: usage.involuntary as f64 / messages,
            rss_bytes: memory.resident,
            peak_rss_bytes: memory.peak,
        }
    }

    pub(crate) fn cpu(&self) -> Duration {
        Duration::from_secs_f64(self.cpu_user_seconds + self.cpu_system_seconds)
    }
}

/// What idle connections came to.
#[derive(Debug, Serialize)]
pub(crate) struct Held {
    /// Open at the end.
    pub(crate) connections: usize,
    pub(crate) version: Version,
    pub(crate) connects_per_second: f64,
    /// How long they were held.
    pub(crate) seconds: f64,
    pub(crate) server: Option<IdleServer>,
    /// See [`Published::steal`].
    pub(crate) steal: f64,
    /// See [`Published::others`].
    pub(crate) others: f64,
    pub(crate) errors: Tally,
}

/// What idle connections cost the server.
#[derive(Debug, Serialize)]
pub(crate) struct IdleServer {
    pub(crate) rss_before_bytes: u64,
    pub(crate) rss_bytes: u64,
    pub(crate) peak_rss_bytes: u64,
    /// The difference, for each connection.
    pub(crate) rss_bytes_per_connection: f64,
    /// CPU time while nothing happens.
    pub(crate) cpu_seconds_per_second: f64,
}

/// Something to show.
pub(crate) trait Report: Serialize {
    /// What was measured, line by line: name and value.
    fn lines(&self) -> Vec<(&'static str, String)>;

    /// What went wrong.
    fn errors(&self) -> &Tally;

    /// Everything, for people.
    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        table.add_rows(self.lines().into_iter().map(|(name, value)| [name.to_owned(), value]));
        for (failure, counted) in self.errors().iter() {
            table
                .add_row([format!("error: {failure:?}"), format!("{} times, first: {}", counted.count, counted.first)]);
        }
        table
    }
}

impl Report for Published {
    fn lines(&self) -> Vec<(&'static str, String)> {
        let Latency { p50_us, p90_us, p99_us, p99_9_us, max_us } = self.latency;
        let mut lines = vec![
            ("messages", format!("{} in {:.2} s = {:.0}/s", self.messages, self.seconds, self.messages_per_second)),
            (
                "latency µs",
                format!("p50 {p50_us:.0}, p90 {p90_us:.0}, p99 {p99_us:.0}, p99.9 {p99_9_us:.0}, max {max_us:.0}"),
            ),
        ];
        if let Some(server) = &self.server {
            let Server { cpu_user_seconds: user, cpu_system_seconds: system, .. } = server;
            lines.extend([
                ("server CPU", format!("{:.3} s for a million messages", server.cpu_seconds_per_million)),
                ("", format!("{user:.2} s user, {system:.2} s system")),
                (
                    "context switches",
                    format!(
                        "{:.4} voluntary, {:.4} involuntary for a message",
                        server.voluntary_switches_per_message, server.involuntary_switches_per_message
                    ),
                ),
                (
                    "server memory",
                    format!("{} now, {} at most", mebibytes(server.rss_bytes), mebibytes(server.peak_rss_bytes)),
                ),
            ]);
        }
        lines.extend([
            ("generator CPU", format!("{:.3} s for a million messages", self.generator_cpu_seconds_per_million)),
            ("machine", shares(self.steal, self.others)),
        ]);
        lines
    }

    fn errors(&self) -> &Tally {
        &self.errors
    }
}

impl Report for Held {
    fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = vec![
            ("connections", format!("{}, opened at {:.0}/s", self.connections, self.connects_per_second)),
            ("held", format!("{:.1} s", self.seconds)),
        ];
        if let Some(server) = &self.server {
            lines.extend([
                ("memory", format!("{:.2} KiB for each", server.rss_bytes_per_connection / 1024.0)),
                (
                    "",
                    format!(
                        "{} before, {} now, {} at most",
                        mebibytes(server.rss_before_bytes),
                        mebibytes(server.rss_bytes),
                        mebibytes(server.peak_rss_bytes)
                    ),
                ),
                ("server CPU", format!("{:.2} % of a core", server.cpu_seconds_per_second * 100.0)),
            ]);
        }
        lines.push(("machine", shares(self.steal, self.others)));
        lines
    }

    fn errors(&self) -> &Tally {
        &self.errors
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

fn shares(steal: f64, others: f64) -> String {
    format!("{:.1} % stolen, {:.1} % used by others", steal * 100.0, others * 100.0)
}
