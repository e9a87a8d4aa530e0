//! DISCONNECT and AUTH, which share their shape: a reason code and properties, both of which may be left out.

use super::frame::Frame;
use super::properties::{Properties, PropertyId};
use super::read::Reader;
use super::{DecodeError, PacketType};
use crate::{ReasonCode, Version};

/// The client says goodbye (MQTT5 §3.14).
#[derive(Debug, Clone, Copy)]
pub struct Disconnect<'a> {
    /// Why. Always [`ReasonCode::SUCCESS`] before MQTT 5.0.
    pub code: ReasonCode,
    /// Session expiry, reason string and user properties; none before MQTT 5.0.
    pub properties: Properties<'a>,
}

impl<'a> Disconnect<'a> {
    pub(super) fn decode(version: Version, frame: &Frame<'a>) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(PacketType::Disconnect, frame.body);
        let mut disconnect = Self { code: ReasonCode::SUCCESS, properties: Properties::default() };
        if version.is_v5() {
            (disconnect.code, disconnect.properties) = code_and_properties(&mut reader, &DISCONNECT_CODES)?;
        }
        reader.end()?;
        Ok(disconnect)
    }

    /// The Session Expiry Interval in seconds that the client changes its mind to.
    pub fn session_expiry(&self) -> Option<u32> {
        self.properties.number(PropertyId::SessionExpiryInterval)
    }

    /// The client's own words.
    pub fn reason(&self) -> Option<&'a str> {
        self.properties.text(PropertyId::ReasonString)
    }
}

/// A step of enhanced authentication (MQTT5 §3.15).
#[derive(Debug, Clone, Copy)]
pub struct Auth<'a> {
    /// Success, continue or re-authenticate.
    pub code: ReasonCode,
    /// Method, data, reason string and user properties.
    pub properties: Properties<'a>,
}

impl<'a> Auth<'a> {
    pub(super) fn decode(frame: &Frame<'a>) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(PacketType::Auth, frame.body);
        let (code, properties) = code_and_properties(&mut reader, &AUTH_CODES)?;
        // "It is a Protocol Error to omit the Authentication Method" (MQTT5 §3.15.2.2.2), except in the short form,
        // which means success.
        let short = code == ReasonCode::SUCCESS && !properties.has(PropertyId::AuthenticationData);
        if !short && !properties.has(PropertyId::AuthenticationMethod) {
            return Err(reader.protocol("Authentication Method", "missing"));
        }
        reader.end()?;
        Ok(Self { code, properties })
    }
}

fn code_and_properties<'a>(reader: &mut Reader<'a>, codes: &[u8]) -> Result<(ReasonCode, Properties<'a>), DecodeError> {
    if reader.is_empty() {
        return Ok((ReasonCode::SUCCESS, Properties::default()));
    }
    let code = reader.u8("reason code")?;
    if !codes.contains(&code) {
        return Err(reader.malformed("reason code", "not one that a client may send in this packet"));
    }
    let properties = if reader.is_empty() { Properties::default() } else { Properties::read(reader)? };
    Ok((code.into(), properties))
}

/// What a client may send (MQTT5 §3.14.2.1 table 3-10).
const DISCONNECT_CODES: [u8; 14] = [0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99];

/// What a client may send (MQTT5 §3.15.2.1 table 3-11); 0x00 stands for the short form.
const AUTH_CODES: [u8; 3] = [0x00, 0x18, 0x19];
