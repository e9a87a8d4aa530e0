//! CONNECT, the packet that strangers send.

use std::fmt;

use super::frame::Frame;
use super::properties::{Properties, PropertyId};
use super::read::{Reader, variable_integer};
use super::{DecodeError, PacketType};
use crate::{Qos, ReasonCode, Version, topic};

/// What the client says about itself (MQTT5 §3.1). Fields that only MQTT 5.0 has stand at their defaults in 3.x.
#[derive(Clone, PartialEq, Eq)]
pub struct Connect {
    /// The protocol version of the connection.
    pub version: Version,
    /// Clean Start of MQTT 5.0, Clean Session of 3.x.
    pub clean_start: bool,
    /// The longest time in seconds between two packets of the client; 0 means no limit.
    pub keep_alive: u16,
    /// Client identifier, possibly empty.
    pub client_id: String,
    /// User name, which is the access token for token credentials (spec 3.2).
    pub user_name: Option<String>,
    /// Password: any bytes.
    pub password: Option<Vec<u8>>,
    /// What to publish if the connection ends without a DISCONNECT.
    pub will: Option<Will>,
    /// Session Expiry Interval in seconds; `u32::MAX` means for ever, 0 not at all.
    pub session_expiry: u32,
    /// How many QoS 1 messages the client takes at once. Never 0; 65,535 if it does not say.
    pub receive_maximum: u16,
    /// The largest packet that the client takes, in bytes with the fixed header. Never 0; `u32::MAX` if it does not say.
    pub maximum_packet_size: u32,
    /// The highest topic alias that the client takes; the host sends none.
    pub topic_alias_maximum: u16,
    /// Whether the client asks for Response Information.
    pub request_response_information: bool,
    /// Whether the client wants reason strings and user properties.
    pub request_problem_information: bool,
    /// Method of enhanced authentication.
    pub authentication_method: Option<String>,
    /// First data of enhanced authentication.
    pub authentication_data: Option<Vec<u8>>,
    /// User properties in their order.
    pub user_properties: Vec<(String, String)>,
}

/// The will of a client (MQTT5 §3.1.2.5, §3.1.3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    /// Topic name, not empty, without wildcards.
    pub topic: String,
    /// The message.
    pub payload: Vec<u8>,
    /// Quality of service.
    pub qos: Qos,
    /// The client asks to retain it.
    pub retain: bool,
    /// Will Delay Interval: seconds between the end of the connection and the will.
    pub delay: u32,
    /// Whether the payload is UTF-8 text.
    pub is_text: bool,
    /// Message Expiry Interval in seconds.
    pub expiry: Option<u32>,
    /// Content type.
    pub content_type: Option<String>,
    /// Response topic.
    pub response_topic: Option<String>,
    /// Correlation data.
    pub correlation_data: Option<Vec<u8>>,
    /// User properties in their order.
    pub user_properties: Vec<(String, String)>,
}

impl fmt::Debug for Connect {
    /// Without user name, password and authentication data: they are credentials (spec 4.3).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("version", &self.version)
            .field("client_id", &self.client_id)
            .field("clean_start", &self.clean_start)
            .field("keep_alive", &self.keep_alive)
            .field("user_name", &self.user_name.is_some())
            .field("password", &self.password.is_some())
            .field("will", &self.will)
            .finish_non_exhaustive()
    }
}

/// The flags byte (MQTT5 §3.1.2.3).
#[derive(Clone, Copy)]
struct Flags(u8);

impl Flags {
    const CLEAN_START: u8 = 0x02;
    const WILL: u8 = 0x04;
    const WILL_RETAIN: u8 = 0x20;
    const PASSWORD: u8 = 0x40;
    const USER_NAME: u8 = 0x80;

    fn read(reader: &mut Reader<'_>, version: Version) -> Result<Self, DecodeError> {
        let field = "connect flags";
        let flags = Self(reader.u8(field)?);
        if flags.0 & 1 != 0 {
            return Err(reader.malformed(field, "the reserved bit is set")); // [MQTT-3.1.2-3]
        }
        if flags.will_qos().is_none() {
            return Err(reader.malformed(field, "will QoS 3 is reserved")); // [MQTT-3.1.2-12]
        }
        if !flags.has(Self::WILL) && (flags.has(Self::WILL_RETAIN) || flags.will_qos() != Some(Qos::AtMostOnce)) {
            return Err(reader.malformed(field, "will QoS or will retain without a will")); // [MQTT-3.1.2-11], [-13]
        }
        if !version.is_v5() && flags.has(Self::PASSWORD) && !flags.has(Self::USER_NAME) {
            return Err(reader.malformed(field, "password without user name")); // 3.1.1 [MQTT-3.1.2-22]
        }
        Ok(flags)
    }

    fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    fn will_qos(self) -> Option<Qos> {
        Qos::from_bits(self.0 >> 3 & 0b11)
    }
}

