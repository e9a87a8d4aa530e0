//! The command line, with and without a running gateway.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::gateway::{Gateway, binary, in_folder, shipped_plugin};

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
    fn of(command: &mut Command) -> Self {
        let output = command.stdin(Stdio::null()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { status: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// What it printed, if it succeeded. It does not print to a terminal, so there must be no colours and no progress.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!((self.status, self.stderr.as_str()), (0, ""), "{}", self.stdout);
        assert!(!self.stdout.contains(['\u{1b}', '\r']), "{:?}", self.stdout);
        self.stdout
    }

    /// What it complained about, if it was not understood.
    #[track_caller]
    pub fn not_understood(self) -> String {
        assert_eq!((self.status, self.stdout.as_str()), (2, ""), "{}", self.stderr);
        assert!(self.stderr.starts_with("error: "), "{}", self.stderr);
        self.stderr
    }

    /// What it complained about, if it failed as a command does that was understood.
    #[track_caller]
    pub fn failed(self) -> String {
        assert_eq!(self.status, 1, "{}{}", self.stdout, self.stderr);
        assert!(self.stderr.lines().any(|line| line.starts_with("tidegate: ")), "{}", self.stderr);
        assert!(!self.stderr.contains(['\u{1b}', '\r']), "{:?}", self.stderr);
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
    stdout: BufReader<Box<dyn Read + Send>>,
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

impl Following {
    /// Closes the end of the pipe that this side reads, as `head` does, and waits for the exit status.
    #[track_caller]
    pub fn close(mut self) -> i32 {
        self.stdout = BufReader::new(Box::new(std::io::empty()));
        self.process.wait().unwrap().code().unwrap()
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A folder in which commands are run as a person would who has installed the shipped plugins, without a gateway.
#[derive(Debug)]
pub struct Folder(TempDir);

impl Default for Folder {
    fn default() -> Self {
        let folder = Self(TempDir::with_prefix("tidegate-cli-").unwrap());
        folder.write("plugins/json.wasm", shipped_plugin("json"));
        folder
    }
}

impl Folder {
    /// A file or folder in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file, and makes the folders for it.
    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        let file = self.path(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, contents).unwrap();
    }

    /// Runs `tidegate ARGUMENTS` in it.
    pub fn cli(&self, arguments: &[&str]) -> Said {
        self.cli_with(arguments, &[])
    }

    /// The same with environment variables.
    pub fn cli_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Said {
        Said::of(tidegate(self.0.path()).args(arguments).envs(environment.iter().copied()))
    }
}

fn tidegate(folder: &Path) -> Command {
    let mut command = Command::new(binary());
    in_folder(&mut command, folder);
    command
}

impl Gateway {
    /// Runs `tidegate ARGUMENTS` with this gateway's data folder, and in its folder.
    pub fn cli(&self, arguments: &[&str]) -> Said {
        self.cli_with(arguments, &[])
    }

    /// The same with environment variables.
    pub fn cli_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Said {
        Said::of(self.command().args(arguments).envs(environment.iter().copied()))
    }

    /// Starts a command that goes on.
    pub fn follow(&self, arguments: &[&str]) -> Following {
        let mut command = self.command();
        let mut process = command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(Box::new(process.stdout.take().unwrap()) as Box<dyn Read + Send>);
        Following { process, stdout }
    }
}
