//! Bytes ↔ packets, limits and rules checked while reading.
//!
//! - `frame`: fixed header, packet limit, which packets a client may send
//! - `publish`: PUBLISH and PUBACK, the hot path, borrowed from the read buffer
//! - `connect`, `subscribe`, `disconnect`: the other packets of a client
//! - `properties`: the properties of MQTT 5.0, one table
//! - `rare`: mqttbytes, behind the checks of all the others
//! - `encode`: the packets of a server
//! - `error`: what was wrong, in which field of which packet

mod connect;
mod disconnect;
mod encode;
mod error;
mod frame;
mod properties;
mod publish;
mod rare;
mod read;
mod subscribe;

pub use connect::{Connect, Will};
pub use disconnect::{Auth, Disconnect};
pub use encode::{Message, Peer, TooLarge};
pub use error::DecodeError;
pub use frame::{PacketType, Stage};
pub use properties::{Properties, Property, PropertyId, Value};
pub use publish::{Ack, Publish};
pub use subscribe::{MAX_FILTERS, Subscribe, Unsubscribe};

pub(crate) use connect::announced_version;

use crate::Version;

/// A packet from a client. `'a` is the read buffer.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the names are those of the specification")]
pub enum Packet<'a> {
    Connect(Box<Connect>),
    Publish(Publish<'a>),
    PubAck(Ack<'a>),
    PubRec(Ack<'a>),
    PubRel(Ack<'a>),
    PubComp(Ack<'a>),
    Subscribe(Subscribe),
    Unsubscribe(Unsubscribe),
    PingReq,
    Disconnect(Disconnect<'a>),
    Auth(Auth<'a>),
}

/// Reads the packet at the start of `buffer`. Returns it with the number of bytes it took, or `None` while it is not
/// there whole.
///
/// `limit` is the largest remaining length, in bytes. What the fixed header gives away, such as a packet over the
/// limit, is reported as soon as the header is there.
pub fn decode(buffer: &[u8], stage: Stage, limit: u32) -> Result<Option<(Packet<'_>, usize)>, DecodeError> {
    let Some(frame) = frame::split(buffer, stage, limit)? else { return Ok(None) };
    let packet = match stage {
        Stage::First => Packet::Connect(Box::new(Connect::decode(&frame)?)),
        Stage::Established(version) => established(version, &frame)?,
    };
    Ok(Some((packet, frame.whole.len())))
}

/// Counts the whole packets at the start of `buffer`, up to the first that is not there whole or cannot be one.
pub(crate) fn count(mut buffer: &[u8], version: Version, limit: u32) -> usize {
    let mut count = 0;
    while let Ok(Some(frame)) = frame::split(buffer, Stage::Established(version), limit) {
        buffer = buffer.get(frame.whole.len()..).unwrap_or_default();
        count += 1;
    }
    count
}

#[inline]
fn established<'a>(version: Version, frame: &frame::Frame<'a>) -> Result<Packet<'a>, DecodeError> {
    Ok(match frame.packet {
        PacketType::Publish => Packet::Publish(Publish::decode(version, frame)?),
        PacketType::PubAck => Packet::PubAck(Ack::decode(version, frame)?),
        PacketType::PubRec => Packet::PubRec(rare_ack(version, frame, rare::check_pubrec)?),
        PacketType::PubRel => Packet::PubRel(rare_ack(version, frame, rare::check_pubrel)?),
        PacketType::PubComp => Packet::PubComp(rare_ack(version, frame, rare::check_pubcomp)?),
        PacketType::Subscribe => Packet::Subscribe(Subscribe::decode(version, frame)?),
        PacketType::Unsubscribe => Packet::Unsubscribe(Unsubscribe::decode(version, frame)?),
        PacketType::PingReq => {
            read::Reader::new(frame.packet, frame.body).end()?;
            Packet::PingReq
        }
        PacketType::Disconnect => Packet::Disconnect(Disconnect::decode(version, frame)?),
        PacketType::Auth => Packet::Auth(Auth::decode(frame)?),
        // The frame lets none of these through.
        PacketType::Connect
        | PacketType::ConnAck
        | PacketType::SubAck
        | PacketType::UnsubAck
        | PacketType::PingResp => return Err(DecodeError::protocol(frame.packet, "packet type", "out of place")),
    })
}

fn rare_ack<'a>(
    version: Version,
    frame: &frame::Frame<'a>,
    check: fn(&frame::Frame<'_>) -> Result<(), DecodeError>,
) -> Result<Ack<'a>, DecodeError> {
    let ack = Ack::decode(version, frame)?;
    if version.is_v5() {
        check(frame)?;
    }
    Ok(ack)
}
