//! A step that is run again and again.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

/// A step by itself.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Messages of one iteration.
    pub(crate) messages: u64,
    /// Whose CPU time counts.
    pub(crate) clock: Clock,
    /// Runs so many iterations.
    pub(crate) run: Box<dyn FnMut(u64) -> anyhow::Result<()>>,
}

/// A clock that stands still while nobody works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clock {
    /// The calling thread does all the work.
    Thread,
    /// Other threads of the process do some of it.
    Process,
}

impl Clock {
    fn now(self) -> Duration {
        let time = clock_gettime(match self {
            Self::Thread => ClockId::ThreadCPUTime,
            Self::Process => ClockId::ProcessCPUTime,
        });
        // CPU time is never negative.
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
    }
}

/// CPU time of a message.
#[derive(Debug, Serialize)]
pub(crate) struct Times {
    name: &'static str,
    /// The least disturbed turn.
    min_ns: f64,
    median_ns: f64,
}

/// Runs the cases in turns, so that a machine that is busy for a while is no worse for one of them than for the others.
pub(crate) fn times(mut cases: Vec<Case>, rounds: u32, milliseconds: u64) -> anyhow::Result<Vec<Times>> {
    let turn = Duration::from_millis(milliseconds);
    let iterations = cases.iter_mut().map(|case| calibrate(case, turn)).collect::<Result<Vec<_>, _>>()?;
    let mut samples = vec![Vec::new(); cases.len()];
    for _ in 0..rounds {
        for ((case, iterations), samples) in cases.iter_mut().zip(&iterations).zip(&mut samples) {
            let before = case.clock.now();
            (case.run)(*iterations)?;
            let took = case.clock.now().saturating_sub(before);
            samples.push(took.as_nanos() as f64 / (iterations * case.messages) as f64);
        }
    }
    let times = cases.iter().zip(samples).map(|(case, mut samples)| {
        samples.sort_by(f64::total_cmp);
        Times { name: case.name, min_ns: samples[0], median_ns: samples[samples.len() / 2] }
    });
    Ok(times.collect())
}

/// How many iterations take about so long, by the clock on the wall: some cases wait for a disk.
fn calibrate(case: &mut Case, turn: Duration) -> anyhow::Result<u64> {
    let mut iterations = 1;
    loop {
        let started = Instant::now();
        (case.run)(iterations)?;
        let took = started.elapsed();
        if took * 2 >= turn {
            return Ok(iterations);
        }
        iterations *= 2;
    }
}
