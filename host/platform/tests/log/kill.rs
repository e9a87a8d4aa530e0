//! kill -9, again and again, on a real disk: this test starts itself as another process that appends until it is killed.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;

use tidegate_platform::log::{EventLog, LocalDisk, Position, SegmentLog, Settings};

use crate::events::{batch, keeping, number_of, read_all};
use crate::random::Random;

/// Names the folder for the process that is to be killed.
const FOLDER: &str = "TIDEGATE_LOG_TEST_FOLDER";
const ROUNDS: u64 = 30;

fn open(folder: &std::path::Path) -> SegmentLog {
    // Every other run without direct writes.
    let runs = std::fs::read_to_string(folder.join("identity")).unwrap_or_default();
    let direct =
        runs.lines().find_map(|line| line.strip_prefix("boot ")).is_none_or(|boot| boot.ends_with(['1', '5', '9']));
    let disk = if direct { LocalDisk::open(folder) } else { LocalDisk::buffered(folder) };
    SegmentLog::open_on(Arc::new(disk.unwrap()), Settings { segment_bytes: 128 * 1024, ..keeping(folder) }).unwrap()
}

/// Appends from several threads for ever; says what was acknowledged.
fn append_until_killed(folder: &std::path::Path) {
    let log = open(folder);
    let first = log.end().0;
    std::thread::scope(|scope| {
        for thread in 0..3u64 {
            let log = &log;
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                let mut random = Random::new(first + thread);
                for round in 0.. {
                    let value = (first << 32) + (thread << 28) + round * 4;
                    let payloads = (0..4).map(|message| {
                        let padding = random.below(2000) as usize;
                        [&(value + message).to_le_bytes()[..], &random.bytes(padding)].concat()
                    });
                    let appended = runtime.block_on(log.append(batch(log, payloads))).unwrap();
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "stored {} {value}", appended.positions().start).unwrap();
                    out.flush().unwrap();
                }
            });
        }
    });
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return append_until_killed(folder.as_ref());
    }
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut random = Random::new(std::process::id().into());
    let mut acknowledged: Vec<(u64, u64)> = Vec::new();
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["kill::what_was_acknowledged_survives_kill_9", "--exact", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut stored = 0;
        let kill_after = random.below(400);
        // What it said before it was killed counts, even if it is read afterwards; a torn last line does not.
        while let Some(Ok(line)) = lines.next() {
            let mut words = line.split(' ').skip_while(|word| !word.ends_with("stored")).skip(1);
            if let (Some(Ok(position)), Some(Ok(value))) = (words.next().map(str::parse), words.next().map(str::parse))
            {
                acknowledged.push((position, value));
                stored += 1;
            }
            if stored == kill_after {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(stored >= kill_after, "round {round}: the process ended by itself after {stored} appends");
        let log = open(folder.path());
        let contents = read_all(&log, Position(0));
        assert_eq!(contents.gaps, []);
        for (position, value) in &acknowledged {
            for message in 0..4 {
                let (at, _, body) = &contents.events[(position + message) as usize];
                assert_eq!((at.0, number_of(body)), (position + message, value + message), "round {round}");
            }
        }
        runtime.block_on(log.close());
    }
    assert!(acknowledged.len() > 1000, "only {} appends", acknowledged.len());
}
