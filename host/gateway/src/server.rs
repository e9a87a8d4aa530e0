//! A gateway from start to stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use model::{Body, Origin, event};
use platform::log::{self, EventLog, SegmentLog};
use platform::projection::{self, Projection};
use platform::registry::{self, ChangeKind, DeviceKey, MAX_PAGE, Notice, Registry, Sqlite};
use plugins::{Engine, EngineSettings};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::admin;
use crate::config::Settings;
use crate::config::settings::Switch;
use crate::gateway::{self, Gateway};
use crate::listen;
use crate::profile::build::Builder;
use crate::profile::reload;
use crate::sessions::Order;
use crate::worker::Worker;

/// A gateway that runs.
pub struct Server {
    /// What its parts share.
    pub gateway: Arc<Gateway>,
    /// What is projected from its events.
    pub projection: Arc<Projection>,
    /// Where devices connect.
    pub address: SocketAddr,
    /// Where the admin API listens.
    pub admin_address: SocketAddr,
    workers: Vec<Worker>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Server {
    /// Opens the storage in the data folder, builds the profiles, and serves. `progress` is told what takes long.
    ///
    /// # Errors
    /// Whatever keeps it from serving, with the file or address at fault.
    pub async fn start(
        settings: Settings,
        stop: CancellationToken,
        progress: impl Fn(&str) + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        platform::folder::create(&settings.data).with_context(|| format!("data folder {}", settings.data.display()))?;
        // Whoever counts asks for its counters when it is made, and what it asks for before this counts nothing.
        admin::metrics::install();
        // What may fail for a silly reason comes first.
        let listener = listen::bind(settings.bind).with_context(|| format!("bind = {}", settings.bind))?;
        let admin_listener = TcpListener::bind(settings.admin.bind)
            .await
            .with_context(|| format!("admin.bind = {}", settings.admin.bind))?;
        let wanted = settings.event_log_settings();
        let log: Arc<dyn EventLog> = Arc::new(tokio::task::spawn_blocking(move || SegmentLog::open(wanted)).await??);
        let registry: Arc<dyn Registry> = Arc::new(Sqlite::open(&settings.data, &registry::Settings::default()).await?);
        Self::start_with(settings, registry, log, listener, admin_listener, stop, progress).await
    }

    /// The same on storage and sockets that are open already.
    ///
    /// # Errors
    /// The profiles cannot be built, or there are no threads.
    pub async fn start_with(
        settings: Settings,
        registry: Arc<dyn Registry>,
        log: Arc<dyn EventLog>,
        listener: TcpListener,
        admin_listener: TcpListener,
        stop: CancellationToken,
        progress: impl Fn(&str) + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let metrics = admin::metrics::install();
        let engine = Engine::new(&EngineSettings {
            workers: settings.worker_threads(),
            cache: Some(settings.data.join("compiled-plugins")),
        })?;
        let profiles = reload::start(Builder::new(engine, &settings), stop.clone(), progress).await?;
        let projected = projection::Settings {
            latest_values: settings.latest_values == Switch::On,
            ..projection::Settings::default()
        };
        let projection = Arc::new(Projection::start(log.clone(), registry.clone(), projected).await?);
        let gateway = Gateway::new(settings, registry, log, profiles, stop);
        let address = listener.local_addr()?;
        let admin_address = admin_listener.local_addr()?;
        let token = admin::token::load(&gateway.settings.data, admin_address)?;
        // Before anything is appended: a log without room says so here, and a reader that holds it can move on.
        let api =
            tokio::spawn(admin::serve(gateway.clone(), projection.clone(), metrics.clone(), token, admin_listener));
        end_lost_sessions(&*gateway.registry, &*gateway.log).await?;

        let threads = gateway.settings.worker_threads();
        let workers = (0..threads).map(|index| Worker::start(gateway.clone(), index)).collect::<Result<Vec<_>, _>>()?;
        let inboxes = workers.iter().map(|worker| worker.inbox.clone()).collect();
        let tasks = vec![
            tokio::spawn(admin::metrics::upkeep(metrics.clone())),
            tokio::spawn(listen::accept(gateway.clone(), listener, inboxes)),
            tokio::spawn(close_changed_sessions(gateway.clone())),
            tokio::spawn(stop_on_failed_log(gateway.clone())),
            api,
        ];
        tracing::info!(%address, admin = %admin_address, workers = threads, "serving");
        Ok(Self { gateway, projection, address, admin_address, workers, tasks })
    }

    /// Waits until the gateway is to stop, then ends in order: no new connections, what is under way is finished, clients
    /// are told, storage is closed.
    ///
    /// # Errors
    /// The event log had failed, so what it took in last may be incomplete.
    pub async fn run(self) -> anyhow::Result<()> {
        let Self { gateway, projection, workers, tasks, .. } = self;
        gateway.stop.cancelled().await;
        tracing::info!("stopping");
        admin::token::forget_address(&gateway.settings.data);
        let patience = tokio::spawn(give_up_waiting(gateway.log.clone()));
        tokio::task::spawn_blocking(move || workers.into_iter().for_each(Worker::join)).await?;
        patience.abort();
        projection.close().await;
        let failed = match &*gateway.log.state().borrow() {
            log::State::Failed(reason) => Some(reason.clone()),
            _ => None,
        };
        gateway.log.close().await;
        gateway.registry.close().await;
        for task in tasks {
            // Requests of the admin API that wait for events would wait for ever.
            task.abort();
        }
        tracing::info!("stopped");
        failed.map_or(Ok(()), |reason| Err(anyhow::anyhow!("the event log has failed: {reason}")))
    }
}

/// Connections that were open when an earlier run died ended with it, but nobody said so (design §6). Nobody is served
/// before this has ended, so each page costs one look-up for each tenant and one commit.
async fn end_lost_sessions(registry: &dyn Registry, log: &dyn EventLog) -> anyhow::Result<()> {
    let mut after = None;
    loop {
        let lost = registry.connected_in_other_runs(log.boot(), after, MAX_PAGE).await?;
        let Some(last) = lost.last() else { return Ok(()) };
        after = Some((last.tenant, last.device));
        let mut batch = log.batch();
        // They are ordered by tenant.
        for rows in lost.chunk_by(|a, b| a.tenant == b.tenant) {
            let Some(tenant) = rows.first().map(|row| row.tenant) else { continue };
            let keys: Vec<_> = rows.iter().map(|row| DeviceKey::Id(row.device)).collect();
            for device in registry.devices(tenant, &keys).await?.into_iter().flatten() {
                let origin = Origin { tenant, device: device.id, name: device.name, profile: device.profile };
                let body = Body::Disconnected(event::Disconnected {
                    cause: "gateway-restarted".to_owned(),
                    detail: "the gateway stopped without closing this connection".to_owned(),
                });
                batch.message().event(&Arc::new(origin), gateway::now(), None, body);
            }
        }
        let messages = batch.messages();
        let appended = log.append(batch.finish()).await?;
        (0..messages).try_for_each(|message| appended.result(message).map_err(|it| anyhow::anyhow!("{it}")))?;
        if lost.len() < MAX_PAGE {
            return Ok(());
        }
    }
}

/// Closes sessions whose device was changed in a way that a live session cannot follow (spec 2.7, 3.1).
async fn close_changed_sessions(gateway: Arc<Gateway>) {
    let mut changes = gateway.registry.changes();
    loop {
        match changes.next().await {
            Notice::Changed(changes) => {
                for change in changes.iter() {
                    let Some(live) = gateway.sessions.get(change.tenant, change.device) else { continue };
                    match change.kind {
                        ChangeKind::Created => {}
                        ChangeKind::Deleted => live.control.order(Order::Administrative("the device was deleted")),
                        // Whoever has connected since may have done so with what is valid now.
                        ChangeKind::Credential | ChangeKind::Updated => check(&gateway, &live).await,
                    }
                }
            }
            Notice::Missed => {
                for live in gateway.sessions.all() {
                    check(&gateway, &live).await;
                }
            }
            Notice::Closed => return,
        }
    }
}

/// Closes a session that the registry no longer describes as it is. The gateway flag waits for the next CONNECT
/// (spec 3.5).
async fn check(gateway: &Gateway, live: &crate::sessions::Live) {
    const CHANGED: &str = "the device or its credentials were changed";
    let origin = &live.origin;
    match gateway.registry.device_credentials(origin.tenant, &[origin.device]).await {
        Ok(found) => {
            let same = found.into_iter().flatten().next().is_some_and(|found| {
                found.credential == live.credential.credential
                    && (&found.device.name, &found.device.profile) == (&origin.name, &origin.profile)
            });
            if !same {
                live.control.order(Order::Administrative(CHANGED));
            }
        }
        Err(error) => {
            // Nobody will ask again, so the device has to: it is authenticated anew when it comes back.
            tracing::error!(device = origin.name, "a change of this device could not be checked: {error}");
            live.control.order(Order::Administrative(CHANGED));
        }
    }
}

/// Whoever stops does not wait for space: what waits for it is neither stored nor acknowledged.
async fn give_up_waiting(log: Arc<dyn EventLog>) {
    let mut state = log.state();
    let waits = state.wait_for(|state| matches!(state, log::State::Waiting(_))).await.is_ok();
    if waits {
        tracing::warn!("stopping without space in the event log: messages that wait for it are not acknowledged");
        log.close().await;
    }
}

/// A log that has failed takes nothing until a restart, so there is no point in going on.
async fn stop_on_failed_log(gateway: Arc<Gateway>) {
    let mut state = gateway.log.state();
    // It may have failed before anybody looked.
    let reason = match state.wait_for(|state| matches!(state, log::State::Failed(_))).await.as_deref() {
        Ok(log::State::Failed(reason)) => reason.clone(),
        _ => return,
    };
    tracing::error!("the event log has failed, stopping: {reason}");
    // What is under way gets its error first.
    tokio::time::sleep(Duration::from_millis(100)).await;
    gateway.stop.cancel();
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{TenantId, Timestamp};
    use platform::log::{Item, Limits, MemoryLog, Position};
    use platform::registry::{Connectivity, Flush, Memory, NewDevice};

    #[tokio::test]
    async fn lost_sessions_are_ended_a_page_at_a_time() {
        let (registry, log) = (Memory::new(), MemoryLog::new());
        let device = |number| NewDevice {
            name: format!("device {number}"),
            profile: "default".to_owned(),
            gateway: false,
            credential: None,
            created: Timestamp(0),
        };
        let created = registry.create_devices(TenantId::DEFAULT, (0..1500).map(device).collect()).await;
        let connected = created.into_iter().map(|created| Connectivity {
            tenant: TenantId::DEFAULT,
            device: created.unwrap().device.id,
            connected: true,
            boot: log.boot() + 7,
            client_id: "c".to_owned(),
            since: Timestamp(1),
            last_change: Timestamp(1),
        });
        let flush = Flush { connectivity: connected.collect(), ..Flush::default() };
        registry.store_projection(flush).await.unwrap();

        // Each commit can be seen.
        log.delay(Duration::from_millis(5));
        let mut committed = log.committed();
        let commits = tokio::spawn(async move {
            let mut ends = Vec::new();
            while ends.last() != Some(&Position(1500)) {
                committed.changed().await.unwrap();
                ends.push(*committed.borrow_and_update());
            }
            ends
        });
        end_lost_sessions(&registry, &log).await.unwrap();
        assert_eq!(commits.await.unwrap(), [Position(1000), Position(1500)]);

        let page = log.read(Position(1499), Limits::default()).await.unwrap();
        let last = page.items().next();
        assert!(
            matches!(&last, Some(Item::Event { event, .. }) if event.origin.name == "device 1499"
                && matches!(&event.body, Body::Disconnected(left) if left.cause == "gateway-restarted")),
            "{last:?}"
        );
    }
}
