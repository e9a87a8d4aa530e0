//! The one writer: groups what is waiting into one transaction, and answers when it is on stable storage.
//!
//! It runs on a thread and a runtime of its own, so that it serves callers on any runtime and does not depend on any.
//! The next commit begins when the one before has ended; nobody waits for a timer.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use sqlx::{Connection, SqliteConnection};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::key::Keys;
use super::key_file::KeyFile;
use super::open::Lock;
use super::sql::Stop;
use crate::registry::cache::{Cache, Place};
use crate::registry::change::{Announcer, Change};
use crate::registry::{ChangeKind, Device, Error};

/// How many writes wait before callers have to wait for a place in the queue.
const QUEUE: usize = 1024;
/// The most writes in one transaction. Each may be a batch.
const MAX_GROUP: usize = 256;

/// A change to the registry. May be applied more than once, each time to a state without its effects.
pub(super) trait Write: Send + Sync + 'static {
    /// What the caller gets once it is committed.
    type Outcome: Send + 'static;
    /// What is being done, for error messages.
    const DOING: &'static str;

    /// Makes the change. An error takes the whole change back; what can go wrong for one item of a batch only belongs
    /// into the outcome.
    fn apply(&self, tx: &mut Transaction<'_>) -> impl Future<Output = Result<Self::Outcome, Stop>> + Send;
}

/// Changes nothing: its answer says that everything handed over before is dealt with.
pub(super) struct Turn;

impl Write for Turn {
    type Outcome = ();
    const DOING: &'static str = "waiting";

    async fn apply(&self, _: &mut Transaction<'_>) -> Result<(), Stop> {
        Ok(())
    }
}

/// A transaction under way, and what has to happen when it is committed.
pub(super) struct Transaction<'a> {
    /// Where statements go.
    pub(super) db: &'a mut SqliteConnection,
    key_file: &'a KeyFile,
    keys: Arc<Keys>,
    effects: Effects,
}

#[derive(Default)]
struct Effects {
    changes: Vec<Change>,
    places: Vec<Place>,
    rekeyed: bool,
}

impl Transaction<'_> {
    /// The keys that credentials are written with.
    pub(super) fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys)
    }

    /// Notes that a device changed, and the places at which its credential was or is found.
    pub(super) fn changed(&mut self, device: &Device, kind: ChangeKind, places: impl IntoIterator<Item = Place>) {
        self.effects.changes.push(Change { tenant: device.tenant, device: device.id, kind });
        self.effects.places.extend(places);
    }

    /// A new key, on disk but not yet in use.
    pub(super) fn prepare_keys(&mut self) -> Result<Arc<Keys>, Error> {
        self.key_file.prepare(&self.keys).map(Arc::new)
    }

    /// From here on credentials are written with these keys, which [`prepare_keys`](Self::prepare_keys) made.
    pub(super) fn use_keys(&mut self, keys: Arc<Keys>) {
        self.keys = keys;
        self.effects.rekeyed = true;
    }
}

/// The end of the queue that callers hold.
#[derive(Debug)]
pub(super) struct Queue {
    jobs: mpsc::Sender<Box<dyn Job>>,
    closing: Arc<Notify>,
    ended: watch::Receiver<()>,
}

impl Queue {
    /// Hands a write over and waits until it is committed.
    pub(super) async fn write<W: Write>(&self, write: W) -> Result<W::Outcome, Error> {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Pending { write, outcome: None, reply });
        self.jobs.send(job).await.map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }

    /// Lets the writer finish what is queued and waits for its end.
    pub(super) async fn close(&self) {
        self.closing.notify_one();
        let mut ended = self.ended.clone();
        // The value never changes: this ends when the writer drops the other side.
        while ended.changed().await.is_ok() {}
    }
}

/// What the writer works with.
pub(super) struct Writer {
    pub(super) db: SqliteConnection,
    pub(super) file: PathBuf,
    pub(super) key_file: KeyFile,
    pub(super) keys: watch::Sender<Arc<Keys>>,
    pub(super) cache: Arc<Cache>,
    pub(super) announcer: Announcer,
    /// Held for as long as this process has the registry open.
    pub(super) lock: Lock,
}

impl Writer {
    /// Starts the thread. It ends when the queue is closed or dropped.
    pub(super) fn start(self) -> std::io::Result<Queue> {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let (jobs, queued) = mpsc::channel(QUEUE);
        let (end, ended) = watch::channel(());
        let closing = Arc::new(Notify::new());
        let queue = Queue { jobs, closing: Arc::clone(&closing), ended };
        std::thread::Builder::new().name("registry".to_owned()).spawn(move || {
            runtime.block_on(self.run(queued, &closing));
            drop(end);
        })?;
        Ok(queue)
    }

