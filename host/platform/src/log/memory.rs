//! An event log in memory, **for tests** of everything that uses a log: it keeps the same promises as long as the process
//! lives ([`contract`](super::contract)), and breaks them on purpose when told to.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use super::batch::{Ids, Refusal};
use super::cursors::Cursors;
use super::page::PageBuilder;
use super::tail::{Records, Tail};
use super::{
    AppendError, Appended, Batch, BatchBuilder, Cursor, CursorError, CursorStatus, EventLog, ForeignCursor, Gap,
    Limits, Page, Policy, Position, ReadError, Start, State, Why, locked,
};

/// The largest record, in bytes: that of a log with small segments, so that tests meet the limit.
const RECORD_LIMIT: usize = 1024 * 1024;
/// How many batches may wait.
const QUEUE_BATCHES: usize = 64;

/// An [`EventLog`] in memory, with switches for everything that can go wrong.
#[derive(Clone)]
pub struct MemoryLog {
    inner: Arc<Inner>,
}

struct Inner {
    log: u64,
    ids: Arc<Ids>,
    store: Mutex<Store>,
    faults: Mutex<Faults>,
    room: Arc<Semaphore>,
    committed: watch::Sender<Position>,
    state: watch::Sender<State>,
}

struct Store {
    records: Tail,
    cursors: Cursors,
    queue: VecDeque<Job>,
    /// How many records are kept unless somebody holds them.
    keep: u64,
    /// How many records there may be.
    limit: u64,
}

struct Job {
    batch: Batch,
    done: oneshot::Sender<Appended>,
    _permit: OwnedSemaphorePermit,
}

#[derive(Default)]
struct Faults {
    paused: bool,
    delay: Duration,
    /// Every so many messages one is refused; 0 for none.
    refuse_every: u64,
    messages: u64,
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryLog {
    /// A log that keeps everything and does nothing wrong.
    #[must_use]
    pub fn new() -> Self {
        Self::keeping(u64::MAX, u64::MAX)
    }

    /// A log that keeps this many records, more as long as somebody holds them, and takes no more than `limit`.
    #[must_use]
    pub fn keeping(keep: u64, limit: u64) -> Self {
        /// Tells the logs of one process apart.
        static LOGS: AtomicU64 = AtomicU64::new(1);
        let store = Store {
            records: Tail::new(usize::MAX),
            cursors: Cursors::default(),
            queue: VecDeque::new(),
            keep,
            limit: limit.max(keep),
        };
        Self {
            inner: Arc::new(Inner {
                log: LOGS.fetch_add(1, Ordering::Relaxed),
                ids: Arc::new(Ids::new(0, 1)),
                store: Mutex::new(store),
                faults: Mutex::default(),
                room: Arc::new(Semaphore::new(QUEUE_BATCHES)),
                committed: watch::Sender::new(Position(0)),
                state: watch::Sender::new(State::Running),
            }),
        }
    }

    /// Fails for good, as after a failed sync: what is queued and whatever comes gets [`AppendError::Failed`].
    pub fn fail(&self, reason: &str) {
        self.inner.end(State::Failed(reason.into()));
    }

    /// Commits nothing until [`resume`](Self::resume): appends wait.
    pub fn pause(&self) {
        locked(&self.inner.faults).paused = true;
    }

    /// Commits what has waited, and goes on.
    pub fn resume(&self) {
        locked(&self.inner.faults).paused = false;
        self.inner.commit();
    }

    /// Every commit takes this long from now on.
    pub fn delay(&self, delay: Duration) {
        locked(&self.inner.faults).delay = delay;
    }

    /// Every `n`th message is refused with [`Refusal::Storage`] while the others of its batch are stored; 0 for none.
    pub fn refuse_every(&self, n: u64) {
        let mut faults = locked(&self.inner.faults);
        (faults.refuse_every, faults.messages) = (n, 0);
    }
}

impl Inner {
    fn enqueue(&self, job: Job) -> Result<(), AppendError> {
        let mut store = locked(&self.store);
        if !matches!(*self.state.borrow(), State::Running | State::Waiting(_)) {
            return Err(self.ended());
        }
        store.queue.push_back(job);
        Ok(())
    }

    /// Commits what is queued, as far as there is room.
    fn commit(&self) {
        if locked(&self.faults).paused || !matches!(*self.state.borrow(), State::Running | State::Waiting(_)) {
            return;
        }
        let mut store = locked(&self.store);
        loop {
            store.retire(self.committed.borrow().0);
            let Some(job) = store.queue.front() else { break };
            let end = self.committed.borrow().0;
            let stored = end - store.first(Position(end)).0;
            if stored > 0 && stored + job.batch.records() > store.limit {
                let who = store.cursors.held().map_or_else(String::new, |(_, who)| who);
                let reason = format!("the limit of {} records is reached, {who} holds them", store.limit);
                self.state.send_replace(State::Waiting(reason.into()));
                return;
            }
            if let Some(job) = store.queue.pop_front() {
                let appended = self.store(&mut store, &job.batch);
                let _ = job.done.send(appended);
            }
        }
        self.state.send_if_modified(|state| {
            let waited = matches!(*state, State::Waiting(_));
            if waited {
                *state = State::Running;
            }
            waited
        });
    }

