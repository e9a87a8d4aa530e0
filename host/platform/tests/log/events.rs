//! Events to store, and logs to store them in.

use std::sync::Arc;

use model::event::DeadLetter;
use model::{Body, DeviceId, EventId, Origin, TenantId, Timestamp};
use tidegate_platform::log::{
    Batch, EventLog, Gap, Item, Limits, LocalDisk, OpenError, Position, ReadError, SegmentLog, Settings,
};

pub(crate) fn origin() -> Arc<Origin> {
    Arc::new(Origin {
        tenant: TenantId::DEFAULT,
        device: DeviceId(42),
        name: "boiler 7".to_owned(),
        profile: "default".to_owned(),
    })
}

/// An event that carries any bytes.
pub(crate) fn body(payload: Vec<u8>) -> Body {
    Body::DeadLetter(Box::new(DeadLetter {
        plugin: String::new(),
        version: String::new(),
        cause: String::new(),
        detail: String::new(),
        operation: String::new(),
        payload,
    }))
}

/// One message for each payload, one event each.
pub(crate) fn batch(log: &dyn EventLog, payloads: impl IntoIterator<Item = Vec<u8>>) -> Batch {
    let mut batch = log.batch();
    let origin = origin();
    for payload in payloads {
        batch.message().event(&origin, Timestamp(0), None, body(payload));
    }
    batch.finish()
}

/// A batch of one message with a number in it.
pub(crate) fn number(log: &dyn EventLog, number: u64) -> Batch {
    batch(log, [number.to_le_bytes().to_vec()])
}

/// What [`number`] put in.
pub(crate) fn number_of(body: &Body) -> u64 {
    match body {
        Body::DeadLetter(letter) => u64::from_le_bytes(letter.payload[..8].try_into().unwrap()),
        other => panic!("{other:?}"),
    }
}

/// Opens a log in a folder with segments smaller than an operator may have.
pub(crate) fn open_small(settings: Settings) -> Result<SegmentLog, OpenError> {
    let disk = LocalDisk::open(&settings.dir).unwrap();
    SegmentLog::open_on(Arc::new(disk), settings)
}

/// The smallest log there can be: segments of four blocks, at most 8 of them.
pub(crate) fn small(folder: &std::path::Path) -> Settings {
    Settings {
        segment_bytes: 16 * 1024,
        retention_bytes: 5 * 16 * 1024,
        disk_limit: 8 * 16 * 1024,
        tail_bytes: 0,
        ..Settings::new(folder)
    }
}

/// Small segments, all of which are kept.
pub(crate) fn keeping(folder: &std::path::Path) -> Settings {
    Settings { retention_bytes: u64::MAX / 2, disk_limit: u64::MAX / 2, ..small(folder) }
}

/// What can be read from a position on.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Contents {
    pub(crate) events: Vec<(Position, EventId, Body)>,
    pub(crate) gaps: Vec<Gap>,
}

impl Contents {
    pub(crate) fn numbers(&self) -> Vec<u64> {
        self.events.iter().map(|(_, _, body)| number_of(body)).collect()
    }
}

pub(crate) fn read_all(log: &SegmentLog, from: Position) -> Contents {
    try_read_all(log, from).unwrap()
}

pub(crate) fn try_read_all(log: &SegmentLog, from: Position) -> Result<Contents, ReadError> {
    let (mut contents, mut next) = (Contents::default(), from);
    while next < log.end() {
        let page = log.read_blocking(next, Limits::default())?;
        assert!(page.next() > next, "a page that leads nowhere: {page:?}");
        for item in page.items() {
            match item {
                Item::Event { position, event } => contents.events.push((position, event.id, event.body)),
                Item::Gap(gap) => contents.gaps.push(gap),
            }
        }
        next = page.next();
    }
    Ok(contents)
}
