//! Runs of the load generator against both servers in turns.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use crate::cases::{Load, Payload};
use crate::result::{Verdict, median};
use crate::server::{Pin, Server};

/// Above this share of stolen CPU time, a run says more about other machines than about the server.
pub(crate) const STEAL: f64 = 0.1;
/// So many runs more than wanted, when some are worth nothing.
const SPARE: usize = 3;

/// The two servers, in the order of their turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Which {
    Tidegate,
    Mosquitto,
}

/// The load generator.
pub(crate) struct Generator {
    pub(crate) binary: PathBuf,
    pub(crate) pin: Pin,
    /// User names for all connections.
    pub(crate) users: PathBuf,
    /// A file with [`crate::cases::kilobyte`].
    pub(crate) kilobyte: PathBuf,
    /// How often each load is measured on each server.
    pub(crate) repeats: usize,
    /// A look at whether all of this works: everything is short.
    pub(crate) smoke: bool,
    /// No run begins after this.
    pub(crate) deadline: Instant,
}

/// What one run of the generator prints; of its fields those that are used here.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub(crate) struct Run {
    pub(crate) messages_per_second: f64,
    pub(crate) latency: Latency,
    pub(crate) server: Cost,
    pub(crate) generator_cpu_seconds_per_million: f64,
    pub(crate) steal: f64,
    pub(crate) others: f64,
}

#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p99_9_us: f64,
}

#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
pub(crate) struct Cost {
    pub(crate) cpu_user_seconds: f64,
    pub(crate) cpu_system_seconds: f64,
    pub(crate) cpu_seconds_per_million: f64,
    pub(crate) voluntary_switches_per_message: f64,
    pub(crate) involuntary_switches_per_message: f64,
    pub(crate) peak_rss_bytes: u64,
}

/// What idle connections cost.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub(crate) struct Idle {
    pub(crate) connections: u32,
    pub(crate) connects_per_second: f64,
    pub(crate) server: IdleCost,
    pub(crate) steal: f64,
}

#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
pub(crate) struct IdleCost {
    pub(crate) rss_before_bytes: u64,
    pub(crate) rss_bytes: u64,
    pub(crate) rss_bytes_per_connection: f64,
    pub(crate) cpu_seconds_per_second: f64,
}

/// All runs of one load that count, by server.
#[derive(Debug, Serialize)]
pub(crate) struct Compared {
    pub(crate) load: &'static str,
    pub(crate) tidegate: Vec<Run>,
    pub(crate) mosquitto: Vec<Run>,
    /// Runs that were worth nothing.
    pub(crate) stolen: usize,
    #[serde(skip)]
    wanted: usize,
    #[serde(skip)]
    target: Option<f64>,
}

impl Compared {
    /// The median of a number over the runs on one server.
    pub(crate) fn median(&self, which: Which, number: impl Fn(&Run) -> f64) -> Option<f64> {
        let runs = match which {
            Which::Tidegate => &self.tidegate,
            Which::Mosquitto => &self.mosquitto,
        };
        median(runs.iter().map(number))
    }

    /// Server CPU seconds for a million acknowledged messages.
    pub(crate) fn cpu(&self, which: Which) -> Option<f64> {
        self.median(which, |run| run.server.cpu_seconds_per_million)
    }

    /// How much more CPU tidegate needs.
    pub(crate) fn ratio(&self) -> Option<f64> {
        Some(self.cpu(Which::Tidegate)? / self.cpu(Which::Mosquitto)?)
    }

    /// What is to be reached.
    pub(crate) fn target(&self) -> Option<f64> {
        self.target
    }

    /// A median over less than half of the wanted runs is no measurement.
    pub(crate) fn verdict(&self) -> Verdict {
        let runs = self.tidegate.len().min(self.mosquitto.len());
        let measured = self.ratio().filter(|_| runs * 2 > self.wanted);
        Verdict::of(measured, self.target)
    }
}

