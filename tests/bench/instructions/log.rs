//! An event to a record, and records to the disk.

use std::hint::black_box;
use std::sync::Arc;

use anyhow::{Context, ensure};
use model::{Body, DeviceId, Entry, Origin, Sample, TenantId, Timestamp, Value};
use platform::log::{Batch, EventLog, SegmentLog, Settings};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::Places;
use crate::case::{Case, Clock};

pub(crate) const NAMES: [&str; 4] = ["log-encode", "log-append-1", "log-append-16", "log-append-1000"];

/// Size of a record with its length field, in bytes.
const RECORD: usize = 250;

/// The case of that name, if it is one of these.
///
/// `log-encode` is what the worker does for each message. `log-append` is the rest: handing over a finished batch, and one
/// commit for it, on stable storage when it returns; what all threads of the log spend on it counts.
pub(crate) fn case(name: &str, places: &Places) -> anyhow::Result<Option<Case>> {
    let records: u64 = match name {
        "log-encode" => 16,
        "log-append-1" => 1,
        "log-append-16" => 16,
        "log-append-1000" => 1000,
        _ => return Ok(None),
    };
    let name = NAMES.into_iter().find(|known| *known == name).context("a name of this table")?;
    let store = Store::open(places)?;
    let origin = Arc::new(Origin {
        tenant: TenantId::DEFAULT,
        device: DeviceId(42),
        name: "boiler 7".to_owned(),
        profile: "default".to_owned(),
    });
    let topic: Arc<str> = "v1/devices/me/telemetry".into();
    let fill = move |log: &SegmentLog, records: u64, padding: usize| {
        let mut batch = log.batch();
        for _ in 0..records {
            batch.message().event(&origin, Timestamp(1_700_000_000_000), Some(&topic), body(padding));
        }
        batch.finish()
    };
    let padding = (0..RECORD).find(|padding| fill(&store.log, 1, *padding).bytes() == RECORD).context("padding")?;
    if name == "log-encode" {
        let run = move |iterations| {
            for _ in 0..iterations {
                black_box(fill(&store.log, records, padding));
            }
            Ok(())
        };
        return Ok(Some(Case { name, messages: records, clock: Clock::Thread, run: Box::new(run) }));
    }
    let batch: Batch = fill(&store.log, records, padding);
    let run = move |iterations| {
        store.runtime.block_on(async {
            for _ in 0..iterations {
                let appended = store.log.append(batch.clone()).await?;
                ensure!(appended.all_stored(), "{appended:?}");
            }
            Ok(())
        })
    };
    Ok(Some(Case { name, messages: records, clock: Clock::Process, run: Box::new(run) }))
}

/// A log in a folder that goes with it; each case has one of its own, because an open log is locked.
struct Store {
    log: SegmentLog,
    runtime: Runtime,
    /// Removed when this is dropped.
    _folder: TempDir,
}

impl Store {
    fn open(places: &Places) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("log-").tempdir_in(&places.work)?;
        let log = SegmentLog::open(Settings::new(folder.path()))?;
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        Ok(Self { log, runtime, _folder: folder })
    }
}

impl Drop for Store {
    /// The threads of the log must not write to the folder while it is removed.
    fn drop(&mut self) {
        self.runtime.block_on(self.log.close());
    }
}

/// The message of 52 bytes, and a text that makes the record as long as wanted.
fn body(padding: usize) -> Body {
    let entry = |key: &str, value| Entry { key: key.to_owned(), value };
    let entries = vec![
        entry("temperature", Value::Double(25.5)),
        entry("humidity", Value::Long(60)),
        entry("status", Value::String("active".to_owned())),
        entry("note", Value::String("x".repeat(padding))),
    ];
    Body::Telemetry(vec![Sample { time: Timestamp(1_700_000_000_000), entries }])
}
