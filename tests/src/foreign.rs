//! Programs that are not ours.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::guests::workspace;

/// What a program did.
#[derive(Debug)]
pub struct Did {
    /// Its exit status; `None` if a signal ended it.
    pub status: Option<i32>,
    /// Standard output and standard error.
    pub said: String,
}

impl Did {
    /// What it said, if it succeeded.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.status, Some(0), "{}", self.said);
        self.said
    }
}

/// Runs a program of the system.
///
/// # Panics
/// It is not installed.
#[track_caller]
pub fn run(program: &str, arguments: &[&str]) -> Did {
    assert_installed(program);
    did(Command::new(program).args(arguments))
}

/// Makes sure that a program of the system is there.
///
/// # Panics
/// It is not.
#[track_caller]
pub fn assert_installed(program: &str) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    assert!(installed, "{program} is not installed: run `make test`, which fetches what the tests need");
}

/// A set of Python packages. Each lives in an environment of its own: the ThingsBoard SDK brings its own edition of paho,
/// which takes the place of the real one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Python {
    /// `conformance/requirements.txt`, in the environment `target/python` or with the interpreter `$TIDEGATE_PYTHON`.
    Common,
    /// `conformance/thingsboard/requirements.txt`, in `target/python-thingsboard` or with
    /// `$TIDEGATE_PYTHON_THINGSBOARD`.
    ThingsBoard,
}

impl Python {
    /// Runs a script of `conformance/`.
    ///
    /// # Panics
    /// There is no such environment.
    #[track_caller]
    pub fn run(self, script: &str, arguments: &[&str]) -> Did {
        let mut command = Command::new(self.interpreter());
        did(command.arg(workspace("tests/conformance").join(script)).args(arguments))
    }

    fn interpreter(self) -> PathBuf {
        let (variable, folder) = match self {
            Self::Common => ("TIDEGATE_PYTHON", "target/python"),
            Self::ThingsBoard => ("TIDEGATE_PYTHON_THINGSBOARD", "target/python-thingsboard"),
        };
        if let Some(interpreter) = std::env::var_os(variable) {
            return interpreter.into();
        }
        let interpreter = workspace(folder).join("bin/python");
        assert!(
            interpreter.is_file(),
            "{} is missing: run `make test`, which makes that environment, or name an interpreter in {variable}",
            interpreter.display()
        );
        interpreter
    }
}

#[track_caller]
fn did(command: &mut Command) -> Did {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().unwrap();
    let said = [stdout, stderr].concat();
    Did { status: status.code(), said: String::from_utf8_lossy(&said).into_owned() }
}
