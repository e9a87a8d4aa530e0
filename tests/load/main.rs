//! The load generator: many MQTT connections from one thread, and what they cost the server.
//!
//! - [`options`]: what is asked for
//! - [`publish`], [`idle`]: the two things that it does
//! - [`fleet`]: all connections; [`window`]: what is in flight on one of them; [`packets`]: MQTT by hand
//! - [`pace`]: when messages are due
//! - [`process`], [`machine`]: what the kernel knows of server and generator, and of the machine under them
//! - [`tally`]: errors; [`report`]: results
//!
//! It shares the machine with the server, so a message must cost it next to nothing: packets are built once, all messages
//! that a window has room for leave in one write, and there is no task, timer or allocation per message. What each number
//! means is in `README.md` beside this file.
#![forbid(unsafe_code)]

mod fleet;
mod idle;
mod machine;
mod options;
mod pace;
mod packets;
mod process;
mod publish;
mod report;
mod tally;
mod window;

use std::process::ExitCode;

use clap::Parser;

use options::{Common, Mode, Options};
use report::Report;

fn main() -> anyhow::Result<ExitCode> {
    raise_open_files()?;
    match Options::parse().mode {
        Mode::Publish(options) => show(&publish::run(&options)?, &options.common),
        Mode::Idle(options) => show(&idle::run(&options)?, &options.common),
    }
}

fn show(report: &impl Report, common: &Common) -> anyhow::Result<ExitCode> {
    if common.json {
        println!("{}", serde_json::to_string(report)?);
    } else {
        println!("{}", report.table());
    }
    let good = report.errors().is_empty() || common.tolerate_errors;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A connection is an open file, and most systems allow few of them unless asked.
fn raise_open_files() -> anyhow::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}
