//! The command line of a running gateway.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::gateway::Gateway;

/// What a command said.
#[derive(Debug)]
pub struct Said {
    /// The exit status.
    pub status: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Said {
    /// What it printed, if it succeeded.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.status, 0, "{}{}", self.stdout, self.stderr);
        self.stdout
    }

    /// What it complained about, if it failed as a command does that was understood.
    #[track_caller]
    pub fn failed(self) -> String {
        assert_eq!(self.status, 1, "{}{}", self.stdout, self.stderr);
        assert!(self.stderr.starts_with("tidegate: "), "{}", self.stderr);
        self.stderr
    }

    /// The JSON that it printed, if it succeeded.
    #[track_caller]
    pub fn json(self) -> Value {
        let stdout = self.ok();
        serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}"))
    }

    /// The JSON on every line that it printed, if it succeeded.
    #[track_caller]
    pub fn json_lines(self) -> Vec<Value> {
        let stdout = self.ok();
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        stdout.lines().map(parse).collect()
    }
}

/// A command that goes on, such as `events tail`. Ends when it is dropped.
pub struct Following {
    process: Child,
    stdout: BufReader<std::process::ChildStdout>,
}

impl Following {
    /// The next line that it prints. Waits for ever; a test that hangs here is ended by its runner.
    #[track_caller]
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.stdout.read_line(&mut line).unwrap();
        assert!(read > 0, "the command ended");
        line
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Gateway {
    /// Runs `tidegate ARGUMENTS` with this gateway's data folder, and in its folder.
    pub fn cli(&self, arguments: &[&str]) -> Said {
        self.cli_with(arguments, &[])
    }

    /// The same with environment variables.
    pub fn cli_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Said {
        let mut command = self.command();
        let output = command.args(arguments).envs(environment.iter().copied()).stdin(Stdio::null()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Said { status: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Starts a command that goes on.
    pub fn follow(&self, arguments: &[&str]) -> Following {
        let mut command = self.command();
        let mut process = command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        Following { process, stdout }
    }
}