impl Connect {
    pub(super) fn decode(frame: &Frame<'_>) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(PacketType::Connect, frame.body);
        let (name, level) = protocol(&mut reader)?;
        let version = version(&reader, name, level)?;
        let flags = Flags::read(&mut reader, version)?;
        let keep_alive = reader.u16("keep alive")?;
        let properties = if version.is_v5() { Properties::read(&mut reader)? } else { Properties::default() };
        if properties.has(PropertyId::AuthenticationData) && !properties.has(PropertyId::AuthenticationMethod) {
            return Err(reader.protocol("Authentication Data", "without Authentication Method")); // MQTT5 §3.1.2.11.10
        }

        let client_id = reader.text("client identifier")?.to_owned();
        let will = flags.has(Flags::WILL).then(|| Will::read(&mut reader, version, flags)).transpose()?;
        // MQTT 3.1: the flag may be set and the string be missing; the remaining length wins.
        let missing = |reader: &Reader<'_>| version == Version::V31 && reader.is_empty();
        let user_name = (flags.has(Flags::USER_NAME) && !missing(&reader))
            .then(|| reader.text("user name").map(str::to_owned))
            .transpose()?;
        let password = (flags.has(Flags::PASSWORD) && !missing(&reader))
            .then(|| reader.binary("password").map(<[u8]>::to_vec))
            .transpose()?;
        reader.end()?;

        let number = |id, default| properties.number(id).unwrap_or(default);
        let short = |id, default| u16::try_from(number(id, default)).unwrap_or(u16::MAX);
        Ok(Self {
            version,
            clean_start: flags.has(Flags::CLEAN_START),
            keep_alive,
            client_id,
            user_name,
            password,
            will,
            session_expiry: number(PropertyId::SessionExpiryInterval, 0),
            receive_maximum: short(PropertyId::ReceiveMaximum, u32::from(u16::MAX)),
            maximum_packet_size: number(PropertyId::MaximumPacketSize, u32::MAX),
            topic_alias_maximum: short(PropertyId::TopicAliasMaximum, 0),
            request_response_information: number(PropertyId::RequestResponseInformation, 0) == 1,
            request_problem_information: number(PropertyId::RequestProblemInformation, 1) == 1,
            authentication_method: properties.text(PropertyId::AuthenticationMethod).map(str::to_owned),
            authentication_data: properties.binary(PropertyId::AuthenticationData).map(<[u8]>::to_vec),
            user_properties: properties.user_properties(),
        })
    }
}

impl Will {
    fn read(reader: &mut Reader<'_>, version: Version, flags: Flags) -> Result<Self, DecodeError> {
        let properties = if version.is_v5() { Properties::read_will(reader)? } else { Properties::default() };
        let topic = reader.text("will topic")?;
        if !topic::is_name(topic) {
            let error = reader.protocol("will topic", "empty, or a wildcard in a topic name"); // [MQTT-4.7.3-1]
            return Err(error.with_code(ReasonCode::TOPIC_NAME_INVALID));
        }
        Ok(Self {
            topic: topic.to_owned(),
            payload: reader.binary("will payload")?.to_vec(),
            qos: flags.will_qos().unwrap_or(Qos::AtMostOnce),
            retain: flags.has(Flags::WILL_RETAIN),
            delay: properties.number(PropertyId::WillDelayInterval).unwrap_or(0),
            is_text: properties.number(PropertyId::PayloadFormatIndicator) == Some(1),
            expiry: properties.number(PropertyId::MessageExpiryInterval),
            content_type: properties.text(PropertyId::ContentType).map(str::to_owned),
            response_topic: properties.text(PropertyId::ResponseTopic).map(str::to_owned),
            correlation_data: properties.binary(PropertyId::CorrelationData).map(<[u8]>::to_vec),
            user_properties: properties.user_properties(),
        })
    }
}

/// Name and level, which come first so that everything behind them can be read by their rules.
fn protocol<'a>(reader: &mut Reader<'a>) -> Result<(&'a [u8], u8), DecodeError> {
    Ok((reader.binary("protocol name")?, reader.u8("protocol level")?))
}

fn version(reader: &Reader<'_>, name: &[u8], level: u8) -> Result<Version, DecodeError> {
    match (name, level) {
        (b"MQIsdp", 3) => Ok(Version::V31),
        (b"MQTT", 4) => Ok(Version::V311),
        (b"MQTT", 5) => Ok(Version::V5),
        (b"MQIsdp" | b"MQTT", _) => {
            let error = reader.protocol("protocol level", "expected 4 or 5 for MQTT, 3 for MQIsdp"); // [MQTT-3.1.2-2]
            Err(error.with_code(ReasonCode::UNSUPPORTED_PROTOCOL_VERSION))
        }
        _ => Err(reader.malformed("protocol name", "expected MQTT or MQIsdp")), // [MQTT-3.1.2-1]
    }
}

/// The version in which a client understands the refusal of its CONNECT, even one that cannot be decoded or is not
/// there whole. `None`: it did not come as far as to say one that exists, and no answer would be understood.
pub(crate) fn announced_version(buffer: &[u8]) -> Option<Version> {
    let (&first, rest) = buffer.split_first()?;
    let (_, length_bytes) = variable_integer(rest).ok()??;
    let mut reader = Reader::new(PacketType::Connect, rest.get(length_bytes..)?);
    if first != PacketType::Connect.first_byte() {
        return None;
    }
    match protocol(&mut reader).ok()? {
        (b"MQIsdp", _) => Some(Version::V31),
        // Bridges of mosquitto set the highest bit of the level and fall back when they are refused.
        (b"MQTT", level) if level & 0x7f < 5 => Some(Version::V311),
        (b"MQTT", _) => Some(Version::V5),
        _ => None,
    }
}
