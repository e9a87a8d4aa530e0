//! What is removed, when, and what is never removed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use model::Timestamp;
use tidegate_platform::log::{
    EventLog, Gap, Item, Keeper, Limits, Page, Policy, Position, Progress, ReadError, SegmentLog, Settings, Start, Why,
    Writer,
};

use crate::events::{number, number_of, open_small, read_all, small};
use crate::sim_disk::SimDisk;

fn settings() -> Settings {
    small(std::path::Path::new("sim"))
}

/// A log whose time stands still unless the test moves it.
struct Stepped {
    log: SegmentLog,
    writer: Writer,
    keeper: Keeper,
    now: Timestamp,
}

impl Stepped {
    fn new(disk: &SimDisk, settings: Settings) -> Self {
        let (log, writer, keeper) = SegmentLog::assemble(Arc::new(disk.clone()), settings).unwrap();
        Self { log, writer, keeper, now: Timestamp(1_700_000_000_000) }
    }

    /// Appends one record of one block.
    fn append(&mut self, of: u64) {
        let mut append = self.log.append(number(&self.log, of));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(append.as_mut().poll(&mut context).is_pending());
        while self.writer.step(self.now) == Progress::NeedsSegment {
            self.keeper.step(self.now);
        }
        assert!(append.as_mut().poll(&mut context).is_ready());
    }

    fn wait(&mut self, duration: Duration) {
        self.now.0 += duration.as_millis() as i64;
    }
}

#[test]
fn the_log_stays_within_its_size_and_recycles_its_files() {
    let disk = SimDisk::new();
    let mut log = Stepped::new(&disk, settings());
    for record in 0..400 {
        log.append(record);
        assert!(disk.used() <= settings().retention_bytes + 1000, "{} bytes at {record}", disk.used());
    }
    log.keeper.step(log.now);
    let (oldest, end) = (log.log.oldest().0, log.log.end().0);
    assert!(end == 400 && (12..=20).contains(&(end - oldest)), "{oldest} to {end}");
    assert_eq!(read_all(&log.log, Position(oldest)).numbers(), (oldest..400).collect::<Vec<_>>());
    let counts = disk.counts();
    assert!(counts.created <= 5 && counts.recycled >= 90 && counts.removed == 0, "{counts:?}");
}

#[tokio::test]
async fn writer_and_keeper_never_make_more_files_than_they_need() {
    let disk = SimDisk::new();
    let log = SegmentLog::open_on(Arc::new(disk.clone()), settings()).unwrap();
    for record in 0..8000 {
        log.append(number(&log, record)).await.unwrap();
    }
    log.close().await;
    let counts = disk.counts();
    assert!(counts.created <= 5 && counts.removed == 0 && counts.recycled >= 1990, "{counts:?}");
}

#[test]
fn records_go_by_age_but_never_the_last_segment_with_records() {
    let disk = SimDisk::new();
    let hour = Duration::from_secs(60 * 60);
    let mut log =
        Stepped::new(&disk, Settings { retention_age: 8 * hour, retention_bytes: 8 * 16 * 1024, ..settings() });
    // One record an hour and a bit: each in a segment of its own, because an eighth of the age has passed.
    for record in 0..6 {
        log.append(record);
        log.keeper.step(log.now);
        log.wait(hour + Duration::from_secs(1));
    }
    assert_eq!(disk.segments().len(), 7, "one for each record and one prepared");
    assert_eq!(log.log.oldest(), Position(0));
    // Record 1 is 8 hours old when nothing of the first segment can be younger.
    log.wait(2 * hour);
    log.keeper.step(log.now);
    assert_eq!(log.log.oldest(), Position(0));
    log.wait(hour);
    log.keeper.step(log.now);
    assert_eq!(log.log.oldest(), Position(1));
    log.wait(100 * hour);
    log.keeper.step(log.now);
    assert_eq!((log.log.oldest(), log.log.end()), (Position(5), Position(6)));
    // So the next run knows where to go on.
    drop(log);
    let log = Stepped::new(&disk, settings());
    assert_eq!((log.log.oldest(), log.log.end()), (Position(5), Position(6)));
}

