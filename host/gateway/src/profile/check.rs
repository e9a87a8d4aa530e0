//! A plugin by itself: loaded and configured as for a profile, and dropped again.

use std::time::Instant;

use plugins::load::Kind;
use plugins::{Converter, Engine, EngineSettings, Limits, Plugin, contract};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::payload::PayloadSettings;
use crate::config::Settings;

/// What a plugin is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PluginReport {
    /// How a profile would name it.
    pub name: String,
    /// Hash of its bytes.
    pub version: String,
    /// Version of the contract that it was built against.
    pub contract: String,
    /// World of the contract that it implements.
    pub world: String,
    /// `component` or `core-module`, which is wrapped at load.
    pub kind: String,
    /// Bytes.
    pub size: usize,
    /// Milliseconds of compiling.
    pub compile_ms: u64,
    /// Operations that it implements; the rest goes to the shipped JSON plugin (spec 16).
    pub operations: Vec<String>,
}

/// Loads and configures a plugin. `config` is the profile's table `[converter.config]`. Compiling blocks.
///
/// # Errors
/// What is wrong with the plugin.
pub async fn check(
    settings: &Settings,
    name: &str,
    bytes: &[u8],
    config: &serde_json::Map<String, serde_json::Value>,
) -> Result<PluginReport, String> {
    let engine = Engine::new(&EngineSettings { workers: 1, cache: None }).map_err(|error| error.to_string())?;
    let started = Instant::now();
    let plugin = Plugin::load(&engine, name, bytes).map_err(|error| error.to_string())?;
    let compile_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let config = PayloadSettings::of_host(settings).configuration(config);
    let converter =
        Converter::new(&engine, &plugin, config, Limits::default()).await.map_err(|error| error.to_string())?;
    let kind = match plugin.kind() {
        Kind::Component => "component",
        Kind::CoreModule => "core-module",
    };
    Ok(PluginReport {
        name: name.to_owned(),
        version: plugin.version().to_owned(),
        contract: contract::VERSION.to_owned(),
        world: "converter".to_owned(),
        kind: kind.to_owned(),
        size: plugin.size(),
        compile_ms,
        operations: converter.operations().names().map(str::to_owned).collect(),
    })
}
