//! Disks that fail and disks that are full.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use tidegate_platform::log::{
    AppendError, Appended, CursorError, EventLog, LocalDisk, OpenError, Policy, Position, SegmentLog, Settings, Start,
    State,
};

use crate::events::{keeping, number, open_small, read_all, small};
use crate::sim_disk::{Failing, SimDisk};

type Append<'a> = Pin<Box<dyn Future<Output = Result<Appended, AppendError>> + Send + 'a>>;

fn settings() -> Settings {
    keeping(std::path::Path::new("sim"))
}

fn open(disk: &SimDisk) -> SegmentLog {
    SegmentLog::open_on(Arc::new(disk.clone()), settings()).unwrap()
}

/// Begins to append.
fn begin(log: &SegmentLog, of: u64) -> Append<'_> {
    let mut append = log.append(number(log, of));
    assert!(append.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    append
}

#[tokio::test]
async fn a_failed_write_is_final() {
    let disk = SimDisk::new();
    let log = open(&disk);
    log.append(number(&log, 0)).await.unwrap();
    let segments = disk.segments();

    disk.hold_writes();
    disk.fail_next(Failing::Write);
    let failing = begin(&log, 1);
    disk.wait_for_held();
    let queued = begin(&log, 2);
    disk.release_writes();
    for append in [failing, queued] {
        let Err(AppendError::Failed(reason)) = append.await else { panic!("nothing of this was stored") };
        assert!(reason.contains(&segments[0]) && reason.contains("input/output error"), "{reason}");
    }
    let writes = disk.counts().writes;
    assert!(matches!(log.append(number(&log, 3)).await, Err(AppendError::Failed(_))));
    assert_eq!(disk.counts().writes, writes, "never tried again");
    assert!(matches!(*log.state().borrow(), State::Failed(_)));
    assert_eq!(read_all(&log, Position(0)).numbers(), [0], "reading goes on");
    log.close().await;
    assert!(matches!(*log.state().borrow(), State::Failed(_)), "the reason stays");
    drop(log);

    // After a restart it goes on, on other pages.
    let log = open(&disk);
    let kept = log.end().0;
    assert!((1..=2).contains(&kept), "the failed one may be there, the queued one may not");
    log.append(number(&log, 9)).await.unwrap();
    assert_eq!(read_all(&log, Position(kept)).numbers(), [9]);
    assert!(disk.segments().iter().filter(|segment| !segments.contains(segment)).count() > 0);
    log.close().await;
}

