//! The writer: packs what is queued into frames and commits them, one after the other.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use model::Timestamp;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::batch::MessageEnd;
use super::disk::{DiskError, SegmentFile};
use super::format::{FrameBuffer, payload_limit, split_record};
use super::segment::Segment;
use super::shared::{Look, Shared, Spare};
use super::tail::Records;
use super::{Appended, Batch, Position, State, locked};

/// A segment collects records for at most this part of the retention age, so that age removes them in steps.
const AGE_STEPS: u128 = 8;

/// What the handle sends to the writer.
pub(crate) enum Order {
    Append(Job),
    /// Write what came before this and end.
    Close,
}

/// A batch on its way to the disk.
pub(crate) struct Job {
    pub(crate) batch: Batch,
    pub(crate) done: oneshot::Sender<Appended>,
    pub(crate) queued: Instant,
    /// Its share of the queue's bytes, given back when the job is dropped.
    pub(crate) _permit: OwnedSemaphorePermit,
}

/// What a [`Writer`] can do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Everything queued is committed.
    Idle,
    /// It needs the segment that the keeper prepares.
    NeedsSegment,
    /// The log is closed or has failed.
    Ended,
}

/// The one who writes. Runs on a thread of its own, or step by step in a test.
pub struct Writer {
    shared: Arc<Shared>,
    queue: mpsc::Receiver<Order>,
    /// Taken from the queue and not yet wholly in a frame.
    pending: VecDeque<Pending>,
    frame: Filling,
    /// Ordinal of the next record to put in a frame.
    next: u64,
    active: Option<Active>,
    payload_limit: usize,
    closing: bool,
}

struct Pending {
    job: Job,
    /// What is in earlier frames.
    taken: MessageEnd,
    /// Ordinal of its first record, once that is in a frame.
    first: Option<u64>,
}

/// The frame being filled, and who is to be told when it is committed.
#[derive(Default)]
struct Filling {
    buffer: FrameBuffer,
    pieces: Vec<Records>,
    complete: Vec<(Job, Appended)>,
    oldest: Option<Instant>,
}

/// The segment being written.
struct Active {
    segment: Arc<Segment>,
    file: Box<dyn SegmentFile>,
    /// Where the next frame begins.
    offset: u64,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, queue: mpsc::Receiver<Order>) -> Self {
        Self {
            queue,
            pending: VecDeque::new(),
            frame: Filling::default(),
            next: shared.end().0,
            active: None,
            payload_limit: payload_limit(shared.settings.segment_bytes),
            closing: false,
            shared,
        }
    }

    /// Works until the log is closed or fails.
    pub fn run(mut self) {
        let mut orders = Vec::new();
        loop {
            match self.step(SystemTime::now().into()) {
                Progress::Idle => {
                    if self.queue.blocking_recv_many(&mut orders, self.shared.settings.queue_batches) == 0 {
                        break;
                    }
                    orders.drain(..).for_each(|order| self.take(order));
                }
                Progress::NeedsSegment if self.wait_for_segment() => {}
                Progress::NeedsSegment | Progress::Ended => break,
            }
        }
    }

    /// Commits everything that is queued now, as far as that goes without waiting.
    pub fn step(&mut self, now: Timestamp) -> Progress {
        self.collect();
        while !self.shared.has_failed() {
            if self.frame.pieces.is_empty() && !self.fill() {
                return if self.closing { Progress::Ended } else { Progress::Idle };
            }
            if !self.may_go_on(now) && !self.begin_segment() {
                return Progress::NeedsSegment;
            }
            let Some(active) = self.active.as_mut() else { return Progress::NeedsSegment };
            if let Err(error) = self.frame.commit(active, &self.shared, now) {
                self.shared.fail(&error.to_string());
            }
        }
        Progress::Ended
    }

    /// Whether the frame goes into the segment that is being written.
    fn may_go_on(&self, now: Timestamp) -> bool {
        let Some(active) = self.active.as_ref().filter(|_| self.has_room()) else { return false };
        // Age alone is no reason to stop intake when there cannot be another segment.
        let alone = || self.shared.handover.look(|stage| stage.spare.is_none() && stage.blocked.is_some());
        !is_old(active.segment.first_time(), now, &self.shared) || alone()
    }

    /// Whether the frame fits into the segment that is being written.
    fn has_room(&self) -> bool {
        let end = |active: &Active| active.offset + self.frame.buffer.frame_bytes();
        self.active.as_ref().is_some_and(|active| end(active) <= active.segment.length)
    }

    /// Takes everything off the queue.
    fn collect(&mut self) {
        loop {
            match self.queue.try_recv() {
                Ok(order) => self.take(order),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => {
                    self.closing = true;
                    return;
                }
            }
        }
    }

    /// Fills the frame from what is pending; `false` if that is nothing.
    fn fill(&mut self) -> bool {
        while let Some(pending) = self.pending.front_mut() {
            if !self.frame.take(pending, &mut self.next, self.payload_limit) {
                return true;
            }
            if let Some(Pending { job, first, .. }) = self.pending.pop_front() {
                let first = first.unwrap_or(self.next);
                let refused = job.batch.refused().to_vec();
                let appended = Appended { first, end: self.next, refused };
                self.frame.complete.push((job, appended));
            }
        }
        !self.frame.pieces.is_empty()
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Append(job) => self.pending.push_back(Pending { job, taken: MessageEnd::default(), first: None }),
            Order::Close => {
                self.closing = true;
                self.queue.close();
            }
        }
    }

    /// Goes on in the prepared segment, if there is one, and has another prepared.
    fn begin_segment(&mut self) -> bool {
        let first = self.frame.pieces.first().map_or(self.next, |piece| piece.first);
        let shared = &self.shared;
        let active = shared.handover.change(|stage| {
            stage.urgent = true;
            let Spare { name, file } = stage.spare.take()?;
            let segment = Arc::new(Segment::new(name, shared.settings.segment_bytes, first, 0, None));
            // In the same step, or the keeper would think for a moment that there is room for another file.
            locked(&shared.segments).begin(Arc::clone(&segment));
            Some(Active { segment, file, offset: 0 })
        });
        let begun = active.is_some();
        self.active = active.or(self.active.take());
        begun
    }

    /// Waits for the keeper; `false` when there is nothing left to wait for.
    fn wait_for_segment(&self) -> bool {
        let shared = &self.shared;
        let has_room = self.has_room();
        let found = shared.handover.wait(|stage| {
            if shared.has_failed() {
                return Look::Found(false);
            }
            match (&stage.spare, &stage.blocked) {
                (Some(_), _) => Look::Found(true),
                (None, Some(_)) if has_room => Look::Found(true),
                (None, Some(_)) if stage.closing => Look::Found(false),
                (None, Some(reason)) => {
                    shared.enter(State::Waiting(Arc::clone(reason)));
                    Look::Again
                }
                (None, None) => Look::Again,
            }
        });
        if found && shared.enter(State::Running) {
            tracing::info!("event log: there is space again, intake goes on");
        }
        found
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.shared.fail("the writer panicked");
        }
        self.shared.enter(State::Closed);
        self.shared.handover.change(|stage| stage.writer_ended = true);
    }
}

