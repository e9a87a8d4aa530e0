//! Messages from the client, and what it is told about them (spec 4.2, 4.3).

use std::ops::Deref;
use std::sync::Arc;

use bytes::BytesMut;

use super::close::reason_string;
use super::connect::TOPIC_ALIAS_MAXIMUM;
use super::{Close, Phase, Request, Session};
use crate::codec::{PacketType, Peer, Publish};
use crate::outcome::{Outcome, Policy, Then, react};
use crate::{Qos, ReasonCode};

/// A message from the client.
#[derive(Debug)]
pub struct Inbound<'a> {
    /// Where it was published.
    pub topic: Topic<'a>,
    /// The message, in the read buffer.
    pub payload: &'a [u8],
    /// For [`Session::settle`].
    pub ticket: Ticket,
}

/// A topic name without wildcards, not empty.
#[derive(Debug, Clone)]
pub enum Topic<'a> {
    /// It stands in the read buffer.
    Named(&'a str),
    /// A topic alias of v5 stood for it.
    Aliased(Arc<str>),
}

impl Deref for Topic<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Named(topic) => topic,
            Self::Aliased(topic) => topic,
        }
    }
}

/// What the session has to know of a message to settle it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a message that is not settled is never acknowledged"]
pub struct Ticket {
    qos: Qos,
    /// 0 for QoS 0.
    packet_id: u16,
}

impl Ticket {
    /// With which quality of service it was sent.
    pub fn qos(self) -> Qos {
        self.qos
    }

    /// Whether the client waits for an answer.
    pub fn wants_answer(self) -> bool {
        self.qos != Qos::AtMostOnce
    }
}

/// The topic aliases that the client has set; nothing until it sets one.
#[derive(Debug, Default)]
pub(super) struct Aliases(Option<Box<[Option<Arc<str>>; TOPIC_ALIAS_MAXIMUM as usize]>>);

impl Aliases {
    /// The topic of a message with an alias (MQTT5 §3.3.2.3.4).
    fn resolve<'a>(&mut self, alias: u16, topic: &'a str) -> Result<Topic<'a>, Close> {
        let aliases = self.0.get_or_insert_default();
        // The decoder refuses alias 0.
        let Some(entry) = aliases.get_mut(usize::from(alias).wrapping_sub(1)) else {
            let reason = format!("topic alias {alias}: the highest is {TOPIC_ALIAS_MAXIMUM}");
            return Err(Close::new(ReasonCode::TOPIC_ALIAS_INVALID, reason));
        };
        if topic.is_empty() {
            return match entry {
                Some(topic) => Ok(Topic::Aliased(Arc::clone(topic))),
                None => {
                    Err(Close::new(ReasonCode::PROTOCOL_ERROR, format!("topic alias {alias}: stands for no topic")))
                }
            };
        }
        if entry.as_deref() != Some(topic) {
            *entry = Some(topic.into());
        }
        Ok(Topic::Named(topic))
    }
}

impl Session {
    pub(super) fn publish<'a>(&mut self, peer: Peer, publish: Publish<'a>) -> Result<Request<'a>, Close> {
        let is_v5 = peer.version.is_v5();
        if publish.qos == Qos::ExactlyOnce && (is_v5 || self.settings.close_v3_qos2) {
            return Err(Close::new(ReasonCode::QOS_NOT_SUPPORTED, "QoS 2: the maximum is 1"));
        }
        let topic = match publish.alias {
            0 => Topic::Named(publish.topic),
            alias => self.aliases.resolve(alias, publish.topic)?,
        };
        // v3 has no Receive Maximum: there the caller bounds how much it takes at once.
        if is_v5 && publish.qos != Qos::AtMostOnce {
            if self.unsettled >= self.settings.max_inflight.max(1) {
                let reason = format!("more than {} messages without PUBACK", self.unsettled);
                return Err(Close::new(ReasonCode::RECEIVE_MAXIMUM_EXCEEDED, reason));
            }
            self.unsettled += 1;
        }
        let ticket = Ticket { qos: publish.qos, packet_id: publish.packet_id };
        Ok(Request::Publish(Inbound { topic, payload: publish.payload, ticket }))
    }

    /// Tells the client what became of a message (spec 4.3). To be called once per [`Request::Publish`], in their order,
    /// for a success not before every event of it is on stable storage.
    ///
    /// After an error the messages behind this one are discarded: they are not settled, and must not have had any effect.
    pub fn settle(&mut self, ticket: Ticket, outcome: &Outcome, out: &mut BytesMut) -> Result<(), Close> {
        let (Phase::Established(peer) | Phase::Leaving(peer)) = self.phase else { return Ok(()) };
        if ticket.wants_answer() {
            self.unsettled = self.unsettled.saturating_sub(1);
        }
        let policy =
            Policy { ack_on_error: self.rules.ack_on_error, ack_invalid_topic: self.settings.ack_v3_invalid_topic };
        let reaction = react(outcome.situation, peer.version, ticket.qos, policy);
        if let Some(code) = reaction.puback {
            let reason = reason_string(code, &outcome.reason);
            // A PUBACK that the client cannot take is discarded [MQTT-3.1.2-25].
            _ = peer.ack(PacketType::PubAck, ticket.packet_id, code, reason.as_slice(), out);
        }
        match reaction.then {
            Then::StayOpen => Ok(()),
            Then::Close(code) => {
                // If the client has said goodbye meanwhile, that came behind this message and does not count.
                self.phase = Phase::Established(peer);
                Err(Close { code, reason: outcome.reason.clone() })
            }
        }
    }
}
