//! Batches: the messages of one drain, encoded on the thread that decoded them.
//!
//! The writer only frames, checksums and writes; everything that costs time per event happens here, on the worker, and
//! goes straight into one growing buffer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use model::{Body, Event, EventId, Origin, Timestamp};

use super::format::RECORD_PREFIX;

/// Hands out the ids of one run of the log.
#[derive(Debug)]
pub(crate) struct Ids {
    node: u16,
    boot: u32,
    sequence: AtomicU64,
}

impl Ids {
    pub(crate) fn new(node: u16, boot: u32) -> Self {
        Self { node, boot, sequence: AtomicU64::new(0) }
    }

    pub(crate) fn boot(&self) -> u32 {
        self.boot
    }

    fn next(&self) -> EventId {
        // Relaxed: the ids only have to differ.
        EventId { node: self.node, boot: self.boot, sequence: self.sequence.fetch_add(1, Ordering::Relaxed) }
    }
}

/// A batch in the making, from [`EventLog::batch`](super::EventLog::batch).
#[derive(Debug)]
pub struct BatchBuilder {
    ids: Arc<Ids>,
    /// The largest record that the log stores, in bytes.
    record_limit: usize,
    contents: Contents,
}

impl BatchBuilder {
    pub(crate) fn new(ids: Arc<Ids>, record_limit: usize) -> Self {
        Self { ids, record_limit, contents: Contents::default() }
    }

    /// Begins the next MQTT message. It ends when what this returns is dropped; a message may have no events at all.
    pub fn message(&mut self) -> Message<'_> {
        Message {
            bytes_before: self.contents.records.len(),
            records_before: self.contents.count,
            refusal: None,
            batch: self,
        }
    }

    /// How many messages have been added.
    #[must_use]
    pub fn messages(&self) -> usize {
        self.contents.messages.len()
    }

    /// The finished batch.
    #[must_use]
    pub fn finish(self) -> Batch {
        let Contents { mut records, count, messages, refused } = self.contents;
        // The buffer lives on in the log's tail, which counts its length: do not keep much more than that.
        if records.capacity() - records.len() > records.len() / 4 {
            records.shrink_to_fit();
        }
        Batch(Arc::new(Sealed { records: records.into(), count, messages, refused }))
    }
}

/// One MQTT message of a batch; receives its events in order.
#[derive(Debug)]
pub struct Message<'a> {
    batch: &'a mut BatchBuilder,
    bytes_before: usize,
    records_before: u64,
    refusal: Option<Refusal>,
}

impl Message<'_> {
    /// Adds one event, stamps it with a new unique id, and returns that id.
    ///
    /// An event too large for a record refuses the whole message ([`Appended::result`]): none of its events are stored.
    pub fn event(
        &mut self,
        origin: &Arc<Origin>,
        received: Timestamp,
        topic: Option<&Arc<str>>,
        body: Body,
    ) -> EventId {
        let id = self.batch.ids.next();
        let Contents { records, count, .. } = &mut self.batch.contents;
        let start = records.len();
        records.extend_from_slice(&[0; RECORD_PREFIX]);
        let body_start = records.len();
        let event = Event { id, origin: Arc::clone(origin), received, topic: topic.cloned(), body };
        proto::event::encode(&event, records);
        let bytes = records.len() - body_start;
        match u32::try_from(bytes).ok().filter(|_| bytes <= self.batch.record_limit) {
            Some(length) => {
                records[start..body_start].copy_from_slice(&length.to_le_bytes());
                *count += 1;
            }
            None => {
                records.truncate(start);
                self.refusal.get_or_insert(Refusal::TooLarge { bytes, limit: self.batch.record_limit });
            }
        }
        id
    }
}

impl Message<'_> {
    /// Why nothing of this message will be stored, if an event was too large.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        self.refusal.as_ref()
    }
}

impl Drop for Message<'_> {
    fn drop(&mut self) {
        let contents = &mut self.batch.contents;
        if let Some(refusal) = self.refusal.take() {
            contents.records.truncate(self.bytes_before);
            contents.count = self.records_before;
            contents.refused.push((contents.messages.len(), refusal));
        }
        contents.messages.push(MessageEnd { bytes: contents.records.len(), records: contents.count });
    }
}

/// Messages ready for [`EventLog::append`](super::EventLog::append). Cloning costs a reference count; appending a clone
/// repeats the same events with the same ids, which is how a batch is retried.
#[derive(Debug, Clone)]
pub struct Batch(Arc<Sealed>);

impl Batch {
    /// How many messages it holds, those without events included.
    #[must_use]
    pub fn messages(&self) -> usize {
        self.0.messages.len()
    }

