//! What is wrong with the bytes of a client.

use std::fmt;

use super::PacketType;
use crate::ReasonCode;

/// Bytes that are no packet, or a packet that a client may not send. The client is always at fault, and the connection
/// ends with [`code`](Self::code) (spec 2.7).
///
/// Reads `PUBLISH packet: topic name: wildcard in a topic name`. Nothing of what the client sent is quoted, because
/// that may be a credential (spec 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeError {
    /// What MQTT 5.0 calls this fault.
    pub code: ReasonCode,
    /// The packet that it was found in; `None` while not even that is known.
    pub packet: Option<PacketType>,
    /// The field of the packet, in the words of the MQTT specification.
    pub field: &'static str,
    /// What was found there and what was expected.
    pub problem: &'static str,
}

impl DecodeError {
    /// The bytes cannot be parsed (MQTT5 §4.13): 0x81.
    #[cold]
    pub(super) fn malformed(packet: PacketType, field: &'static str, problem: &'static str) -> Self {
        Self { code: ReasonCode::MALFORMED_PACKET, packet: Some(packet), field, problem }
    }

    /// The bytes can be parsed, but say something that is not allowed (MQTT5 §4.13): 0x82.
    #[cold]
    pub(super) fn protocol(packet: PacketType, field: &'static str, problem: &'static str) -> Self {
        Self { code: ReasonCode::PROTOCOL_ERROR, packet: Some(packet), field, problem }
    }

    /// The same fault under a more precise code.
    #[cold]
    pub(super) fn with_code(self, code: ReasonCode) -> Self {
        Self { code, ..self }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(packet) = self.packet {
            write!(f, "{packet} packet: ")?;
        }
        write!(f, "{}: {}", self.field, self.problem)
    }
}

impl std::error::Error for DecodeError {}
