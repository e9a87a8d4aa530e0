//! Ten thousand power cuts, each at a random operation of a random workload, several in a row on the same disk.
//!
//! One thread drives the log, its writer and its keeper step by step, so that a seed always does the same:
//! `TIDEGATE_POWER_CUT_SEED=17 cargo test -p tidegate-platform --release --test log power_cuts`.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use model::{Body, EventId, Timestamp};
use tidegate_platform::log::{
    AppendError, Appended, CursorError, EventLog, Keeper, Limits, Policy, Position, SegmentLog, Settings, Start, Writer,
};

use crate::events::{body, origin, small, try_read_all};
use crate::random::Random;
use crate::sim_disk::SimDisk;

const SEED: &str = "TIDEGATE_POWER_CUT_SEED";
const CUTS_PER_SEED: u64 = 4;
const SEEDS: u64 = 2500;

#[test]
fn ten_thousand_power_cuts_lose_nothing_that_was_acknowledged() {
    if let Ok(seed) = std::env::var(SEED) {
        let seed = seed.parse().expect("a number");
        return History::run(seed, SimDisk::new())
            .map_or_else(|error| panic!("{error}"), |covered| println!("{covered:?}"));
    }
    let next = AtomicU64::new(0);
    let work = || {
        let mut covered = Covered::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= SEEDS {
                return covered;
            }
            match std::panic::catch_unwind(|| History::run(seed, SimDisk::new())) {
                Ok(Ok(one)) => covered.add(&one),
                Ok(Err(error)) => panic!("{error}\nreplay with {SEED}={seed}"),
                Err(_) => panic!("replay with {SEED}={seed}"),
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let covered = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).fold(Covered::default(), |mut all, one| {
            all.add(&one);
            all
        })
    });
    println!("{covered:?}");
    // A workload that no longer gets anywhere near these proves nothing.
    let Covered {
        cuts, acknowledged, unacknowledged_kept, unacknowledged_lost, recycled, removed, in_recovery, ..
    } = covered;
    assert_eq!(cuts, SEEDS * CUTS_PER_SEED);
    for (what, count) in [
        ("appends acknowledged", acknowledged / 10),
        ("records kept though not acknowledged", unacknowledged_kept),
        ("records lost because not acknowledged", unacknowledged_lost),
        ("segments recycled", recycled),
        ("segments removed", removed),
        ("cuts during recovery", in_recovery),
        ("cuts with intake stopped by a cursor", covered.stopped),
        ("batches over several commits", covered.split),
    ] {
        assert!(count >= 500, "only {count} {what}: {covered:?}");
    }
}

/// Proves that the test above can fail, and for the reason it is there.
#[test]
fn without_sync_acknowledged_records_are_reported_as_lost() {
    let runs = (0..50).map(|seed| History::run(seed, SimDisk::without_sync()));
    let lost = runs.filter(|outcome| outcome.as_ref().is_err_and(|it| it.contains("acknowledged records are lost")));
    let lost = lost.count();
    assert!(lost >= 45, "only {lost} of 50 runs without sync were noticed");
}

/// The same for names: without them, whole files are lost.
#[test]
fn without_folder_sync_the_loss_is_reported() {
    let noticed = (0..50).filter(|seed| History::run(*seed, SimDisk::without_folder_sync()).is_err()).count();
    assert!(noticed >= 45, "only {noticed} of 50 runs without folder sync were noticed");
}

/// What the runs had to deal with.
#[derive(Debug, Default, Clone, Copy)]
struct Covered {
    cuts: u64,
    in_recovery: u64,
    acknowledged: u64,
    unacknowledged_kept: u64,
    unacknowledged_lost: u64,
    created: u64,
    recycled: u64,
    removed: u64,
    stopped: u64,
    split: u64,
}

impl Covered {
    fn add(&mut self, other: &Self) {
        self.cuts += other.cuts;
        self.in_recovery += other.in_recovery;
        self.acknowledged += other.acknowledged;
        self.unacknowledged_kept += other.unacknowledged_kept;
        self.unacknowledged_lost += other.unacknowledged_lost;
        self.created += other.created;
        self.recycled += other.recycled;
        self.removed += other.removed;
        self.stopped += other.stopped;
        self.split += other.split;
    }
}

/// A cursor as the test knows it: its position in the file is between the two.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    registered: bool,
    stored: u64,
    told: u64,
}