    fn store(&self, store: &mut Store, batch: &Batch) -> Appended {
        let first = self.committed.borrow().0;
        let mut refused = batch.refused().to_vec();
        let (mut end, mut before) = (first, super::batch::MessageEnd::default());
        for (index, &message) in batch.message_ends().iter().enumerate() {
            let already_refused = refused.binary_search_by_key(&index, |(index, _)| *index).is_ok();
            if !already_refused && locked(&self.faults).refuses() {
                refused.push((index, Refusal::Storage("refused on purpose".to_owned())));
                refused.sort_unstable_by_key(|(index, _)| *index);
            } else if message.records > before.records {
                let count = message.records - before.records;
                let bytes = batch.encoded().slice(before.bytes..message.bytes);
                store.records.push(Records { first: end, count, bytes });
                end += count;
            }
            before = message;
        }
        // Under the store's lock, so that nobody sees records ahead of the end.
        self.committed.send_replace(Position(end));
        Appended { first, end, refused }
    }

    fn end(&self, state: State) {
        let changed = self.state.send_if_modified(|old| {
            let open = matches!(*old, State::Running | State::Waiting(_));
            if open {
                *old = state;
            }
            open
        });
        if changed {
            self.room.close();
            locked(&self.store).queue.clear();
        }
    }

    fn ended(&self) -> AppendError {
        match &*self.state.borrow() {
            State::Failed(reason) => AppendError::Failed(Arc::clone(reason)),
            _ => AppendError::Closed,
        }
    }

    fn check_position(&self, position: Position) -> Result<Position, CursorError> {
        let end = *self.committed.borrow();
        if position > end { Err(CursorError::Ahead { position, end }) } else { Ok(position) }
    }
}

impl Faults {
    fn refuses(&mut self) -> bool {
        self.messages += 1;
        self.refuse_every > 0 && self.messages.is_multiple_of(self.refuse_every)
    }
}

impl Store {
    fn retire(&mut self, end: u64) {
        // In memory, what is known is as good as what is stored.
        if let Some(snapshot) = self.cursors.snapshot() {
            self.cursors.stored(&snapshot);
        }
        let held = self.cursors.held().map_or(u64::MAX, |(position, _)| position.0);
        while let Some(oldest) = self.records.oldest() {
            let behind = oldest.first + oldest.count;
            if end - oldest.first <= self.keep || behind > held || behind >= end {
                break;
            }
            self.records.pop();
        }
    }

    fn first(&self, end: Position) -> Position {
        self.records.oldest().map_or(end, |oldest| Position(oldest.first))
    }
}

#[async_trait]
impl EventLog for MemoryLog {
    fn batch(&self) -> BatchBuilder {
        BatchBuilder::new(Arc::clone(&self.inner.ids), RECORD_LIMIT)
    }

    fn boot(&self) -> u32 {
        self.inner.ids.boot()
    }

