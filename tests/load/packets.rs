//! MQTT packets by hand: those of the generator are built once and patched, those of a server are read as far as the
//! generator has to understand them.

use std::fmt;

use clap::ValueEnum;
use serde::Serialize;

/// Protocol version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
pub(crate) enum Version {
    /// MQTT 3.1.1
    #[value(name = "3.1.1")]
    #[serde(rename = "3.1.1")]
    V311,
    /// MQTT 5.0
    #[value(name = "5.0")]
    #[serde(rename = "5.0")]
    V5,
}

/// PINGREQ (MQTT5 §3.12).
pub(crate) const PINGREQ: [u8; 2] = [0xC0, 0];
/// DISCONNECT with nothing to say (MQTT5 §3.14).
pub(crate) const DISCONNECT: [u8; 2] = [0xE0, 0];

/// A client that is silent for this long, in seconds, would be closed: the longest that can be said, so that the server
/// has a time limit to watch, as with real devices, and the generator none to keep.
const KEEP_ALIVE: u16 = u16::MAX;

/// CONNECT with a clean start (MQTT5 §3.1).
pub(crate) fn connect(version: Version, client_id: &str, user: Option<&str>) -> Vec<u8> {
    const CLEAN_START: u8 = 0b0000_0010;
    const USER_NAME: u8 = 0b1000_0000;
    let mut body = Vec::new();
    string(&mut body, "MQTT");
    body.push(match version {
        Version::V311 => 4,
        Version::V5 => 5,
    });
    body.push(CLEAN_START | user.map_or(0, |_| USER_NAME));
    body.extend_from_slice(&KEEP_ALIVE.to_be_bytes());
    if version == Version::V5 {
        body.push(0); // no properties
    }
    string(&mut body, client_id);
    if let Some(user) = user {
        string(&mut body, user);
    }
    packet(0x10, &body)
}

/// A PUBLISH but for its packet identifier (MQTT5 §3.3).
#[derive(Debug)]
pub(crate) struct Publish {
    bytes: Vec<u8>,
    /// Where the packet identifier stands; QoS 0 has none.
    id_at: Option<usize>,
}

impl Publish {
    /// With QoS 0 or 1.
    pub(crate) fn new(version: Version, acknowledged: bool, topic: &str, payload: &[u8]) -> Self {
        let mut body = Vec::new();
        string(&mut body, topic);
        let id_in_body = acknowledged.then_some(body.len());
        if acknowledged {
            body.extend_from_slice(&[0; 2]);
        }
        if version == Version::V5 {
            body.push(0); // no properties
        }
        body.extend_from_slice(payload);
        let bytes = packet(if acknowledged { 0x32 } else { 0x30 }, &body);
        let header = bytes.len() - body.len();
        Self { id_at: id_in_body.map(|at| header + at), bytes }
    }

    /// Appends it with this packet identifier.
    pub(crate) fn append(&self, id: u16, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        if let Some(at) = self.id_at {
            out[start + at..start + at + 2].copy_from_slice(&id.to_be_bytes());
        }
    }
}

/// A packet from a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packet {
    /// CONNACK
    ConnAck {
        /// 0 means accepted.
        code: u8,
        /// How many messages the server takes before it has acknowledged one.
        receive_maximum: u16,
    },
    /// PUBACK
    PubAck {
        /// Of which message.
        id: u16,
        /// 0x80 and more mean that it was refused.
        code: u8,
    },
    /// PINGRESP
    PingResp,
    /// DISCONNECT
    Disconnect {
        /// Why.
        code: u8,
    },
    /// A packet that nothing here asks for, by its first byte.
    Other(u8),
}

/// A server sent what is no MQTT packet, or one that ends too early.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("malformed packet from the server")
    }
}

/// Reads the packet at the start of `buffer`, and says how many bytes it took. `None`: it is not there whole.
pub(crate) fn read(buffer: &[u8], version: Version) -> Result<Option<(Packet, usize)>, Malformed> {
    let Some((&first, rest)) = buffer.split_first() else { return Ok(None) };
    let Some((length, rest)) = variable_integer(rest)? else { return Ok(None) };
    let Some(body) = rest.get(..length) else { return Ok(None) };
    let taken = buffer.len() - rest.len() + length;
    let short = version == Version::V311;
    let packet = match (first, body) {
        (0x20, [_, code]) if short => Packet::ConnAck { code: *code, receive_maximum: u16::MAX },
        (0x20, [_, code, properties @ ..]) if !short => {
            Packet::ConnAck { code: *code, receive_maximum: receive_maximum(properties)? }
        }
        (0x40, [high, low]) => Packet::PubAck { id: u16::from_be_bytes([*high, *low]), code: 0 },
        (0x40, [high, low, code, ..]) if !short => {
            Packet::PubAck { id: u16::from_be_bytes([*high, *low]), code: *code }
        }
        (0xD0, []) => Packet::PingResp,
        (0xE0, body) if !short => Packet::Disconnect { code: body.first().copied().unwrap_or(0) },
        (0x20 | 0x40 | 0xD0, _) => return Err(Malformed),
        (other, _) => Packet::Other(other),
    };
    Ok(Some((packet, taken)))
}

