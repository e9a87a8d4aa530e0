//! What the gateway says about itself: lines on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::config::settings::{Log, LogFormat};

/// Starts logging. To be called once, before anything is logged.
///
/// # Errors
/// The filter is no filter, or logging was started before.
pub fn start(settings: &Log) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&settings.filter)?;
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    match settings.format {
        LogFormat::Text => lines.compact().try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    }
    .map_err(|error| anyhow::anyhow!("logging: {error}"))
}
