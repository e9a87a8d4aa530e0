//! SUBSCRIBE and UNSUBSCRIBE: what stands in the packet. What it is worth is for [`crate::subscription`].

use std::num::NonZeroU32;

use super::frame::Frame;
use super::properties::{Properties, PropertyId};
use super::read::Reader;
use super::{DecodeError, PacketType, rare};
use crate::{Qos, ReasonCode, Version};

/// The most filters in one packet. A session may hold 100 subscriptions (spec 18.4), so nobody needs more, and 64 KiB
/// of three-byte filters would otherwise become a megabyte of structs.
pub const MAX_FILTERS: usize = 1000;

/// The client asks for messages (MQTT5 §3.8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// Comes back in SUBACK. Never 0.
    pub packet_id: u16,
    /// Subscription Identifier, which comes back in every message for these filters.
    pub identifier: Option<NonZeroU32>,
    /// Filters in their order, and the highest quality of service that the client wants. At least one. They need not be
    /// valid: that is answered in SUBACK (spec 5.1).
    pub filters: Vec<(String, Qos)>,
}

/// The client no longer wants messages (MQTT5 §3.10).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsubscribe {
    /// Comes back in UNSUBACK. Never 0.
    pub packet_id: u16,
    /// Filters in their order, at least one, not necessarily valid.
    pub filters: Vec<String>,
}

impl Subscribe {
    pub(super) fn decode(version: Version, frame: &Frame<'_>) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(PacketType::Subscribe, frame.body);
        let packet_id = reader.packet_id()?;
        let properties = if version.is_v5() { Properties::read(&mut reader)? } else { Properties::default() };
        let identifier = properties.number(PropertyId::SubscriptionIdentifier).and_then(NonZeroU32::new);
        check_filters(&mut reader, |reader, filter| check_options(version, reader, filter))?;
        Ok(Self { packet_id, identifier, filters: rare::subscribe_filters(version, frame)? })
    }
}

impl Unsubscribe {
    pub(super) fn decode(version: Version, frame: &Frame<'_>) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(PacketType::Unsubscribe, frame.body);
        let packet_id = reader.packet_id()?;
        if version.is_v5() {
            Properties::read(&mut reader)?;
            // Not by way of mqttbytes, which prints to stderr here.
            let mut filters = Vec::new();
            check_filters(&mut reader, |_, filter| {
                filters.push(filter.to_owned());
                Ok(())
            })?;
            return Ok(Self { packet_id, filters });
        }
        check_filters(&mut reader, |_, _| Ok(()))?;
        Ok(Self { packet_id, filters: rare::unsubscribe_filters(frame)? })
    }
}

/// Walks over the filters of a packet, and over what `each` reads behind every one, without keeping any.
fn check_filters<'a>(
    reader: &mut Reader<'a>,
    mut each: impl FnMut(&mut Reader<'a>, &'a str) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    let mut count = 0;
    while !reader.is_empty() {
        let filter = reader.text("topic filter")?;
        each(reader, filter)?;
        count += 1;
        if count > MAX_FILTERS {
            let error = reader.protocol("topic filters", "more than 1000 in one packet");
            return Err(error.with_code(ReasonCode::QUOTA_EXCEEDED));
        }
    }
    match count {
        0 => Err(reader.protocol("topic filters", "at least one is required")), // [MQTT-3.8.3-2], [MQTT-3.10.3-2]
        _ => Ok(()),
    }
}

/// The byte behind a filter in SUBSCRIBE (MQTT5 §3.8.3.1; 3.1.1 §3.8.3).
fn check_options(version: Version, reader: &mut Reader<'_>, filter: &str) -> Result<(), DecodeError> {
    let field = "subscription options";
    let options = reader.u8(field)?;
    let reserved = match version {
        Version::V31 => 0, // "not used", so anything goes
        Version::V311 => 0b1111_1100,
        Version::V5 => 0b1100_0000,
    };
    if options & reserved != 0 {
        return Err(reader.malformed(field, "reserved bits are set")); // [MQTT-3.8.3-5]; 3.1.1 [MQTT-3-8.3-4]
    }
    if options & 0b11 == 3 {
        return Err(reader.protocol(field, "QoS 3 is reserved"));
    }
    if version.is_v5() {
        if options >> 4 & 0b11 == 3 {
            return Err(reader.protocol(field, "retain handling 3 is reserved"));
        }
        if options & 0b100 != 0 && filter.starts_with("$share/") {
            return Err(reader.protocol(field, "no local on a shared subscription")); // [MQTT-3.8.3-4]
        }
    }
    Ok(())
}
