//! What the registry knows from devices: a projection of the event log (design §6, "From devices: log first").
//!
//! One ordered consumer reads the log, merges what it says into rows in memory, and writes changed rows to the registry
//! together with the position they stand for. After a restart it goes on from that position, so nothing is lost and
//! nothing counts twice.
//!
//! - this module: the consumer, and reading
//! - `rows`: the rows in memory and how events change them
//!
//! A read sees everything that was acknowledged before it: it waits until the consumer has come that far.

mod rows;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use model::{DeviceId, Stamped, TenantId};
use tokio::sync::{oneshot, watch};

use crate::log::{EventLog, Item, Limits, Position, ReadError};
use crate::registry::{Change, ChangeKind, Changes, Connectivity, Error, Notice, Registry, RowKind};
use rows::{Key, Rows};

/// Changed rows are written when the first of them has waited for so long.
const FLUSH_AFTER: Duration = Duration::from_secs(5);
/// Storage that fails is asked again after so long.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What is projected, and with how much memory.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whether the latest value of every telemetry key is kept.
    pub latest_values: bool,
    /// About how many bytes of rows are kept in memory.
    pub memory: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { latest_values: true, memory: 64 << 20 }
    }
}

/// Keys and values, by key.
pub type Values = Vec<(String, Stamped)>;

/// The projection of one log into one registry.
pub struct Projection {
    shared: Arc<Shared>,
    stop: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

struct Shared {
    log: Arc<dyn EventLog>,
    registry: Arc<dyn Registry>,
    rows: Mutex<Rows>,
    /// Everything before this position is in the rows.
    applied: watch::Sender<Position>,
}

/// Why the projection cannot run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The registry cannot be asked how far it is, or cannot store the rows.
    #[error(transparent)]
    Registry(#[from] Error),
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// No thread.
    #[error("projection thread: {0}")]
    Thread(#[from] std::io::Error),
}

impl Projection {
    /// Projects what the log has and the registry has not, and then follows the log on a thread of its own. When this
    /// returns, the registry holds all that was in the log.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(
        log: Arc<dyn EventLog>,
        registry: Arc<dyn Registry>,
        settings: Settings,
    ) -> Result<Self, StartError> {
        let from = start_position(&*log, &*registry).await?;
        log.set_floor(from).await;
        let rows = Mutex::new(Rows::new(settings.latest_values, settings.memory));
        let shared = Arc::new(Shared { log, registry, rows, applied: watch::Sender::new(from) });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let mut consumer = Consumer { shared: shared.clone(), position: from, changes: shared.registry.changes() };
        consumer.replay().await?;
        let thread = thread::Builder::new()
            .name("projection".to_owned())
            .spawn(move || runtime.block_on(consumer.run(stopped)))?;
        Ok(Self { shared, stop: Mutex::new(Some((stop, thread))) })
    }

    /// How far the consumer has come.
    pub fn applied(&self) -> watch::Receiver<Position> {
        self.shared.applied.subscribe()
    }

    /// Waits until everything that is in the log now is projected.
    pub async fn catch_up(&self) {
        let target = self.shared.log.end();
        // Ends early only when the projection is closed.
        let _ = self.shared.applied.subscribe().wait_for(|applied| *applied >= target).await;
    }

    /// The latest value of every telemetry key of a device, by key.
    ///
    /// # Errors
    /// The registry cannot be asked.
    pub async fn latest_values(&self, tenant: TenantId, device: DeviceId) -> Result<Values, Error> {
        self.values(tenant, device, RowKind::LatestValues).await
    }

    /// The client attributes of a device, by key.
    ///
    /// # Errors
    /// The registry cannot be asked.
    pub async fn client_attributes(&self, tenant: TenantId, device: DeviceId) -> Result<Values, Error> {
        self.values(tenant, device, RowKind::ClientAttributes).await
    }

    async fn values(&self, tenant: TenantId, device: DeviceId, kind: RowKind) -> Result<Values, Error> {
        self.catch_up().await;
        let key = Key { tenant, device };
        if let Some(values) = self.shared.rows().values(key, kind) {
            return Ok(values);
        }
        let stored = self.shared.registry.load_projection(tenant, kind, &[device]).await?;
        Ok(stored.into_iter().flatten().next().map(|packed| rows::unpack(key, &packed)).unwrap_or_default())
    }

    /// Whether a device is connected, and since when; `None` if it never was.
    ///
    /// # Errors
    /// The registry cannot be asked.
    pub async fn connectivity(&self, tenant: TenantId, device: DeviceId) -> Result<Option<Connectivity>, Error> {
        self.catch_up().await;
        if let Some(connectivity) = self.shared.rows().connectivity(Key { tenant, device }) {
            return Ok(Some(connectivity));
        }
        Ok(self.shared.registry.load_connectivity(tenant, &[device]).await?.into_iter().flatten().next())
    }

    /// Stops the consumer after a last write. To be called before the registry and the log are closed.
    pub async fn close(&self) {
        let running = locked(&self.stop).take();
        if let Some((stop, thread)) = running {
            let _ = stop.send(());
            // Joining blocks, but not for longer than a write takes.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

impl std::fmt::Debug for Projection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Projection").field("applied", &*self.shared.applied.borrow()).finish_non_exhaustive()
    }
}

impl Shared {
    fn rows(&self) -> MutexGuard<'_, Rows> {
        locked(&self.rows)
    }
}

/// Where to go on: what the registry holds, unless the log is another one or has lost that place.
async fn start_position(log: &dyn EventLog, registry: &dyn Registry) -> Result<Position, Error> {
    let Some(stored) = registry.applied_position().await? else { return Ok(log.oldest()) };
    let position = stored.parse().ok().and_then(|cursor| log.position(&cursor).ok());
    Ok(match position {
        Some(position) if position >= log.oldest() && position <= log.end() => position,
        Some(position) => {
            let (oldest, end) = (log.oldest(), log.end());
            tracing::error!(%position, %oldest, %end, "the registry stands at a position that the event log does not have; going on from the oldest");
            oldest
        }
        None => {
            tracing::warn!("the registry belongs to another event log; going on from the oldest event of this one");
            log.oldest()
        }
    })
}

/// The thread that follows the log.
struct Consumer {
    shared: Arc<Shared>,
    position: Position,
    changes: Changes,
}

impl Consumer {
    async fn replay(&mut self) -> Result<(), StartError> {
        let end = self.shared.log.end();
        while self.position < end {
            let page = self.shared.log.read(self.position, Limits::default()).await?;
            self.apply(page.items()).await?;
            self.position = page.next();
            if self.shared.rows().is_over_limit() {
                self.flush().await?;
            }
        }
        self.flush().await?;
        self.shared.applied.send_replace(self.position);
        Ok(())
    }

