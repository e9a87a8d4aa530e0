//! Messages to the client, and the window they pass (spec 6).

use std::collections::VecDeque;

use bytes::BytesMut;

use super::{Phase, Request, Session};
use crate::codec::{Ack, Message, Property, PropertyId, TooLarge, Value};
use crate::{Qos, topic};

/// A message to the client.
#[derive(Debug, Clone, Copy)]
pub struct Downlink<'a> {
    /// Topic name without wildcards.
    pub topic: &'a str,
    /// The message.
    pub payload: &'a [u8],
    /// QoS 0 or 1, usually that of [`Session::qos_for`]. QoS 2 is sent as QoS 1.
    pub qos: Qos,
    /// Sets the RETAIN flag (spec 17.9).
    pub retain: bool,
}

/// A message that is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Comes back in [`Request::Acknowledged`]. `None` for QoS 0.
    pub packet_id: Option<u16>,
    /// It was not written to `out`, but waits for room in the window.
    pub waiting: bool,
}

/// Why a message to the client cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Undeliverable {
    /// The connection is not established, or no longer.
    #[error("the client is not connected")]
    NotConnected,
    /// What encoded it is at fault.
    #[error("the topic is no topic name: it is empty or too long, or contains a wildcard or U+0000")]
    InvalidTopic,
    /// The client's limit (spec 6).
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// The client does not acknowledge what it was sent.
    #[error("{waiting} messages already wait for the client to acknowledge earlier ones")]
    QueueFull {
        /// How many wait.
        waiting: usize,
    },
}

/// The window of QoS 1 messages, and the queue in front of it.
#[derive(Debug, Default)]
pub(super) struct Outbound {
    /// QoS 1 messages that may be on their way: min(client's Receive Maximum, `max_inflight`).
    window: u16,
    last_id: u16,
    /// Packet identifiers that are written and not acknowledged.
    inflight: Vec<u16>,
    /// Packets that are not written, in their order.
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    packet_id: Option<u16>,
    packet: Box<[u8]>,
}

impl Outbound {
    pub(super) fn set_window(&mut self, window: u16) {
        self.window = window;
    }

    fn has_room(&self) -> bool {
        self.inflight.len() < usize::from(self.window)
    }

    /// Whether every packet identifier may be in use.
    fn is_exhausted(&self) -> bool {
        self.inflight.len() + self.waiting.len() >= usize::from(u16::MAX)
    }

    /// An unused identifier, never 0. There must be one.
    fn unused_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            let id = self.last_id;
            if !self.inflight.contains(&id) && !self.waiting.iter().any(|waiting| waiting.packet_id == Some(id)) {
                return id;
            }
        }
    }

    /// Ends the flight of a message. False if no such message is on its way.
    fn land(&mut self, packet_id: u16) -> bool {
        let Some(index) = self.inflight.iter().position(|id| *id == packet_id) else { return false };
        self.inflight.remove(index);
        true
    }

    /// Writes what the window has room for.
    fn advance(&mut self, out: &mut BytesMut) {
        while let Some(first) = self.waiting.front() {
            if first.packet_id.is_some() && !self.has_room() {
                return;
            }
            let Some(first) = self.waiting.pop_front() else { return };
            out.extend_from_slice(&first.packet);
            self.inflight.extend(first.packet_id);
        }
    }
}

impl Session {
    /// Sends a message, or puts it in the queue in front of the window. Messages keep their order (spec 6).
    pub fn send(&mut self, downlink: Downlink<'_>, out: &mut BytesMut) -> Result<Sent, Undeliverable> {
        // A client that left may still be told what became of the messages it sent before: the same bytes must have the
        // same effects however they arrive (design §1).
        let (Phase::Established(peer) | Phase::Leaving(peer)) = self.phase else {
            return Err(Undeliverable::NotConnected);
        };
        if !topic::is_name(downlink.topic) {
            return Err(Undeliverable::InvalidTopic);
        }
        let needs_room = downlink.qos != Qos::AtMostOnce;
        let waits = !self.outbound.waiting.is_empty() || needs_room && !self.outbound.has_room();
        let waiting = self.outbound.waiting.len();
        if waits && (waiting >= usize::from(self.settings.max_waiting) || self.outbound.is_exhausted()) {
            return Err(Undeliverable::QueueFull { waiting });
        }

        let identifiers: Vec<_> = self
            .subscriptions
            .identifiers(downlink.topic)
            .map(|id| Property::new(PropertyId::SubscriptionIdentifier, Value::Variable(id.get())))
            .collect();
        let packet_id = needs_room.then(|| self.outbound.unused_id());
        let message = Message {
            topic: downlink.topic,
            payload: downlink.payload,
            qos: if needs_room { Qos::AtLeastOnce } else { Qos::AtMostOnce },
            packet_id: packet_id.unwrap_or(0),
            retain: downlink.retain,
            dup: false,
            properties: &identifiers,
        };
        if waits {
            let mut packet = BytesMut::new();
            peer.publish(&message, &mut packet)?;
            self.outbound.waiting.push_back(Waiting { packet_id, packet: Box::from(&packet[..]) });
        } else {
            peer.publish(&message, out)?;
            self.outbound.inflight.extend(packet_id);
        }
        Ok(Sent { packet_id, waiting: waits })
    }

    pub(super) fn acknowledged<'a>(&mut self, ack: &Ack<'a>, out: &mut BytesMut) -> Request<'a> {
        if !self.outbound.land(ack.packet_id) {
            // Late or made up; MQTT knows no answer to it.
            return Request::None;
        }
        self.outbound.advance(out);
        Request::Acknowledged { packet_id: ack.packet_id, code: ack.code }
    }
}
