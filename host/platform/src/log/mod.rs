//! The event log: what PUBACK stands on.
//!
//! Workers append batches, one writer commits for all of them (group commit: the next commit starts when the one before
//! has ended and takes everything that queued meanwhile), readers follow. An append has succeeded when every event of it
//! is on stable storage. Promise to readers: order per appender, at least once, a unique id for each event.
//!
//! What callers see:
//! - [`EventLog`]: the trait; [`SegmentLog`] on a disk, [`MemoryLog`] for tests
//! - [`Batch`], [`BatchBuilder`], [`Appended`]: the way in; encoding happens here, on the caller's thread
//! - [`Page`], [`Item`], [`Gap`]: the way out
//! - [`Position`] inside the host, [`Cursor`] outside
//! - [`Policy`], [`CursorStatus`]: durable cursors, for readers that come back
//! - [`contract`]: what every implementation promises, as tests
//!
//! How [`SegmentLog`] does it:
//! - `format`: frames, records, segment names; `scan`: finding frames; `segment`: which records are where
//! - `disk`: the few operations it needs ([`Disk`]); `local_disk`: a real folder ([`LocalDisk`])
//! - `writer`: commits; `keeper`: prepares segments, stores cursors, removes what is too old
//! - `reader`, `tail`: reads from disk and from memory
//! - `recovery`, `identity`, `small_file`: what a start finds
//! - `shared`, `meters`: what its parts have in common, what the operator sees
//!
//! The log knows nothing of devices or topics: it moves encoded [`model::Event`]s.

mod batch;
pub mod contract;
mod cursors;
mod disk;
mod format;
mod identity;
mod keeper;
mod local_disk;
mod memory;
mod meters;
mod page;
mod position;
mod reader;
mod recovery;
mod scan;
mod segment;
mod segment_log;
mod settings;
mod shared;
mod small_file;
mod tail;
mod writer;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::watch;

pub use batch::{Appended, Batch, BatchBuilder, Message, Refusal};
pub use cursors::{CursorError, CursorStatus, Policy, Start};
pub use disk::{BLOCK, Disk, DiskError, SegmentFile};
pub use keeper::Keeper;
pub use local_disk::LocalDisk;
pub use memory::MemoryLog;
pub use page::{Gap, Item, Limits, Page, Raw, Why};
pub use position::{Cursor, CursorTextError, Position};
pub use segment_log::SegmentLog;
pub use settings::Settings;
pub use writer::{Progress, Writer};

/// An append-only log of events.
///
/// Every call may take milliseconds and may fail; a log in a cluster would be behind the same trait.
#[async_trait]
pub trait EventLog: Send + Sync + 'static {
    /// An empty batch to fill.
    fn batch(&self) -> BatchBuilder;

    /// Stores a batch. When this returns, every message whose [`Appended::result`] is good is on stable storage. Records
    /// of one batch are consecutive, and behind those of every append that had returned before this one was called.
    ///
    /// Waits while the log has more to write than it may hold, and while there is no space to write to
    /// ([`State::Waiting`]). Dropping the future is safe: a batch is written whole or, if the log had no room for it
    /// yet, not at all.
    ///
    /// # Errors
    /// Nothing of the batch may be acknowledged. Some of it may have been stored; appending a clone of the batch stores
    /// the same ids again, which readers recognise.
    async fn append(&self, batch: Batch) -> Result<Appended, AppendError>;

    /// Which run of this log it is: the `boot` of the ids it hands out.
    fn boot(&self) -> u32;

    /// Reads committed records from a position on. An empty page means that there are none yet: wait for
    /// [`committed`](Self::committed) to change.
    ///
    /// # Errors
    /// Nothing was read. [`ReadError::Expired`] tells where to go on.
    async fn read(&self, from: Position, limits: Limits) -> Result<Page, ReadError>;

    /// The same for the reader of a registered cursor: what retention has removed is an explicit [`Gap`], counted.
    ///
    /// # Errors
    /// Nothing was read; never [`ReadError::Expired`].
    async fn read_as(&self, cursor: &str, from: Position, limits: Limits) -> Result<Page, ReadError>;

    /// The end of what is committed, for followers to wait on.
    fn committed(&self) -> watch::Receiver<Position>;

    /// Whether the log takes in events, for health checks and for whoever must stop reading sockets.
    fn state(&self) -> watch::Receiver<State>;

    /// The oldest position that can be read.
    fn oldest(&self) -> Position;

    /// The position behind the newest committed record.
    fn end(&self) -> Position;

    /// A position in the form for callers outside.
    fn cursor(&self, position: Position) -> Cursor;

    /// What a caller outside means.
    ///
    /// # Errors
    /// The cursor belongs to another log, or was mistyped.
    fn position(&self, cursor: &Cursor) -> Result<Position, ForeignCursor>;

    /// Registers a durable cursor, or gives the registered one of that name this policy. Returns where its reader
    /// continues: `start` only if the cursor is new. Durable when this returns.
    ///
    /// # Errors
    /// The name or the position will not do, or the cursor could not be stored.
    async fn register(&self, name: &str, policy: Policy, start: Start) -> Result<Position, CursorError>;

    /// Everything before this position has been read and will not be asked for again. Made durable soon, many at once;
    /// after a crash a reader may find itself a little further back (at least once). A smaller position changes nothing.
    ///
    /// # Errors
    /// The cursor is not registered, or the position does not exist yet.
    async fn advance(&self, name: &str, to: Position) -> Result<(), CursorError>;

    /// Forgets a cursor. Durable when this returns.
    ///
    /// # Errors
    /// It is not registered, or that could not be stored.
    async fn unregister(&self, name: &str) -> Result<(), CursorError>;

    /// All registered cursors, by name.
    async fn cursors(&self) -> Vec<CursorStatus>;

    /// Retention must never pass this position, which the projection has applied durably. To be called once before the
    /// first append and then whenever the projection has moved on. The first call of a run counts whatever an earlier
    /// run has said, because the registry may have been restored from a backup: until then a log that has had a
    /// projection removes nothing. Later calls never move back.
    async fn set_floor(&self, position: Position);

    /// Takes no more events, writes what is queued, stores the cursors, and lets go of the storage.
    async fn close(&self);
}