/// Everything that happened to one disk, and what must therefore be on it.
struct History {
    disk: SimDisk,
    random: Random,
    settings: Settings,
    now: Timestamp,
    /// Every record that was queued, at its position.
    records: Vec<(EventId, Body)>,
    /// How many of them must be there: acknowledged, or seen by a reader.
    committed: u64,
    boot: u32,
    hold: Known,
    gap: Known,
    floor: Known,
    covered: Covered,
}

type Append<'a> = Pin<Box<dyn Future<Output = Result<Appended, AppendError>> + Send + 'a>>;

impl History {
    fn run(seed: u64, disk: SimDisk) -> Result<Covered, String> {
        let mut history = Self {
            disk,
            random: Random::new(seed),
            settings: small(std::path::Path::new("sim")),
            now: Timestamp(1_000_000),
            records: Vec::new(),
            committed: 0,
            boot: 0,
            hold: Known::default(),
            gap: Known::default(),
            floor: Known::default(),
            covered: Covered::default(),
        };
        // Some logs keep a little in memory, some nothing.
        history.settings.tail_bytes = [0, 10_000][history.random.below(2) as usize];
        for _ in 0..CUTS_PER_SEED {
            history.one_cut().map_err(|error| format!("seed {seed}: {error}"))?;
        }
        let counts = history.disk.counts();
        let covered = &mut history.covered;
        (covered.created, covered.recycled, covered.removed) = (counts.created, counts.recycled, counts.removed);
        Ok(history.covered)
    }

    /// From one opening, through work, to the power cut.
    fn one_cut(&mut self) -> Result<(), String> {
        self.disk.cut_power_in(match self.random.below(4) {
            0 => 1 + self.random.below(40),
            _ => 1 + self.random.below(400),
        });
        self.covered.cuts += 1;
        match SegmentLog::assemble(Arc::new(self.disk.clone()), self.settings.clone()) {
            Ok((log, mut writer, mut keeper)) => {
                self.check(&log)?;
                self.work(&log, &mut writer, &mut keeper)?;
            }
            Err(_) if self.disk.is_off() => self.covered.in_recovery += 1,
            Err(error) => return Err(format!("the log does not open: {error}")),
        }
        self.disk.restart(&mut self.random);
        // Whatever is committed must be there now. This opening is not disturbed.
        let (log, mut writer, mut keeper) = SegmentLog::assemble(Arc::new(self.disk.clone()), self.settings.clone())
            .map_err(|error| format!("the log does not open: {error}"))?;
        self.check(&log)?;
        self.append_one(&log, &mut writer, &mut keeper)
    }

    /// Compares what is in the log with what must be there.
    fn check(&mut self, log: &SegmentLog) -> Result<(), String> {
        if self.disk.is_off() {
            return Ok(());
        }
        let (oldest, end) = (log.oldest().0, log.end().0);
        if end < self.committed {
            return Err(format!("acknowledged records are lost: {} were committed, {end} are there", self.committed));
        }
        if end > self.records.len() as u64 {
            return Err(format!("{} records were queued, {end} are there", self.records.len()));
        }
        // The cut may have come between storing the cursors and storing that they were stored.
        if self.floor.registered && oldest > self.floor.told {
            return Err(format!(
                "acknowledged records are lost: the floor is {:?}, {oldest} is the oldest",
                self.floor
            ));
        }
        let contents = match try_read_all(log, Position(oldest)) {
            Ok(contents) => contents,
            Err(_) if self.disk.is_off() => return Ok(()),
            Err(error) => return Err(error.to_string()),
        };
        if !contents.gaps.is_empty() {
            return Err(format!("acknowledged records are lost: {:?}", contents.gaps));
        }
        if contents.events.len() as u64 != end - oldest {
            return Err(format!("{} records from {oldest} to {end}", contents.events.len()));
        }
        for (expected, (position, id, body)) in (oldest..).zip(&contents.events) {
            if position.0 != expected || self.records[expected as usize] != (*id, body.clone()) {
                return Err(format!("another record is at {position}, where {expected} was expected"));
            }
        }
        self.covered.unacknowledged_kept += end - self.committed;
        self.covered.unacknowledged_lost += self.records.len() as u64 - end;
        self.records.truncate(end as usize);
        self.committed = end;
        self.check_cursors(log)?;
        self.check_boot(log)
    }