    async fn run(mut self, mut queued: mpsc::Receiver<Box<dyn Job>>, closing: &Notify) {
        loop {
            let mut group = Vec::new();
            tokio::select! {
                // Both branches are cancel-safe: `recv_many` takes nothing unless it completes.
                count = queued.recv_many(&mut group, MAX_GROUP) => {
                    if count == 0 {
                        break;
                    }
                }
                () = closing.notified() => queued.close(),
            }
            self.commit(group).await;
        }
        if let Err(error) = self.db.close().await {
            tracing::warn!(file = %self.file.display(), %error, "registry: closing");
        }
        drop(self.lock);
    }

    async fn commit(&mut self, mut group: Vec<Box<dyn Job>>) {
        match self.attempt(&mut group).await {
            Ok(()) => settle(group, &Ok(())),
            Err(Failure::Commit(error)) => settle(group, &Err(error)),
            Err(Failure::Apply(error)) if group.len() == 1 => settle(group, &Err(error)),
            // One of them spoils the transaction: each alone, so that it spoils only its own.
            Err(Failure::Apply(_)) => {
                for job in group {
                    let mut alone = vec![job];
                    let result = self.attempt(&mut alone).await.map_err(Failure::into_error);
                    settle(alone, &result);
                }
            }
        }
    }

    /// One transaction for the whole group.
    async fn attempt(&mut self, group: &mut [Box<dyn Job>]) -> Result<(), Failure> {
        if group.is_empty() {
            return Ok(());
        }
        let failed = |error| Failure::Commit(Stop::Sql(error).into_error(&self.file, "committing"));
        // Plain statements rather than `Connection::begin`, which loses count when SQLite rolls back by itself, as it
        // does when the disk is full.
        let begun = sqlx::query("BEGIN IMMEDIATE").execute(&mut self.db).await;
        let mut result = begun.map(drop).map_err(failed);
        let mut tx = Transaction {
            keys: Arc::clone(&self.keys.borrow()),
            db: &mut self.db,
            key_file: &self.key_file,
            effects: Effects::default(),
        };
        for job in group {
            if result.is_err() {
                break;
            }
            result = job.apply(&mut tx, &self.file).await.map_err(Failure::Apply);
        }
        if result.is_ok() {
            result = sqlx::query("COMMIT").execute(&mut *tx.db).await.map(drop).map_err(failed);
        }
        let Transaction { effects, keys, .. } = tx;
        if result.is_err() {
            // Fails when SQLite has rolled back already.
            let _ = sqlx::query("ROLLBACK").execute(&mut self.db).await;
            // A failed commit may yet turn out to be one.
            self.cache.invalidate(&effects.places);
            return result;
        }
        if effects.rekeyed {
            self.adopt(keys);
        }
        self.cache.invalidate(&effects.places);
        self.announcer.announce(effects.changes);
        Ok(())
    }

    /// The registry refers to the new key from now on.
    fn adopt(&self, keys: Arc<Keys>) {
        if let Err(error) = self.key_file.promote() {
            tracing::warn!(%error, "registry: the new key is in use, its file gets its name at the next start");
        }
        self.keys.send_replace(keys);
        self.cache.clear();
    }
}

enum Failure {
    /// A change could not be made.
    Apply(Error),
    /// The transaction could not be begun or ended.
    Commit(Error),
}

impl Failure {
    fn into_error(self) -> Error {
        match self {
            Self::Apply(error) | Self::Commit(error) => error,
        }
    }
}

/// A [`Write`] whose caller waits, whatever its outcome is.
#[async_trait]
trait Job: Send {
    async fn apply(&mut self, tx: &mut Transaction<'_>, file: &Path) -> Result<(), Error>;
    fn settle(self: Box<Self>, committed: Result<(), Error>);
}

struct Pending<W: Write> {
    write: W,
    outcome: Option<W::Outcome>,
    reply: oneshot::Sender<Result<W::Outcome, Error>>,
}

#[async_trait]
impl<W: Write> Job for Pending<W> {
    async fn apply(&mut self, tx: &mut Transaction<'_>, file: &Path) -> Result<(), Error> {
        self.outcome = Some(self.write.apply(tx).await.map_err(|stop| stop.into_error(file, W::DOING))?);
        Ok(())
    }

    fn settle(self: Box<Self>, committed: Result<(), Error>) {
        let Self { outcome, reply, .. } = *self;
        // A job that was never applied has no outcome; that goes with an error. A caller that has gone needs no answer.
        let _ = reply.send(committed.and_then(|()| outcome.ok_or(Error::Closed)));
    }
}

fn settle(group: Vec<Box<dyn Job>>, result: &Result<(), Error>) {
    for job in group {
        job.settle(result.clone());
    }
}