/// Segments change early so that age removes records in steps. That is no reason to stop intake when the disk is full.
#[test]
fn an_old_segment_with_room_is_used_when_there_cannot_be_another() {
    let disk = SimDisk::new();
    let hour = Duration::from_secs(60 * 60);
    let mut log = Stepped::new(&disk, Settings { retention_age: 8 * hour, ..settings() });
    log.append(0);
    let full = disk.used();
    disk.set_space(Some(full));
    let Stepped { log, mut writer, mut keeper, now } = log;
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    for record in 1..4 {
        let now = Timestamp(now.0 + record as i64 * 2 * hour.as_millis() as i64);
        let mut append = log.append(number(&log, record));
        assert!(append.as_mut().poll(&mut context).is_pending());
        for _ in 0..2 {
            writer.step(now);
            keeper.step(now);
        }
        assert!(append.as_mut().poll(&mut context).is_ready(), "record {record}");
    }
    assert_eq!((log.end(), disk.segments().len()), (Position(4), 1));

    // As soon as there can be another one, it is used.
    disk.set_space(None);
    keeper.step(now);
    let now = Timestamp(now.0 + 3 * hour.as_millis() as i64);
    let mut append = log.append(number(&log, 4));
    assert!(append.as_mut().poll(&mut context).is_pending());
    writer.step(now);
    assert!(append.as_mut().poll(&mut context).is_ready());
    keeper.step(now);
    assert_eq!(disk.segments().len(), 3, "two with records and one prepared");
}

#[test]
fn held_records_fill_the_disk_up_to_its_limit_and_not_further() {
    let disk = SimDisk::new();
    let Stepped { log, mut writer, mut keeper, now } = Stepped::new(&disk, settings());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut register = log.register("sink", Policy::Hold, Start::Oldest);
    assert!(register.as_mut().poll(&mut context).is_pending());
    keeper.step(now);
    assert!(register.as_mut().poll(&mut context).is_ready());
    let mut stored = 0;
    loop {
        let mut append = log.append(number(&log, stored));
        assert!(append.as_mut().poll(&mut context).is_pending());
        for _ in 0..3 {
            writer.step(now);
            keeper.step(now);
        }
        if append.as_mut().poll(&mut context).is_pending() {
            break;
        }
        stored += 1;
    }
    assert_eq!((log.oldest(), stored), (Position(0), 8 * 4), "eight segments of four blocks");
    let segments: usize = disk.segments().iter().map(|segment| disk.contents(segment).len()).sum();
    assert_eq!(segments as u64, settings().disk_limit);
}

/// A registry that was restored from a backup stands further back than the floor that an earlier run has stored.
#[test]
fn after_a_restart_nothing_is_removed_before_the_projection_has_said_where_it_stands() {
    let disk = SimDisk::new();
    let settings = Settings { disk_limit: 100 * 16 * 1024, ..settings() };
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut set_floor = |log: &SegmentLog, to| assert!(log.set_floor(to).as_mut().poll(&mut context).is_ready());
    let mut log = Stepped::new(&disk, settings.clone());
    for record in 0..16 {
        log.append(record);
    }
    set_floor(&log.log, Position(16));
    log.keeper.step(log.now);
    assert_eq!(log.log.oldest(), Position(0), "within its size");
    drop(log);

    let mut log = Stepped::new(&disk, settings.clone());
    for record in 16..40 {
        log.append(record);
    }
    log.keeper.step(log.now);
    assert_eq!(log.log.oldest(), Position(0), "the projection may need it");
    set_floor(&log.log, Position(6));
    log.keeper.step(log.now);
    assert_eq!(log.log.oldest(), Position(4), "the projection needs record 6");
    set_floor(&log.log, Position(40));
    // Once for the cursors, once for what they hold no more.
    log.keeper.step(log.now);
    log.keeper.step(log.now);
    assert!(disk.used() <= settings.retention_bytes + 1000 && log.log.oldest() > Position(16));
}

