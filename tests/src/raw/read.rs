//! Packets of the gateway, taken apart far enough to be judged. Strict: what a server may not send is a panic.

use super::Version;

/// A packet of the gateway.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the names are those of the specification")]
pub enum Packet {
    ConnAck {
        session_present: bool,
        code: u8,
        properties: Vec<Property>,
    },
    Publish {
        topic: String,
        payload: Vec<u8>,
        qos: u8,
        id: u16,
        dup: bool,
        retain: bool,
        properties: Vec<Property>,
    },
    PubAck {
        id: u16,
        code: u8,
        properties: Vec<Property>,
    },
    PubRel {
        id: u16,
        code: u8,
    },
    PubComp {
        id: u16,
        code: u8,
    },
    SubAck {
        id: u16,
        codes: Vec<u8>,
        properties: Vec<Property>,
    },
    UnsubAck {
        id: u16,
        codes: Vec<u8>,
        properties: Vec<Property>,
    },
    PingResp,
    Disconnect {
        code: u8,
        properties: Vec<Property>,
    },
    /// No packet: the connection ended here.
    Close,
}

/// A property of v5 by its identifier.
#[derive(Debug, Clone, PartialEq)]
pub struct Property {
    /// Its identifier (MQTT5 §2.2.2.2).
    pub id: u8,
    /// Its value.
    pub value: Value,
}

/// The value of a property.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "two words for two things")]
pub enum Value {
    Number(u32),
    Text(String),
}

impl Packet {
    /// Its name in the specification.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::ConnAck { .. } => "CONNACK",
            Self::Publish { .. } => "PUBLISH",
            Self::PubAck { .. } => "PUBACK",
            Self::PubRel { .. } => "PUBREL",
            Self::PubComp { .. } => "PUBCOMP",
            Self::SubAck { .. } => "SUBACK",
            Self::UnsubAck { .. } => "UNSUBACK",
            Self::PingResp => "PINGRESP",
            Self::Disconnect { .. } => "DISCONNECT",
            Self::Close => "close",
        }
    }

    /// Its reason code or return code; 0 where it has none.
    pub fn code(&self) -> u8 {
        match self {
            Self::ConnAck { code, .. }
            | Self::PubAck { code, .. }
            | Self::PubRel { code, .. }
            | Self::PubComp { code, .. }
            | Self::Disconnect { code, .. } => *code,
            _ => 0,
        }
    }

    /// Its packet identifier; 0 where it has none.
    pub fn id(&self) -> u16 {
        match self {
            Self::Publish { id, .. }
            | Self::PubAck { id, .. }
            | Self::PubRel { id, .. }
            | Self::PubComp { id, .. }
            | Self::SubAck { id, .. }
            | Self::UnsubAck { id, .. } => *id,
            _ => 0,
        }
    }

    /// The codes of a SUBACK or UNSUBACK.
    #[track_caller]
    pub fn codes(&self) -> &[u8] {
        match self {
            Self::SubAck { codes, .. } | Self::UnsubAck { codes, .. } => codes,
            other => panic!("SUBACK or UNSUBACK expected, got {other:?}"),
        }
    }

    /// Its properties.
    pub fn properties(&self) -> &[Property] {
        match self {
            Self::ConnAck { properties, .. }
            | Self::Publish { properties, .. }
            | Self::PubAck { properties, .. }
            | Self::SubAck { properties, .. }
            | Self::UnsubAck { properties, .. }
            | Self::Disconnect { properties, .. } => properties,
            _ => &[],
        }
    }

    /// The property with this identifier.
    pub fn property(&self, id: u8) -> Option<&Value> {
        self.properties().iter().find(|property| property.id == id).map(|property| &property.value)
    }

    /// The Reason String, empty if there is none.
    pub fn reason(&self) -> &str {
        match self.property(0x1f) {
            Some(Value::Text(text)) => text,
            _ => "",
        }
    }
}

/// What these packets say, in the words of spec 4.3. A PINGRESP at the end says that the connection is open, which is
/// not worth a word.
pub fn told(packets: &[Packet], version: Version) -> String {
    let tell = |packet: &Packet| match packet {
        Packet::PubAck { code, .. } | Packet::Disconnect { code, .. } if version.is_v5() => {
            Some(format!("{} {code:#04x}", packet.kind()))
        }
        Packet::PingResp => None,
        other => Some(other.kind().to_owned()),
    };
    let told: Vec<String> = packets.iter().filter_map(tell).collect();
    if told.is_empty() { "–".to_owned() } else { told.join(", ") }
}

