//! Bits that flip, files that vanish, bytes that pretend.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use tidegate_platform::log::{
    BLOCK, EventLog, Gap, OpenError, Policy, Position, ReadError, SegmentLog, Settings, Start, Why,
};

use crate::events::{batch, keeping, number, read_all};
use crate::sim_disk::SimDisk;

fn settings() -> Settings {
    keeping(std::path::Path::new("sim"))
}

fn open(disk: &SimDisk) -> SegmentLog {
    SegmentLog::open_on(Arc::new(disk.clone()), settings()).unwrap()
}

/// Opens the log without threads: for looking.
fn look(disk: &SimDisk) -> SegmentLog {
    SegmentLog::assemble(Arc::new(disk.clone()), settings()).unwrap().0
}

/// A log with one record of one block for each number, four to a segment; each record is a commit.
async fn written(records: u64) -> SimDisk {
    let disk = SimDisk::new();
    let log = open(&disk);
    for record in 0..records {
        let payload = [&record.to_le_bytes()[..], &[0xab; 3000]].concat();
        log.append(batch(&log, [payload])).await.unwrap();
    }
    log.close().await;
    disk
}

fn damaged(from: u64, to: u64) -> Gap {
    Gap { from: Position(from), to: Position(to), why: Why::Damaged }
}

/// Where the record ends in its block, header included.
fn used(block: &[u8]) -> usize {
    block.iter().rposition(|&byte| byte != 0).unwrap() + 1
}

#[tokio::test]
async fn every_flipped_byte_in_the_middle_is_a_gap_and_nothing_behind_it_is_lost() {
    let disk = written(3).await;
    let segment = disk.segments()[0].clone();
    let used = used(&disk.contents(&segment)[BLOCK..2 * BLOCK]);
    assert!(used > 3000);
    for at in 0..BLOCK {
        let disk = disk.copy();
        disk.alter(&segment, |contents| contents[BLOCK + at] ^= 1 << (at % 8));
        let log = look(&disk);
        let contents = read_all(&log, Position(0));
        // The four zeros behind the record's text are part of no checksum.
        if at < used {
            assert_eq!((contents.numbers(), contents.gaps), (vec![0, 2], vec![damaged(1, 2)]), "byte {at}");
        } else {
            assert_eq!((contents.numbers(), contents.gaps), (vec![0, 1, 2], vec![]), "byte {at}");
        }
        assert_eq!(log.end(), Position(3), "byte {at}");
    }
}

#[tokio::test]
async fn every_flipped_byte_in_the_last_commit_looks_like_an_interrupted_one() {
    let disk = written(3).await;
    let segment = disk.segments()[0].clone();
    let used = used(&disk.contents(&segment)[2 * BLOCK..3 * BLOCK]);
    for at in 0..used {
        let disk = disk.copy();
        disk.alter(&segment, |contents| contents[2 * BLOCK + at] ^= 0x40);
        let log = look(&disk);
        let contents = read_all(&log, Position(0));
        assert_eq!((contents.numbers(), contents.gaps, log.end()), (vec![0, 1], vec![], Position(2)), "byte {at}");
    }
    // It goes on, and the next run finds everything.
    disk.alter(&segment, |contents| contents[2 * BLOCK + 100] ^= 0x40);
    let log = open(&disk);
    log.append(number(&log, 77)).await.unwrap();
    log.close().await;
    let contents = read_all(&look(&disk), Position(0));
    assert_eq!((contents.numbers(), contents.gaps), (vec![0, 1, 77], vec![]));
}