    async fn append(&self, batch: Batch) -> Result<Appended, AppendError> {
        let inner = &self.inner;
        if batch.records() == 0 {
            let end = self.end().0;
            return Ok(Appended { first: end, end, refused: batch.refused().to_vec() });
        }
        let permit = Arc::clone(&inner.room).acquire_owned().await.map_err(|_| inner.ended())?;
        let (done, answer) = oneshot::channel();
        inner.enqueue(Job { batch, done, _permit: permit })?;
        let delay = locked(&inner.faults).delay;
        if delay.is_zero() {
            inner.commit();
        } else {
            // A task of its own: the commit happens even if this future is dropped.
            let inner = Arc::clone(inner);
            tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                inner.commit();
            });
        }
        answer.await.map_err(|_| inner.ended())
    }

    async fn read(&self, from: Position, limits: Limits) -> Result<Page, ReadError> {
        let store = locked(&self.inner.store);
        let end = *self.inner.committed.borrow();
        let oldest = store.first(end);
        if from > end {
            return Err(ReadError::Ahead { from, end });
        }
        if from < oldest {
            return Err(ReadError::Expired { from, oldest });
        }
        let mut page = PageBuilder::new(from.0, limits);
        store.records.fill(&mut page);
        Ok(page.finish())
    }

    async fn read_as(&self, cursor: &str, from: Position, limits: Limits) -> Result<Page, ReadError> {
        if !locked(&self.inner.store).cursors.contains(cursor) {
            return Err(ReadError::Unknown(cursor.to_owned()));
        }
        match self.read(from, limits).await {
            Err(ReadError::Expired { oldest, .. }) => {
                let page = self.read(oldest, limits).await?.behind(Gap { from, to: oldest, why: Why::Expired });
                locked(&self.inner.store).cursors.skipped(cursor, page.skipped());
                Ok(page)
            }
            other => other,
        }
    }

    fn committed(&self) -> watch::Receiver<Position> {
        self.inner.committed.subscribe()
    }

    fn state(&self) -> watch::Receiver<State> {
        self.inner.state.subscribe()
    }

    fn oldest(&self) -> Position {
        let store = locked(&self.inner.store);
        store.first(*self.inner.committed.borrow())
    }

    fn end(&self) -> Position {
        *self.inner.committed.borrow()
    }

    fn cursor(&self, position: Position) -> Cursor {
        Cursor { log: self.inner.log, position }
    }

    fn position(&self, cursor: &Cursor) -> Result<Position, ForeignCursor> {
        if cursor.log == self.inner.log { Ok(cursor.position) } else { Err(ForeignCursor) }
    }

    async fn register(&self, name: &str, policy: Policy, start: Start) -> Result<Position, CursorError> {
        let start = match start {
            Start::Oldest => self.oldest(),
            Start::End => self.end(),
            Start::At(position) => self.inner.check_position(position)?,
        };
        locked(&self.inner.store).cursors.register(name, policy, start)
    }

    async fn advance(&self, name: &str, to: Position) -> Result<(), CursorError> {
        let to = self.inner.check_position(to)?;
        locked(&self.inner.store).cursors.advance(name, to)?;
        self.inner.commit();
        Ok(())
    }

    async fn unregister(&self, name: &str) -> Result<(), CursorError> {
        locked(&self.inner.store).cursors.unregister(name)?;
        self.inner.commit();
        Ok(())
    }

    async fn cursors(&self) -> Vec<CursorStatus> {
        locked(&self.inner.store).cursors.list()
    }

    async fn set_floor(&self, position: Position) {
        locked(&self.inner.store).cursors.set_floor(position);
        self.inner.commit();
    }

    async fn close(&self) {
        self.inner.commit();
        self.inner.end(State::Closed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::event::Disconnected;
    use model::{Body, DeviceId, Origin, TenantId, Timestamp};

    /// A batch of so many messages with one event each.
    fn batch(log: &MemoryLog, messages: usize) -> Batch {
        let origin = Arc::new(Origin {
            tenant: TenantId::DEFAULT,
            device: DeviceId(1),
            name: "d".to_owned(),
            profile: "default".to_owned(),
        });
        let mut batch = log.batch();
        for _ in 0..messages {
            let body = Body::Disconnected(Disconnected { cause: "client".to_owned(), detail: String::new() });
            batch.message().event(&origin, Timestamp(0), None, body);
        }
        batch.finish()
    }

    /// Appends in a task, and lets it begin.
    async fn begin(log: &MemoryLog) -> tokio::task::JoinHandle<Result<Appended, AppendError>> {
        let (log, batch) = (log.clone(), batch(log, 1));
        let append = tokio::spawn(async move { log.append(batch).await });
        tokio::task::yield_now().await;
        append
    }

    #[tokio::test]
    async fn a_paused_log_commits_when_it_is_resumed() {
        let log = MemoryLog::new();
        log.pause();
        let append = begin(&log).await;
        assert!(!append.is_finished());
        assert_eq!(log.end(), Position(0));
        log.resume();
        assert_eq!(append.await.unwrap().unwrap().positions(), Position(0)..Position(1));
    }

    #[tokio::test]
    async fn a_failed_log_fails_what_waits_and_what_comes_and_can_be_read() {
        let log = MemoryLog::new();
        log.append(batch(&log, 1)).await.unwrap();
        log.pause();
        let waiting = begin(&log).await;
        log.fail("on purpose");
        let failed = Err(AppendError::Failed("on purpose".into()));
        assert_eq!(waiting.await.unwrap(), failed);
        log.resume();
        assert_eq!(log.append(batch(&log, 1)).await, failed);
        assert_eq!(log.end(), Position(1));
        assert_eq!(log.read(Position(0), Limits::default()).await.unwrap().items().count(), 1);
        log.close().await;
        assert_eq!(*log.state().borrow(), State::Failed("on purpose".into()));
    }

    #[tokio::test]
    async fn every_third_message_is_refused_and_the_others_are_stored() {
        let log = MemoryLog::new();
        log.refuse_every(3);
        let appended = log.append(batch(&log, 7)).await.unwrap();
        let refused: Vec<_> = appended.refused().iter().map(|(message, _)| *message).collect();
        assert_eq!(refused, [2, 5]);
        assert!(matches!(appended.result(2), Err(Refusal::Storage(_))) && appended.result(3).is_ok());
        assert_eq!((appended.positions(), log.end()), (Position(0)..Position(5), Position(5)));
        log.refuse_every(0);
        assert!(log.append(batch(&log, 7)).await.unwrap().all_stored());
    }

    #[tokio::test(start_paused = true)]
    async fn a_delayed_commit_takes_that_long_and_needs_nobody_to_wait_for_it() {
        let log = MemoryLog::new();
        log.delay(Duration::from_millis(5));
        let begun = tokio::time::Instant::now();
        log.append(batch(&log, 1)).await.unwrap();
        assert_eq!(begun.elapsed(), Duration::from_millis(5));
        begin(&log).await.abort();
        log.committed().wait_for(|end| *end == Position(2)).await.unwrap();
    }
}
