//! Notices of what changed, so that live sessions can be closed (spec 3.1) and other caches dropped.

use std::sync::Arc;

use model::{DeviceId, TenantId};
use tokio::sync::broadcast;

/// How many commits a listener may fall behind before it gets [`Notice::Missed`].
const CAPACITY: usize = 256;

/// A device changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Whose device it is.
    pub tenant: TenantId,
    /// The device.
    pub device: DeviceId,
    /// What happened to it.
    pub kind: ChangeKind,
}

/// What happened to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was created.
    Created,
    /// Its name, profile or gateway flag changed.
    Updated,
    /// Its credential changed: its session must be closed (spec 3.1).
    Credential,
    /// It was deleted: its session must be closed.
    Deleted,
}

/// What a listener gets to hear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// These devices changed, in this order, in one commit.
    Changed(Arc<[Change]>),
    /// The listener was too slow and missed some: everything must be checked again.
    Missed,
    /// The registry is closed; nothing will follow.
    Closed,
}

/// A listener. Hears of every change that is committed after it was made, in the order of the commits.
///
/// A look-up that began before a change may end after its notice. So whoever opens a session registers it first and
/// then looks the credential up once more, which the cache makes cheap; if it is no longer the same, the session closes.
#[derive(Debug)]
pub struct Changes(broadcast::Receiver<Arc<[Change]>>);

impl Changes {
    /// Waits for the next notice. Cancel-safe: a notice is not lost when the future is dropped.
    pub async fn next(&mut self) -> Notice {
        match self.0.recv().await {
            Ok(changes) => Notice::Changed(changes),
            Err(broadcast::error::RecvError::Lagged(_)) => Notice::Missed,
            Err(broadcast::error::RecvError::Closed) => Notice::Closed,
        }
    }
}

/// Where changes are announced. Listeners hear [`Notice::Closed`] once every clone is dropped.
#[derive(Debug, Clone)]
pub(super) struct Announcer(broadcast::Sender<Arc<[Change]>>);

/// Where listeners come from. Does not keep the announcer alive.
#[derive(Debug, Clone)]
pub(super) struct ChangeSource(broadcast::WeakSender<Arc<[Change]>>);

impl Announcer {
    pub(super) fn new() -> Self {
        Self(broadcast::Sender::new(CAPACITY))
    }

    pub(super) fn source(&self) -> ChangeSource {
        ChangeSource(self.0.downgrade())
    }

    pub(super) fn announce(&self, changes: Vec<Change>) {
        if !changes.is_empty() {
            // Nobody listening is fine.
            let _ = self.0.send(changes.into());
        }
    }
}

impl ChangeSource {
    pub(super) fn listen(&self) -> Changes {
        // Without an announcer: a listener whose announcer has just gone, too.
        Changes(self.0.upgrade().unwrap_or_else(|| broadcast::Sender::new(1)).subscribe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(device: u64) -> Change {
        Change { tenant: TenantId::DEFAULT, device: DeviceId(device), kind: ChangeKind::Updated }
    }

    #[tokio::test]
    async fn a_listener_hears_everything_or_that_it_missed_some() {
        let announcer = Announcer::new();
        let mut changes = announcer.source().listen();
        announcer.announce(vec![change(1), change(2)]);
        announcer.announce(vec![]);
        assert_eq!(changes.next().await, Notice::Changed([change(1), change(2)].into()));
        for device in 0..=CAPACITY as u64 {
            announcer.announce(vec![change(device)]);
        }
        assert_eq!(changes.next().await, Notice::Missed);
        assert_eq!(changes.next().await, Notice::Changed([change(1)].into()), "what is left comes after");

        let source = announcer.source();
        drop(announcer);
        let mut last = Notice::Missed;
        while last != Notice::Closed {
            last = changes.next().await;
        }
        assert_eq!(source.listen().next().await, Notice::Closed);
    }
}