    /// How many records it will take in the log.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.0.count
    }

    /// Size of its records in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.records.len()
    }

    /// `{u32 length, bytes}` for each record, in order.
    pub(crate) fn encoded(&self) -> &Bytes {
        &self.0.records
    }

    pub(crate) fn message_ends(&self) -> &[MessageEnd] {
        &self.0.messages
    }

    pub(crate) fn refused(&self) -> &[(usize, Refusal)] {
        &self.0.refused
    }
}

/// Where a message ends, counted from the beginning of its batch.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct MessageEnd {
    pub(crate) bytes: usize,
    pub(crate) records: u64,
}

#[derive(Debug, Default)]
struct Contents {
    records: Vec<u8>,
    count: u64,
    messages: Vec<MessageEnd>,
    refused: Vec<(usize, Refusal)>,
}

#[derive(Debug)]
struct Sealed {
    records: Bytes,
    count: u64,
    messages: Vec<MessageEnd>,
    refused: Vec<(usize, Refusal)>,
}

/// What became of a batch: one result per message, and where its events are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    pub(crate) first: u64,
    pub(crate) end: u64,
    /// In the order of the messages. Empty, and therefore without an allocation, when all is well.
    pub(crate) refused: Vec<(usize, Refusal)>,
}

impl Appended {
    /// The positions of the stored events: consecutive, in the order in which they were added.
    #[must_use]
    pub fn positions(&self) -> std::ops::Range<super::Position> {
        super::Position(self.first)..super::Position(self.end)
    }

    /// Whether every message was stored.
    #[must_use]
    pub fn all_stored(&self) -> bool {
        self.refused.is_empty()
    }

    /// What became of the message with this index (counted from 0): stored and durable, or not stored at all.
    ///
    /// # Errors
    /// Why the message was not stored.
    pub fn result(&self, message: usize) -> Result<(), &Refusal> {
        match self.refused.binary_search_by_key(&message, |(index, _)| *index) {
            Ok(found) => Err(&self.refused[found].1),
            Err(_) => Ok(()),
        }
    }

    /// The messages that were not stored, by index.
    #[must_use]
    pub fn refused(&self) -> &[(usize, Refusal)] {
        &self.refused
    }
}

/// Why one message was not stored while others of its batch were.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The message is to blame: it would never fit. Trying again does not help.
    #[error("an event of {bytes} bytes is larger than a record of the event log may be ({limit} bytes)")]
    TooLarge {
        /// Size of its record.
        bytes: usize,
        /// The most that a record may have.
        limit: usize,
    },
    /// Storage is to blame: it took other messages and not this one. May be tried again with the same ids.
    #[error("the event log did not store this message: {0}")]
    Storage(String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::event::Disconnected;
    use model::{DeviceId, TenantId};

    fn origin() -> Arc<Origin> {
        Arc::new(Origin {
            tenant: TenantId::DEFAULT,
            device: DeviceId(1),
            name: "d".to_owned(),
            profile: "default".to_owned(),
        })
    }

    fn body(length: usize) -> Body {
        Body::Disconnected(Disconnected { cause: "x".repeat(length), detail: String::new() })
    }

    #[test]
    fn a_message_with_one_event_too_large_leaves_no_trace() {
        let mut builder = BatchBuilder::new(Arc::new(Ids::new(3, 9)), 200);
        let origin = origin();
        let first = builder.message().event(&origin, Timestamp(0), None, body(3));
        {
            let mut message = builder.message();
            message.event(&origin, Timestamp(0), None, body(4));
            message.event(&origin, Timestamp(0), None, body(500));
            message.event(&origin, Timestamp(0), None, body(5));
        }
        drop(builder.message());
        let last = builder.message().event(&origin, Timestamp(0), None, body(6));
        let batch = builder.finish();

        assert_eq!((first, last.sequence), (EventId { node: 3, boot: 9, sequence: 0 }, 4));
        assert_eq!((batch.messages(), batch.records()), (4, 2));
        assert!(matches!(batch.refused(), [(1, Refusal::TooLarge { limit: 200, .. })]));
        let ends: Vec<_> = batch.message_ends().iter().map(|end| end.records).collect();
        assert_eq!(ends, [1, 1, 1, 2]);
        assert_eq!(batch.message_ends()[3].bytes, batch.bytes());
    }

    #[test]
    fn results_are_found_by_message() {
        let storage = Refusal::Storage("busy".to_owned());
        let appended = Appended { first: 5, end: 9, refused: vec![(1, storage.clone()), (4, storage.clone())] };
        assert!(!appended.all_stored());
        for message in [0, 2, 3, 5] {
            assert_eq!(appended.result(message), Ok(()));
        }
        assert_eq!(appended.result(4), Err(&storage));
    }
}
