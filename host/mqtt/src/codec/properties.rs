//! The properties of MQTT 5.0: one table, one pass that checks them, one writer.

use bytes::{BufMut, BytesMut};

use super::encode::{put_variable, variable_length};
use super::read::Reader;
use super::{DecodeError, PacketType};
use crate::{ReasonCode, topic};

/// The value of a property, by its data type (MQTT5 §2.2.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// One byte.
    Byte(u8),
    /// A two byte integer.
    Short(u16),
    /// A four byte integer.
    Long(u32),
    /// A variable byte integer.
    Variable(u32),
    /// A UTF-8 string.
    Text(&'a str),
    /// Binary data.
    Binary(&'a [u8]),
    /// A pair of UTF-8 strings.
    Pair(&'a str, &'a str),
}

impl Value<'_> {
    /// The number, for the numeric types.
    pub fn number(&self) -> Option<u32> {
        match *self {
            Self::Byte(value) => Some(value.into()),
            Self::Short(value) => Some(value.into()),
            Self::Long(value) | Self::Variable(value) => Some(value),
            Self::Text(_) | Self::Binary(_) | Self::Pair(..) => None,
        }
    }
}

/// One property of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Property<'a> {
    /// What it says.
    pub id: PropertyId,
    /// The value, of the type that belongs to `id`.
    pub value: Value<'a>,
}

impl<'a> Property<'a> {
    /// A property to be written.
    pub fn new(id: PropertyId, value: Value<'a>) -> Self {
        Self { id, value }
    }
}

/// How a value stands on the wire, and which values are allowed.
#[derive(Clone, Copy)]
enum Kind {
    /// A byte that is 0 or 1.
    Flag,
    Short,
    NonZeroShort,
    Long,
    NonZeroLong,
    NonZeroVariable,
    Text,
    /// A string that is a topic name.
    Topic,
    Binary,
    Pair,
}

/// Where a property may stand: one bit per packet type, and bit 0 for the properties of a will.
type Places = u16;
const WILL: Places = 1;
const CONNECT: Places = 1 << PacketType::Connect as u8;
const CONNACK: Places = 1 << PacketType::ConnAck as u8;
const PUBLISH: Places = 1 << PacketType::Publish as u8;
const SUBSCRIBE: Places = 1 << PacketType::Subscribe as u8;
const DISCONNECT: Places = 1 << PacketType::Disconnect as u8;
const AUTH: Places = 1 << PacketType::Auth as u8;
/// PUBACK, PUBREC, PUBREL and PUBCOMP.
const ACKS: Places = 0b1111 << PacketType::PubAck as u8;
/// SUBACK and UNSUBACK.
const GRANTS: Places = 1 << PacketType::SubAck as u8 | 1 << PacketType::UnsubAck as u8;
const ALL: Places = !0;

struct Rule {
    id: PropertyId,
    name: &'static str,
    kind: Kind,
    /// Where a client may use it.
    client: Places,
    /// Where a server may use it.
    server: Places,
}

macro_rules! properties {
    ($($id:literal $variant:ident $name:literal $kind:expr, client $client:expr, server $server:expr;)*) => {
        /// Which property (MQTT5 §2.2.2.2). The number is the identifier on the wire.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum PropertyId { $(#[doc = concat!($name, ".")] $variant = $id,)* }

        const RULES: &[Rule] = &[
            $(Rule { id: PropertyId::$variant, name: $name, kind: $kind, client: $client, server: $server },)*
        ];
    };
}

