//! `tidegate plugin …`

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Subcommand;
use indicatif::ProgressBar;

use super::Common;
use super::output;
use crate::profile::check::{self, PluginReport};

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
    let config = serde_json::from_str(plugin_config).context("--plugin-config: a JSON object expected")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let spinner = ProgressBar::new_spinner().with_message(format!("compiling {name}"));
    spinner.enable_steady_tick(Duration::from_millis(100));
    let checked = runtime.block_on(check::check(&settings, &name, &bytes, &config));
    spinner.finish_and_clear();
    let report = checked.map_err(|problem| anyhow!("{}: {problem}", file.display()))?;
    if common.json {
        return output::json(&report);
    }
    let PluginReport { name, version, contract, world, kind, size, compile_ms, operations } = report;
    output::table(
        ["plugin", &name],
        [
            ["version".to_owned(), version],
            ["contract".to_owned(), format!("{contract}, world {world}")],
            ["kind".to_owned(), if kind == "component" { kind } else { "core module, wrapped at load".to_owned() }],
            ["size".to_owned(), bytesize::ByteSize(size as u64).to_string()],
            ["compiled in".to_owned(), format!("{compile_ms} ms")],
            ["operations".to_owned(), operations.join(", ")],
        ],
    )
}
