//! `tidegate config …`

use anyhow::bail;
use clap::Subcommand;
use plugins::{Engine, EngineSettings};

use super::Common;
use super::output::{json, line};
use crate::profile::ProfileSet;
use crate::profile::build::Builder;

#[derive(Debug, Subcommand)]
pub(super) enum Config {
    /// Check settings, profiles and plugins as `serve` would, and print the settings in force
    Check,
}

pub(super) fn run(common: &Common, command: &Config) -> anyhow::Result<()> {
    let Config::Check = command;
    let settings = common.settings()?;
    let engine = Engine::new(&EngineSettings { workers: 1, cache: None })?;
    let mut builder = Builder::new(engine, &settings);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let set = runtime.block_on(builder.build(&ProfileSet::default(), &|_| {})).unwrap_or_default();
    if common.json {
        json(&settings)?;
    } else {
        line(toml::to_string(&settings)?.trim_end())?;
        let mut names: Vec<&String> = set.profiles.keys().collect();
        names.sort_unstable();
        line(format_args!("\n# profiles: {}", names.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ")))?;
    }
    if set.problems.is_empty() {
        return Ok(());
    }
    for (name, problem) in &set.problems {
        eprintln!("tidegate: profile {name:?}: {problem}");
    }
    bail!("{} of the profiles cannot be used", set.problems.len())
}