// MQTT5 §2.2.2.2 table 2-4, with the ranges given where each property is described.
properties! {
    0x01 PayloadFormatIndicator "Payload Format Indicator" Kind::Flag, client PUBLISH | WILL, server PUBLISH;
    0x02 MessageExpiryInterval "Message Expiry Interval" Kind::Long, client PUBLISH | WILL, server PUBLISH;
    0x03 ContentType "Content Type" Kind::Text, client PUBLISH | WILL, server PUBLISH;
    0x08 ResponseTopic "Response Topic" Kind::Topic, client PUBLISH | WILL, server PUBLISH;
    0x09 CorrelationData "Correlation Data" Kind::Binary, client PUBLISH | WILL, server PUBLISH;
    0x0b SubscriptionIdentifier "Subscription Identifier" Kind::NonZeroVariable, client SUBSCRIBE, server PUBLISH;
    0x11 SessionExpiryInterval "Session Expiry Interval" Kind::Long, client CONNECT | DISCONNECT, server CONNACK;
    0x12 AssignedClientIdentifier "Assigned Client Identifier" Kind::Text, client 0, server CONNACK;
    0x13 ServerKeepAlive "Server Keep Alive" Kind::Short, client 0, server CONNACK;
    0x15 AuthenticationMethod "Authentication Method" Kind::Text, client CONNECT | AUTH, server CONNACK | AUTH;
    0x16 AuthenticationData "Authentication Data" Kind::Binary, client CONNECT | AUTH, server CONNACK | AUTH;
    0x17 RequestProblemInformation "Request Problem Information" Kind::Flag, client CONNECT, server 0;
    0x18 WillDelayInterval "Will Delay Interval" Kind::Long, client WILL, server 0;
    0x19 RequestResponseInformation "Request Response Information" Kind::Flag, client CONNECT, server 0;
    0x1a ResponseInformation "Response Information" Kind::Text, client 0, server CONNACK;
    0x1c ServerReference "Server Reference" Kind::Text, client 0, server CONNACK | DISCONNECT;
    0x1f ReasonString "Reason String" Kind::Text, client ACKS | DISCONNECT | AUTH,
        server CONNACK | ACKS | GRANTS | DISCONNECT | AUTH;
    0x21 ReceiveMaximum "Receive Maximum" Kind::NonZeroShort, client CONNECT, server CONNACK;
    0x22 TopicAliasMaximum "Topic Alias Maximum" Kind::Short, client CONNECT, server CONNACK;
    0x23 TopicAlias "Topic Alias" Kind::NonZeroShort, client PUBLISH, server PUBLISH;
    0x24 MaximumQos "Maximum QoS" Kind::Flag, client 0, server CONNACK;
    0x25 RetainAvailable "Retain Available" Kind::Flag, client 0, server CONNACK;
    0x26 UserProperty "User Property" Kind::Pair, client ALL, server ALL;
    0x27 MaximumPacketSize "Maximum Packet Size" Kind::NonZeroLong, client CONNECT, server CONNACK;
    0x28 WildcardSubscriptionAvailable "Wildcard Subscription Available" Kind::Flag, client 0, server CONNACK;
    0x29 SubscriptionIdentifierAvailable "Subscription Identifiers Available" Kind::Flag, client 0, server CONNACK;
    0x2a SharedSubscriptionAvailable "Shared Subscription Available" Kind::Flag, client 0, server CONNACK;
}

const LAST_ID: usize = 0x2a;

/// For each identifier its row in [`RULES`], counted from 1.
const ROWS: [u8; LAST_ID + 1] = {
    let mut rows = [0; LAST_ID + 1];
    let mut row = 0;
    while row < RULES.len() {
        rows[RULES[row].id as usize] = row as u8 + 1;
        row += 1;
    }
    rows
};

fn rule(id: u32) -> Option<&'static Rule> {
    let row = *ROWS.get(id as usize)?;
    RULES.get(usize::from(row).checked_sub(1)?)
}

/// The properties of a received packet: checked, still in the read buffer.
#[derive(Debug, Clone, Copy, Default)]
pub struct Properties<'a> {
    bytes: &'a [u8],
    /// One bit per identifier that occurs.
    present: u64,
}