impl Generator {
    /// Runs a load on both servers in turns, until there are enough runs that count.
    pub(crate) fn compare(&self, load: &Load, servers: [(Which, &Server); 2]) -> anyhow::Result<Compared> {
        let mut compared = Compared {
            load: load.name,
            tidegate: Vec::new(),
            mosquitto: Vec::new(),
            stolen: 0,
            wanted: self.repeats,
            target: load.target,
        };
        eprintln!("\n{}", load.name);
        for _ in 0..self.repeats + SPARE {
            for (which, server) in servers {
                let runs = match which {
                    Which::Tidegate => &mut compared.tidegate,
                    Which::Mosquitto => &mut compared.mosquitto,
                };
                if runs.len() >= self.repeats || Instant::now() > self.deadline {
                    continue;
                }
                let run: Run = self.run(&self.publish(load, server)).with_context(|| format!("{which:?}"))?;
                let counts = run.steal <= STEAL;
                show(which, &run, counts);
                if counts {
                    runs.push(run);
                } else {
                    compared.stolen += 1;
                }
            }
        }
        Ok(compared)
    }

    /// Opens idle connections on a server that has just been started.
    pub(crate) fn idle(&self, connections: u32, server: &Server) -> anyhow::Result<Idle> {
        let hold = if self.smoke { "300ms" } else { "5s" };
        let mut arguments = self.common("idle", connections, "3.1.1", server);
        arguments.extend(["--hold".to_owned(), hold.to_owned()]);
        self.run(&arguments)
    }

    fn publish(&self, load: &Load, server: &Server) -> Vec<String> {
        let connections = if self.smoke { load.connections.min(20) } else { load.connections };
        let (warm_up, duration) = if self.smoke { (50, 200) } else { (500, load.duration.as_millis()) };
        let mut arguments = self.common("publish", connections, load.version, server);
        let mut add = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        add("--window", load.window.to_string());
        add("--qos", load.qos.to_string());
        add("--warm-up", format!("{warm_up}ms"));
        add("--duration", format!("{duration}ms"));
        if load.payload == Payload::Kilobyte {
            add("--payload-file", self.kilobyte.display().to_string());
        }
        arguments
    }

    fn common(&self, mode: &str, connections: u32, version: &str, server: &Server) -> Vec<String> {
        let options = [
            ("--address", server.address.to_string()),
            ("--connections", connections.to_string()),
            ("--version", version.to_owned()),
            ("--users", self.users.display().to_string()),
            ("--pid", server.pid().to_string()),
        ];
        let options = options.into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
        [mode.to_owned(), "--json".to_owned()].into_iter().chain(options).collect()
    }

    /// Any error of the generator ends the benchmark: what it measured would be something else.
    fn run<T: for<'de> Deserialize<'de>>(&self, arguments: &[String]) -> anyhow::Result<T> {
        let output = self.pin.command(&self.binary).args(arguments).stderr(Stdio::inherit()).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            bail!("load {}: {}: {text}", arguments.join(" "), output.status);
        }
        serde_json::from_str(&text).with_context(|| format!("load {}: {text}", arguments.join(" ")))
    }
}

fn show(which: Which, run: &Run, counts: bool) {
    let Run { messages_per_second, latency, server, steal, others, .. } = run;
    eprintln!(
        "  {:9} {:7.2} CPU s/million  {messages_per_second:8.0}/s  p50 {:6.0} µs  p99 {:6.0} µs  steal {:4.1} %  others {:4.1} %{}",
        format!("{which:?}").to_lowercase(),
        server.cpu_seconds_per_million,
        latency.p50_us,
        latency.p99_us,
        steal * 100.0,
        others * 100.0,
        if counts { "" } else { "  not measured" }
    );
}

/// Whether a tool is there and works.
pub(crate) fn works(program: &str, arguments: &[&str]) -> bool {
    let command = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    command.is_ok_and(|status| status.success())
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> String {
    path.display().to_string()
}
