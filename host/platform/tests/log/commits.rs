//! Commits: many appends in one, one append in many, order, bounds, and what a restart finds.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use model::Timestamp;
use tidegate_platform::log::{AppendError, Appended, EventLog, Limits, LocalDisk, Position, SegmentLog, Settings};

use crate::events::{batch, body, keeping, number, number_of, open_small, origin, read_all};
use crate::sim_disk::{Failing, SimDisk};

type Append<'a> = Pin<Box<dyn Future<Output = Result<Appended, AppendError>> + Send + 'a>>;

/// Begins to append: the batch is queued if there is room.
fn begin<'a>(log: &'a SegmentLog, payload: &[u8]) -> Append<'a> {
    let mut append = log.append(batch(log, [payload.to_vec()]));
    assert!(append.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    append
}

fn now() -> Timestamp {
    std::time::SystemTime::now().into()
}

fn sim(settings: Settings) -> (SimDisk, SegmentLog) {
    let disk = SimDisk::new();
    (disk.clone(), SegmentLog::open_on(Arc::new(disk), settings).unwrap())
}

fn settings() -> Settings {
    keeping(std::path::Path::new("sim"))
}

#[tokio::test]
async fn what_queues_during_a_commit_is_one_commit() {
    let (disk, log) = sim(settings());
    disk.hold_writes();
    let first = begin(&log, &0u64.to_le_bytes());
    disk.wait_for_held();
    let queued: Vec<_> = (1..50u64).map(|number| begin(&log, &number.to_le_bytes())).collect();
    disk.release_writes();
    assert_eq!(first.await.unwrap().positions(), Position(0)..Position(1));
    for (position, append) in (1..).zip(queued) {
        assert_eq!(append.await.unwrap().positions().start, Position(position));
    }
    assert_eq!(disk.counts().writes, 2);
    assert_eq!(read_all(&log, Position(0)).numbers(), (0..50).collect::<Vec<_>>());
    log.close().await;
}

#[tokio::test]
async fn a_batch_larger_than_a_frame_is_several_commits_in_order() {
    let (disk, log) = sim(settings());
    let payload = |number: u64| [&number.to_le_bytes()[..], &[7; 992]].concat();
    let appended = log.append(batch(&log, (0..200).map(payload))).await.unwrap();
    assert_eq!(appended.positions(), Position(0)..Position(200));
    assert!(disk.counts().writes > 200 * 1000 / (16 * 1024), "{:?}", disk.counts());
    assert_eq!(read_all(&log, Position(0)).numbers(), (0..200).collect::<Vec<_>>());
    log.close().await;
}

#[tokio::test]
async fn a_message_is_not_torn_between_commits_unless_it_is_larger_than_one() {
    let disk = SimDisk::new();
    let (log, mut writer, mut keeper) = SegmentLog::assemble(Arc::new(disk.clone()), settings()).unwrap();
    let mut builder = log.batch();
    // Four messages of three events of 2 KiB: two fit into a segment of 16 KiB, the third would only in part.
    for message in 0..4u64 {
        let mut events = builder.message();
        for event in 0..3 {
            let payload = [&(message * 10 + event).to_le_bytes()[..], &[1; 2040]].concat();
            events.event(&origin(), Timestamp(0), None, body(payload));
        }
    }
    // One of 30 KiB.
    {
        let mut events = builder.message();
        for event in 0..15u64 {
            let payload = [&(100 + event).to_le_bytes()[..], &[1; 2040]].concat();
            events.event(&origin(), Timestamp(0), None, body(payload));
        }
    }
    let mut append = log.append(builder.finish());
    assert!(append.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let mut ends = BTreeSet::new();
    while append.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
        keeper.step(Timestamp(0));
        writer.step(Timestamp(0));
        ends.insert(log.end().0);
    }
    assert_eq!(ends.into_iter().collect::<Vec<_>>(), [6, 12, 19, 26, 27]);
    assert_eq!(read_all(&log, Position(0)).numbers()[9..14], [30, 31, 32, 100, 101]);
}

#[tokio::test]
async fn appends_wait_for_room_and_those_that_were_dropped_waiting_leave_nothing() {
    // Room for three of these batches.
    let size = batch(&sim(settings()).1, [vec![0; 308]]).bytes();
    let (disk, log) = sim(Settings { queue_bytes: 3 * size, ..settings() });
    let payload = |number: u64| [&number.to_le_bytes()[..], &[0; 300]].concat();
    disk.hold_writes();
    let mut queued: Vec<_> = [0, 1, 2].map(|number| begin(&log, &payload(number))).into();
    disk.wait_for_held();
    let dropped = begin(&log, &payload(3));
    let waiting = begin(&log, &payload(4));
    drop(dropped);
    disk.release_writes();
    queued.push(waiting);
    for append in queued {
        append.await.unwrap();
    }
    assert_eq!(read_all(&log, Position(0)).numbers(), [0, 1, 2, 4]);

    // A batch larger than all the room there is goes by itself.
    log.append(batch(&log, [payload(5), payload(6), payload(7), payload(8)])).await.unwrap();
    assert_eq!(read_all(&log, Position(4)).numbers(), [5, 6, 7, 8]);
    log.close().await;
}

