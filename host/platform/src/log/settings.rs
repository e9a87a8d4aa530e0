//! What an operator decides about the log.

use std::path::PathBuf;
use std::time::Duration;

use super::OpenError;
use super::disk::BLOCK;

const MIB: u64 = 1024 * 1024;
/// Fewer segments leave nothing to remove: one is written, one is prepared, one is kept.
const LEAST_SEGMENTS: u64 = 3;
/// The smallest segment of an operator's log: four times the default size limit of a message, which as events may take up
/// to about two and a half times its size and would be refused for ever in a smaller one.
pub(crate) const LEAST_SEGMENT: u64 = MIB / 4;
/// The smallest segment that works at all: tests meet its limits soon.
pub(crate) const LEAST_SEGMENT_ON_ANY_DISK: u64 = 4 * BLOCK as u64;

/// Settings of a [`SegmentLog`](super::SegmentLog).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The folder, created with mode 0700 if it does not exist. One log per folder.
    pub dir: PathBuf,
    /// The number of this node, part of every event id. 0 on a single node.
    pub node: u16,
    /// Size of a segment file in bytes: a multiple of 4096, 256 KiB to 1 GiB. No event can be larger than a segment.
    /// Retention removes whole segments, and a segment's share of the space is taken when it is prepared. Default 64 MiB.
    pub segment_bytes: u64,
    /// How much of the disk the log should take, in bytes, at least three segments. Beyond it the oldest segments go,
    /// unless somebody holds them. Default 1 GiB.
    pub retention_bytes: u64,
    /// Segments go when all their records are older (at least 1 second), unless somebody holds them. An eighth of it is the
    /// longest that one segment collects records while records come. Default 7 days.
    pub retention_age: Duration,
    /// How much of the disk the log may take, in bytes, at least `retention_bytes`. When held segments fill it, intake
    /// stops until their holders have moved on. Default 4 GiB.
    pub disk_limit: u64,
    /// How much of the newest records is kept in memory for readers, in bytes. Default 8 MiB.
    pub tail_bytes: usize,
    /// How many batches may wait for the writer; beyond it, appends wait. Default 1024.
    pub queue_batches: usize,
    /// How many bytes of records may wait for the writer, up to 1 GiB; beyond it, appends wait. Default 16 MiB.
    pub queue_bytes: usize,
}

impl Settings {
    /// The defaults, for a log in this folder.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            node: 0,
            segment_bytes: 64 * MIB,
            retention_bytes: 1024 * MIB,
            retention_age: Duration::from_secs(7 * 24 * 60 * 60),
            disk_limit: 4 * 1024 * MIB,
            tail_bytes: 8 * MIB as usize,
            queue_batches: 1024,
            queue_bytes: 16 * MIB as usize,
        }
    }

    /// The largest event that is stored, in bytes of its record.
    #[must_use]
    pub fn record_limit(&self) -> u64 {
        super::format::payload_limit(self.segment_bytes) as u64
    }

    /// Checks every setting for itself and against the others.
    ///
    /// # Errors
    /// [`OpenError::Setting`], which names the setting.
    pub fn check(&self) -> Result<(), OpenError> {
        self.check_from(LEAST_SEGMENT)
    }

    pub(crate) fn check_from(&self, least_segment: u64) -> Result<(), OpenError> {
        let Self { segment_bytes, retention_bytes, retention_age, disk_limit, queue_batches, queue_bytes, .. } = *self;
        let block = BLOCK as u64;
        let wrong = |setting, expected: String, got: u64| Err(OpenError::Setting { setting, expected, got });
        if !(least_segment..=1024 * MIB).contains(&segment_bytes) || segment_bytes % block != 0 {
            let expected = format!("a multiple of {block} from {least_segment} to {}", 1024 * MIB);
            return wrong("segment_bytes", expected, segment_bytes);
        }
        if retention_bytes < LEAST_SEGMENTS * segment_bytes {
            let least = LEAST_SEGMENTS * segment_bytes;
            return wrong("retention_bytes", format!("at least {LEAST_SEGMENTS} segments, {least}"), retention_bytes);
        }
        if disk_limit < retention_bytes {
            return wrong("disk_limit", format!("at least what is retained, {retention_bytes}"), disk_limit);
        }
        if retention_age < Duration::from_secs(1) {
            return wrong("retention_age", "at least 1 second".to_owned(), retention_age.as_secs());
        }
        if !(1..=1024 * 1024).contains(&queue_batches) {
            return wrong("queue_batches", "1 to 1048576".to_owned(), queue_batches as u64);
        }
        if !(1..=1024 * MIB as usize).contains(&queue_bytes) {
            return wrong("queue_bytes", format!("1 to {}", 1024 * MIB), queue_bytes as u64);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_work_are_named() {
        let good = || Settings::new("/x");
        assert!(good().check().is_ok());
        let table = [
            ("segment_bytes", Settings { segment_bytes: LEAST_SEGMENT - 4096, ..good() }),
            ("segment_bytes", Settings { segment_bytes: MIB + 1, ..good() }),
            ("segment_bytes", Settings { segment_bytes: 2048 * MIB, ..good() }),
            ("retention_bytes", Settings { retention_bytes: 128 * MIB, ..good() }),
            ("disk_limit", Settings { disk_limit: 512 * MIB, ..good() }),
            ("retention_age", Settings { retention_age: Duration::from_millis(999), ..good() }),
            ("queue_batches", Settings { queue_batches: 0, ..good() }),
            ("queue_bytes", Settings { queue_bytes: 0, ..good() }),
        ];
        for (setting, settings) in table {
            let error = settings.check().unwrap_err().to_string();
            assert!(error.contains(setting) && error.contains("expected"), "{error}");
        }
    }

    /// A message of the default size limit, 64 KiB, fits even if its events take several times as much.
    #[test]
    fn the_smallest_segment_takes_the_largest_message() {
        let record = crate::log::format::payload_limit(LEAST_SEGMENT);
        assert!(record >= 3 * 64 * 1024, "{record}");
        assert!(Settings { segment_bytes: LEAST_SEGMENT, ..Settings::new("/x") }.check().is_ok());
    }
}
