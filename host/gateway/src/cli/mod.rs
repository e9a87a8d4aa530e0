//! The command line.
//!
//! - [`serve`]: runs a gateway
//! - [`config`], [`plugin`]: checks without a running gateway; [`rekey`]: needs a stopped one
//! - [`device`], [`events`], [`profile`], [`session`]: talk to a running gateway through [`client`]
//! - [`output`]: tables for people, JSON for scripts

mod client;
mod config;
mod device;
mod events;
mod output;
mod plugin;
mod profile;
mod rekey;
mod serve;
mod session;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::Sources;
use client::Client;

/// A device gateway whose payload formats are sandboxed WebAssembly plugins.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// Where settings come from; the same for all commands.
#[derive(Debug, Args)]
struct Common {
    /// Settings file; without it tidegate.toml is read if it exists
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of everything the gateway writes
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
    /// A setting, over file and environment; may be given more than once
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Print JSON instead of tables
    #[arg(long, global = true)]
    json: bool,
}

/// How to reach the running gateway; the same for all commands that talk to one.
#[derive(Debug, Args)]
struct Remote {
    /// Admin API of the running gateway; found in the data folder if absent
    #[arg(long, global = true, value_name = "URL", env = "TIDEGATE_API_URL")]
    api_url: Option<String>,
    /// Token of the admin API; found in the data folder if absent
    #[arg(long, global = true, value_name = "TOKEN", env = "TIDEGATE_API_TOKEN", hide_env_values = true)]
    api_token: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a gateway
    Serve(serve::Serve),
    /// Settings
    #[command(subcommand)]
    Config(config::Config),
    /// Devices of the running gateway
    Device {
        #[command(flatten)]
        remote: Remote,
        #[command(subcommand)]
        command: device::Device,
    },
    /// Events of the running gateway
    Events {
        #[command(flatten)]
        remote: Remote,
        #[command(subcommand)]
        command: events::Events,
    },
    /// Plugins
    #[command(subcommand)]
    Plugin(plugin::Plugin),
    /// Profiles of the running gateway
    Profile {
        #[command(flatten)]
        remote: Remote,
        #[command(subcommand)]
        command: profile::Profile,
    },
    /// Sessions of the running gateway
    Session {
        #[command(flatten)]
        remote: Remote,
        #[command(subcommand)]
        command: session::Session,
    },
    /// Replace the key with which credentials are encrypted, while the gateway is stopped
    Rekey,
}

/// Does what the command line says. Exit status 0: done; 1: not done; 2: not understood.
pub fn run() -> ExitCode {
    let Cli { common, command } = Cli::parse();
    let done = match command {
        Command::Serve(serve) => serve::run(&common, &serve),
        Command::Config(command) => config::run(&common, &command),
        Command::Device { remote, command } => device::run(&common, &remote, command),
        Command::Events { remote, command } => events::run(&common, &remote, &command),
        Command::Plugin(command) => plugin::run(&common, &command),
        Command::Profile { remote, command } => profile::run(&common, &remote, &command),
        Command::Session { remote, command } => session::run(&common, &remote, &command),
        Command::Rekey => rekey::run(&common),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tidegate: {error:#}");
            ExitCode::FAILURE
        }
    }
}

impl Common {
    /// The settings that follow from file, environment and command line.
    fn settings(&self) -> anyhow::Result<crate::config::Settings> {
        let mut flags = Vec::new();
        if let Some(data) = &self.data {
            flags.push(("--data".to_owned(), "data".to_owned(), data.display().to_string()));
        }
        for set in &self.set {
            let (key, value) = set
                .split_once('=')
                .ok_or_else(|| anyhow::anyhow!("--set {set}: expected KEY=VALUE, such as --set bind=0.0.0.0:1884"))?;
            flags.push(("--set".to_owned(), key.trim().to_owned(), value.trim().to_owned()));
        }
        // How to reach a gateway is no setting of one, though its variables begin like those.
        let own = |name: &std::ffi::OsString| name == "TIDEGATE_API_URL" || name == "TIDEGATE_API_TOKEN";
        let environment = std::env::vars_os().filter(|(name, _)| !own(name)).collect();
        Ok(Sources { file: self.config.clone(), environment, flags }.settings()?)
    }

    /// How to talk to the running gateway.
    fn client(&self, remote: &Remote) -> anyhow::Result<Client> {
        match (&remote.api_url, &remote.api_token) {
            (Some(url), Some(token)) => Ok(Client::new(url, token)),
            (url, token) => Client::find(&self.settings()?.data, url.as_deref(), token.as_deref()),
        }
    }
}