/// Whether a log takes in events.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// It does.
    Running,
    /// Appends wait for space; they go on by themselves when there is some.
    Waiting(
        /// What is needed.
        Arc<str>,
    ),
    /// Never again before a restart: storage failed, and what was being written may or may not be stored.
    Failed(
        /// What happened.
        Arc<str>,
    ),
    /// Not any more.
    Closed,
}

/// Why a batch was not stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The storage is to blame. Final until the gateway is restarted: a failed write is never tried again.
    #[error("the event log has failed: {0}")]
    Failed(Arc<str>),
    /// The log is being closed.
    #[error("the event log is closed")]
    Closed,
}

/// Why nothing was read.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The reader came too late: retention has removed what it asks for.
    #[error("position {from} is no longer kept, the oldest is {oldest}")]
    Expired {
        /// What was asked for.
        from: Position,
        /// Where reading can go on.
        oldest: Position,
    },
    /// The reader asks for what does not exist yet. If it had read up to there, the log has lost its newest records to
    /// damage that cannot be told from an interrupted write.
    #[error("position {from} is ahead of the log, which ends at {end}")]
    Ahead {
        /// What was asked for.
        from: Position,
        /// Where the log ends.
        end: Position,
    },
    /// No cursor is registered under that name.
    #[error("no cursor named {0:?} is registered")]
    Unknown(String),
    /// The disk is to blame.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The runtime is shutting down.
    #[error("reading was interrupted: the runtime is shutting down")]
    Interrupted,
}

/// The cursor does not belong to this log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cursor: belongs to another event log, or was mistyped")]
pub struct ForeignCursor;

/// Why a log could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The configuration is to blame.
    #[error("{setting}: expected {expected}, got {got}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// What would do.
        expected: String,
        /// What it is.
        got: u64,
    },
    /// Somebody else has the folder.
    #[error("{file} is locked: another process is using this event log; stop it first, or choose another folder")]
    InUse {
        /// The lock file.
        file: String,
    },
    /// A file is not what was written. Restore it from a backup; without it, promises to readers cannot be kept.
    #[error("{file} is damaged: {reason}")]
    Damaged {
        /// The file.
        file: String,
        /// What was expected and what was found.
        reason: String,
    },
    /// The disk is to blame.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The operating system would not give random numbers or a thread.
    #[error("{what}: {source}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// What the operating system said.
        source: std::io::Error,
    },
}

/// Locks; a panic elsewhere while holding the lock cannot leave these small structures half changed.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A number that nobody can guess.
fn random() -> Result<u64, OpenError> {
    getrandom::u64().map_err(|error| OpenError::System {
        what: "drawing a random number",
        source: std::io::Error::other(error.to_string()),
    })
}