#[tokio::test]
async fn damage_in_a_complete_segment_is_found_when_it_is_read() {
    // Segments of four: 0-3, 4-7, 8-11, 12-13.
    let disk = written(14).await;
    let segments = disk.segments();
    // (segment, block, expected gap): in the middle, at the end, at the beginning of a segment.
    for (segment, block, gap) in [(1, 1, (5, 6)), (1, 3, (7, 8)), (2, 0, (8, 9)), (0, 3, (3, 4))] {
        let disk = disk.copy();
        disk.alter(&segments[segment], |contents| contents[block * BLOCK + 20] ^= 1);
        let contents = read_all(&look(&disk), Position(0));
        assert_eq!(contents.gaps, [damaged(gap.0, gap.1)]);
        assert_eq!(contents.events.len(), 13);
    }
    // The beginning of the oldest segment: what is oldest now is not there to be a gap.
    disk.alter(&segments[0], |contents| contents[20] ^= 1);
    let log = look(&disk);
    assert_eq!(log.oldest(), Position(1));
    assert_eq!(read_all(&log, Position(1)).numbers(), (1..14).collect::<Vec<_>>());
}

#[tokio::test]
async fn whole_segments_that_are_unreadable_or_gone_are_a_gap() {
    let disk = written(14).await;
    let segments = disk.segments();
    let wiped = disk.copy();
    wiped.alter(&segments[1], |contents| contents.fill(0));
    let gone = disk.copy();
    gone.delete(&segments[1]);
    let cut = disk.copy();
    cut.alter(&segments[1], |contents| contents.truncate(BLOCK / 2));
    for disk in [wiped, gone, cut] {
        let contents = read_all(&look(&disk), Position(0));
        assert_eq!(contents.gaps, [damaged(4, 8)]);
        assert_eq!(contents.numbers(), [0, 1, 2, 3, 8, 9, 10, 11, 12, 13]);
    }
}

#[tokio::test]
async fn damage_while_the_log_runs_is_a_gap_too() {
    let disk = SimDisk::new();
    let log = open(&disk);
    for record in 0..6 {
        log.append(number(&log, record)).await.unwrap();
    }
    disk.alter(&disk.segments()[0], |contents| contents[2 * BLOCK + 60] ^= 1);
    for _ in 0..2 {
        let contents = read_all(&log, Position(1));
        assert_eq!((contents.numbers(), contents.gaps), (vec![1, 3, 4, 5], vec![damaged(2, 3)]));
    }
    // A reader that begins inside the gap.
    assert_eq!(read_all(&log, Position(2)).gaps, [damaged(2, 3)]);
    log.register("sink", Policy::Gap, Start::Oldest).await.unwrap();
    log.read_as("sink", Position(0), Default::default()).await.unwrap();
    assert_eq!(log.cursors().await[0].skipped, 1);
    log.close().await;
}

#[tokio::test]
async fn positions_that_somebody_has_read_are_never_used_again() {
    let disk = written(3).await;
    let log = open(&disk);
    log.register("sink", Policy::Hold, Start::End).await.unwrap();
    log.close().await;
    let segment = disk.segments()[0].clone();
    disk.alter(&segment, |contents| contents[2 * BLOCK + 50] ^= 1);

    let log = open(&disk);
    assert_eq!(log.end(), Position(3), "record 2 is lost, and its reader had seen it");
    assert_eq!(read_all(&log, Position(0)).gaps, [damaged(2, 3)]);
    log.append(number(&log, 3)).await.unwrap();
    let page = log.read_as("sink", Position(3), Default::default()).await.unwrap();
    assert_eq!((page.items().count(), page.next()), (1, Position(4)), "the reader misses nothing");
    log.close().await;
    let contents = read_all(&look(&disk), Position(0));
    assert_eq!((contents.numbers(), contents.gaps), (vec![0, 1, 3], vec![damaged(2, 3)]));
}

