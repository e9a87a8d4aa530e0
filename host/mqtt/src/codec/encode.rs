//! Writes what a server sends, in the form of the client's version and fitted to what the client can take.

use bytes::{BufMut, BytesMut};

use super::PacketType;
use super::properties::{self, Property, PropertyId};
use crate::{Qos, ReasonCode, Version};

/// What a client said in CONNECT that decides how packets to it must look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its protocol version.
    pub version: Version,
    /// Its Maximum Packet Size: bytes of a whole packet.
    pub maximum_packet_size: u32,
    /// Its Request Problem Information: whether it wants reason strings and user properties.
    pub problem_information: bool,
}

/// A packet that was not written because the client does not take packets of this size [MQTT-3.1.2-24].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("packet of {size} bytes, at most {limit} are possible")]
pub struct TooLarge {
    /// Bytes of the whole packet.
    pub size: usize,
    /// The client's Maximum Packet Size, or what the length field of the protocol can express.
    pub limit: usize,
}

/// A message to the client.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Topic name, at most 65,535 bytes.
    pub topic: &'a str,
    /// The message itself.
    pub payload: &'a [u8],
    /// Quality of service; the host grants at most QoS 1 (spec 5.1).
    pub qos: Qos,
    /// Not 0 unless `qos` is 0.
    pub packet_id: u16,
    /// Sets the RETAIN flag.
    pub retain: bool,
    /// Sets the DUP flag.
    pub dup: bool,
    /// Written in MQTT 5.0 only.
    pub properties: &'a [Property<'a>],
}

/// The parts of a packet in the order of the wire.
struct Parts<'a> {
    first: u8,
    head: &'a [&'a [u8]],
    properties: Block<'a>,
    tail: &'a [u8],
}

/// The block of properties between head and tail.
#[derive(Clone, Copy)]
enum Block<'a> {
    /// This form of the packet has none.
    Absent,
    /// Left out with its length when no property is left.
    Optional(&'a [Property<'a>]),
    /// Always there.
    Required(&'a [Property<'a>]),
}

/// The properties that yield when a packet would be too large: first the reason string, then the user properties
/// (MQTT5 §3.4.2.2.2, §3.4.2.2.3).
const YIELDING: [&[PropertyId]; 3] =
    [&[], &[PropertyId::ReasonString], &[PropertyId::ReasonString, PropertyId::UserProperty]];

/// The largest remaining length that four bytes express (MQTT5 §2.1.4).
const MAX_REMAINING: usize = 268_435_455;

