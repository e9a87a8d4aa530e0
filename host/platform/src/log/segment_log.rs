//! The event log on a disk: the handle.

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use async_trait::async_trait;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use super::batch::Ids;
use super::disk::DiskError;
use super::format::{RECORD_PREFIX, payload_limit};
use super::identity::Identity;
use super::keeper::Keeper;
use super::meters::Meters;
use super::recovery::recover;
use super::segment::Segments;
use super::settings::LEAST_SEGMENT_ON_ANY_DISK;
use super::shared::{Handover, Shared};
use super::tail::Tail;
use super::writer::{Job, Order, Writer};
use super::{
    AppendError, Appended, Batch, BatchBuilder, Cursor, CursorError, CursorStatus, Disk, EventLog, ForeignCursor, Gap,
    Limits, LocalDisk, OpenError, Page, Policy, Position, ReadError, Start, State, Why, locked, reader,
};

/// The lock file.
const LOCK: &str = "lock";

/// An [`EventLog`] in a folder.
///
/// Two threads work for it: one writes commits, the other prepares segments, stores cursors and removes old segments.
/// Both end when the log is closed or dropped.
pub struct SegmentLog {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Order>,
    /// Bytes that may be queued; appends wait here for their share.
    room: Arc<Semaphore>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl SegmentLog {
    /// Opens the log in `settings.dir`, creating it if there is none. Blocks while the newest segment is read. Install the
    /// metrics recorder before.
    ///
    /// # Errors
    /// The settings do not fit together, somebody else has the folder, or the folder cannot be used; the message names
    /// the file.
    pub fn open(settings: super::Settings) -> Result<Self, OpenError> {
        settings.check()?;
        let disk = LocalDisk::open(&settings.dir).map_err(|source| DiskError {
            doing: "opening the event log in",
            file: settings.dir.display().to_string(),
            source: Arc::new(source),
        })?;
        Self::open_on(Arc::new(disk), settings)
    }

    /// The same on another disk; `settings.dir` is not looked at, and segments may be as small as 16 KiB.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_on(disk: Arc<dyn Disk>, settings: super::Settings) -> Result<Self, OpenError> {
        let (log, writer, keeper) = Self::assemble(disk, settings)?;
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(work)
                .map_err(|source| OpenError::System { what: "starting a thread of the event log", source })
        };
        let writer = spawn("log-writer", Box::new(|| writer.run()))?;
        let keeper = spawn("log-keeper", Box::new(|| keeper.run()))?;
        *locked(&log.threads) = vec![writer, keeper];
        Ok(log)
    }

    /// The log and its two workers, not started: whoever calls this calls their `step`, as the power-cut test does to
    /// have the same seed do the same.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn assemble(disk: Arc<dyn Disk>, settings: super::Settings) -> Result<(Self, Writer, Keeper), OpenError> {
        settings.check_from(LEAST_SEGMENT_ON_ANY_DISK)?;
        let lock = disk.lock(LOCK).map_err(|error| match error.kind() {
            std::io::ErrorKind::WouldBlock => OpenError::InUse { file: disk.describe(LOCK) },
            _ => DiskError::new(&*disk, "locking", LOCK, error).into(),
        })?;
        let meters = Meters::new();
        let recovered = recover(&*disk, &settings, &meters)?;
        // After recovery, which may have made the room that a full disk needs for this.
        let identity = Identity::next_run(&*disk, recovered.identity)?;
        tracing::info!(
            folder = %settings.dir.display(),
            boot = identity.boot,
            segments = recovered.segments.len(),
            end = recovered.next,
            "event log opened"
        );
        let (queue, orders) = mpsc::channel(settings.queue_batches);
        let room = Arc::new(Semaphore::new(settings.queue_bytes));
        let shared = Arc::new(Shared {
            log: identity.log,
            ids: Arc::new(Ids::new(settings.node, identity.boot)),
            segments: Mutex::new(Segments::recovered(recovered.segments)),
            tail: Mutex::new(Tail::new(settings.tail_bytes)),
            cursors: Mutex::new(recovered.cursors),
            committed: watch::Sender::new(Position(recovered.next)),
            state: watch::Sender::new(State::Running),
            handover: Handover::default(),
            meters,
            disk,
            settings,
        });
        shared.meters.state(&State::Running);
        let writer = Writer::new(Arc::clone(&shared), orders);
        let keeper = Keeper::new(Arc::clone(&shared), recovered.reusable, recovered.next_number, lock);
        Ok((Self { shared, queue, room, threads: Mutex::default() }, writer, keeper))
    }

    /// [`EventLog::read`] for callers without a runtime: blocks while the disk is read.
    ///
    /// # Errors
    /// As [`EventLog::read`].
    pub fn read_blocking(&self, from: Position, limits: Limits) -> Result<Page, ReadError> {
        reader::read(&self.shared, from, limits)
    }

    /// Why nothing more is appended.
    fn ended(&self) -> AppendError {
        match &*self.shared.state.borrow() {
            State::Failed(reason) => AppendError::Failed(Arc::clone(reason)),
            _ => AppendError::Closed,
        }
    }

    /// Waits until the cursors are in their file.
    async fn cursors_stored(&self) -> Result<(), CursorError> {
        let (stored, answer) = oneshot::channel();
        locked(&self.shared.cursors).wait(stored);
        self.shared.handover.change(|stage| stage.urgent = true);
        answer.await.map_err(|_| CursorError::Closed)?.map_err(CursorError::Storage)
    }

    /// A cursor has moved: to be stored soon, or at once when intake may be waiting for it.
    fn moved(&self) {
        self.shared.handover.change(|stage| {
            stage.dirty = true;
            stage.urgent |= stage.blocked.is_some();
        });
    }

    fn check_position(&self, position: Position) -> Result<Position, CursorError> {
        let end = self.shared.end();
        if position > end { Err(CursorError::Ahead { position, end }) } else { Ok(position) }
    }
}