/// The property of CONNACK that bounds the window (MQTT5 §3.2.2.3.3); without it 65,535.
fn receive_maximum(bytes: &[u8]) -> Result<u16, Malformed> {
    let (length, rest) = variable_integer(bytes)?.ok_or(Malformed)?;
    let mut properties = rest.get(..length).ok_or(Malformed)?;
    let string = |bytes: &[u8]| bytes.first_chunk().map(|length| 2 + usize::from(u16::from_be_bytes(*length)));
    while let Some((&id, value)) = properties.split_first() {
        let length = match id {
            0x21 => return value.first_chunk().map(|maximum| u16::from_be_bytes(*maximum)).ok_or(Malformed),
            0x24 | 0x25 | 0x28 | 0x29 | 0x2A => Some(1),
            0x13 | 0x22 => Some(2),
            0x11 | 0x27 => Some(4),
            0x12 | 0x15 | 0x16 | 0x1A | 0x1C | 0x1F => string(value),
            // A user property is two strings.
            0x26 => string(value).and_then(|key| Some(key + string(value.get(key..)?)?)),
            _ => None,
        };
        properties = length.and_then(|length| value.get(length..)).ok_or(Malformed)?;
    }
    Ok(u16::MAX)
}

/// MQTT5 §1.5.5, and what follows it.
fn variable_integer(bytes: &[u8]) -> Result<Option<(usize, &[u8])>, Malformed> {
    let mut value = 0;
    for index in 0..4 {
        let Some(&byte) = bytes.get(index) else { return Ok(None) };
        value |= usize::from(byte & 0x7F) << (7 * index);
        if byte < 0x80 {
            return Ok(Some((value, &bytes[index + 1..])));
        }
    }
    Err(Malformed)
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut rest = body.len();
    loop {
        let more = rest >= 0x80;
        packet.push((rest & 0x7F) as u8 | u8::from(more) << 7);
        rest >>= 7;
        if !more {
            break;
        }
    }
    packet.extend_from_slice(body);
    packet
}

/// The options are checked to be short enough.
fn string(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publish_differs_only_in_its_identifier() {
        let mut out = vec![1];
        Publish::new(Version::V311, true, "t", b"xy").append(0x0102, &mut out);
        assert_eq!(out, [1, 0x32, 7, 0, 1, b't', 1, 2, b'x', b'y']);
        let mut out = Vec::new();
        Publish::new(Version::V5, true, "t", b"x").append(0xFFFE, &mut out);
        assert_eq!(out, [0x32, 7, 0, 1, b't', 0xFF, 0xFE, 0, b'x']);
        let mut out = Vec::new();
        Publish::new(Version::V311, false, "t", &[b'x'; 200]).append(7, &mut out);
        assert_eq!(out[..6], [0x30, 203, 1, 0, 1, b't'], "a length of two bytes");
        assert_eq!(out.len(), 206);
    }

    #[test]
    fn connect_says_who_it_is() {
        assert_eq!(
            connect(Version::V5, "c", Some("me")),
            [0x10, 18, 0, 4, b'M', b'Q', b'T', b'T', 5, 0x82, 0xFF, 0xFF, 0, 0, 1, b'c', 0, 2, b'm', b'e']
        );
        assert_eq!(connect(Version::V311, "c", None)[8..], [4, 2, 0xFF, 0xFF, 0, 1, b'c']);
    }

    #[test]
    fn packets_of_a_server() {
        let read3 = |bytes: &[u8]| read(bytes, Version::V311);
        let read5 = |bytes: &[u8]| read(bytes, Version::V5);
        let accepted = Packet::ConnAck { code: 0, receive_maximum: u16::MAX };
        assert_eq!(read3(&[0x20, 2, 0, 0, 9]), Ok(Some((accepted, 4))));
        assert_eq!(read5(&[0x20, 3, 0, 0, 0]), Ok(Some((accepted, 5))));
        // Topic alias maximum, user property, then receive maximum.
        let properties = [0x22, 0, 10, 0x26, 0, 1, b'k', 0, 2, b'v', b'w', 0x21, 0, 20];
        let packet = [&[0x20, 17, 0, 0, 14], &properties[..]].concat();
        assert_eq!(read5(&packet), Ok(Some((Packet::ConnAck { code: 0, receive_maximum: 20 }, 19))));
        assert_eq!(read3(&[0x40, 2, 1, 2]), Ok(Some((Packet::PubAck { id: 0x0102, code: 0 }, 4))));
        assert_eq!(read5(&[0x40, 3, 1, 2, 0x10]), Ok(Some((Packet::PubAck { id: 0x0102, code: 0x10 }, 5))));
        assert_eq!(read5(&[0x40, 4, 1, 2, 0x87, 0]), Ok(Some((Packet::PubAck { id: 0x0102, code: 0x87 }, 6))));
        assert_eq!(read3(&[0xD0, 0]), Ok(Some((Packet::PingResp, 2))));
        assert_eq!(read5(&[0xE0, 1, 0x8B]), Ok(Some((Packet::Disconnect { code: 0x8B }, 3))));
        assert_eq!(read3(&[0x30, 3, 0, 1, b't']), Ok(Some((Packet::Other(0x30), 5))));
        for incomplete in [&[][..], &[0x40], &[0x40, 0x80], &[0x40, 2, 1]] {
            assert_eq!(read3(incomplete), Ok(None));
        }
        for malformed in [&[0x40, 1, 1][..], &[0x20, 1, 0], &[0xD0, 1, 0], &[0x40, 0xFF, 0xFF, 0xFF, 0xFF]] {
            assert_eq!(read3(malformed), Err(Malformed));
        }
        assert_eq!(read5(&[0x20, 4, 0, 0, 1, 0x77]), Err(Malformed), "no such property");
    }
}
