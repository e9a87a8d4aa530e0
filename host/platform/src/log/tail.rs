//! The newest records, in memory: what the projection and live followers read without touching the disk.

use std::collections::VecDeque;

use bytes::Bytes;

use super::page::PageBuilder;

/// A bounded run of the newest records, in the buffers in which they were appended.
#[derive(Debug)]
pub(crate) struct Tail {
    entries: VecDeque<Records>,
    bytes: usize,
    /// At most so many bytes are kept.
    limit: usize,
}

/// Consecutive encoded records.
#[derive(Debug, Clone)]
pub(crate) struct Records {
    pub(crate) first: u64,
    pub(crate) count: u64,
    pub(crate) bytes: Bytes,
}

impl Tail {
    pub(crate) fn new(limit: usize) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, limit }
    }

    /// Adds records behind those that are there, and drops the oldest over the limit.
    pub(crate) fn push(&mut self, records: Records) {
        self.bytes += records.bytes.len();
        self.entries.push_back(records);
        while self.bytes > self.limit {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= oldest.bytes.len();
        }
    }

    /// The oldest entry in memory.
    pub(crate) fn oldest(&self) -> Option<&Records> {
        self.entries.front()
    }

    /// Fills the page if the record it needs next is in memory.
    pub(crate) fn fill(&self, page: &mut PageBuilder) {
        if self.oldest().is_none_or(|oldest| oldest.first > page.next()) {
            return;
        }
        let start = self.entries.partition_point(|records| records.first + records.count <= page.next());
        for records in self.entries.range(start..) {
            if page.is_full() {
                break;
            }
            page.records(records.first, records.count, &records.bytes);
        }
    }

    /// Drops the oldest entry as a whole.
    pub(crate) fn pop(&mut self) -> Option<Records> {
        let oldest = self.entries.pop_front()?;
        self.bytes -= oldest.bytes.len();
        Some(oldest)
    }
}
