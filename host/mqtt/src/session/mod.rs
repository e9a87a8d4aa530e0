//! One connection, from its first byte to its last, as a state machine.
//!
//! - [`settings`](Settings): what an operator sets
//! - `connect`: CONNECT and the answer to it (spec 2.1 to 2.3)
//! - `inbound`: messages from the client and what becomes of them (spec 4.2, 4.3)
//! - `outbound`: messages to the client and the window they pass (spec 6)
//! - `subscriptions`: what the client subscribed to (spec 5)
//! - `clock`: keep-alive and the other time limits (spec 2, 2.6)
//! - `close`: how a connection ends (spec 2.7)
//!
//! # How it is driven
//!
//! The caller owns the socket and two buffers. It reads bytes, takes packets out of them with
//! [`decode`](Session::decode) until there is none, and gives each to [`receive`](Session::receive), which answers what
//! the session can answer by itself and hands out a [`Request`] for the rest:
//!
//! - [`Request::Authenticate`] is answered by [`accept`](Session::accept) or [`refuse`](Session::refuse). Until then
//!   `decode` returns `None` and the client's next packets stay in the read buffer, in order (spec 2.1). They are
//!   counted there: keep reading up to [`buffer_limit`](Session::buffer_limit) and call `decode` after each read.
//! - [`Request::Publish`] is answered by [`settle`](Session::settle), in the order of the packets, when its events are
//!   on stable storage.
//!
//! Replies are appended to `out` as they arise, so a PINGRESP may stand before the PUBACK of an earlier message that is
//! not settled yet. Who minds takes only PUBLISH packets while there are such messages.
//!
//! An `Err(`[`Close`]`)` ends the connection. It has written nothing yet: settle the messages that came before, call
//! [`close`](Session::close), flush `out`, and drop the socket. The packets behind it are discarded.
//!
//! What keeps time is polled: call [`expire`](Session::expire) when [`deadline`](Session::deadline) has come.

mod clock;
mod close;
mod connect;
mod inbound;
mod outbound;
mod settings;
mod subscriptions;

use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;

pub use close::Close;
pub use connect::{Accepted, Refusal};
pub use inbound::{Inbound, Ticket, Topic};
pub use outbound::{Downlink, Sent, Undeliverable};
pub use settings::{ProfileRules, Settings};
pub use subscriptions::Push;

use crate::codec::{self, Connect, Packet, PacketType, Peer, Stage};
use crate::{Kind, ReasonCode, Version};
use clock::Clock;
use connect::Hello;
use inbound::Aliases;
use outbound::Outbound;
use subscriptions::Subscriptions;

/// The largest CONNECT, in bytes of remaining length: the limit of spec 2, also where an operator allows devices more. A
/// stranger must not fill the buffer that a device may fill.
const CONNECT_LIMIT: u32 = 65_536;

/// The longest fixed header, in bytes (MQTT5 §2.1).
const FIXED_HEADER: usize = 5;

/// One connection. See the [module](self) for how to drive it.
#[derive(Debug)]
pub struct Session {
    settings: Arc<Settings>,
    phase: Phase,
    clock: Clock,
    kind: Kind,
    rules: ProfileRules,
    /// The CONNECT asked for a session that outlives its connection.
    wanted_expiry: bool,
    /// QoS 1 messages of a v5 client that wait for [`settle`](Self::settle).
    unsettled: u16,
    aliases: Aliases,
    subscriptions: Subscriptions,
    outbound: Outbound,
}

/// How far the connection has come.
#[derive(Debug, Clone, Copy)]
enum Phase {
    /// No CONNECT yet. The version is that of a CONNECT that could not be decoded, for the answer to it.
    Opened(Option<Version>),
    /// CONNECT received, the platform is being asked.
    Answering(Hello),
    /// CONNACK with success sent.
    Established(Peer),
    /// The client said goodbye. Its messages before that are still settled.
    Leaving(Peer),
    /// The last packet was sent.
    Closed,
}

/// What the caller has to do for a packet.
#[derive(Debug)]
pub enum Request<'a> {
    /// Nothing.
    None,
    /// Ask the platform whether this client may connect, then call [`Session::accept`] or [`Session::refuse`].
    Authenticate(Box<Connect>),
    /// Process this message, then call [`Session::settle`].
    Publish(Inbound<'a>),
    /// The client took, or with an error code refused, a QoS 1 message of [`Session::send`] (spec 6).
    Acknowledged {
        /// The packet identifier that `send` returned.
        packet_id: u16,
        /// What the client says to it; always success in v3.
        code: ReasonCode,
    },
    /// The client subscribed, and was answered.
    Subscribed {
        /// The filters that it may not subscribe to, and why; for the log (spec 19).
        refused: Vec<(String, ReasonCode)>,
    },
    /// The client leaves. Settle its messages, flush `out` and close the socket.
    Disconnect {
        /// Why; always success in v3.
        code: ReasonCode,
        /// The client's own words.
        reason: Option<&'a str>,
        /// Whether its will is to be published nevertheless (MQTT5 §3.14.4).
        publish_will: bool,
    },
}

impl Session {
    /// A connection that was accepted, or whose TLS handshake ended, at `now`.
    pub fn new(settings: Arc<Settings>, now: Instant) -> Self {
        Self {
            clock: Clock::until_connect(settings.connect_timeout, now),
            settings,
            phase: Phase::Opened(None),
            kind: Kind::Device,
            rules: ProfileRules::default(),
            wanted_expiry: false,
            unsettled: 0,
            aliases: Aliases::default(),
            subscriptions: Subscriptions::default(),
            outbound: Outbound::default(),
        }
    }

