//! The benchmark: tidegate and mosquitto side by side under the same load, and single steps by themselves.
//!
//! - [`cases`]: what is measured, and what is to be reached
//! - [`server`]: the two servers; [`devices`]: the devices that may connect
//! - [`run`]: the load generator against both, in turns
//! - [`step`]: CPU time and instructions of single steps
//! - [`result`]: medians, verdicts, tables
//!
//! What each number means is in `tests/load/README.md`.
#![forbid(unsafe_code)]

mod cases;
mod devices;
#[path = "../../load/machine.rs"]
mod machine;
mod result;
mod run;
mod server;
mod step;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Parser;

use cases::{IDLE, LOADS, Load, STEPS};
use machine::Machine;
use result::{IdleCompared, Results};
use run::{Generator, Which};
use server::Pin;
use step::{Counter, Steps};

/// No run begins later than this, so that everything ends within ten minutes.
const DEADLINE: Duration = Duration::from_secs(8 * 60);
/// Files that a server has open besides its connections.
const OTHER_FILES: u32 = 500;

/// Measures tidegate beside mosquitto, and single steps of a message's way
#[derive(Debug, Parser)]
#[command(name = "bench", version)]
struct Options {
    /// Run every part for a moment, to see that it works; the numbers mean nothing
    #[arg(long)]
    smoke: bool,
    /// How often each load is measured on each server
    #[arg(long, value_name = "NUMBER", default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..))]
    repeats: u8,
    /// Only the loads and steps whose names contain this text
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// Who counts instructions; without it the processor if it can be asked, else callgrind
    #[arg(long, value_enum)]
    counter: Option<Counter>,
    /// The gateway; without it the one beside this program
    #[arg(long, env = "TIDEGATE_BIN", value_name = "FILE")]
    tidegate: Option<PathBuf>,
    /// Folder of the shipped plugins
    #[arg(long, value_name = "DIR", default_value = "plugins")]
    plugins: PathBuf,
    /// Folder for everything that is written, results included; without it target/bench
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let files = raise_open_files()?;
    let begun = Instant::now();
    let Options { smoke, ref only, ref plugins, .. } = options;
    let program = std::env::current_exe()?; // target/release/bench
    let beside = |name: &str| program.with_file_name(name);
    let target = program.ancestors().nth(2).context("a folder above the program's")?;
    let work = options.work.clone().unwrap_or_else(|| target.join("bench"));
    let work = &std::path::absolute(work)?;
    std::fs::create_dir_all(work).with_context(|| work.display().to_string())?;
    let tidegate = options.tidegate.clone().unwrap_or_else(|| beside("tidegate"));
    for file in [&tidegate, &plugins.join("json.wasm")] {
        ensure!(file.is_file(), "{} is missing: run `make build plugins` first", file.display());
    }
    let pins = pins()?;
    let mut results = Results {
        smoke,
        mosquitto: server::mosquitto_version()?,
        counter: options.counter.or_else(Counter::find),
        loads: Vec::new(),
        idle: Vec::new(),
        steps: Vec::new(),
        rows: Vec::new(),
    };
    let places = Places { tidegate: &tidegate, plugins, work, pin: pins[0] };

    let steps =
        Steps { binary: beside("instructions"), pin: pins[0], plugins: plugins.clone(), work: work.clone(), smoke };
    results.steps = measure_steps(&steps, only, results.counter)?;

    let idle = if smoke { 50 } else { IDLE.min(files.saturating_sub(OTHER_FILES)) };
    places.clear()?;
    let kilobyte = work.join("kilobyte.json");
    std::fs::write(&kilobyte, cases::kilobyte())?;
    let generator = Generator {
        binary: beside("load"),
        pin: pins[1],
        users: work.join("tokens"),
        kilobyte,
        repeats: if smoke { 1 } else { options.repeats.into() },
        smoke,
        deadline: begun + DEADLINE,
    };
    let loads: Vec<Load> = LOADS.into_iter().filter(|load| load.name.contains(only)).collect();
    let with_idle = "idle connections".contains(only.as_str());
    if with_idle || !loads.is_empty() {
        results.loads = compare_loads(&generator, &places, &loads, idle)?;
    }
    if with_idle {
        results.idle.push(compare_idle(&generator, &places, idle)?);
    }
    places.clear()?;

    results.judge();
    if !results.loads.is_empty() {
        println!("\n{} · {}\n\n{}", results.mosquitto, pinning(pins), results.details());
    }
    println!("\n{}", results.table());
    let file = work.join(if smoke { "smoke.json" } else { "results.json" });
    results.write(&file)?;
    println!("\n{} · {:.0} s", file.display(), begun.elapsed().as_secs_f64());
    Ok(())
}