#[tokio::test]
async fn frames_inside_payloads_are_never_taken_for_frames() {
    // The payload of one record is a copy of an earlier part of the log, block for block where blocks begin.
    let disk = SimDisk::new();
    let settings = Settings { segment_bytes: 128 * 1024, ..settings() };
    let open = || SegmentLog::open_on(Arc::new(disk.clone()), settings.clone()).unwrap();
    let log = open();
    for record in 0..4 {
        log.append(number(&log, record)).await.unwrap();
    }
    log.close().await;
    let stolen = disk.contents(&disk.segments()[0])[..4 * BLOCK].to_vec();

    let log = open();
    // What has a number above 0 takes the same room from here on.
    log.append(number(&log, 4)).await.unwrap();
    let mut payload = vec![0xee; 2 * BLOCK];
    payload.extend_from_slice(&stolen);
    // Find out where the payload lands, then move it so that the copy begins with a block.
    log.append(batch(&log, [payload.clone()])).await.unwrap();
    let segment = disk.segments().into_iter().nth(1).unwrap();
    let at = disk.contents(&segment).windows(64).position(|window| window == &stolen[..64]).unwrap();
    payload.splice(0..0, vec![0xee; BLOCK - at % BLOCK]);
    log.append(batch(&log, [payload.clone()])).await.unwrap();
    log.append(number(&log, 99)).await.unwrap();
    log.close().await;
    let contents = disk.contents(&segment);
    let embedded = contents.chunks(BLOCK).position(|block| block == &stolen[..BLOCK]).expect("an aligned copy");

    let all = read_all(&look(&disk), Position(0));
    assert_eq!((all.events.len(), all.gaps.len()), (8, 0));
    // Even when the frame around them is damaged: record 6 is missing, no other appears.
    let header = contents.chunks(BLOCK).take(embedded).rposition(|block| block.starts_with(b"TGF1")).unwrap();
    for damage in [header * BLOCK + 10, embedded * BLOCK - 1, embedded * BLOCK + 10] {
        let disk = disk.copy();
        disk.alter(&segment, |contents| contents[damage] ^= 1);
        let all = read_all(&SegmentLog::assemble(Arc::new(disk), settings.clone()).unwrap().0, Position(0));
        assert_eq!((all.events.len(), all.gaps), (7, vec![damaged(6, 7)]), "byte {damage}");
    }
}

#[tokio::test]
async fn damaged_small_files_are_refused_by_name() {
    let disk = written(2).await;
    let log = open(&disk);
    log.register("sink", Policy::Hold, Start::Oldest).await.unwrap();
    log.close().await;
    for file in ["identity", "cursors"] {
        for at in 0..disk.contents(file).len() {
            let disk = disk.copy();
            disk.alter(file, |contents| contents[at] ^= 1);
            match SegmentLog::assemble(Arc::new(disk), settings()) {
                Err(OpenError::Damaged { file: named, reason }) => {
                    assert!(named.ends_with(file) && reason.contains("expected"), "{named}: {reason}");
                }
                Err(error) => panic!("{file} byte {at}: {error}"),
                Ok(_) => panic!("{file} byte {at}"),
            }
        }
    }
    disk.delete("identity");
    let error = SegmentLog::assemble(Arc::new(disk), settings()).err().unwrap().to_string();
    assert!(error.contains("identity") && error.contains("expected"), "{error}");
}

#[tokio::test]
async fn a_reader_of_what_never_was_is_told() {
    let log = look(&written(2).await);
    let error = log.read_blocking(Position(3), Default::default()).unwrap_err();
    assert!(matches!(error, ReadError::Ahead { end: Position(2), .. }), "{error}");
}

#[tokio::test]
async fn damage_is_counted_once_for_each_place() {
    let disk = written(15).await;
    let segments = disk.segments();
    disk.alter(&segments[1], |contents| contents[2 * BLOCK + 20] ^= 1);
    disk.alter(&segments[3], |contents| contents[BLOCK + 20] ^= 1);
    let counters = Counters::default();
    metrics::with_local_recorder(&counters, || {
        let log = look(&disk);
        assert_eq!(counters.get("tidegate_log_damage_total"), 1, "the newest segment is read at the start");
        read_all(&log, Position(0));
        read_all(&log, Position(0));
        assert_eq!(counters.get("tidegate_log_damage_total"), 2);
    });
}

/// A recorder that remembers counters.
#[derive(Default)]
struct Counters(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

impl Counters {
    fn get(&self, name: &str) -> u64 {
        self.0.lock().unwrap()[name].load(Ordering::Relaxed)
    }
}

impl Recorder for Counters {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let mut counters = self.0.lock().unwrap();
        Counter::from_arc(Arc::clone(counters.entry(key.name().to_owned()).or_default()))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