    fn check_cursors(&mut self, log: &SegmentLog) -> Result<(), String> {
        let listed = ready(log.cursors()).unwrap_or_default();
        if let Some(cursor) = listed.iter().find(|cursor| cursor.name == "hold" && cursor.position < log.oldest()) {
            return Err(format!("acknowledged records are lost: {cursor:?}, {} is the oldest", log.oldest()));
        }
        for (name, known) in [("hold", &mut self.hold), ("gap", &mut self.gap)] {
            match listed.iter().find(|cursor| cursor.name == name) {
                Some(cursor) if (known.stored..=known.told).contains(&cursor.position.0) => {
                    (known.stored, known.told) = (cursor.position.0, cursor.position.0);
                    known.registered = true;
                }
                None if !known.registered => *known = Known::default(),
                other => return Err(format!("cursor {name} was {known:?} and is {other:?}")),
            }
        }
        Ok(())
    }

    fn check_boot(&mut self, log: &SegmentLog) -> Result<(), String> {
        let boot = log.batch().message().event(&origin(), Timestamp(0), None, body(Vec::new())).boot;
        if boot <= self.boot {
            return Err(format!("boot {boot} after boot {}", self.boot));
        }
        self.boot = boot;
        Ok(())
    }

    fn work(&mut self, log: &SegmentLog, writer: &mut Writer, keeper: &mut Keeper) -> Result<(), String> {
        // Positions that appends must report, in their order.
        let mut appends: Vec<(Append<'_>, std::ops::Range<u64>)> = Vec::new();
        let mut turns = 0;
        while !self.disk.is_off() {
            turns += 1;
            if turns == 20_000 {
                return Err(format!(
                    "nothing moves any more: {:?} {} to {} of {} in {:?}, {:?} {:?} {:?}",
                    *log.state().borrow(),
                    log.oldest(),
                    log.end(),
                    self.records.len(),
                    self.disk.segments(),
                    self.hold,
                    self.gap,
                    self.floor
                ));
            }
            // Age removes a segment now and then.
            self.now.0 += self.random.below(2) as i64 * 60_000;
            match self.random.below(10) {
                0..=3 if appends.len() < 10 => appends.extend(self.append(log)),
                0..=5 => {
                    writer.step(self.now);
                }
                6..=7 => self.keep(log, keeper),
                8 => self.use_cursors(log, keeper)?,
                _ => self.read(log)?,
            }
            self.committed = self.committed.max(log.end().0);
            let mut failed = false;
            appends.retain_mut(|(append, positions)| match poll(append) {
                Poll::Pending => true,
                Poll::Ready(Ok(appended)) => {
                    self.covered.acknowledged += 1;
                    let reported = appended.positions().start.0..appended.positions().end.0;
                    assert_eq!((&reported, appended.all_stored()), (&*positions, true));
                    assert!(reported.end <= log.end().0, "acknowledged before it is committed");
                    false
                }
                Poll::Ready(Err(_)) => {
                    failed = true;
                    false
                }
            });
            if failed && !self.disk.is_off() {
                return Err(format!("an append failed without reason, the log is {:?}", *log.state().borrow()));
            }
        }
        if appends.iter().any(|(_, positions)| positions.start < log.end().0) {
            self.covered.split += 1;
        }
        Ok(())
    }

    /// Queues a batch: mostly small, sometimes larger than a segment.
    fn append<'a>(&mut self, log: &'a SegmentLog) -> Option<(Append<'a>, std::ops::Range<u64>)> {
        let first = self.records.len() as u64;
        let mut batch = log.batch();
        let largest = [100, 1000, 5000][self.random.below(3) as usize];
        let messages = if self.random.one_in(10) { 20 } else { 1 + self.random.below(4) };
        for _ in 0..messages {
            let mut message = batch.message();
            for _ in 0..self.random.below(3) {
                let length = self.random.below(largest) as usize;
                let event = body(self.random.bytes(length));
                let id = message.event(&origin(), Timestamp(0), None, event.clone());
                self.records.push((id, event));
            }
        }
        let mut append = log.append(batch.finish());
        match poll(&mut append) {
            Poll::Pending => Some((append, first..self.records.len() as u64)),
            // Nothing to store, or the power went before.
            Poll::Ready(_) => {
                self.records.truncate(first as usize);
                None
            }
        }
    }

    /// The keeper's turn, after which all cursors are stored.
    fn keep(&mut self, log: &SegmentLog, keeper: &mut Keeper) {
        keeper.step(self.now);
        if !self.disk.is_off() {
            self.stored();
            let blocked = self.hold.registered && log.oldest().0 <= self.hold.stored;
            self.covered.stopped += u64::from(blocked && self.disk.used() > 7 * self.settings.segment_bytes);
        }
    }

    /// All cursors are in their file.
    fn stored(&mut self) {
        for known in [&mut self.hold, &mut self.gap, &mut self.floor] {
            known.stored = known.told;
        }
    }

