//! The fixed header: where a packet ends, and whether a client may send it at all.
//!
//! Everything that the first bytes give away is refused at once, before the rest of the packet has arrived. What comes
//! out is one whole packet, so that behind this module a missing byte always means a malformed packet and never
//! "read more".

use std::fmt;

use super::DecodeError;
use super::read::variable_integer;
use crate::{ReasonCode, Version};

/// The type of a packet (MQTT5 §2.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are those of the specification")]
pub enum PacketType {
    Connect = 1,
    ConnAck = 2,
    Publish = 3,
    PubAck = 4,
    PubRec = 5,
    PubRel = 6,
    PubComp = 7,
    Subscribe = 8,
    SubAck = 9,
    Unsubscribe = 10,
    UnsubAck = 11,
    PingReq = 12,
    PingResp = 13,
    Disconnect = 14,
    Auth = 15,
}

impl PacketType {
    /// From the upper half of the first byte. 0 is reserved.
    fn from_first_byte(first: u8) -> Option<Self> {
        Some(match first >> 4 {
            1 => Self::Connect,
            2 => Self::ConnAck,
            3 => Self::Publish,
            4 => Self::PubAck,
            5 => Self::PubRec,
            6 => Self::PubRel,
            7 => Self::PubComp,
            8 => Self::Subscribe,
            9 => Self::SubAck,
            10 => Self::Unsubscribe,
            11 => Self::UnsubAck,
            12 => Self::PingReq,
            13 => Self::PingResp,
            14 => Self::Disconnect,
            15 => Self::Auth,
            _ => return None,
        })
    }

    /// The first byte of such a packet: the type, and the flags that every type but PUBLISH fixes [MQTT-2.1.3-1].
    pub(super) const fn first_byte(self) -> u8 {
        let flags = match self {
            Self::PubRel | Self::Subscribe | Self::Unsubscribe => 0b0010,
            _ => 0,
        };
        (self as u8) << 4 | flags
    }
}

impl fmt::Display for PacketType {
    /// As the specification writes it: `PUBLISH`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "CONNECT",
            Self::ConnAck => "CONNACK",
            Self::Publish => "PUBLISH",
            Self::PubAck => "PUBACK",
            Self::PubRec => "PUBREC",
            Self::PubRel => "PUBREL",
            Self::PubComp => "PUBCOMP",
            Self::Subscribe => "SUBSCRIBE",
            Self::SubAck => "SUBACK",
            Self::Unsubscribe => "UNSUBSCRIBE",
            Self::UnsubAck => "UNSUBACK",
            Self::PingReq => "PINGREQ",
            Self::PingResp => "PINGRESP",
            Self::Disconnect => "DISCONNECT",
            Self::Auth => "AUTH",
        })
    }
}

/// What a client may send next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The first packet of a connection, which must be CONNECT (spec 2).
    First,
    /// Everything after it, in the version of the CONNECT. A second CONNECT is an error (spec 2.1).
    Established(Version),
}

/// One whole packet.
pub(super) struct Frame<'a> {
    pub(super) packet: PacketType,
    /// The first byte as received: type and flags.
    pub(super) first: u8,
    /// Bytes of the fixed header.
    pub(super) header: usize,
    /// What the remaining length counts.
    pub(super) body: &'a [u8],
    /// Header and body.
    pub(super) whole: &'a [u8],
}

/// The packet at the start of `buffer`. `None`: more bytes are needed. `limit` is the largest remaining length.
#[inline]
pub(super) fn split(buffer: &[u8], stage: Stage, limit: u32) -> Result<Option<Frame<'_>>, DecodeError> {
    let Some((&first, rest)) = buffer.split_first() else { return Ok(None) };
    let packet = admit(first, stage)?;
    let field = "remaining length";
    let (length, length_bytes) = match variable_integer(rest) {
        Ok(Some(length)) => length,
        Ok(None) => return Ok(None),
        Err(problem) => return Err(DecodeError::malformed(packet, field, problem)),
    };
    if length > limit {
        let error = DecodeError::protocol(packet, field, "larger than the packet limit");
        return Err(error.with_code(ReasonCode::PACKET_TOO_LARGE));
    }
    let header = 1 + length_bytes;
    let Some((whole, _)) = buffer.split_at_checked(header + length as usize) else { return Ok(None) };
    let Some(body) = whole.get(header..) else { return Ok(None) };
    Ok(Some(Frame { packet, first, header, body, whole }))
}

/// Type and flags of a packet that a client may send at this stage.
#[inline]
fn admit(first: u8, stage: Stage) -> Result<PacketType, DecodeError> {
    use PacketType::{Auth, ConnAck, Connect, PingResp, PubRel, Publish, SubAck, Subscribe, UnsubAck, Unsubscribe};

    let field = "packet type";
    let Some(packet) = PacketType::from_first_byte(first) else {
        let code = ReasonCode::MALFORMED_PACKET;
        return Err(DecodeError { code, packet: None, field, problem: "0 is reserved" });
    };
    match (packet, stage) {
        (Connect, Stage::First) => {}
        (_, Stage::First) => return Err(DecodeError::protocol(packet, field, "the first packet must be CONNECT")),
        (Connect, _) => return Err(DecodeError::protocol(packet, field, "second CONNECT on a connection")),
        (ConnAck | SubAck | UnsubAck | PingResp, _) => {
            return Err(DecodeError::protocol(packet, field, "only a server sends this"));
        }
        (Auth, Stage::Established(Version::V31 | Version::V311)) => {
            return Err(DecodeError::malformed(packet, field, "15 is reserved before MQTT 5.0"));
        }
        _ => {}
    }
    // MQTT 3.1 sets DUP when it repeats one of these.
    let ignored = match (packet, stage) {
        (Publish, _) => 0b1111,
        (PubRel | Subscribe | Unsubscribe, Stage::Established(Version::V31)) => 0b1000,
        _ => 0,
    };
    if (first ^ packet.first_byte()) & !ignored & 0b1111 != 0 {
        return Err(DecodeError::malformed(packet, "flags of the fixed header", "reserved bits are wrong"));
    }
    Ok(packet)
}
