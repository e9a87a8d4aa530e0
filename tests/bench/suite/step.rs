//! Single steps by themselves: CPU time, and instructions by an outer tool.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::cases::{STEPS, Step};
use crate::result::Verdict;
use crate::server::Pin;

/// Who counts instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Counter {
    /// The processor, through `perf stat`: fast and exact, but most virtual machines and containers do not allow it.
    Perf,
    /// `valgrind --tool=callgrind`: works everywhere, and counts on a simulated processor without the newest instructions.
    Callgrind,
}

/// The program `instructions`.
pub(crate) struct Steps {
    pub(crate) binary: PathBuf,
    pub(crate) pin: Pin,
    pub(crate) plugins: PathBuf,
    pub(crate) work: PathBuf,
    /// A look at whether all of this works: everything is short.
    pub(crate) smoke: bool,
}

/// What a step costs for one message.
#[derive(Debug, Serialize)]
pub(crate) struct Cost {
    pub(crate) step: &'static str,
    /// In the code of the process, not in the kernel.
    pub(crate) instructions: Option<f64>,
    pub(crate) cpu_min_ns: f64,
    pub(crate) cpu_median_ns: f64,
    #[serde(skip)]
    pub(crate) target: Option<f64>,
    #[serde(skip)]
    pub(crate) stolen: bool,
}

impl Cost {
    pub(crate) fn verdict(&self) -> Verdict {
        Verdict::of(Some(self.cpu_median_ns).filter(|_| !self.stolen), self.target)
    }
}

/// What `instructions times` prints.
#[derive(Debug, Clone, Deserialize)]
struct Times {
    name: String,
    min_ns: f64,
    median_ns: f64,
}

impl Counter {
    /// The processor if it can be asked, else valgrind if it is installed.
    pub(crate) fn find() -> Option<Self> {
        let perf = Command::new("perf").args(["stat", "-x,", "-e", "instructions:u", "true"]).output();
        if perf.is_ok_and(|output| perf_count(&String::from_utf8_lossy(&output.stderr)).is_some()) {
            return Some(Self::Perf);
        }
        crate::run::works("valgrind", &["--version"]).then_some(Self::Callgrind)
    }
}

impl Steps {
    /// CPU time of all steps.
    pub(crate) fn times(&self) -> anyhow::Result<Vec<Cost>> {
        let (rounds, milliseconds) = if self.smoke { ("2", "1") } else { ("25", "20") };
        let mut command = self.pin.command(&self.binary);
        command.args(self.places()).args(["times", "--rounds", rounds, "--milliseconds", milliseconds]);
        let output = output(&mut command)?;
        let times: Vec<Times> = serde_json::from_str(&output.stdout).context("instructions times")?;
        let mut by_name: HashMap<String, Times> = times.into_iter().map(|times| (times.name.clone(), times)).collect();
        let cost = |step: &Step| -> anyhow::Result<Cost> {
            let Times { min_ns, median_ns, .. } = by_name.remove(step.case).context(step.case)?;
            Ok(Cost {
                step: step.name,
                instructions: None,
                cpu_min_ns: min_ns,
                cpu_median_ns: median_ns,
                target: step.target,
                stolen: false,
            })
        };
        let costs = STEPS.iter().map(cost).collect::<Result<_, _>>()?;
        ensure!(by_name.is_empty(), "cases that are in no table: {:?}", by_name.keys());
        Ok(costs)
    }

    /// Instructions of one step for a message: the difference between N and 2 N iterations, so that start-up cancels.
    pub(crate) fn count(&self, step: &Step, messages: u64, counter: Counter) -> anyhow::Result<f64> {
        let iterations = if self.smoke { (step.iterations / 50).max(1) } else { step.iterations };
        let once = self.count_run(step, iterations, counter)?;
        let twice = self.count_run(step, 2 * iterations, counter)?;
        Ok(twice.saturating_sub(once) as f64 / (iterations * messages) as f64)
    }

    /// Messages of one iteration, by case.
    pub(crate) fn messages(&self) -> anyhow::Result<HashMap<String, u64>> {
        let output = output(Command::new(&self.binary).args(self.places()).arg("list"))?;
        let line = |line: &str| {
            let (name, messages) = line.split_once(' ').with_context(|| line.to_owned())?;
            Ok((name.to_owned(), messages.parse()?))
        };
        output.stdout.lines().map(line).collect()
    }

    fn count_run(&self, step: &Step, iterations: u64, counter: Counter) -> anyhow::Result<u64> {
        let run = || {
            let places = self.places();
            let count = ["count".to_owned(), step.case.to_owned(), iterations.to_string()];
            [crate::run::text(&self.binary)].into_iter().chain(places).chain(count)
        };
        match counter {
            Counter::Perf => {
                let mut command = self.pin.command(Path::new("perf"));
                let output = output(command.args(["stat", "-x,", "-e", "instructions:u", "--"]).args(run()))?;
                perf_count(&output.stderr).with_context(|| format!("perf stat: {}", output.stderr))
            }
            Counter::Callgrind => {
                // Code that wasmtime compiles is not in a file: where it is written anew, valgrind must look again.
                let mut command = self.pin.command(Path::new("valgrind"));
                command.args(["--tool=callgrind", "--smc-check=all-non-file", "--callgrind-out-file=/dev/null"]);
                let output = output(command.args(run()))?;
                callgrind_count(&output.stderr).with_context(|| format!("callgrind: {}", output.stderr))
            }
        }
    }

    fn places(&self) -> [String; 4] {
        use crate::run::text;
        ["--plugins".to_owned(), text(&self.plugins), "--work".to_owned(), text(&self.work)]
    }
}

struct Output {
    stdout: String,
    stderr: String,
}

fn output(command: &mut Command) -> anyhow::Result<Output> {
    let output = command.output().with_context(|| format!("{:?}", command.get_program()))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if !output.status.success() {
        bail!("{command:?}: {}: {}", output.status, text(&output.stderr));
    }
    Ok(Output { stdout: text(&output.stdout), stderr: text(&output.stderr) })
}

/// `112627,,instructions:u,…` or `<not supported>,,instructions:u,…`.
fn perf_count(stderr: &str) -> Option<u64> {
    let line = stderr.lines().find(|line| line.contains("instructions"))?;
    line.split(',').next()?.parse().ok()
}

/// `==7== Collected : 1234567`.
fn callgrind_count(stderr: &str) -> Option<u64> {
    let line = stderr.lines().find(|line| line.contains("Collected : "))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_found_in_what_the_tools_print() {
        assert_eq!(perf_count("112627,,instructions:u,5012345,100.00,,\n"), Some(112_627));
        assert_eq!(perf_count("<not supported>,,instructions:u,0,100.00,,\n"), None);
        assert_eq!(perf_count("perf: command failed\n"), None);
        assert_eq!(callgrind_count("==7== Events    : Ir\n==7== Collected : 1234567\n==7==\n"), Some(1_234_567));
        assert_eq!(callgrind_count("==7== killed\n"), None);
    }
}