#[test]
fn threads_keep_their_order_and_a_follower_sees_everything_once() {
    const THREADS: u64 = 4;
    const EACH: u64 = 500;
    let folder = tempfile::tempdir().unwrap();
    // A tail so small that the follower reads from the disk now and then.
    let log = Arc::new(open_small(Settings { tail_bytes: 2000, ..keeping(folder.path()) }).unwrap());
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    let followed = std::thread::scope(|scope| {
        let follower = scope.spawn(|| {
            runtime().block_on(async {
                let (mut committed, mut next, mut seen) = (log.committed(), Position(0), Vec::new());
                while next < Position(THREADS * EACH) {
                    committed.wait_for(|end| *end > next).await.unwrap();
                    let page = log.read(next, Limits::default()).await.unwrap();
                    for item in page.items() {
                        let tidegate_platform::log::Item::Event { event, .. } = item else { panic!("{item:?}") };
                        seen.push((event.id, number_of(&event.body)));
                    }
                    next = page.next();
                }
                seen
            })
        });
        for thread in 0..THREADS {
            let log = Arc::clone(&log);
            scope.spawn(move || {
                runtime().block_on(async {
                    for round in 0..EACH {
                        log.append(number(&*log, thread * 10_000 + round)).await.unwrap();
                    }
                });
            });
        }
        follower.join().unwrap()
    });
    assert_eq!(followed.len() as u64, THREADS * EACH);
    assert_eq!(followed.iter().map(|(id, _)| id).collect::<BTreeSet<_>>().len() as u64, THREADS * EACH);
    for thread in 0..THREADS {
        let own = followed.iter().map(|(_, number)| *number).filter(|number| number / 10_000 == thread);
        assert!(own.eq((0..EACH).map(|round| thread * 10_000 + round)), "thread {thread}");
    }
    runtime().block_on(log.close());
}

#[tokio::test]
async fn a_restart_goes_on_where_the_last_run_ended_and_takes_no_space_for_it() {
    for direct in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let open = || {
            let disk = if direct { LocalDisk::open(folder.path()) } else { LocalDisk::buffered(folder.path()) };
            SegmentLog::open_on(Arc::new(disk.unwrap()), keeping(folder.path())).unwrap()
        };
        let mut boots = BTreeSet::new();
        for run in 0..20 {
            let log = open();
            assert_eq!(log.end(), Position(run));
            log.append(number(&log, run)).await.unwrap();
            let contents = read_all(&log, Position(0));
            assert_eq!((contents.numbers(), contents.gaps.len()), ((0..=run).collect(), 0));
            boots.extend(contents.events.iter().map(|(_, id, _)| id.boot));
            log.close().await;
        }
        assert_eq!(boots.len(), 20, "each run has its own ids");
        let files = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
        let used: u64 = files.sum();
        assert!(used < 20 * 4096 + 3 * 16 * 1024, "{used} bytes for 20 records");
    }
}

#[tokio::test]
async fn the_size_of_segments_may_change_between_runs() {
    let disk = SimDisk::new();
    let mut expected = 0;
    for blocks in [4, 8, 6, 4] {
        let segment_bytes = blocks * 4096;
        let settings = Settings { segment_bytes, retention_bytes: 40 * 4096, ..settings() };
        let log = SegmentLog::open_on(Arc::new(disk.clone()), settings).unwrap();
        for _ in 0..50 {
            log.append(number(&log, expected)).await.unwrap();
            expected += 1;
        }
        let oldest = log.oldest();
        assert_eq!(read_all(&log, oldest).numbers(), (oldest.0..expected).collect::<Vec<_>>());
        log.close().await;
        let newest = disk.segments().pop().unwrap();
        assert_eq!(disk.contents(&newest).len() as u64, segment_bytes);
    }
}

#[tokio::test]
async fn a_log_that_is_dropped_writes_what_is_queued() {
    let disk = SimDisk::new();
    let log = SegmentLog::open_on(Arc::new(disk.clone()), settings()).unwrap();
    disk.hold_writes();
    drop([begin(&log, &1u64.to_le_bytes()), begin(&log, &2u64.to_le_bytes())]);
    let mut state = log.state();
    drop(log);
    disk.release_writes();
    while state.changed().await.is_ok() {}
    let log = SegmentLog::open_on(Arc::new(disk), settings()).unwrap();
    assert_eq!(read_all(&log, Position(0)).numbers(), [1, 2]);
    log.close().await;
}

#[tokio::test]
async fn a_retried_batch_has_the_same_ids_even_if_part_of_it_was_stored() {
    let disk = SimDisk::new();
    let (log, mut writer, mut keeper) = SegmentLog::assemble(Arc::new(disk.clone()), settings()).unwrap();
    let payloads = (0..20u64).map(|number| [&number.to_le_bytes()[..], &[0; 1500]].concat());
    let whole = batch(&log, payloads);
    let mut append = log.append(whole.clone());
    assert!(append.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    keeper.step(now());
    writer.step(now());
    let stored = log.end().0;
    assert!(stored > 0 && stored < 20, "one frame of several");
    disk.fail_next(Failing::Write);
    keeper.step(now());
    writer.step(now());
    drop((writer, keeper));
    let Poll::Ready(Err(AppendError::Failed(_))) = append.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("the second write failed")
    };
    drop(append);
    drop(log);

    let log = SegmentLog::open_on(Arc::new(disk), settings()).unwrap();
    let before = log.end().0;
    log.append(whole).await.unwrap();
    let contents = read_all(&log, Position(0));
    assert_eq!(contents.events.len() as u64, before + 20);
    let ids: BTreeSet<_> = contents.events.iter().map(|(_, id, _)| id).collect();
    assert_eq!(ids.len(), 20, "a reader recognises every repetition");
    log.close().await;
}
