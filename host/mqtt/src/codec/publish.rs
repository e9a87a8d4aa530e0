//! PUBLISH and PUBACK, decoded in place: no copy, no allocation.

use super::frame::Frame;
use super::properties::{Properties, PropertyId};
use super::read::Reader;
use super::{DecodeError, PacketType};
use crate::{Qos, ReasonCode, Version, topic};

/// A message from the client (MQTT5 §3.3). Everything points into the read buffer.
#[derive(Debug, Clone, Copy)]
pub struct Publish<'a> {
    /// The client may have sent it before.
    pub dup: bool,
    /// The client asks to retain it.
    pub retain: bool,
    /// Quality of service.
    pub qos: Qos,
    /// Topic name without wildcards; empty only when `alias` stands for it.
    pub topic: &'a str,
    /// Never 0, except for QoS 0, which has none.
    pub packet_id: u16,
    /// Topic alias; 0 means none.
    pub alias: u16,
    /// The other properties; none before MQTT 5.0.
    pub properties: Properties<'a>,
    /// The message itself.
    pub payload: &'a [u8],
}

impl<'a> Publish<'a> {
    #[inline]
    pub(super) fn decode(version: Version, frame: &Frame<'a>) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(PacketType::Publish, frame.body);
        let Some(qos) = Qos::from_bits(frame.first >> 1 & 0b11) else {
            return Err(reader.malformed("QoS", "3 is reserved")); // [MQTT-3.3.1-4]
        };
        let dup = frame.first & 0b1000 != 0;
        if dup && qos == Qos::AtMostOnce {
            return Err(reader.malformed("DUP flag", "set on QoS 0")); // [MQTT-3.3.1-2]
        }
        let topic = reader.utf8("topic name")?;
        match topic::scan_name(topic) {
            topic::Scan::Clean => {}
            topic::Scan::Nul => return Err(reader.malformed("topic name", "contains U+0000")),
            topic::Scan::Wildcard => {
                let error = reader.protocol("topic name", "wildcard in a topic name"); // [MQTT-3.3.2-2]
                return Err(error.with_code(ReasonCode::TOPIC_NAME_INVALID));
            }
        }
        let packet_id = if qos == Qos::AtMostOnce { 0 } else { reader.packet_id()? };
        let mut properties = Properties::default();
        let mut alias = 0;
        if version.is_v5() {
            properties = Properties::read(&mut reader)?;
            // A Topic Alias is a two byte integer.
            alias = properties.number(PropertyId::TopicAlias).map_or(0, |alias| alias as u16);
        }
        if topic.is_empty() && alias == 0 {
            return Err(reader.protocol("topic name", "empty, and no topic alias stands for it")); // [MQTT-4.7.3-1]
        }
        let retain = frame.first & 1 != 0;
        Ok(Self { dup, retain, qos, topic, packet_id, alias, properties, payload: reader.rest() })
    }
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP: the packets that answer a packet identifier (MQTT5 §3.4 to §3.7).
#[derive(Debug, Clone, Copy)]
pub struct Ack<'a> {
    /// The message that is answered. Never 0.
    pub packet_id: u16,
    /// What became of it. Always [`ReasonCode::SUCCESS`] before MQTT 5.0.
    pub code: ReasonCode,
    /// Reason string and user properties; none before MQTT 5.0.
    pub properties: Properties<'a>,
}

impl<'a> Ack<'a> {
    /// Reads all four packets. Whether the code belongs to the packet is checked for PUBACK only; the others are rare
    /// and mqttbytes knows their codes.
    #[inline]
    pub(super) fn decode(version: Version, frame: &Frame<'a>) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(frame.packet, frame.body);
        let packet_id = reader.packet_id()?;
        let mut ack = Self { packet_id, code: ReasonCode::SUCCESS, properties: Properties::default() };
        // MQTT 5.0 may leave out the property length, and reason code 0 with it (MQTT5 §3.4.2.1).
        if version.is_v5() && !reader.is_empty() {
            ack.code = reader.u8("reason code")?.into();
            if frame.packet == PacketType::PubAck && !PUBACK_CODES.contains(&ack.code) {
                return Err(reader.malformed("reason code", "not one of PUBACK"));
            }
            if !reader.is_empty() {
                ack.properties = Properties::read(&mut reader)?;
            }
        }
        reader.end()?;
        Ok(ack)
    }
}

/// MQTT5 §3.4.2.1 table 3-4.
const PUBACK_CODES: [ReasonCode; 9] = [
    ReasonCode::SUCCESS,
    ReasonCode::NO_MATCHING_SUBSCRIBERS,
    ReasonCode::UNSPECIFIED_ERROR,
    ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR,
    ReasonCode::NOT_AUTHORIZED,
    ReasonCode::TOPIC_NAME_INVALID,
    ReasonCode::PACKET_IDENTIFIER_IN_USE,
    ReasonCode::QUOTA_EXCEEDED,
    ReasonCode::PAYLOAD_FORMAT_INVALID,
];
