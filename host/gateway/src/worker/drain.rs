//! What is complete in a connection's read buffer: the unit that is decoded, committed and settled (design §1).

use std::sync::Arc;

use bytes::Bytes;
use model::{Origin, Timestamp};
use mqtt::Outcome;
use mqtt::outcome::Policy;
use mqtt::session::Ticket;
use tokio::sync::oneshot;

use crate::profile::Profile;
use crate::route::Route;

/// A drain on its way. Its connection waits and does not read.
pub(super) struct Drain {
    pub(super) origin: Arc<Origin>,
    pub(super) profile: Arc<Profile>,
    pub(super) received: Timestamp,
    pub(super) messages: Vec<Message>,
    /// Decides which outcome cuts the drain.
    pub(super) version: mqtt::Version,
    pub(super) policy: Policy,
    /// Whether answers are needed, such as the limits of a gateway (spec 12.2).
    pub(super) is_gateway: bool,
    /// Messages before this drain on which a plugin failed, in a row.
    pub(super) failures: u32,
    /// Where the settled messages go.
    pub(super) settled: oneshot::Sender<Vec<Settled>>,
}

/// A publish in a drain.
pub(super) struct Message {
    pub(super) ticket: Ticket,
    pub(super) topic: Arc<str>,
    pub(super) route: Route,
    pub(super) payload: Bytes,
}

/// What became of a message. Fewer of them than messages: the drain was cut, and the others had no effect.
#[derive(Debug)]
pub(super) struct Settled {
    /// For the log.
    pub(super) topic: Arc<str>,
    pub(super) ticket: Ticket,
    pub(super) outcome: Outcome,
    pub(super) answer: Option<Downlink>,
}

/// A message to the device that answers one of its own.
#[derive(Debug)]
pub(super) struct Downlink {
    pub(super) topic: String,
    pub(super) payload: Bytes,
}