#[tokio::test]
async fn a_failure_while_preparing_is_final_too() {
    for kind in [Failing::Create, Failing::SyncFolder] {
        let disk = SimDisk::new();
        let log = open(&disk);
        log.append(number(&log, 0)).await.unwrap();
        let mut state = log.state();
        disk.fail_next(kind);
        let mut stored = 1;
        while let Ok(appended) = log.append(number(&log, stored)).await {
            assert_eq!(appended.positions().start, Position(stored));
            stored += 1;
            assert!(stored < 100, "{kind:?} is not noticed");
        }
        state.wait_for(|state| matches!(state, State::Failed(_))).await.unwrap();
        log.close().await;
        drop(log);
        assert_eq!(read_all(&open(&disk), Position(0)).numbers()[..stored as usize], (0..stored).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_full_disk_makes_appends_wait_until_there_is_space() {
    let disk = SimDisk::new();
    let log = open(&disk);
    log.append(number(&log, 0)).await.unwrap();
    let space = disk.used() + 20 * 1024;
    disk.set_space(Some(space));
    let log = Arc::new(log);
    let appending = {
        let log = Arc::clone(&log);
        tokio::spawn(async move {
            for next in 1..40 {
                log.append(number(&*log, next)).await.unwrap();
            }
        })
    };
    let mut state = log.state();
    let waiting = state.wait_for(|state| *state != State::Running).await.unwrap().clone();
    let State::Waiting(reason) = waiting else { panic!("{waiting:?}") };
    assert!(reason.contains("preparing sim/segment.new") && reason.contains("storage"), "{reason}");
    assert!(log.end() < Position(40) && disk.used() <= space, "half a segment is not left lying about");
    assert_eq!(log.register("sink", Policy::Gap, Start::Oldest).await, Ok(Position(0)), "the rest of it works");

    disk.set_space(None);
    appending.await.unwrap();
    assert_eq!(*log.state().borrow(), State::Running);
    assert_eq!(read_all(&log, Position(0)).numbers(), (0..40).collect::<Vec<_>>());
    log.close().await;
}

/// The same with threads: the writer that has begun to wait for another segment goes on in the old one.
#[tokio::test]
async fn age_alone_does_not_stop_intake_on_a_full_disk() {
    let disk = SimDisk::new();
    let settings = Settings { retention_age: Duration::from_secs(1), ..settings() };
    disk.set_space(Some(settings.segment_bytes + 4096));
    let log = SegmentLog::open_on(Arc::new(disk.clone()), settings).unwrap();
    for record in 0..3 {
        let append = log.append(number(&log, record));
        // Long, and only for a log that would wait for ever.
        tokio::time::timeout(Duration::from_secs(30), append).await.unwrap().unwrap();
        // More than an eighth of the retention age.
        tokio::time::sleep(Duration::from_millis(130)).await;
    }
    assert_eq!((log.end(), disk.segments().len()), (Position(3), 1));
    assert_eq!(*log.state().borrow(), State::Running);
    log.close().await;
}

/// A file that was taken off the list to be used again is used by the next attempt, and counts until then.
#[tokio::test]
async fn a_segment_that_could_not_be_prepared_for_lack_of_space_is_not_lost() {
    let disk = SimDisk::new();
    let log = SegmentLog::open_on(Arc::new(disk.clone()), small(std::path::Path::new("sim"))).unwrap();
    for record in 0..200 {
        if record % 20 == 10 {
            disk.fail_next(Failing::SyncFolderForSpace);
        }
        log.append(number(&log, record)).await.unwrap();
    }
    log.close().await;
    assert!(disk.counts().full_folders > 5, "{:?}", disk.counts());
    assert!(disk.counts().created <= 5, "{:?}", disk.counts());
    assert!(disk.segments().len() <= 6, "{:?}", disk.segments());
}

#[tokio::test]
async fn a_log_that_waits_for_space_can_be_closed() {
    let disk = SimDisk::new();
    disk.set_space(Some(1000));
    let log = Arc::new(open(&disk));
    let append = {
        let log = Arc::clone(&log);
        tokio::spawn(async move { log.append(number(&*log, 0)).await })
    };
    log.state().wait_for(|state| matches!(state, State::Waiting(_))).await.unwrap();
    log.close().await;
    assert_eq!(append.await.unwrap(), Err(AppendError::Closed));
    assert_eq!(log.register("sink", Policy::Gap, Start::End).await, Err(CursorError::Closed));
}

#[tokio::test]
async fn cursors_that_cannot_be_stored_say_so_and_are_stored_later() {
    let disk = SimDisk::new();
    let log = open(&disk);
    disk.fail_next(Failing::WriteSmall);
    let error = log.register("sink", Policy::Hold, Start::Oldest).await.unwrap_err();
    let CursorError::Storage(reason) = &error else { panic!("{error}") };
    assert!(reason.contains("cursors"), "{reason}");
    log.append(number(&log, 0)).await.unwrap();
    assert_eq!(log.register("sink", Policy::Hold, Start::End).await, Ok(Position(0)));
    log.close().await;
    drop(log);
    assert_eq!(open(&disk).cursors().await.len(), 1);
}

#[tokio::test]
async fn one_log_per_folder() {
    let folder = tempfile::tempdir().unwrap();
    let log = open_small(small(folder.path())).unwrap();
    let error = open_small(small(folder.path())).err().unwrap();
    assert!(matches!(error, OpenError::InUse { .. }));
    assert!(error.to_string().contains(folder.path().to_str().unwrap()), "{error}");
    log.append(number(&log, 0)).await.unwrap();
    log.close().await;
    let log = open_small(small(folder.path())).unwrap();
    assert_eq!(log.end(), Position(1));
    log.close().await;
}

#[test]
fn folders_that_cannot_be_used_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    for dir in [file.clone(), file.join("log")] {
        let error = SegmentLog::open(Settings::new(&dir)).err().unwrap().to_string();
        assert!(error.contains(dir.to_str().unwrap()), "{error}");
    }
    for segment_bytes in [5, small(folder.path()).segment_bytes] {
        assert!(matches!(
            SegmentLog::open(Settings { segment_bytes, ..Settings::new(folder.path()) }),
            Err(OpenError::Setting { setting: "segment_bytes", .. })
        ));
    }
}

#[test]
fn the_folder_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("a/b");
    LocalDisk::open(&folder).unwrap();
    let log = open_small(small(&folder)).unwrap();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    drop(log);
}