impl Filling {
    /// Puts a batch, or as much of it as fits, into the frame; `true` when all of it is in.
    fn take(&mut self, pending: &mut Pending, next: &mut u64, limit: usize) -> bool {
        let batch = &pending.job.batch;
        let room = limit.saturating_sub(self.buffer.payload_bytes());
        let rest = batch.bytes() - pending.taken.bytes;
        let until = if rest <= room {
            MessageEnd { bytes: batch.bytes(), records: batch.records() }
        } else if rest <= limit || !self.pieces.is_empty() {
            // It fits in a frame of its own, or begins one.
            return false;
        } else {
            split(batch, pending.taken, room)
        };
        let bytes = batch.encoded().slice(pending.taken.bytes..until.bytes);
        let count = until.records - pending.taken.records;
        self.buffer.push(&bytes);
        self.oldest = self.oldest.or(Some(pending.job.queued)).min(Some(pending.job.queued));
        self.pieces.push(Records { first: *next, count, bytes });
        pending.first.get_or_insert(*next);
        pending.taken = until;
        *next += count;
        rest <= room
    }

    /// Writes the frame, and tells everybody who waits for it.
    fn commit(&mut self, active: &mut Active, shared: &Shared, now: Timestamp) -> Result<(), DiskError> {
        let begun = Instant::now();
        let name = active.segment.name;
        let first = self.pieces.first().map_or(0, |piece| piece.first);
        let count = self.pieces.iter().map(|piece| piece.count).sum();
        let blocks = self.buffer.seal(name.epoch, first, count, now);
        active
            .file
            .write(active.offset, blocks)
            .map_err(|error| DiskError::new(&*shared.disk, "committing to", &name.to_string(), error))?;

        let offset = active.offset;
        active.offset += blocks.len() as u64;
        active.segment.committed(first, offset, active.offset, now);
        let meters = &shared.meters;
        meters.commits.increment(1);
        meters.records.increment(count);
        meters.bytes.increment(blocks.len() as u64);
        meters.commit_seconds.record(begun.elapsed());
        if let Some(oldest) = self.oldest.take() {
            meters.queue_seconds.record(begun.duration_since(oldest));
        }

        // Readers look at both under the lock: what they get is never ahead of the end they see.
        let mut tail = locked(&shared.tail);
        self.pieces.drain(..).for_each(|piece| tail.push(piece));
        shared.committed.send_replace(Position(first + count));
        drop(tail);
        for (job, appended) in self.complete.drain(..) {
            // Nobody listens when the append was dropped; it is written all the same.
            let _ = job.done.send(appended);
        }
        self.buffer.clear();
        Ok(())
    }
}

/// Where to cut a batch that is larger than a frame: behind the last message that fits, or else behind the last record.
fn split(batch: &Batch, taken: MessageEnd, room: usize) -> MessageEnd {
    let ends = batch.message_ends();
    let fitting = ends.partition_point(|end| end.bytes <= taken.bytes + room);
    if let Some(end) = fitting.checked_sub(1).and_then(|last| ends.get(last)).filter(|end| end.bytes > taken.bytes) {
        return *end;
    }
    let mut until = taken;
    while let Some((record, _)) = batch.encoded().get(until.bytes..).and_then(split_record) {
        let bytes = until.bytes + super::format::RECORD_PREFIX + record.len();
        if bytes > taken.bytes + room {
            break;
        }
        until = MessageEnd { bytes, records: until.records + 1 };
    }
    until
}

/// Whether a segment has been collecting records for long enough.
fn is_old(first_time: Option<Timestamp>, now: Timestamp, shared: &Shared) -> bool {
    let Some(first_time) = first_time else { return false };
    let age = u128::try_from(now.0.saturating_sub(first_time.0)).unwrap_or(0);
    age * AGE_STEPS > shared.settings.retention_age.as_millis()
}
