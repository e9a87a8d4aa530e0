//! The thread that follows the log.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::rows::{Key, Missing};
use super::{Shared, StartError};
use crate::log::{Item, Limits, Page, Position, ReadError};
use crate::registry::{Change, ChangeKind, Changes, Error, Notice};

/// Storage that fails is asked again after so long.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// What is left to do when it is told to stop may take so long. The next start does the rest.
const LAST_WORK: Duration = Duration::from_secs(10);

/// How far the consumer has come.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    /// Everything before this position is in the rows.
    pub(super) applied: Position,
    /// What keeps it from going on, if something does; it tries again and again.
    pub(super) trouble: Option<Arc<str>>,
}

/// Why the consumer cannot go on now.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("the event log cannot be read: {0}")]
    Read(#[from] ReadError),
    #[error("rows cannot be loaded: {0}")]
    Load(Error),
    #[error("rows cannot be stored, and there is no memory for more: {0}")]
    Store(Error),
}

/// Reads the log, applies it to the rows, and stores them.
pub(super) struct Consumer {
    pub(super) shared: Arc<Shared>,
    pub(super) position: Position,
    pub(super) progress: watch::Sender<Progress>,
    pub(super) changes: Changes,
    /// Whether there may be more [`Self::changes`].
    pub(super) listening: bool,
    /// How long changed rows wait until they are written.
    pub(super) flush_after: Duration,
    /// When they will be written, if there are any.
    pub(super) due: Option<Instant>,
}

impl Consumer {
    /// Projects what is in the log now.
    pub(super) async fn replay(&mut self) -> Result<(), StartError> {
        let end = self.shared.log.end();
        while self.position < end {
            let page = self.shared.log.read(self.position, Limits::default()).await?;
            self.apply(&page).await?;
            let has_room = self.shared.rows().make_room();
            if !has_room {
                self.flush().await?;
            }
        }
        Ok(self.flush().await?)
    }