    fn use_cursors(&mut self, log: &SegmentLog, keeper: &mut Keeper) -> Result<(), String> {
        let mut stored = false;
        for (name, policy, known) in [("hold", Policy::Hold, &mut self.hold), ("gap", Policy::Gap, &mut self.gap)] {
            if known.registered {
                continue;
            }
            let start = log.oldest().0;
            *known = Known { registered: false, stored: 0, told: start };
            let mut register = log.register(name, policy, Start::At(Position(start)));
            if let Poll::Ready(outcome) = poll(&mut register) {
                return Err(format!("registered before it is stored: {outcome:?}"));
            }
            keeper.step(self.now);
            stored |= !self.disk.is_off();
            match poll(&mut register) {
                Poll::Ready(Ok(position)) if position.0 == start => {
                    *known = Known { registered: true, stored: start, told: start };
                }
                Poll::Ready(Err(CursorError::Storage(_))) if self.disk.is_off() => {}
                other => return Err(format!("registering {name}: {other:?}")),
            }
        }
        if stored {
            self.stored();
        }
        let end = log.end().0;
        for (name, known) in [("hold", &mut self.hold), ("gap", &mut self.gap)] {
            if known.registered && self.random.one_in(2) {
                let to = known.told + self.random.below(end.saturating_sub(known.told) + 1);
                if to <= end {
                    ready(log.advance(name, Position(to))).unwrap().map_err(|error| error.to_string())?;
                    known.told = to;
                }
            }
        }
        if self.random.one_in(3) {
            let to = self.floor.told + self.random.below(end.saturating_sub(self.floor.told) + 1);
            if !self.floor.registered {
                self.floor = Known { registered: false, stored: 0, told: to };
            }
            ready(log.set_floor(Position(to)));
            self.floor.told = to;
        }
        Ok(())
    }

    fn read(&mut self, log: &SegmentLog) -> Result<(), String> {
        let (oldest, end) = (log.oldest().0, log.end().0);
        let from = oldest + self.random.below(end - oldest + 1);
        let limits = Limits { records: 1 + self.random.below(20) as usize, bytes: 10_000 };
        match log.read_blocking(Position(from), limits) {
            Ok(page) => {
                for (expected, item) in (from..).zip(page.items()) {
                    let tidegate_platform::log::Item::Event { position, event } = item else {
                        return Err(format!("{item:?} while nothing is damaged"));
                    };
                    if position.0 != expected || self.records[expected as usize] != (event.id, event.body) {
                        return Err(format!("another record is at {position}, where {expected} was expected"));
                    }
                }
                self.committed = self.committed.max(page.next().0);
                Ok(())
            }
            Err(_) if self.disk.is_off() => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// After every power cut the log takes events again.
    fn append_one(&mut self, log: &SegmentLog, writer: &mut Writer, keeper: &mut Keeper) -> Result<(), String> {
        let position = self.records.len() as u64;
        let mut batch = log.batch();
        let event = body(b"still there".to_vec());
        let id = batch.message().event(&origin(), Timestamp(0), None, event.clone());
        self.records.push((id, event));
        let mut append = log.append(batch.finish());
        for _ in 0..4 {
            if let Poll::Ready(outcome) = poll(&mut append) {
                let appended = outcome.map_err(|error| error.to_string())?;
                self.committed = log.end().0;
                return match appended.positions() {
                    found if found == (Position(position)..Position(position + 1)) => Ok(()),
                    found => Err(format!("stored at {found:?} instead of {position}")),
                };
            }
            writer.step(self.now);
            // Let go of everything, so that a full disk is no reason to wait.
            for (name, known) in [("hold", &mut self.hold), ("gap", &mut self.gap)] {
                if known.registered {
                    let _ = ready(log.advance(name, log.end()));
                    *known = Known { registered: true, stored: log.end().0, told: log.end().0 };
                }
            }
            ready(log.set_floor(log.end()));
            self.floor = Known { registered: true, stored: log.end().0, told: log.end().0 };
            keeper.step(self.now);
        }
        Err(format!("an append waits for nothing, the log is {:?}", *log.state().borrow()))
    }
}

fn poll<T>(future: &mut Pin<Box<dyn Future<Output = T> + Send + '_>>) -> Poll<T> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// The result of a future that never waits.
fn ready<T>(mut future: Pin<Box<dyn Future<Output = T> + Send + '_>>) -> Option<T> {
    match poll(&mut future) {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    }
}
