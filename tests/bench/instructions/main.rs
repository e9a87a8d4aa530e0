//! Single steps of a message's way, by themselves: what one of them costs in instructions and in CPU time.
//!
//! - `case`: what a step is; how its CPU time is taken
//! - `publish`: bytes to a PUBLISH packet
//! - `json`: a payload through the JSON plugin in its sandbox
//! - `log`: an event to a record, and records to the disk
//!
//! `count` runs one case so many times and prints nothing: an outer tool counts its instructions (`perf stat`, or
//! `valgrind --tool=callgrind`). The difference between a run of N and a run of 2N is that of N iterations alone; start-up
//! cancels. `times` runs all cases in turns and prints CPU time.
#![forbid(unsafe_code)]

mod case;
mod json;
mod log;
mod publish;

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};

use case::Case;

#[derive(Debug, Parser)]
#[command(name = "instructions", version, about = "Runs single steps of a message's way")]
struct Options {
    #[command(subcommand)]
    mode: Mode,
    #[command(flatten)]
    places: Places,
}

#[derive(Debug, Subcommand)]
enum Mode {
    /// Print the cases: name, messages of one iteration
    List,
    /// Run one case so many times, for somebody who counts
    Count {
        /// Its name
        case: String,
        /// So many times
        iterations: u64,
    },
    /// Run all cases in turns, and print CPU nanoseconds for a message as JSON: name, minimum, median
    Times {
        /// So many turns
        #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u32).range(1..))]
        rounds: u32,
        /// Milliseconds for each case in a turn
        #[arg(long, default_value_t = 20)]
        milliseconds: u64,
    },
}

/// Where things are.
#[derive(Debug, Args)]
struct Places {
    /// Folder with json.wasm
    #[arg(long, global = true, default_value = "plugins")]
    plugins: PathBuf,
    /// Folder for the event log and for compiled plugins; on the disk that is to be measured
    #[arg(long, global = true, default_value = "target/bench")]
    work: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let Options { mode, places } = Options::parse();
    std::fs::create_dir_all(&places.work).with_context(|| places.work.display().to_string())?;
    let names = publish::NAMES.into_iter().chain(json::NAMES).chain(log::NAMES);
    match mode {
        Mode::List => {
            for name in names {
                println!("{name} {}", open(name, &places)?.messages);
            }
        }
        Mode::Count { case, iterations } => (open(&case, &places)?.run)(iterations)?,
        Mode::Times { rounds, milliseconds } => {
            let cases = names.map(|name| open(name, &places)).collect::<Result<Vec<_>, _>>()?;
            println!("{}", serde_json::to_string(&case::times(cases, rounds, milliseconds)?)?);
        }
    }
    Ok(())
}

fn open(name: &str, places: &Places) -> anyhow::Result<Case> {
    if let Some(case) = publish::case(name) {
        return Ok(case);
    }
    if let Some(case) = json::case(name, places)? {
        return Ok(case);
    }
    log::case(name, places)?.with_context(|| format!("{name}: no such case; `list` prints them"))
}