    /// The packet at the start of `buffer`, and how many bytes it takes. `None`: read more, or first answer
    /// [`Request::Authenticate`]. The packet borrows from the buffer, not from the session.
    pub fn decode<'a>(&mut self, buffer: &'a [u8]) -> Result<Option<(Packet<'a>, usize)>, Close> {
        match self.phase {
            Phase::Established(peer) => {
                Ok(codec::decode(buffer, Stage::Established(peer.version), self.settings.max_packet)?)
            }
            Phase::Opened(_) => {
                let decoded = codec::decode(buffer, Stage::First, CONNECT_LIMIT.min(self.settings.max_packet));
                if decoded.is_err() {
                    self.phase = Phase::Opened(codec::announced_version(buffer));
                }
                Ok(decoded?)
            }
            Phase::Answering(hello) => {
                let queued = codec::count(buffer, hello.peer.version, self.settings.max_packet);
                if queued > usize::from(self.settings.max_inflight) {
                    return Err(Close::new(ReasonCode::QUOTA_EXCEEDED, "too many packets before CONNACK"));
                }
                Ok(None)
            }
            Phase::Leaving(_) | Phase::Closed => Ok(None),
        }
    }

    /// How many bytes the read buffer needs to hold at most for [`decode`](Self::decode) to come forward. While
    /// CONNECT is unanswered, this is where to stop reading, so that the packets queued behind it are bounded in bytes
    /// as they are in number. 0: nothing that still comes is read.
    pub fn buffer_limit(&self) -> usize {
        let limit = match self.phase {
            Phase::Opened(_) => CONNECT_LIMIT.min(self.settings.max_packet),
            Phase::Answering(_) | Phase::Established(_) => self.settings.max_packet,
            Phase::Leaving(_) | Phase::Closed => return 0,
        };
        usize::try_from(limit).unwrap_or(usize::MAX).saturating_add(FIXED_HEADER)
    }

    /// Takes a packet that [`decode`](Self::decode) returned. Replies are appended to `out`.
    pub fn receive<'a>(&mut self, packet: Packet<'a>, now: Instant, out: &mut BytesMut) -> Result<Request<'a>, Close> {
        self.clock.packet(now);
        match self.phase {
            Phase::Established(peer) => self.established(peer, packet, out),
            Phase::Opened(_) => match packet {
                Packet::Connect(connect) => self.connect(connect),
                _ => Err(Close::new(ReasonCode::PROTOCOL_ERROR, "the first packet must be CONNECT")),
            },
            // `decode` returns no packet in these phases.
            Phase::Answering(_) | Phase::Leaving(_) | Phase::Closed => Ok(Request::None),
        }
    }

    fn established<'a>(&mut self, peer: Peer, packet: Packet<'a>, out: &mut BytesMut) -> Result<Request<'a>, Close> {
        // A reply that the client cannot take is discarded, and all goes on as if it had been sent [MQTT-3.1.2-25].
        match packet {
            Packet::Publish(publish) => return self.publish(peer, publish),
            Packet::PubAck(ack) => return Ok(self.acknowledged(&ack, out)),
            Packet::PingReq => _ = peer.pingresp(out),
            Packet::Subscribe(subscribe) => {
                let refused = self.subscribe(peer, &subscribe, out);
                return Ok(Request::Subscribed { refused });
            }
            Packet::Unsubscribe(unsubscribe) => self.unsubscribe(peer, &unsubscribe, out),
            // There is no QoS 2 in either direction (spec 4.2): whatever the client means belongs to another session.
            Packet::PubRec(ack) => {
                _ = peer.ack(PacketType::PubRel, ack.packet_id, ReasonCode::PACKET_IDENTIFIER_NOT_FOUND, &[], out);
            }
            Packet::PubRel(ack) => {
                _ = peer.ack(PacketType::PubComp, ack.packet_id, ReasonCode::PACKET_IDENTIFIER_NOT_FOUND, &[], out);
            }
            Packet::PubComp(_) => {}
            Packet::Disconnect(disconnect) => {
                if disconnect.session_expiry().is_some_and(|seconds| seconds > 0) && !self.wanted_expiry {
                    // [MQTT-3.14.2-2] and MQTT5 §3.14.2.2.2
                    let problem = "DISCONNECT packet: Session Expiry Interval: it was 0 in CONNECT";
                    return Err(Close::new(ReasonCode::PROTOCOL_ERROR, problem));
                }
                self.phase = Phase::Leaving(peer);
                self.clock.stop();
                let (code, reason) = (disconnect.code, disconnect.reason());
                return Ok(Request::Disconnect { code, reason, publish_will: code != ReasonCode::SUCCESS });
            }
            Packet::Auth(_) => {
                // [MQTT-4.12.0-7]: the CONNECT named no Authentication Method, or it would have been refused.
                return Err(Close::new(ReasonCode::PROTOCOL_ERROR, "AUTH packet: CONNECT named no method"));
            }
            Packet::Connect(_) => return Err(Close::new(ReasonCode::PROTOCOL_ERROR, "second CONNECT on a connection")),
        }
        Ok(Request::None)
    }

    /// Takes over what the profile says from now on: a changed profile applies to the next message (spec 20).
    pub fn set_rules(&mut self, rules: ProfileRules) {
        self.rules = rules;
    }
}
