//! What the fuzz target does with an input, and what must hold whatever the input is.
//!
//! The same function runs under libFuzzer (`fuzz/`) and, over a corpus and for a moment, in the ordinary tests.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tidegate_mqtt::codec::{self, Packet, Peer, PropertyId, Stage};
use tidegate_mqtt::outcome::{Outcome, Situation};
use tidegate_mqtt::session::{Accepted, Downlink, ProfileRules, Push, Ticket};
use tidegate_mqtt::{Close, Kind, Qos, Request, Session, Settings, Version};

/// Reads the input as packets of a client and as the stream of a whole connection. The first two bytes choose the
/// circumstances, the others are what the client sends. Panics if something does not hold.
pub(crate) fn run(input: &[u8]) {
    let [stage, circumstances, bytes @ ..] = input else { return };
    let stage = match stage % 4 {
        0 => Stage::First,
        1 => Stage::Established(Version::V31),
        2 => Stage::Established(Version::V311),
        _ => Stage::Established(Version::V5),
    };
    packets(stage, bytes);
    Connection::new(stage, *circumstances).run(bytes);
}

/// Decodes one packet after the other.
fn packets(stage: Stage, mut bytes: &[u8]) {
    const LIMIT: u32 = 4096;
    loop {
        let (packet, used) = match codec::decode(bytes, stage, LIMIT) {
            Ok(None) => return,
            Err(error) => {
                assert!(error.code.is_error(), "{error}");
                assert!(!error.to_string().is_empty());
                return;
            }
            Ok(Some(decoded)) => decoded,
        };
        let (whole, rest) = bytes.split_at(used);
        assert!(used >= 2 && used <= LIMIT as usize + 5);
        // A packet is there when its last byte is there, and not before.
        assert!(matches!(codec::decode(&whole[..used - 1], stage, LIMIT), Ok(None)));
        check(&packet, stage);
        bytes = rest;
    }
}

/// What is promised of a packet that was accepted.
fn check(packet: &Packet<'_>, stage: Stage) {
    match packet {
        Packet::Publish(publish) => {
            assert!(publish.topic.is_empty() && publish.alias > 0 || tidegate_mqtt::topic::is_name(publish.topic));
            assert_eq!(publish.packet_id == 0, publish.qos == Qos::AtMostOnce);
            // What is read can be written, and read again.
            let Stage::Established(version) = stage else { panic!("PUBLISH is no first packet") };
            let properties: Vec<_> = publish.properties.iter().collect();
            let message = codec::Message {
                topic: publish.topic,
                payload: publish.payload,
                qos: publish.qos,
                packet_id: publish.packet_id,
                retain: publish.retain,
                dup: publish.dup,
                properties: &properties,
            };
            let peer = Peer { version, maximum_packet_size: u32::MAX, problem_information: false };
            let mut out = BytesMut::new();
            peer.publish(&message, &mut out).expect("what was read fits");
            let again = codec::decode(&out, stage, 2 * out.len() as u32).expect("what was written is right");
            let Some((Packet::Publish(again), _)) = again else { panic!("a whole PUBLISH was written") };
            assert_eq!((publish.topic, publish.payload, publish.alias), (again.topic, again.payload, again.alias));
            assert_eq!(properties, again.properties.iter().collect::<Vec<_>>());
        }
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            assert_ne!(ack.packet_id, 0);
            assert_eq!(
                ack.properties.has(PropertyId::ReasonString),
                ack.properties.get(PropertyId::ReasonString).is_some()
            );
        }
        Packet::Subscribe(subscribe) => {
            assert_ne!(subscribe.packet_id, 0);
            assert!((1..=codec::MAX_FILTERS).contains(&subscribe.filters.len()));
        }
        Packet::Unsubscribe(unsubscribe) => {
            assert_ne!(unsubscribe.packet_id, 0);
            assert!((1..=codec::MAX_FILTERS).contains(&unsubscribe.filters.len()));
        }
        Packet::Connect(connect) => {
            assert!(connect.receive_maximum > 0 && connect.maximum_packet_size > 0);
            assert!(connect.will.as_ref().is_none_or(|will| tidegate_mqtt::topic::is_name(&will.topic)));
        }
        Packet::Disconnect(disconnect) => assert!(disconnect.reason().is_none_or(|reason| !reason.contains('\0'))),
        Packet::Auth(auth) => drop(auth.properties.iter().count()),
        Packet::PingReq => {}
    }
}

/// A connection to which the input happens.
struct Connection {
    session: Session,
    now: Instant,
    out: BytesMut,
    tickets: Vec<Ticket>,
    /// Bits that say how the host behaves.
    circumstances: u8,
}

