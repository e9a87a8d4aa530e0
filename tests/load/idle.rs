//! Connections that are opened and left alone.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::fleet::{Conversation, Fleet, Lost, Talk};
use crate::machine::Machine;
use crate::options;
use crate::packets::Packet;
use crate::process::{Memory, Usage};
use crate::report::{Held, IdleServer};
use crate::tally::Tally;
use crate::window::Nanos;

/// Opens connections, holds them, and looks at what they cost the server.
///
/// # Errors
/// Nothing could be measured at all; what merely went wrong is counted in the report.
pub(crate) fn run(options: &options::Idle) -> anyhow::Result<Held> {
    let common = &options.common;
    let progress = ProgressBar::new(common.connections.into());
    progress.set_style(ProgressStyle::with_template("{msg:12} {wide_bar} {pos}/{len}")?);
    progress.set_message("connecting");
    let memory_before = common.pid.map(Memory::of).transpose()?;
    let started = Instant::now();
    let mut fleet = Fleet::connect(common, 1, |arrived| progress.set_position(arrived as u64))?;
    let connecting = started.elapsed();

    progress.set_message("holding");
    progress.set_length(options.hold.as_millis() as u64);
    let cpu_before = common.pid.map(Usage::of).transpose()?;
    let (machine_before, own_before) = (Machine::now()?, Usage::own()?);
    let held = Instant::now();
    while held.elapsed() < options.hold && fleet.open() > 0 {
        progress.set_position(held.elapsed().as_millis() as u64);
        fleet.turn(options.hold.saturating_sub(held.elapsed()), &mut Silence)?;
    }
    let seconds = held.elapsed().as_secs_f64();
    let cpu = common.pid.map(Usage::of).transpose()?.zip(cpu_before).map(|(after, before)| after.since(&before).cpu());
    let memory = common.pid.map(Memory::of).transpose()?;
    let known = cpu.unwrap_or_default() + Usage::own()?.since(&own_before).cpu();
    let (steal, others) = Machine::now()?.since(&machine_before, known);
    let connections = fleet.open();
    fleet.close();
    progress.finish_and_clear();

    let server = memory_before.zip(memory).map(|(before, after)| IdleServer {
        rss_before_bytes: before.resident,
        rss_bytes: after.resident,
        peak_rss_bytes: after.peak,
        rss_bytes_per_connection: after.resident.saturating_sub(before.resident) as f64 / connections.max(1) as f64,
        cpu_seconds_per_second: cpu.unwrap_or(Duration::ZERO).as_secs_f64() / seconds,
    });
    Ok(Held {
        connections,
        version: common.version,
        connects_per_second: connections as f64 / connecting.as_secs_f64(),
        seconds,
        server,
        steal,
        others,
        errors: fleet.tally,
    })
}

/// Nothing is said, and nothing is expected to be heard.
struct Silence;

impl Conversation for Silence {
    fn hear(&mut self, _: &mut Talk, packet: Packet, _: Nanos, _: &mut Tally) -> Result<(), Lost> {
        Err(Lost::unexpected(format!("{packet:?} on an idle connection")))
    }

    fn say(&mut self, _: &mut Talk, _: Nanos, _: &mut Vec<u8>) {}
}
