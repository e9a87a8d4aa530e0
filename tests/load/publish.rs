//! Publishing: warming up, measuring, and waiting for what is still to be answered.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};

use crate::fleet::{Conversation, Fleet, Lost, Talk};
use crate::machine::Machine;
use crate::options;
use crate::pace::Schedule;
use crate::packets::{self, Packet};
use crate::process::{Memory, Usage};
use crate::report::{Latency, Published, Server};
use crate::tally::{Failure, Tally};
use crate::window::Nanos;

/// Latencies are kept with so many significant digits, up to so many nanoseconds.
const DIGITS: u8 = 3;
const LONGEST: Nanos = 3_600_000_000_000;
/// Waiting in the kernel is exact to a millisecond only; before a message is due, the generator looks at the clock.
const EXACT: Duration = Duration::from_millis(2);

/// Publishes as the options say.
///
/// # Errors
/// Nothing could be measured at all; what merely went wrong is counted in the report.
pub(crate) fn run(options: &options::Publish) -> anyhow::Result<Published> {
    let common = &options.common;
    let payload = options.payload()?;
    let progress = ProgressBar::new(common.connections.into());
    progress.set_style(ProgressStyle::with_template("{msg:12} {wide_bar} {pos}/{len}")?);
    progress.set_message("connecting");
    let mut fleet = Fleet::connect(common, options.window, |arrived| progress.set_position(arrived as u64))?;

    let mut publishing = Publishing {
        packet: packets::Publish::new(common.version, options.qos == 1, &options.topic, &payload),
        window: options.window.into(),
        pings: options.qos == 0,
        schedule: options.rate.map(|rate| Schedule::new(fleet.now(), rate)),
        publishes: true,
        measured: Nanos::MAX..Nanos::MAX,
        latency: Histogram::new_with_bounds(1, LONGEST, DIGITS)?,
        acknowledged: 0,
    };
    fleet.be_patient();
    fleet.prompt(0..fleet.len(), &mut publishing);
    progress.set_message("warming up");
    publishing.until(&mut fleet, &progress, Goal::Time(options.warm_up))?;

    progress.set_message("measuring");
    let before = Reading::take(common.pid)?;
    publishing.measured.start = fleet.now();
    publishing.acknowledged = 0;
    let goal = options.messages.map_or(Goal::Time(options.duration), Goal::Messages);
    publishing.until(&mut fleet, &progress, goal)?;
    let messages = publishing.acknowledged;
    publishing.measured.end = fleet.now();
    let after = Reading::take(common.pid)?;
    let memory = common.pid.map(Memory::of).transpose()?;

    publishing.drain(&mut fleet, common.patience)?;
    fleet.close();
    progress.finish_and_clear();
    let unanswered = fleet.unanswered();
    fleet.tally.add(Failure::Unanswered, unanswered, "a message had no answer when its connection or the run ended");
    let server = match (before.server, after.server, memory) {
        (Some(before), Some(after), Some(memory)) => Some(Server::new(&after.since(&before), memory, messages)),
        _ => None,
    };
    let generator = after.generator.since(&before.generator);
    let known = generator.cpu() + server.as_ref().map_or(Duration::ZERO, Server::cpu);
    let (steal, others) = after.machine.since(&before.machine, known);
    let seconds = after.at.duration_since(before.at).as_secs_f64();
    Ok(Published {
        connections: common.connections,
        window: options.window,
        qos: options.qos,
        version: common.version,
        payload_bytes: payload.len(),
        offered_per_second: options.rate,
        seconds,
        messages,
        messages_per_second: messages as f64 / seconds,
        latency: Latency::from(&publishing.latency),
        server,
        generator_cpu_seconds_per_million: generator.cpu().as_secs_f64() / messages.max(1) as f64 * 1e6,
        steal,
        others,
        errors: fleet.tally,
    })
}

/// What the kernel says at the beginning and at the end of the measurement.
struct Reading {
    at: Instant,
    server: Option<Usage>,
    generator: Usage,
    machine: Machine,
}

impl Reading {
    fn take(pid: Option<u32>) -> anyhow::Result<Self> {
        let server = pid.map(Usage::of).transpose()?;
        Ok(Self { at: Instant::now(), server, generator: Usage::own()?, machine: Machine::now()? })
    }
}

/// When a phase ends.
enum Goal {
    Time(Duration),
    Messages(u64),
}

/// The conversation behind CONNACK.
struct Publishing {
    packet: packets::Publish,
    window: usize,
    /// QoS 0: a PINGREQ behind each burst asks whether it was taken.
    pings: bool,
    /// Open loop; otherwise a message is due when the window has room for it.
    schedule: Option<Schedule>,
    /// Messages become due.
    publishes: bool,
    /// Messages that were due in this time are measured, whenever they are answered.
    measured: std::ops::Range<Nanos>,
    latency: Histogram<u64>,
    /// Messages in this phase.
    acknowledged: u64,
}

