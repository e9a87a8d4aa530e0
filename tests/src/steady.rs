//! A device that publishes numbers all the time, and knows which of them were acknowledged.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::gateway::Gateway;
use crate::raw::{Client, Connect, Packet, Publish, Version};
use crate::wait::{pause, until_true};

/// Messages that are on their way at once, always.
const WINDOW: usize = 16;
/// It does not ask for all that the machine can do; others are to be looked at.
const PACE: Duration = Duration::from_millis(2);

/// A device on a thread of its own that publishes `{"n":0}`, `{"n":1}` and so on, with QoS 1.
pub struct Steady {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    thread: JoinHandle<Published>,
}

/// What a [`Steady`] device did.
#[derive(Debug)]
pub struct Published {
    /// All numbers below this were published …
    pub sent: u64,
    /// … and all below this were acknowledged, in order.
    pub acknowledged: u64,
    /// Whether the connection ended before the device wanted it to.
    pub lost: bool,
}

impl Steady {
    /// Starts with number 0.
    pub fn start(gateway: &Gateway, token: &str) -> Self {
        Self::start_at(gateway.address(), token, 0)
    }

    /// Starts with this number.
    pub fn start_at(address: SocketAddr, token: &str, first: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(AtomicU64::new(first));
        let connect = Connect::new(Version::V5).user(token);
        let thread = std::thread::spawn({
            let (stop, acknowledged) = (stop.clone(), acknowledged.clone());
            move || publish(address, &connect, first, &stop, &acknowledged)
        });
        Self { stop, acknowledged, thread }
    }

    /// How far it has come.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// Waits until so many more were acknowledged.
    #[track_caller]
    pub fn advance(&self, more: u64) {
        let goal = self.acknowledged() + more;
        until_true("the steady device to be acknowledged", || {
            assert!(!self.thread.is_finished(), "the steady device lost its connection");
            self.acknowledged() >= goal
        });
    }

    /// Ends it.
    ///
    /// # Panics
    /// What was said to it was not what a device that does nothing wrong is told.
    pub fn stop(self) -> Published {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }

    /// Ends it, and makes sure that it was served as if nobody else were there: each of its messages was acknowledged, and
    /// is in the log once and in its place.
    #[track_caller]
    pub fn stop_unharmed(self, gateway: &Gateway, device: &str) {
        let Published { sent, acknowledged, lost } = self.stop();
        assert!(!lost && sent == acknowledged && sent > 0, "sent {sent}, acknowledged {acknowledged}, lost: {lost}");
        let stored = gateway.numbers(device);
        assert_eq!(stored, (0..sent).collect::<Vec<_>>(), "the log of {device}");
    }
}

fn publish(
    address: SocketAddr,
    connect: &Connect,
    first: u64,
    stop: &AtomicBool,
    acknowledged: &AtomicU64,
) -> Published {
    let mut client = Client::open_at(address, Version::V5);
    client.greet(connect);
    let id = |number: u64| u16::try_from(number % 60_000).unwrap() + 1;
    let mut inflight = VecDeque::new();
    let mut next = first;
    let lost = loop {
        while inflight.len() < WINDOW && !stop.load(Ordering::SeqCst) {
            let packet = Publish::new("v1/devices/me/telemetry", format!("{{\"n\":{next}}}")).id(id(next));
            if client.try_send(&packet.bytes(Version::V5)).is_err() {
                break;
            }
            inflight.push_back(next);
            next += 1;
        }
        let Some(oldest) = inflight.pop_front() else { break false };
        match client.next_or_close() {
            // In the order of the publishes they answer (spec 4.2).
            Packet::PubAck { id: answered, code: 0, .. } if answered == id(oldest) => {
                acknowledged.store(oldest + 1, Ordering::SeqCst);
                pause(PACE);
            }
            Packet::Close => break true,
            Packet::Disconnect { code: 0x8b, .. } => break true,
            other => panic!("PUBACK of {} with success expected, got {other:?}", id(oldest)),
        }
    };
    Published { sent: next, acknowledged: acknowledged.load(Ordering::SeqCst), lost }
}