/// What a gateway is started with.
struct Places<'a> {
    tidegate: &'a Path,
    plugins: &'a Path,
    work: &'a Path,
    pin: Pin,
}

impl Places<'_> {
    /// The data of an earlier run would make this one differ.
    fn clear(&self) -> anyhow::Result<()> {
        let data = server::data(self.work);
        if data.exists() {
            std::fs::remove_dir_all(&data).with_context(|| data.display().to_string())?;
        }
        Ok(())
    }
}

fn measure_steps(steps: &Steps, only: &str, counter: Option<Counter>) -> anyhow::Result<Vec<step::Cost>> {
    eprintln!("steps");
    let before = Machine::now()?;
    let mut costs = steps.times()?;
    let (steal, _) = Machine::now()?.since(&before, Duration::ZERO);
    eprintln!("  CPU time taken with {:.1} % steal", steal * 100.0);
    costs.iter_mut().for_each(|cost| cost.stolen = steal > run::STEAL);
    costs.retain(|cost| cost.step.contains(only));
    let Some(counter) = counter else {
        eprintln!("  neither perf nor valgrind can count instructions here");
        return Ok(costs);
    };
    let messages = steps.messages()?;
    for cost in &mut costs {
        let step = STEPS.iter().find(|step| step.name == cost.step).context("a step of the table")?;
        let messages = messages.get(step.case).context(step.case)?;
        cost.instructions = Some(steps.count(step, *messages, counter)?);
        eprintln!(
            "  {:46} {:8.0} ns {:8.0} instructions",
            cost.step,
            cost.cpu_median_ns,
            cost.instructions.unwrap_or(0.0)
        );
    }
    Ok(costs)
}

fn compare_loads(
    generator: &Generator,
    places: &Places<'_>,
    loads: &[Load],
    idle: u32,
) -> anyhow::Result<Vec<run::Compared>> {
    let (tidegate, api) = server::tidegate(places.tidegate, places.plugins, places.work, places.pin)?;
    let mosquitto = server::mosquitto(places.work, places.pin)?;
    let devices = idle.max(LOADS.iter().map(|load| load.connections).max().unwrap_or(1));
    eprintln!("\nmaking {devices} devices");
    api.create_devices(devices, generator.users.clone())?;
    let servers = [(Which::Tidegate, &tidegate), (Which::Mosquitto, &mosquitto)];
    loads.iter().map(|load| generator.compare(load, servers)).collect()
}

/// On servers that have just been started: what they used for other connections before would be used again.
fn compare_idle(generator: &Generator, places: &Places<'_>, connections: u32) -> anyhow::Result<IdleCompared> {
    eprintln!("\n{connections} idle connections");
    let tidegate = {
        let (server, _) = server::tidegate(places.tidegate, places.plugins, places.work, places.pin)?;
        generator.idle(connections, &server)?
    };
    let mosquitto = generator.idle(connections, &server::mosquitto(places.work, places.pin)?)?;
    for (name, idle) in [("tidegate", &tidegate), ("mosquitto", &mosquitto)] {
        let bytes = idle.server.rss_bytes_per_connection;
        eprintln!("  {name:9} {bytes:7.0} bytes for each  {:7.0} connects/s", idle.connects_per_second);
    }
    Ok(IdleCompared { tidegate, mosquitto })
}

/// The CPUs of server and generator; they do not share one if there are two.
fn pins() -> anyhow::Result<[Pin; 2]> {
    let allowed = rustix::thread::sched_getaffinity(None)?;
    let mut cpus = (0..rustix::thread::CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu));
    Ok(match (cpus.next(), cpus.next()) {
        (Some(first), Some(second)) => [Pin(Some(first)), Pin(Some(second))],
        _ => [Pin(None); 2],
    })
}

fn pinning(pins: [Pin; 2]) -> String {
    match pins {
        [Pin(Some(server)), Pin(Some(generator))] => format!("servers on CPU {server}, generator on CPU {generator}"),
        _ => "one CPU for servers and generator: the numbers are not comparable to others".to_owned(),
    }
}

/// As many open files as are allowed, for this program and those that it starts.
fn raise_open_files() -> anyhow::Result<u32> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    Ok(maximum.map_or(u32::MAX, |maximum| u32::try_from(maximum).unwrap_or(u32::MAX)))
}