impl Publishing {
    fn until(&mut self, fleet: &mut Fleet, progress: &ProgressBar, goal: Goal) -> anyhow::Result<()> {
        let started = Instant::now();
        progress.set_position(0);
        progress.set_length(match goal {
            Goal::Time(time) => time.as_millis() as u64,
            Goal::Messages(messages) => messages,
        });
        loop {
            let (done, left) = match goal {
                Goal::Time(time) => (started.elapsed().as_millis() as u64, time.saturating_sub(started.elapsed())),
                Goal::Messages(messages) if self.acknowledged >= messages => (messages, Duration::ZERO),
                Goal::Messages(_) => (self.acknowledged, Duration::MAX),
            };
            progress.set_position(done);
            if left.is_zero() || !self.goes_on(fleet) {
                return Ok(());
            }
            let wait = self.send_due(fleet).min(left);
            fleet.turn(wait, self)?;
        }
    }

    /// Waits for what is still to be answered, but not for ever.
    fn drain(&mut self, fleet: &mut Fleet, patience: Duration) -> anyhow::Result<()> {
        self.publishes = false;
        let started = Instant::now();
        let outstanding = |talk: &Talk| talk.window.len() > 0 || !talk.due.is_empty();
        while fleet.talks().any(outstanding) && self.goes_on(fleet) && started.elapsed() < patience {
            fleet.turn(EXACT, self)?;
        }
        Ok(())
    }

    /// Whether there is anybody to talk to. In an open loop there may be nothing to wait for, for long.
    fn goes_on(&self, fleet: &mut Fleet) -> bool {
        if fleet.is_out_of_patience() && fleet.talks().all(|talk| talk.window.len() == 0) {
            fleet.be_patient();
        }
        fleet.open() > 0 && !fleet.is_out_of_patience()
    }

    /// Sends what is due; returns how long to wait for the next message.
    fn send_due(&mut self, fleet: &mut Fleet) -> Duration {
        let now = fleet.now();
        let mut prompted = Vec::new();
        while let Some((number, due)) = self.schedule.as_mut().and_then(|schedule| schedule.due(now)) {
            let index = (number % fleet.len() as u64) as usize;
            match fleet.talk(index) {
                Some(talk) => {
                    // Where messages wait already, they go when there is room.
                    if talk.due.is_empty() {
                        prompted.push(index);
                    }
                    talk.due.push_back(due);
                }
                None => fleet.tally.count(Failure::Unanswered, "a message was due on a connection that was lost"),
            }
        }
        prompted.into_iter().for_each(|index| fleet.prompt(index..index + 1, self));
        match &self.schedule {
            Some(schedule) => Duration::from_nanos(schedule.next_due().saturating_sub(now)).saturating_sub(EXACT),
            None => Duration::MAX,
        }
    }

    fn answered(&mut self, due: Nanos, now: Nanos) {
        self.acknowledged += 1;
        if self.measured.contains(&due) {
            // Cannot be out of bounds.
            self.latency.saturating_record(now.saturating_sub(due).max(1));
        }
    }
}

impl Conversation for Publishing {
    fn hear(&mut self, talk: &mut Talk, packet: Packet, now: Nanos, tally: &mut Tally) -> Result<(), Lost> {
        match packet {
            Packet::PubAck { id, code } => match talk.window.acknowledge(id) {
                Some(due) if code < 0x80 => self.answered(due, now),
                Some(_) => tally.count(Failure::Rejected, format!("PUBACK with reason code {code:#04x}")),
                None => tally.count(Failure::Unexpected, format!("PUBACK for message {id}, which is not in flight")),
            },
            Packet::PingResp => match talk.window.pong() {
                Some(messages) => messages.for_each(|due| self.answered(due, now)),
                None => tally.count(Failure::Unexpected, "PINGRESP without PINGREQ"),
            },
            Packet::Disconnect { code } => {
                return Err(Lost::closed(format!("DISCONNECT with reason code {code:#04x}")));
            }
            packet => tally.count(Failure::Unexpected, format!("{packet:?}")),
        }
        Ok(())
    }

    fn say(&mut self, talk: &mut Talk, now: Nanos, out: &mut Vec<u8>) {
        let room = self.window.saturating_sub(talk.window.len());
        let count = match self.schedule {
            Some(_) => room.min(talk.due.len()),
            None if self.publishes => room,
            None => 0,
        };
        for _ in 0..count {
            let due = talk.due.pop_front().unwrap_or(now);
            let id = talk.window.send(due);
            self.packet.append(id, out);
        }
        if self.pings && count > 0 {
            out.extend_from_slice(&packets::PINGREQ);
            talk.window.ping(count);
        }
    }
}