impl<'a> Properties<'a> {
    /// The property pass: reads length and properties of a packet from a client, and refuses what is unknown, out of
    /// place, doubled, out of range, or overruns the length.
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Self::read_in(reader, 1 << reader.packet() as u8)
    }

    /// The property pass for the will in a CONNECT.
    pub(super) fn read_will(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Self::read_in(reader, WILL)
    }

    fn read_in(reader: &mut Reader<'a>, place: Places) -> Result<Self, DecodeError> {
        let length = reader.variable("property length")?;
        if length == 0 {
            return Ok(Self::default());
        }
        let bytes = reader.bytes(length as usize, "property length")?;
        let present = check(Reader::new(reader.packet(), bytes), place)?;
        Ok(Self { bytes, present })
    }

    /// Whether there is such a property.
    pub fn has(&self, id: PropertyId) -> bool {
        self.present & 1 << id as u8 != 0
    }

    /// The value of a property that occurs at most once.
    pub fn get(&self, id: PropertyId) -> Option<Value<'a>> {
        if !self.has(id) {
            return None;
        }
        self.iter().find(|property| property.id == id).map(|property| property.value)
    }

    /// All properties in the order of the packet.
    pub fn iter(&self) -> impl Iterator<Item = Property<'a>> + use<'a> {
        // The packet type serves error messages only, and these bytes have passed the check.
        let mut reader = Reader::new(PacketType::Publish, self.bytes);
        std::iter::from_fn(move || {
            if reader.is_empty() {
                return None;
            }
            let rule = rule(reader.variable("property identifier").ok()?)?;
            let value = rule.read(&mut reader).ok()?;
            Some(Property { id: rule.id, value })
        })
    }

    pub(super) fn number(&self, id: PropertyId) -> Option<u32> {
        self.get(id)?.number()
    }

    pub(super) fn text(&self, id: PropertyId) -> Option<&'a str> {
        match self.get(id)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn binary(&self, id: PropertyId) -> Option<&'a [u8]> {
        match self.get(id)? {
            Value::Binary(bytes) => Some(bytes),
            _ => None,
        }
    }

    pub(super) fn user_properties(&self) -> Vec<(String, String)> {
        let pair = |property: Property<'a>| match property.value {
            Value::Pair(name, value) => Some((name.to_owned(), value.to_owned())),
            _ => None,
        };
        if self.has(PropertyId::UserProperty) { self.iter().filter_map(pair).collect() } else { Vec::new() }
    }
}

/// Walks over all properties and returns one bit for each identifier that occurs.
fn check(mut reader: Reader<'_>, place: Places) -> Result<u64, DecodeError> {
    let mut present = 0_u64;
    while !reader.is_empty() {
        let id = reader.variable("property identifier")?;
        let Some(rule) = rule(id) else {
            return Err(reader.malformed("property identifier", "there is no such property"));
        };
        if rule.client & place == 0 {
            return Err(match rule.server & place {
                0 => reader.malformed(rule.name, "this packet cannot carry the property"),
                _ => reader.protocol(rule.name, "only a server may send the property"),
            });
        }
        let bit = 1 << rule.id as u8;
        if present & bit != 0 && rule.id != PropertyId::UserProperty {
            return Err(reader.protocol(rule.name, "included more than once"));
        }
        present |= bit;
        rule.read(&mut reader)?;
    }
    Ok(present)
}

