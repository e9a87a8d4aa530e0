//! `tidegate plugin …`

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;
use clap::Subcommand;
use indicatif::ProgressBar;
use plugins::load::Kind;
use plugins::{Converter, Engine, EngineSettings, Limits, Plugin as Loaded};
use serde_json::json;

use super::Common;
use super::output;

#[derive(Debug, Subcommand)]
pub(super) enum Plugin {
    /// Load a plugin as the gateway would, and say what it is or what is wrong with it
    Check {
        /// The file: a component, or a core module built with the SDK
        file: PathBuf,
        /// The table `[converter.config]` of a profile as JSON
        #[arg(long, value_name = "JSON", default_value = "{}")]
        plugin_config: String,
    },
}

pub(super) fn run(common: &Common, command: &Plugin) -> anyhow::Result<()> {
    let Plugin::Check { file, plugin_config } = command;
    let settings = common.settings()?;
    let bytes = std::fs::read(file).with_context(|| file.display().to_string())?;
    let name = file.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let config: serde_json::Value = serde_json::from_str(plugin_config).context("--plugin-config: JSON expected")?;
    let config = json!({
        "type_cast_enabled": settings.type_cast_enabled,
        "json_lenient": settings.json_lenient,
        "max_string_value_length": settings.max_string_value_length,
        "max_key_length": settings.max_key_length,
        "config": config,
    });
    let engine = Engine::new(&EngineSettings { workers: 1, cache: None })?;
    let spinner = ProgressBar::new_spinner().with_message(format!("compiling {name}"));
    spinner.enable_steady_tick(std::time::Duration::from_millis(100));
    let started = Instant::now();
    let plugin = Loaded::load(&engine, &name, &bytes);
    let compiled = started.elapsed();
    spinner.finish_and_clear();
    let plugin = plugin.with_context(|| file.display().to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let converter = runtime
        .block_on(Converter::new(&engine, &plugin, config.to_string(), Limits::default()))
        .with_context(|| file.display().to_string())?;
    let kind = match plugin.kind() {
        Kind::Component => "component",
        Kind::CoreModule => "core module, wrapped at load",
    };
    let operations: Vec<&str> = converter.operations().names().collect();
    if common.json {
        return output::json(&json!({
            "name": name,
            "version": plugin.version(),
            "contract": plugins::contract::VERSION,
            "world": "converter",
            "kind": kind,
            "size": plugin.size(),
            "compile_ms": compiled.as_millis() as u64,
            "operations": operations,
        }));
    }
    output::table(
        ["plugin", &name],
        [
            ["version".to_owned(), plugin.version().to_owned()],
            ["contract".to_owned(), format!("{}, world converter", plugins::contract::VERSION)],
            ["kind".to_owned(), kind.to_owned()],
            ["size".to_owned(), bytesize::ByteSize(plugin.size() as u64).to_string()],
            ["compiled in".to_owned(), format!("{} ms", compiled.as_millis())],
            ["operations".to_owned(), operations.join(", ")],
        ],
    )
}