/// The packet at the start of `bytes` and its length; `None` if it is not complete.
pub(super) fn packet(bytes: &[u8], version: Version) -> Option<(Packet, usize)> {
    let (&first, rest) = bytes.split_first()?;
    let (length, taken) = variable(rest)?;
    let body = rest.get(taken..taken + length)?;
    let mut body = Body { bytes: body, version };
    let packet = match first {
        0x20 => {
            let session_present = body.byte() == 1;
            Packet::ConnAck { session_present, code: body.byte(), properties: body.properties() }
        }
        0x30..=0x3f => body.publish(first),
        0x40 => {
            let (id, code, properties) = body.ack();
            Packet::PubAck { id, code, properties }
        }
        0x62 => {
            let (id, code, _) = body.ack();
            Packet::PubRel { id, code }
        }
        0x70 => {
            let (id, code, _) = body.ack();
            Packet::PubComp { id, code }
        }
        0x90 => Packet::SubAck { id: body.short(), properties: body.properties(), codes: body.rest() },
        0xb0 => Packet::UnsubAck { id: body.short(), properties: body.properties(), codes: body.rest() },
        0xd0 => Packet::PingResp,
        0xe0 => {
            assert!(version.is_v5(), "there is no DISCONNECT of a server in v3");
            let code = if body.bytes.is_empty() { 0 } else { body.byte() };
            Packet::Disconnect { code, properties: if body.bytes.is_empty() { Vec::new() } else { body.properties() } }
        }
        other => panic!("a server does not send packets that begin with {other:#04x}: {bytes:02x?}"),
    };
    assert!(body.bytes.is_empty(), "{packet:?} has more bytes than it should: {:02x?}", body.bytes);
    Some((packet, 1 + taken + length))
}

/// A variable byte integer and how many bytes it takes.
fn variable(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (index, byte) in bytes.iter().enumerate().take(4) {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    assert!(bytes.len() < 4, "remaining length of more than four bytes");
    None
}

/// What stands behind the remaining length.
struct Body<'a> {
    bytes: &'a [u8],
    version: Version,
}

impl<'a> Body<'a> {
    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.bytes.split_at(length);
        self.bytes = rest;
        taken
    }

    fn byte(&mut self) -> u8 {
        self.take(1)[0]
    }

    fn short(&mut self) -> u16 {
        u16::from_be_bytes(self.take(2).try_into().unwrap())
    }

    fn long(&mut self) -> u32 {
        u32::from_be_bytes(self.take(4).try_into().unwrap())
    }

    fn text(&mut self) -> String {
        let length = self.short().into();
        String::from_utf8(self.take(length).to_vec()).unwrap()
    }

    fn rest(&mut self) -> Vec<u8> {
        self.take(self.bytes.len()).to_vec()
    }

    fn publish(&mut self, first: u8) -> Packet {
        let qos = first >> 1 & 3;
        Packet::Publish {
            topic: self.text(),
            id: if qos > 0 { self.short() } else { 0 },
            properties: self.properties(),
            payload: self.rest(),
            qos,
            dup: first & 8 != 0,
            retain: first & 1 != 0,
        }
    }

    fn ack(&mut self) -> (u16, u8, Vec<Property>) {
        let id = self.short();
        // The short forms of v5 leave out what is zero.
        let code = if self.bytes.is_empty() { 0 } else { self.byte() };
        let properties = if self.bytes.is_empty() { Vec::new() } else { self.properties() };
        (id, code, properties)
    }

    fn properties(&mut self) -> Vec<Property> {
        if !self.version.is_v5() {
            return Vec::new();
        }
        let (length, taken) = variable(self.bytes).unwrap();
        self.take(taken);
        let mut own = Body { bytes: self.take(length), version: self.version };
        let mut properties: Vec<Property> = Vec::new();
        while !own.bytes.is_empty() {
            let id = own.byte();
            let repeatable = matches!(id, 0x0b | 0x26);
            assert!(repeatable || properties.iter().all(|other| other.id != id), "property {id:#04x} twice");
            properties.push(Property { id, value: own.property(id) });
        }
        properties
    }

    /// MQTT5 §2.2.2.2, those that a server sends.
    fn property(&mut self, id: u8) -> Value {
        match id {
            0x01 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2a => Value::Number(self.byte().into()),
            0x13 | 0x21 | 0x22 | 0x23 => Value::Number(self.short().into()),
            0x02 | 0x11 | 0x27 => Value::Number(self.long()),
            0x0b => {
                let (value, taken) = variable(self.bytes).unwrap();
                self.take(taken);
                Value::Number(u32::try_from(value).unwrap())
            }
            0x03 | 0x08 | 0x12 | 0x15 | 0x1a | 0x1c | 0x1f => Value::Text(self.text()),
            other => panic!("property {other:#04x} is none that the gateway should send"),
        }
    }
}