impl Connection {
    /// A connection at this stage. All limits are small, so that they are reached.
    fn new(stage: Stage, circumstances: u8) -> Self {
        let settings = Settings {
            max_packet: 4096,
            max_inflight: 3,
            max_waiting: 2,
            max_subscriptions: 4,
            close_v3_qos2: circumstances & 1 != 0,
            ack_v3_invalid_topic: circumstances & 2 != 0,
            detailed_auth_codes: true,
            ..Settings::default()
        };
        let now = Instant::now();
        let session = Session::new(Arc::new(settings), now);
        let mut connection = Self { session, now, out: BytesMut::new(), tickets: Vec::new(), circumstances };
        let connect: &[u8] = match stage {
            Stage::First => &[],
            Stage::Established(Version::V31) => b"\x10\x0f\x00\x06MQIsdp\x03\x02\x00\x00\x00\x01a",
            Stage::Established(Version::V311) => b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01a",
            // Receive Maximum 2, Maximum Packet Size 64
            Stage::Established(Version::V5) => {
                b"\x10\x16\x00\x04MQTT\x05\x02\x00\x00\x08\x21\x00\x02\x27\x00\x00\x00\x40\x00\x01a"
            }
        };
        assert_eq!(connection.drain(connect), Ok(connect.len()));
        connection
    }

    /// The input arrives in pieces.
    fn run(mut self, bytes: &[u8]) {
        let piece = 1 + usize::from(self.circumstances >> 4) * 7;
        let mut unread = Vec::new();
        for bytes in bytes.chunks(piece) {
            unread.extend_from_slice(bytes);
            self.now += Duration::from_secs(1);
            let result = self.drain(&unread).and_then(|taken| {
                unread.drain(..taken);
                self.settle_all()?;
                self.session.expire(self.now)
            });
            self.send();
            if let Err(close) = result {
                return self.end(&close);
            }
        }
        let close = Close::new(tidegate_mqtt::ReasonCode::SERVER_SHUTTING_DOWN, "end of input");
        self.end(&close);
    }

    /// Takes the packets that are there whole, and says how many bytes they take.
    fn drain(&mut self, unread: &[u8]) -> Result<usize, Close> {
        let mut taken = 0;
        while let Some((packet, used)) = self.session.decode(&unread[taken..])? {
            taken += used;
            match self.session.receive(packet, self.now, &mut self.out)? {
                Request::Authenticate(connect) => self.answer(&connect.client_id)?,
                Request::Publish(message) => {
                    assert!(tidegate_mqtt::topic::is_name(&message.topic));
                    self.tickets.push(message.ticket);
                }
                Request::Acknowledged { packet_id, .. } => assert_ne!(packet_id, 0),
                Request::None | Request::Subscribed { .. } | Request::Disconnect { .. } => {}
            }
        }
        Ok(taken)
    }

    fn answer(&mut self, client_id: &str) -> Result<(), Close> {
        let kind = match self.circumstances & 0b1100 {
            0b0000 => Kind::Device,
            0b0100 => Kind::Gateway,
            0b1000 => Kind::Handled { gateway: true },
            _ => Kind::Provision,
        };
        let rules = ProfileRules { ack_on_error: self.circumstances & 4 != 0, attributes_filter: None };
        let client_id = if client_id.is_empty() { "assigned" } else { client_id };
        self.session.accept(Accepted { kind, rules, client_id }, self.now, &mut self.out)
    }

    /// Every message has another outcome.
    fn settle_all(&mut self) -> Result<(), Close> {
        for ticket in std::mem::take(&mut self.tickets) {
            let situation = match self.out.len() % 8 {
                0 => Situation::InvalidPayload,
                1 => Situation::InvalidTopic,
                2 => Situation::NotAGateway,
                3 => Situation::ConverterFailed,
                4 if self.circumstances & 8 != 0 => Situation::ProcessingFailed,
                _ => Situation::Success,
            };
            self.session.settle(ticket, &Outcome::new(situation, "what was wrong"), &mut self.out)?;
        }
        Ok(())
    }

    fn send(&mut self) {
        let topic = self.session.push_topic(Push::Rpc).unwrap_or("v2/a/res/1").replace('+', "7");
        let qos = self.session.qos_for(&topic);
        let downlink = Downlink { topic: &topic, payload: b"payload", qos, retain: false };
        // Refused when the window and the queue are full, or nobody is connected.
        _ = self.session.send(downlink, &mut self.out);
    }

    /// After the last word there is none.
    fn end(mut self, close: &Close) {
        self.session.close(close, &mut self.out);
        let sent = self.out.len();
        for ticket in self.tickets {
            self.session.settle(ticket, &Outcome::SUCCESS, &mut self.out).expect("the connection is closed already");
        }
        self.session.close(close, &mut self.out);
        assert!(self.session.decode(b"\xc0\x00").expect("nothing is read").is_none());
        assert_eq!(self.session.deadline(), None);
        assert_eq!(self.out.len(), sent);
        whole_packets(&self.out);
    }
}

/// What was sent is a sequence of whole packets of a server.
fn whole_packets(mut sent: &[u8]) {
    while let [first, rest @ ..] = sent {
        assert!(matches!(first >> 4, 2 | 3 | 4 | 6 | 7 | 9 | 11 | 13 | 14), "{first:#04x}");
        let mut length = 0;
        let mut bytes = 0;
        loop {
            let byte = rest[bytes];
            length |= usize::from(byte & 0x7f) << (7 * bytes);
            bytes += 1;
            if byte & 0x80 == 0 {
                break;
            }
        }
        sent = &rest[bytes + length..];
    }
}
