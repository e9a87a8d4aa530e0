//! Which devices are connected, and how to reach their connections from elsewhere (spec 2.5).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use model::{DeviceId, Origin, TenantId, Timestamp};
use platform::registry::StoredCredential;
use tokio_util::sync::CancellationToken;

/// An order to a connection. The first one counts: each ends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// A time limit may have run out.
    Expire,
    /// A newer connection of the device is there (spec 2.5).
    TakenOver,
    /// Credentials or profile were changed, or the device was deleted (spec 2.7).
    Administrative(&'static str),
    /// The host stops.
    Shutdown,
}

/// How a connection is reached from any thread.
#[derive(Debug, Default)]
pub struct Control {
    order: Mutex<Option<Order>>,
    waker: AtomicWaker,
}

impl Control {
    /// Gives an order, unless one that ends the connection stands already.
    pub fn order(&self, order: Order) {
        let mut standing = locked(&self.order);
        if standing.as_ref().is_none_or(|standing| *standing == Order::Expire) {
            *standing = Some(order);
            drop(standing);
            self.waker.wake();
        }
    }

    /// The order that stands, if it is one to end. A time limit is looked at by who waits.
    pub fn order_to_end(&self) -> Option<Order> {
        locked(&self.order).take_if(|order| *order != Order::Expire)
    }

    /// For the connection's task: the order that stands.
    pub fn poll_order(&self, context: &mut Context<'_>) -> Poll<Order> {
        self.waker.register(context.waker());
        locked(&self.order).take().map_or(Poll::Pending, Poll::Ready)
    }
}

/// A device that is connected.
#[derive(Debug)]
pub struct Live {
    /// The device, as events name it.
    pub origin: Arc<Origin>,
    /// With what it authenticated; a change of it closes the session.
    pub credential: Arc<StoredCredential>,
    /// The client identifier, assigned if the client sent none.
    pub client_id: String,
    /// Where it connects from.
    pub peer: SocketAddr,
    /// `3.1`, `3.1.1` or `5.0`.
    pub protocol: &'static str,
    /// Since when.
    pub since: Timestamp,
    /// How to reach its connection.
    pub control: Arc<Control>,
    /// Cancelled once the last event of this session is in the log.
    gone: CancellationToken,
}

impl Live {
    /// A session about to begin.
    pub fn new(
        origin: Arc<Origin>,
        credential: Arc<StoredCredential>,
        client_id: String,
        peer: SocketAddr,
        protocol: &'static str,
        since: Timestamp,
        control: Arc<Control>,
    ) -> Self {
        Self { origin, credential, client_id, peer, protocol, since, control, gone: CancellationToken::new() }
    }

    fn key(&self) -> (TenantId, DeviceId) {
        (self.origin.tenant, self.origin.device)
    }
}

/// All live sessions: at most one for each device.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<HashMap<(TenantId, DeviceId), Arc<Live>>>);

/// A session that was entered. It leaves when this is dropped: whatever becomes of its connection, its successor must not
/// wait for ever.
#[derive(Debug)]
pub struct Entered {
    sessions: Arc<Sessions>,
    live: Arc<Live>,
}

impl std::ops::Deref for Entered {
    type Target = Live;

    fn deref(&self) -> &Live {
        &self.live
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.sessions.leave(&self.live);
    }
}

impl Sessions {
    /// Enters a session. The one before it, if there is one, is ordered to leave; returns when it has: then everything
    /// that it took in is settled and in the log (design §1). To be dropped when the last event of this one is there.
    pub async fn enter(self: &Arc<Self>, live: Live) -> Entered {
        let live = Arc::new(live);
        let before = locked(&self.0).insert(live.key(), live.clone());
        let entered = Entered { sessions: self.clone(), live };
        if let Some(before) = before {
            before.control.order(Order::TakenOver);
            before.gone.cancelled().await;
        }
        entered
    }

    /// Removes a session, and lets its successor go on.
    fn leave(&self, live: &Arc<Live>) {
        let mut sessions = locked(&self.0);
        if sessions.get(&live.key()).is_some_and(|current| Arc::ptr_eq(current, live)) {
            sessions.remove(&live.key());
        }
        drop(sessions);
        live.gone.cancel();
    }

    /// The session of a device.
    pub fn get(&self, tenant: TenantId, device: DeviceId) -> Option<Arc<Live>> {
        locked(&self.0).get(&(tenant, device)).cloned()
    }

    /// All sessions, in no order.
    pub fn all(&self) -> Vec<Arc<Live>> {
        locked(&self.0).values().cloned().collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        locked(&self.0).len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A panic elsewhere cannot leave these small structures half changed.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