#[async_trait]
impl EventLog for SegmentLog {
    fn batch(&self) -> BatchBuilder {
        let record_limit = payload_limit(self.shared.settings.segment_bytes) - RECORD_PREFIX;
        BatchBuilder::new(Arc::clone(&self.shared.ids), record_limit)
    }

    fn boot(&self) -> u32 {
        self.shared.ids.boot()
    }

    async fn append(&self, batch: Batch) -> Result<Appended, AppendError> {
        if batch.records() == 0 {
            let end = self.shared.end().0;
            return Ok(Appended { first: end, end, refused: batch.refused().to_vec() });
        }
        // A batch larger than the queue goes when it has the queue for itself.
        let share = batch.bytes().min(self.shared.settings.queue_bytes) as u32;
        let permit = Arc::clone(&self.room).acquire_many_owned(share).await.map_err(|_| self.ended())?;
        let (done, answer) = oneshot::channel();
        let job = Job { batch, done, queued: Instant::now(), _permit: permit };
        self.queue.send(Order::Append(job)).await.map_err(|_| self.ended())?;
        answer.await.map_err(|_| self.ended())
    }

    async fn read(&self, from: Position, limits: Limits) -> Result<Page, ReadError> {
        if let Some(page) = reader::read_recent(&self.shared, from, limits)? {
            return Ok(page);
        }
        let shared = Arc::clone(&self.shared);
        let read = tokio::task::spawn_blocking(move || reader::read(&shared, from, limits));
        read.await.map_err(|_| ReadError::Interrupted)?
    }

    async fn read_as(&self, cursor: &str, from: Position, limits: Limits) -> Result<Page, ReadError> {
        let mut start = from;
        let page = loop {
            if !locked(&self.shared.cursors).contains(cursor) {
                return Err(ReadError::Unknown(cursor.to_owned()));
            }
            match self.read(start, limits).await {
                Err(ReadError::Expired { oldest, .. }) => start = oldest,
                other => break other?,
            }
        };
        let expired = (start > from).then_some(Gap { from, to: start, why: Why::Expired });
        let page = match expired {
            Some(gap) => page.behind(gap),
            None => page,
        };
        let skipped = page.skipped();
        if skipped > 0 {
            tracing::warn!(cursor, %from, skipped, "event log: a registered reader misses positions");
            self.shared.meters.skipped.increment(skipped);
            locked(&self.shared.cursors).skipped(cursor, skipped);
        }
        Ok(page)
    }

    fn committed(&self) -> watch::Receiver<Position> {
        self.shared.committed.subscribe()
    }

    fn state(&self) -> watch::Receiver<State> {
        self.shared.state.subscribe()
    }

    fn oldest(&self) -> Position {
        self.shared.oldest()
    }

    fn end(&self) -> Position {
        self.shared.end()
    }

    fn cursor(&self, position: Position) -> Cursor {
        Cursor { log: self.shared.log, position }
    }

    fn position(&self, cursor: &Cursor) -> Result<Position, ForeignCursor> {
        if cursor.log == self.shared.log { Ok(cursor.position) } else { Err(ForeignCursor) }
    }

    async fn register(&self, name: &str, policy: Policy, start: Start) -> Result<Position, CursorError> {
        let position = {
            // Locked before looking, so that retention does not pass the position meanwhile.
            let mut cursors = locked(&self.shared.cursors);
            let start = match start {
                Start::Oldest => self.shared.oldest(),
                Start::End => self.shared.end(),
                Start::At(position) => self.check_position(position)?,
            };
            cursors.register(name, policy, start)?
        };
        self.cursors_stored().await?;
        Ok(position)
    }

    async fn advance(&self, name: &str, to: Position) -> Result<(), CursorError> {
        let to = self.check_position(to)?;
        locked(&self.shared.cursors).advance(name, to)?;
        self.moved();
        Ok(())
    }

    async fn unregister(&self, name: &str) -> Result<(), CursorError> {
        locked(&self.shared.cursors).unregister(name)?;
        self.cursors_stored().await
    }

    async fn cursors(&self) -> Vec<CursorStatus> {
        locked(&self.shared.cursors).list()
    }

    async fn set_floor(&self, position: Position) {
        let waited_for = locked(&self.shared.cursors).set_floor(position);
        if waited_for {
            // There may be room now for a segment that could not be prepared.
            self.shared.handover.change(|stage| stage.urgent = true);
        }
        self.moved();
    }

    async fn close(&self) {
        self.shared.handover.change(|stage| stage.closing = true);
        // Fails when the writer has ended already, which is what is wanted.
        let _ = self.queue.send(Order::Close).await;
        let threads = std::mem::take(&mut *locked(&self.threads));
        let ended = tokio::task::spawn_blocking(move || {
            for thread in threads {
                // A panic there has been reported there.
                let _ = thread.join();
            }
        });
        let _ = ended.await;
    }
}

impl Drop for SegmentLog {
    /// Without [`close`](EventLog::close): what is queued is still written, nobody waits for it.
    fn drop(&mut self) {
        self.shared.handover.change(|stage| stage.closing = true);
    }
}
