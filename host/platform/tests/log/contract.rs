//! The one suite, run against both implementations and against the segment log on both kinds of disk.

use std::sync::Arc;

use tidegate_platform::log::contract::{Keep, verify};
use tidegate_platform::log::{LocalDisk, MemoryLog, SegmentLog, Settings};

use crate::events::{open_small, small};
use crate::sim_disk::SimDisk;

fn settings(folder: &std::path::Path, keep: Keep) -> Settings {
    match keep {
        Keep::Everything => Settings { segment_bytes: 1024 * 1024, ..Settings::new(folder) },
        Keep::Little => small(folder),
    }
}

#[tokio::test]
async fn the_log_in_memory_keeps_the_contract() {
    verify(async |keep| match keep {
        Keep::Everything => MemoryLog::new(),
        Keep::Little => MemoryLog::keeping(30, 60),
    })
    .await;
}

#[tokio::test]
async fn the_log_on_a_disk_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let logs = std::cell::Cell::new(0);
    verify(async |keep| {
        logs.set(logs.get() + 1);
        open_small(settings(&folder.path().join(logs.get().to_string()), keep)).unwrap()
    })
    .await;
}

#[tokio::test]
async fn the_log_on_a_disk_without_direct_writes_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let logs = std::cell::Cell::new(0);
    verify(async |keep| {
        logs.set(logs.get() + 1);
        let folder = folder.path().join(logs.get().to_string());
        let disk = LocalDisk::buffered(&folder).unwrap();
        SegmentLog::open_on(Arc::new(disk), settings(&folder, keep)).unwrap()
    })
    .await;
}

#[tokio::test]
async fn the_log_that_reads_everything_from_disk_keeps_the_contract() {
    verify(async |keep| {
        let settings = Settings { tail_bytes: 0, ..settings(std::path::Path::new("sim"), keep) };
        SegmentLog::open_on(Arc::new(SimDisk::new()), settings).unwrap()
    })
    .await;
}
