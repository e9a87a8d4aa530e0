//! What the operator is told: in the log, once, with the file.

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};

use model::Timestamp;
use tidegate_platform::log::{BLOCK, EventLog, Position, SegmentLog, Settings};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::events::{keeping, number, read_all};
use crate::sim_disk::SimDisk;

fn settings() -> Settings {
    keeping(std::path::Path::new("sim"))
}

async fn written(records: u64) -> SimDisk {
    let disk = SimDisk::new();
    let log = SegmentLog::open_on(Arc::new(disk.clone()), settings()).unwrap();
    for record in 0..records {
        log.append(number(&log, record)).await.unwrap();
    }
    log.close().await;
    disk
}

#[tokio::test]
async fn an_interrupted_commit_is_a_warning_and_damage_an_error() {
    let disk = written(7).await;
    let [first, second] = [0, 1].map(|segment| disk.segments()[segment].clone());
    disk.alter(&second, |contents| contents[2 * BLOCK + 60] ^= 1);
    let reports = Reports::of(|| {
        let (log, ..) = SegmentLog::assemble(Arc::new(disk.clone()), settings()).unwrap();
        read_all(&log, Position(0));
    });
    assert!(matches!(reports.as_slice(), [(Level::WARN, text)] if text.contains(&second) && text.contains("8192")));

    disk.alter(&first, |contents| contents[BLOCK + 60] ^= 1);
    let reports = Reports::of(|| {
        let (log, ..) = SegmentLog::assemble(Arc::new(disk.clone()), settings()).unwrap();
        read_all(&log, Position(0));
        read_all(&log, Position(0));
    });
    let [(Level::ERROR, text)] = reports.as_slice() else { panic!("{reports:?}") };
    assert!(text.contains(&first) && text.contains("damaged") && text.contains("4096"), "{text}");
}

#[test]
fn a_full_disk_is_one_error_however_long_it_lasts() {
    let disk = SimDisk::new();
    let (_log, _writer, mut keeper) = SegmentLog::assemble(Arc::new(disk.clone()), settings()).unwrap();
    disk.set_space(Some(5000));
    let reports = Reports::of(|| (0..5).for_each(|_| keeper.step(Timestamp(0))));
    let [(Level::ERROR, text)] = reports.as_slice() else { panic!("{reports:?}") };
    assert!(text.contains("no space") && text.contains("segment.new"), "{text}");
    disk.set_space(None);
    assert_eq!(Reports::of(|| keeper.step(Timestamp(0))), []);
}

/// Remembers warnings and errors.
#[derive(Clone, Default)]
struct Reports(Arc<Mutex<Vec<(Level, String)>>>);

impl Reports {
    fn of(work: impl FnOnce()) -> Vec<(Level, String)> {
        let reports = Self::default();
        tracing::subscriber::with_default(reports.clone(), work);
        reports.0.lock().unwrap().clone()
    }
}

impl Subscriber for Reports {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        self.0.lock().unwrap().push((*event.metadata().level(), text.0));
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, "{field}={value:?} ").unwrap();
    }
}