    /// Follows the log until it is told to stop.
    pub(super) async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        let mut committed = self.shared.log.committed();
        loop {
            tokio::select! {
                biased;
                _ = &mut stop => break,
                // May be dropped anywhere: a page is applied whole or not at all, and what may not have been written
                // still counts as changed.
                goes_on = self.work(&mut committed) => if !goes_on { break },
            }
        }
        self.progress.send_modify(|progress| progress.trouble = None);
        match tokio::time::timeout(LAST_WORK, self.finish()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!("the next start will have to complete the projection: {error}"),
            Err(_) => tracing::error!("the next start will have to complete the projection: storage does not answer"),
        }
    }

    /// Projects and writes what is in the log, or as much of it as is possible.
    async fn finish(&mut self) -> Result<(), StartError> {
        let complete = self.replay().await;
        if complete.is_err() {
            self.flush().await?;
        }
        complete
    }

    /// Applies a page, or waits for one. `false` if there will be none.
    async fn work(&mut self, committed: &mut watch::Receiver<Position>) -> bool {
        committed.borrow_and_update();
        match self.advance().await {
            Ok(advanced) => {
                self.report(None);
                advanced || self.wait(committed).await
            }
            Err(trouble) => {
                self.report(Some(trouble.to_string()));
                tokio::time::sleep(RETRY_AFTER).await;
                true
            }
        }
    }

    /// Applies the next page; `false` if there is none. Reads nothing while there is no memory for it.
    async fn advance(&mut self) -> Result<bool, Trouble> {
        self.write_what_is_due().await?;
        let page = match self.shared.log.read(self.position, Limits::default()).await {
            Err(ReadError::Expired { oldest, .. }) => {
                tracing::error!(from = %self.position, to = %oldest, "events were removed before they were projected");
                self.moved(oldest);
                return Ok(true);
            }
            page => page?,
        };
        if page.is_empty() {
            return Ok(false);
        }
        self.apply(&page).await.map_err(Trouble::Load)?;
        self.due.get_or_insert_with(|| Instant::now() + self.flush_after);
        Ok(true)
    }

    async fn wait(&mut self, committed: &mut watch::Receiver<Position>) -> bool {
        tokio::select! { // every branch only waits
            result = committed.changed() => return result.is_ok(),
            () = until(self.due) => {}
            notice = self.changes.next(), if self.listening => {
                self.listening = notice != Notice::Closed;
                self.forget(&notice);
            }
        }
        true
    }

    /// Merges events into the rows, after loading those rows that are not in memory.
    async fn apply(&mut self, page: &Page) -> Result<(), Error> {
        let mut events = Vec::new();
        for item in page.items() {
            match item {
                Item::Event { event, .. } => events.push(event),
                Item::Gap(gap) => {
                    tracing::error!(from = %gap.from, to = %gap.to, why = ?gap.why, "events are missing in the projection");
                }
            }
        }
        let missing = self.shared.rows().missing(&events);
        self.load(missing).await?;
        // Nothing is waited for from here on, so that rows and position stay together.
        let mut rows = self.shared.rows();
        events.into_iter().for_each(|event| rows.apply(event));
        drop(rows);
        self.moved(page.next());
        Ok(())
    }

    async fn load(&self, missing: Missing) -> Result<(), Error> {
        let registry = &self.shared.registry;
        for ((tenant, kind), devices) in missing.values {
            let devices: Vec<_> = devices.into_iter().collect();
            let loaded = registry.load_projection(tenant, kind, &devices).await?;
            let mut rows = self.shared.rows();
            for (device, packed) in devices.into_iter().zip(loaded) {
                rows.load(Key { tenant, device }, kind, packed.as_deref());
            }
        }
        for (tenant, devices) in missing.connectivity {
            let devices: Vec<_> = devices.into_iter().collect();
            let loaded = registry.load_connectivity(tenant, &devices).await?;
            let mut rows = self.shared.rows();
            loaded.into_iter().flatten().for_each(|row| rows.load_connectivity(row));
        }
        Ok(())
    }

    fn moved(&mut self, to: Position) {
        self.position = to;
        self.progress.send_modify(|progress| progress.applied = to);
    }

    /// Writes what has changed if it has waited for long enough, or if memory is short.
    async fn write_what_is_due(&mut self) -> Result<(), Trouble> {
        let has_room = self.shared.rows().make_room();
        if has_room && self.due.is_none_or(|due| due > Instant::now()) {
            return Ok(());
        }
        match self.flush().await {
            Ok(()) => Ok(()),
            Err(error) if !has_room => Err(Trouble::Store(error)),
            Err(error) => {
                tracing::error!("the projection cannot be stored: {error}");
                self.due = Some(Instant::now() + RETRY_AFTER);
                Ok(())
            }
        }
    }

    /// Writes what has changed. What cannot be written stays changed.
    async fn flush(&mut self) -> Result<(), Error> {
        let mut flush = self.shared.rows().changed();
        flush.applied_position = self.shared.log.cursor(self.position).to_string();
        self.shared.registry.store_projection(flush).await?;
        self.due = None;
        {
            let mut rows = self.shared.rows();
            rows.written();
            rows.make_room();
        }
        self.shared.log.set_floor(self.position).await;
        Ok(())
    }

    /// Tells readers, the log of the gateway and its metrics what is in the way, once.
    fn report(&self, trouble: Option<String>) {
        let changed = self.progress.send_if_modified(|progress| {
            let changed = progress.trouble.as_deref() != trouble.as_deref();
            if changed {
                progress.trouble = trouble.as_deref().map(Arc::from);
            }
            changed
        });
        if changed {
            self.shared.meters.stuck.set(if trouble.is_some() { 1.0 } else { 0.0 });
            match trouble {
                Some(trouble) => tracing::error!("the projection cannot go on: {trouble}"),
                None => tracing::info!("the projection goes on"),
            }
        }
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

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