    async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        let mut committed = self.shared.log.committed();
        let mut changed_since: Option<Instant> = None;
        let mut listening = true;
        loop {
            committed.borrow_and_update();
            match self.shared.log.read(self.position, Limits::default()).await {
                Ok(page) if page.is_empty() => {
                    let due = changed_since.map(|since| tokio::time::Instant::from_std(since + FLUSH_AFTER));
                    tokio::select! { // every branch only waits
                        result = committed.changed() => if result.is_err() { break },
                        () = until(due) => {}
                        notice = self.changes.next(), if listening => {
                            listening = notice != Notice::Closed;
                            self.forget(&notice);
                        }
                        _ = &mut stop => break,
                    }
                }
                Ok(page) => {
                    if let Err(error) = self.apply(page.items()).await {
                        tracing::error!("the projection cannot load rows: {error}");
                        tokio::time::sleep(RETRY_AFTER).await;
                        continue;
                    }
                    self.position = page.next();
                    self.shared.applied.send_replace(self.position);
                    changed_since.get_or_insert_with(Instant::now);
                }
                Err(ReadError::Expired { oldest, .. }) => {
                    tracing::error!(from = %self.position, to = %oldest, "events were removed before they were projected");
                    self.position = oldest;
                }
                Err(error) => {
                    tracing::error!("the projection cannot read the event log: {error}");
                    tokio::time::sleep(RETRY_AFTER).await;
                }
            }
            let due = changed_since.is_some_and(|since| since.elapsed() >= FLUSH_AFTER);
            if due || self.shared.rows().is_over_limit() {
                self.try_flush().await;
                changed_since = None;
            }
        }
        self.try_flush().await;
    }

    /// Merges events into the rows, after loading those rows that are not in memory.
    async fn apply(&self, items: impl Iterator<Item = Item>) -> Result<(), Error> {
        let mut events = Vec::new();
        for item in items {
            match item {
                Item::Event { event, .. } => events.push(event),
                Item::Gap(gap) => {
                    tracing::error!(from = %gap.from, to = %gap.to, why = ?gap.why, "events are missing in the projection");
                }
            }
        }
        let missing = self.shared.rows().missing(&events);
        for (tenant, kind, devices) in missing {
            let loaded = self.shared.registry.load_projection(tenant, kind, &devices).await?;
            let mut rows = self.shared.rows();
            for (device, packed) in devices.into_iter().zip(loaded) {
                rows.load(Key { tenant, device }, kind, packed.as_deref());
            }
        }
        let mut rows = self.shared.rows();
        events.into_iter().for_each(|event| rows.apply(event));
        Ok(())
    }

    /// Writes what has changed. What cannot be written now stays changed.
    async fn try_flush(&self) {
        if let Err(error) = self.flush().await {
            tracing::error!("the projection cannot be stored: {error}");
        }
    }

    async fn flush(&self) -> Result<(), Error> {
        let mut flush = self.shared.rows().changed();
        flush.applied_position = self.shared.log.cursor(self.position).to_string();
        self.shared.registry.store_projection(flush).await?;
        self.shared.rows().written();
        self.shared.log.set_floor(self.position).await;
        Ok(())
    }

    /// A deleted device has no rows.
    fn forget(&self, notice: &Notice) {
        if let Notice::Changed(changes) = notice {
            let mut rows = self.shared.rows();
            for Change { tenant, device, kind } in changes.iter().copied() {
                if kind == ChangeKind::Deleted {
                    rows.forget(Key { tenant, device });
                }
            }
        }
    }
}

async fn until(due: Option<tokio::time::Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// A panic elsewhere cannot leave these structures half changed.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