impl Rule {
    /// Reads one value and checks its range.
    fn read<'a>(&self, reader: &mut Reader<'a>) -> Result<Value<'a>, DecodeError> {
        let value = match self.kind {
            Kind::Flag => Value::Byte(reader.u8(self.name)?),
            Kind::Short | Kind::NonZeroShort => Value::Short(reader.u16(self.name)?),
            Kind::Long | Kind::NonZeroLong => Value::Long(reader.u32(self.name)?),
            Kind::NonZeroVariable => Value::Variable(reader.variable(self.name)?),
            Kind::Text | Kind::Topic => Value::Text(reader.text(self.name)?),
            Kind::Binary => Value::Binary(reader.binary(self.name)?),
            Kind::Pair => Value::Pair(reader.text(self.name)?, reader.text(self.name)?),
        };
        match (self.kind, value) {
            (Kind::Flag, Value::Byte(2..)) => Err(reader.protocol(self.name, "must be 0 or 1")),
            (Kind::NonZeroShort, Value::Short(0))
            | (Kind::NonZeroLong, Value::Long(0))
            | (Kind::NonZeroVariable, Value::Variable(0)) => Err(self.zero(reader)),
            (Kind::Topic, Value::Text(text)) if !topic::is_name(text) => {
                Err(reader.protocol(self.name, "empty, or a wildcard in a topic name"))
            }
            _ => Ok(value),
        }
    }

    #[cold]
    fn zero(&self, reader: &Reader<'_>) -> DecodeError {
        let error = reader.protocol(self.name, "must not be 0");
        match self.id {
            PropertyId::TopicAlias => error.with_code(ReasonCode::TOPIC_ALIAS_INVALID),
            _ => error,
        }
    }
}

/// What [`write()`] will write, in bytes.
pub(super) fn length<'p>(properties: impl Iterator<Item = &'p Property<'p>>) -> usize {
    properties.map(|property| 1 + property.value.length()).sum()
}

/// Writes the properties without the length in front.
pub(super) fn write<'p>(properties: impl Iterator<Item = &'p Property<'p>>, out: &mut BytesMut) {
    for property in properties {
        out.put_u8(property.id as u8);
        property.value.write(out);
    }
}

impl Value<'_> {
    fn length(&self) -> usize {
        match self {
            Self::Byte(_) => 1,
            Self::Short(_) => 2,
            Self::Long(_) => 4,
            Self::Variable(value) => variable_length(*value as usize),
            Self::Text(text) => 2 + text.len(),
            Self::Binary(bytes) => 2 + bytes.len(),
            Self::Pair(name, value) => 4 + name.len() + value.len(),
        }
    }

    /// Whether the value can be written at all: a string has at most 65,535 bytes.
    pub(super) fn is_writable(&self) -> bool {
        let fits = |bytes: usize| bytes <= usize::from(u16::MAX);
        match self {
            Self::Text(text) => fits(text.len()) && !text.as_bytes().contains(&0),
            Self::Binary(bytes) => fits(bytes.len()),
            Self::Pair(name, value) => {
                fits(name.len()) && fits(value.len()) && !name.contains('\0') && !value.contains('\0')
            }
            Self::Byte(_) | Self::Short(_) | Self::Long(_) | Self::Variable(_) => true,
        }
    }

    fn write(&self, out: &mut BytesMut) {
        let put_bytes = |out: &mut BytesMut, bytes: &[u8]| {
            out.put_u16(bytes.len() as u16);
            out.put_slice(bytes);
        };
        match self {
            Self::Byte(value) => out.put_u8(*value),
            Self::Short(value) => out.put_u16(*value),
            Self::Long(value) => out.put_u32(*value),
            Self::Variable(value) => put_variable(out, *value as usize),
            Self::Text(text) => put_bytes(out, text.as_bytes()),
            Self::Binary(bytes) => put_bytes(out, bytes),
            Self::Pair(name, value) => {
                put_bytes(out, name.as_bytes());
                put_bytes(out, value.as_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_identifier_finds_its_own_row() {
        for (row, expected) in RULES.iter().enumerate() {
            let found = rule(expected.id as u32).expect(expected.name);
            assert_eq!(found.id, expected.id, "row {row}");
        }
        for unknown in [0, 4, 7, 10, 12, 16, 20, 27, 29, 30, 32, 43, 127, 128, u32::MAX] {
            assert!(rule(unknown).is_none(), "{unknown:#x}");
        }
        assert_eq!(RULES.len(), 27, "MQTT5 §2.2.2.2 table 2-4 has 27 rows");
    }
}
