//! What the registry knows from devices: a projection of the event log (design §6, "From devices: log first").
//!
//! One ordered consumer reads the log, merges what it says into rows in memory, and writes changed rows to the registry
//! together with the position they stand for. After a restart it goes on from that position, so nothing is lost and
//! nothing counts twice.
//!
//! - this module: reading
//! - `consumer`: the thread that follows the log
//! - `rows`: the rows in memory and which of them events change; `values`: one row of values
//! - `meters`: what the operator sees
//!
//! A read sees everything that was acknowledged before it: it waits until the consumer has come that far, and fails if
//! the consumer cannot.

mod consumer;
mod meters;
mod rows;
mod values;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use model::{DeviceId, Stamped, TenantId};
use tokio::sync::{oneshot, watch};

use crate::log::{EventLog, Position, ReadError};
use crate::registry::{Connectivity, Error, Registry, RowKind};
use consumer::{Consumer, Progress};
use meters::Meters;
use rows::{Key, Rows};

/// What is projected, and with how much memory.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whether the latest value of every telemetry key is kept, and can be read.
    pub latest_values: bool,
    /// About how many bytes of rows are kept in memory.
    pub memory: usize,
    /// Changed rows are written when the first of them has waited for so long. Default 5 seconds.
    pub flush_after: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { latest_values: true, memory: 64 << 20, flush_after: Duration::from_secs(5) }
    }
}

/// Keys and values, by key.
pub type Values = Vec<(String, Stamped)>;

/// The projection of one log into one registry.
pub struct Projection {
    shared: Arc<Shared>,
    latest_values: bool,
    /// Ends with the consumer.
    progress: watch::Receiver<Progress>,
    stop: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

struct Shared {
    log: Arc<dyn EventLog>,
    registry: Arc<dyn Registry>,
    rows: Mutex<Rows>,
    meters: Meters,
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

/// Why nothing was read back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The registry cannot be asked.
    #[error(transparent)]
    Registry(#[from] Error),
    /// Storage is to blame: the rows are behind what was acknowledged, and cannot catch up now. It is tried again and
    /// again.
    #[error("the projection cannot go on: {0}")]
    Behind(Arc<str>),
    /// The projection was closed before it had come so far.
    #[error("the projection has ended")]
    Ended,
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
        let Settings { latest_values, memory, flush_after } = settings;
        let meters = Meters::new();
        let rows = Mutex::new(Rows::new(latest_values, memory, meters.clone()));
        let shared = Arc::new(Shared { log, registry, rows, meters });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let (applied, progress) = watch::channel(Progress { applied: from, trouble: None });
        let mut consumer = Consumer {
            changes: shared.registry.changes(),
            shared: shared.clone(),
            position: from,
            progress: applied,
            listening: true,
            flush_after,
            due: None,
        };
        consumer.replay().await?;
        let thread = thread::Builder::new()
            .name("projection".to_owned())
            .spawn(move || runtime.block_on(consumer.run(stopped)))?;
        Ok(Self { shared, latest_values, progress, stop: Mutex::new(Some((stop, thread))) })
    }

    /// Everything before this position can be read back.
    pub fn applied(&self) -> Position {
        self.progress.borrow().applied
    }

    /// Waits until everything that is in the log now is projected.
    ///
    /// # Errors
    /// That cannot be done now, or not any more.
    pub async fn catch_up(&self) -> Result<(), Unavailable> {
        let target = self.shared.log.end();
        let mut progress = self.progress.clone();
        let arrived = progress.wait_for(|it| it.applied >= target || it.trouble.is_some()).await;
        match arrived.map_err(|_| Unavailable::Ended)?.clone() {
            Progress { applied, trouble: Some(trouble) } if applied < target => Err(Unavailable::Behind(trouble)),
            _ => Ok(()),
        }
    }

    /// The latest value of every telemetry key of a device, by key; nothing if they are not kept, even if the registry has
    /// some from when they were.
    ///
    /// # Errors
    /// See [`Unavailable`].
    pub async fn latest_values(&self, tenant: TenantId, device: DeviceId) -> Result<Values, Unavailable> {
        if !self.latest_values {
            return Ok(Vec::new());
        }
        self.values(tenant, device, RowKind::LatestValues).await
    }

    /// The client attributes of a device, by key.
    ///
    /// # Errors
    /// See [`Unavailable`].
    pub async fn client_attributes(&self, tenant: TenantId, device: DeviceId) -> Result<Values, Unavailable> {
        self.values(tenant, device, RowKind::ClientAttributes).await
    }

    async fn values(&self, tenant: TenantId, device: DeviceId, kind: RowKind) -> Result<Values, Unavailable> {
        self.catch_up().await?;
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
    /// See [`Unavailable`].
    pub async fn connectivity(&self, tenant: TenantId, device: DeviceId) -> Result<Option<Connectivity>, Unavailable> {
        self.catch_up().await?;
        if let Some(connectivity) = self.shared.rows().connectivity(Key { tenant, device }) {
            return Ok(Some(connectivity));
        }
        Ok(self.shared.registry.load_connectivity(tenant, &[device]).await?.into_iter().flatten().next())
    }

    /// Stops the consumer once it has projected and written what is in the log, as far as that goes within seconds. To be
    /// called before the registry and the log are closed.
    pub async fn close(&self) {
        let running = locked(&self.stop).take();
        if let Some((stop, thread)) = running {
            let _ = stop.send(());
            // Joining blocks, but not for longer than the last work may take.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

impl std::fmt::Debug for Projection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Projection").field("applied", &self.applied()).finish_non_exhaustive()
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

/// A panic elsewhere cannot leave these structures half changed.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
