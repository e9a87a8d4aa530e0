//! The binary: reads the command line and does what it says.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    tidegate::cli::run()
}
