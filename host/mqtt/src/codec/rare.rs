//! mqttbytes, which reads the rare packets, and the only place that knows it.
//!
//! It is sound but not strict, so nothing gets here before its packet has passed the frame, the property pass and the
//! checks of its own module; here a whole frame goes in, and any error is a malformed packet. Packets are copied:
//! mqttbytes shares its input with what it returns, and a filter must not keep a read buffer alive.
//!
//! It writes nothing. The host needs writers that fit a packet into what the client can take (see [`super::encode`]),
//! and its CONNACK for 5.0 without properties lacks the property length.

use bytes::Bytes;
use mqttbytes::{FixedHeader, v4, v5};

use super::DecodeError;
use super::frame::Frame;
use crate::{Qos, Version};

/// The filters of a SUBSCRIBE.
pub(super) fn subscribe_filters(version: Version, frame: &Frame<'_>) -> Result<Vec<(String, Qos)>, DecodeError> {
    let filters: Vec<_> = if version.is_v5() {
        let packet = carry(frame, v5::Subscribe::read)?;
        packet.filters.into_iter().map(|filter| (filter.path, filter.qos)).collect()
    } else {
        let packet = carry(frame, v4::Subscribe::read)?;
        packet.filters.into_iter().map(|filter| (filter.path, filter.qos)).collect()
    };
    Ok(filters.into_iter().map(|(path, qos)| (path, Qos::from(qos))).collect())
}

/// The filters of an UNSUBSCRIBE before MQTT 5.0.
pub(super) fn unsubscribe_filters(frame: &Frame<'_>) -> Result<Vec<String>, DecodeError> {
    Ok(carry(frame, v4::Unsubscribe::read)?.topics)
}

/// Whether a PUBREC of MQTT 5.0 has one of its own reason codes.
pub(super) fn check_pubrec(frame: &Frame<'_>) -> Result<(), DecodeError> {
    carry(frame, v5::PubRec::read).map(drop)
}

/// Whether a PUBREL of MQTT 5.0 has one of its own reason codes.
pub(super) fn check_pubrel(frame: &Frame<'_>) -> Result<(), DecodeError> {
    carry(frame, v5::PubRel::read).map(drop)
}

/// Whether a PUBCOMP of MQTT 5.0 has one of its own reason codes.
pub(super) fn check_pubcomp(frame: &Frame<'_>) -> Result<(), DecodeError> {
    carry(frame, v5::PubComp::read).map(drop)
}

fn carry<T>(frame: &Frame<'_>, read: fn(FixedHeader, Bytes) -> Result<T, mqttbytes::Error>) -> Result<T, DecodeError> {
    let header = FixedHeader::new(frame.first, frame.header - 1, frame.body.len());
    read(header, Bytes::copy_from_slice(frame.whole)).map_err(|error| {
        let problem = match error {
            mqttbytes::Error::InvalidReason(_) | mqttbytes::Error::InvalidConnectReturnCode(_) => {
                "reason code does not belong to this packet"
            }
            _ => "not as the specification lays it out",
        };
        DecodeError::malformed(frame.packet, "packet", problem)
    })
}

impl From<mqttbytes::QoS> for Qos {
    fn from(qos: mqttbytes::QoS) -> Self {
        match qos {
            mqttbytes::QoS::AtMostOnce => Self::AtMostOnce,
            mqttbytes::QoS::AtLeastOnce => Self::AtLeastOnce,
            mqttbytes::QoS::ExactlyOnce => Self::ExactlyOnce,
        }
    }
}