impl Peer {
    /// CONNACK. Before MQTT 5.0 a code that has no return code there becomes 3, "server unavailable".
    pub fn connack(
        &self,
        session_present: bool,
        code: ReasonCode,
        properties: &[Property<'_>],
        out: &mut BytesMut,
    ) -> Result<(), TooLarge> {
        let present = u8::from(session_present && !code.is_error());
        let (code, properties) = match self.version.is_v5() {
            true => (code.value(), Block::Required(properties)),
            false if code.is_error() => (code.v3_return_code().unwrap_or(3), Block::Absent),
            false => (0, Block::Absent),
        };
        let first = PacketType::ConnAck.first_byte();
        self.write(Parts { first, head: &[&[present, code]], properties, tail: &[] }, out)
    }

    /// PUBLISH.
    pub fn publish(&self, message: &Message<'_>, out: &mut BytesMut) -> Result<(), TooLarge> {
        let Ok(topic_length) = u16::try_from(message.topic.len()) else {
            return Err(TooLarge { size: message.topic.len(), limit: usize::from(u16::MAX) });
        };
        let flags = u8::from(message.dup) << 3 | (message.qos as u8) << 1 | u8::from(message.retain);
        let first = PacketType::Publish.first_byte() | flags;
        let topic_length = topic_length.to_be_bytes();
        let packet_id = message.packet_id.to_be_bytes();
        let packet_id: &[u8] = if message.qos == Qos::AtMostOnce { &[] } else { &packet_id };
        let head: &[&[u8]] = &[&topic_length, message.topic.as_bytes(), packet_id];
        let properties = if self.version.is_v5() { Block::Required(message.properties) } else { Block::Absent };
        // User properties are part of the message here: they do not yield, and a client without problem information
        // takes them as well [MQTT-3.1.2-29].
        self.write_without(&[], &Parts { first, head, properties, tail: message.payload }, out)
    }

    /// PUBACK, PUBREC, PUBREL or PUBCOMP. Before MQTT 5.0 it carries only the packet identifier.
    pub fn ack(
        &self,
        packet: PacketType,
        packet_id: u16,
        code: ReasonCode,
        properties: &[Property<'_>],
        out: &mut BytesMut,
    ) -> Result<(), TooLarge> {
        let first = packet.first_byte();
        let packet_id = packet_id.to_be_bytes();
        if !self.version.is_v5() || code == ReasonCode::SUCCESS && properties.is_empty() {
            return self.write(Parts { first, head: &[&packet_id], properties: Block::Absent, tail: &[] }, out);
        }
        let head: &[&[u8]] = &[&packet_id, &[code.value()]];
        self.write(Parts { first, head, properties: Block::Optional(properties), tail: &[] }, out)
    }

    /// SUBACK with one code per filter. Before MQTT 5.0 every refusal is 0x80.
    pub fn suback(
        &self,
        packet_id: u16,
        codes: &[ReasonCode],
        properties: &[Property<'_>],
        out: &mut BytesMut,
    ) -> Result<(), TooLarge> {
        let is_v5 = self.version.is_v5();
        let code = |code: &ReasonCode| match is_v5 {
            false if code.is_error() => ReasonCode::UNSPECIFIED_ERROR.value(),
            _ => code.value(),
        };
        let tail: &[u8] = &codes.iter().map(code).collect::<Vec<_>>();
        let properties = if is_v5 { Block::Required(properties) } else { Block::Absent };
        let first = PacketType::SubAck.first_byte();
        self.write(Parts { first, head: &[&packet_id.to_be_bytes()], properties, tail }, out)
    }

    /// UNSUBACK with one code per filter. Before MQTT 5.0 it carries only the packet identifier.
    pub fn unsuback(
        &self,
        packet_id: u16,
        codes: &[ReasonCode],
        properties: &[Property<'_>],
        out: &mut BytesMut,
    ) -> Result<(), TooLarge> {
        let codes: &[u8] = &codes.iter().map(|code| code.value()).collect::<Vec<_>>();
        let (properties, tail) =
            if self.version.is_v5() { (Block::Required(properties), codes) } else { (Block::Absent, &[][..]) };
        let first = PacketType::UnsubAck.first_byte();
        self.write(Parts { first, head: &[&packet_id.to_be_bytes()], properties, tail }, out)
    }

    /// PINGRESP.
    pub fn pingresp(&self, out: &mut BytesMut) -> Result<(), TooLarge> {
        let first = PacketType::PingResp.first_byte();
        self.write(Parts { first, head: &[], properties: Block::Absent, tail: &[] }, out)
    }

    /// DISCONNECT. Before MQTT 5.0 a server has none, and nothing is written.
    pub fn disconnect(
        &self,
        code: ReasonCode,
        properties: &[Property<'_>],
        out: &mut BytesMut,
    ) -> Result<(), TooLarge> {
        self.code(PacketType::Disconnect, code, properties, out)
    }

    /// AUTH. Before MQTT 5.0 there is none, and nothing is written.
    pub fn auth(&self, code: ReasonCode, properties: &[Property<'_>], out: &mut BytesMut) -> Result<(), TooLarge> {
        self.code(PacketType::Auth, code, properties, out)
    }

    fn code(
        &self,
        packet: PacketType,
        code: ReasonCode,
        properties: &[Property<'_>],
        out: &mut BytesMut,
    ) -> Result<(), TooLarge> {
        let first = packet.first_byte();
        match (self.version.is_v5(), code) {
            (false, _) => Ok(()),
            (true, ReasonCode::SUCCESS) if properties.is_empty() => {
                self.write(Parts { first, head: &[], properties: Block::Absent, tail: &[] }, out)
            }
            (true, _) => {
                let head: &[&[u8]] = &[&[code.value()]];
                self.write(Parts { first, head, properties: Block::Optional(properties), tail: &[] }, out)
            }
        }
    }

    /// Writes the packet with as many of its properties as the client takes.
    fn write(&self, parts: Parts<'_>, out: &mut BytesMut) -> Result<(), TooLarge> {
        let [everything, no_reason, neither] = YIELDING;
        if !self.problem_information {
            return self.write_without(neither, &parts, out);
        }
        self.write_without(everything, &parts, out)
            .or_else(|_| self.write_without(no_reason, &parts, out))
            .or_else(|_| self.write_without(neither, &parts, out))
    }

    /// Writes the packet without the `dropped` properties, and not at all if it is still too large.
    fn write_without(&self, dropped: &[PropertyId], parts: &Parts<'_>, out: &mut BytesMut) -> Result<(), TooLarge> {
        let (listed, required) = match parts.properties {
            Block::Absent => (&[][..], false),
            Block::Optional(listed) => (listed, false),
            Block::Required(listed) => (listed, true),
        };
        let kept = || listed.iter().filter(|p| !dropped.contains(&p.id) && p.value.is_writable());
        let block = properties::length(kept());
        let with_block = required || block > 0;
        let block_length = if with_block { variable_length(block) } else { 0 };

        let head: usize = parts.head.iter().map(|part| part.len()).sum();
        let remaining = head + block_length + block + parts.tail.len();
        let size = 1 + variable_length(remaining) + remaining;
        let limit = usize::try_from(self.maximum_packet_size).unwrap_or(usize::MAX).min(5 + MAX_REMAINING);
        if size > limit {
            return Err(TooLarge { size, limit });
        }
        out.reserve(size);
        out.put_u8(parts.first);
        put_variable(out, remaining);
        for part in parts.head {
            out.put_slice(part);
        }
        if with_block {
            put_variable(out, block);
            properties::write(kept(), out);
        }
        out.put_slice(parts.tail);
        Ok(())
    }
}

/// Bytes of a variable byte integer (MQTT5 §1.5.5).
pub(super) fn variable_length(value: usize) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}

/// Writes a variable byte integer of at most 268,435,455.
pub(super) fn put_variable(out: &mut BytesMut, mut value: usize) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}