#[tokio::test]
async fn what_is_held_is_held_after_a_restart_and_nothing_more() {
    let disk = SimDisk::new();
    let open = || SegmentLog::open_on(Arc::new(disk.clone()), settings()).unwrap();
    let log = open();
    log.set_floor(Position(0)).await;
    log.register("hold", Policy::Hold, Start::Oldest).await.unwrap();
    log.register("gap", Policy::Gap, Start::Oldest).await.unwrap();
    for record in 0..10 {
        log.append(number(&log, record)).await.unwrap();
    }
    log.advance("hold", Position(6)).await.unwrap();
    log.advance("gap", Position(2)).await.unwrap();
    log.set_floor(Position(9)).await;
    log.close().await;
    drop(log);

    let log = open();
    log.set_floor(Position(9)).await;
    let positions: Vec<_> = log.cursors().await.into_iter().map(|cursor| (cursor.name, cursor.position.0)).collect();
    assert_eq!(positions, [("gap".to_owned(), 2), ("hold".to_owned(), 6)]);
    // The limit is 8 segments of 4 records: with record 6 held in the second, these fit.
    for record in 10..30 {
        log.append(number(&log, record)).await.unwrap();
    }
    assert!(log.oldest() <= Position(6), "{} is the oldest", log.oldest());
    log.advance("hold", Position(30)).await.unwrap();
    for record in 30..60 {
        log.append(number(&log, record)).await.unwrap();
        if log.oldest() > Position(9) {
            panic!("{} is the oldest, the projection has applied 9", log.oldest());
        }
        if record > 33 {
            log.set_floor(Position(record)).await;
            break;
        }
    }
    for record in 60..160 {
        log.set_floor(log.end()).await;
        log.advance("hold", log.end()).await.unwrap();
        log.append(number(&log, record)).await.unwrap();
    }
    // Retention may go on while this looks.
    let page = log.read_as("gap", Position(2), Limits::default()).await.unwrap();
    let first = page.items().next();
    assert!(
        matches!(&first, Some(Item::Gap(Gap { from: Position(2), to, why: Why::Expired })) if *to > Position(9) && *to <= log.oldest()),
        "{first:?}"
    );
    log.close().await;
}

/// Reads from the oldest position; before the read gets any further than `held` lets it, everything there expires.
fn read_while_it_expires(held: fn(&SimDisk), released: fn(&SimDisk)) -> (Position, Result<Page, ReadError>) {
    let disk = SimDisk::new();
    let mut log = Stepped::new(&disk, settings());
    for record in 0..20 {
        log.append(record);
    }
    let oldest = log.log.oldest();
    let Stepped { log, mut writer, mut keeper, now } = log;
    let read = std::thread::scope(|scope| {
        held(&disk);
        let reader = scope.spawn(|| log.read_blocking(oldest, Limits::default()));
        disk.wait_for_held();
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        for record in 20..60 {
            let mut append = log.append(number(&log, record));
            while append.as_mut().poll(&mut context).is_pending() {
                writer.step(now);
                keeper.step(now);
            }
        }
        assert!(log.oldest() > Position(oldest.0 + 20));
        released(&disk);
        reader.join().unwrap()
    });
    (oldest, read)
}

#[test]
fn a_file_that_is_being_read_is_not_written_again() {
    let (oldest, page) = read_while_it_expires(SimDisk::hold_reads, SimDisk::release_reads);
    let numbers: Vec<_> = page
        .unwrap()
        .items()
        .map(|item| match item {
            Item::Event { event, .. } => number_of(&event.body),
            Item::Gap(gap) => panic!("{gap:?}"),
        })
        .collect();
    assert_eq!(numbers, (oldest.0..oldest.0 + 4).collect::<Vec<_>>());
}

#[test]
fn a_file_that_is_gone_when_it_is_opened_has_expired() {
    let (oldest, page) = read_while_it_expires(SimDisk::hold_next_open, SimDisk::release_open);
    let error = page.unwrap_err();
    assert!(matches!(error, ReadError::Expired { from, oldest: now } if from == oldest && now > oldest), "{error}");
}

#[test]
fn readers_race_with_retention_and_see_only_what_belongs_there() {
    let folder = tempfile::tempdir().unwrap();
    let log = open_small(small(folder.path())).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let (mut read, mut expired) = (0u64, 0u64);
                    while !done.load(Ordering::Relaxed) {
                        match log.read_blocking(log.oldest(), Limits { records: 3, ..Limits::default() }) {
                            Ok(page) => page.items().for_each(|item| match item {
                                Item::Event { position, event } => {
                                    assert_eq!(number_of(&event.body), position.0);
                                    read += 1;
                                }
                                Item::Gap(gap) => panic!("{gap:?}"),
                            }),
                            Err(ReadError::Expired { .. }) => expired += 1,
                            Err(error) => panic!("{error}"),
                        }
                    }
                    (read, expired)
                })
            })
            .collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            for record in 0..4000 {
                log.append(number(&log, record)).await.unwrap();
            }
        });
        done.store(true, Ordering::Relaxed);
        for reader in readers {
            let (read, expired) = reader.join().unwrap();
            assert!(read > 100, "{read} read, {expired} expired");
        }
        runtime.block_on(log.close());
    });
}
