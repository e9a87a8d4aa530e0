//! Packets to be sent, well made or not.

use super::Version;

/// PINGREQ is the same in all versions.
pub const PINGREQ: [u8; 2] = [0xc0, 0];

/// Any packet: its first byte and what stands behind the remaining length.
pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    [&[first], remaining_length(body.len()).as_slice(), body].concat()
}

/// The variable byte integer of this value.
pub fn remaining_length(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(value % 128).unwrap();
        value /= 128;
        bytes.push(if value > 0 { low | 0x80 } else { low });
        if value == 0 {
            return bytes;
        }
    }
}

/// Text with its length in front.
pub fn text(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    [&u16::try_from(text.len()).unwrap().to_be_bytes(), text].concat()
}

/// Properties with their length in front in v5, nothing before.
fn properties(version: Version, properties: &[u8]) -> Vec<u8> {
    if version.is_v5() { [&remaining_length(properties.len()), properties].concat() } else { Vec::new() }
}

/// CONNECT
#[derive(Debug, Clone)]
pub struct Connect {
    version: Version,
    client_id: Vec<u8>,
    user: Option<Vec<u8>>,
    password: Option<Vec<u8>>,
    clean: bool,
    keep_alive: u16,
    properties: Vec<u8>,
}

impl Connect {
    /// With a clean session, without keep-alive, and with nothing to present.
    pub fn new(version: Version) -> Self {
        // In 3.1 there must be one.
        let client_id = if version == Version::V31 { b"client".to_vec() } else { Vec::new() };
        Self { version, client_id, user: None, password: None, clean: true, keep_alive: 0, properties: Vec::new() }
    }

    /// The client identifier.
    #[must_use]
    pub fn client(mut self, id: &str) -> Self {
        self.client_id = id.into();
        self
    }

    /// The user name.
    #[must_use]
    pub fn user(mut self, user: &str) -> Self {
        self.user = Some(user.into());
        self
    }

    /// The password.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.into());
        self
    }

    /// Asks for a session that outlives the connection.
    #[must_use]
    pub fn unclean(mut self) -> Self {
        self.clean = false;
        self
    }

    /// The keep-alive in seconds.
    #[must_use]
    pub fn keep_alive(mut self, seconds: u16) -> Self {
        self.keep_alive = seconds;
        self
    }

    /// A property of v5, as bytes.
    #[must_use]
    pub fn property(mut self, bytes: &[u8]) -> Self {
        self.properties.extend_from_slice(bytes);
        self
    }

    /// The packet.
    pub fn bytes(&self) -> Vec<u8> {
        let (name, level) = match self.version {
            Version::V31 => ("MQIsdp", 3),
            Version::V311 => ("MQTT", 4),
            Version::V5 => ("MQTT", 5),
        };
        let bit = |set: bool, bit: u8| if set { 1 << bit } else { 0 };
        let flags = bit(self.user.is_some(), 7) | bit(self.password.is_some(), 6) | bit(self.clean, 1);
        self.bytes_with(name, level, flags)
    }

    /// The packet with whatever stands in its header.
    pub fn bytes_with(&self, name: &str, level: u8, flags: u8) -> Vec<u8> {
        let mut body = text(name);
        body.extend([level, flags]);
        body.extend(self.keep_alive.to_be_bytes());
        body.extend(properties(self.version, &self.properties));
        body.extend(text(&self.client_id));
        for part in [&self.user, &self.password].into_iter().flatten() {
            body.extend(text(part));
        }
        packet(0x10, &body)
    }
}

/// PUBLISH
#[derive(Debug, Clone)]
pub struct Publish {
    topic: Vec<u8>,
    payload: Vec<u8>,
    qos: u8,
    id: u16,
    dup: bool,
    retain: bool,
    properties: Vec<u8>,
}

impl Publish {
    /// QoS 1 with packet id 1.
    pub fn new(topic: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> Self {
        let (topic, payload) = (topic.as_ref().to_vec(), payload.as_ref().to_vec());
        Self { topic, payload, qos: 1, id: 1, dup: false, retain: false, properties: Vec::new() }
    }

    /// The packet identifier.
    #[must_use]
    pub fn id(mut self, id: u16) -> Self {
        self.id = id;
        self
    }

    /// The quality of service, 3 included.
    #[must_use]
    pub fn qos(mut self, qos: u8) -> Self {
        self.qos = qos;
        self
    }

    /// Sets DUP.
    #[must_use]
    pub fn dup(mut self) -> Self {
        self.dup = true;
        self
    }

    /// Sets RETAIN.
    #[must_use]
    pub fn retain(mut self) -> Self {
        self.retain = true;
        self
    }

    /// A property of v5, as bytes.
    #[must_use]
    pub fn property(mut self, bytes: &[u8]) -> Self {
        self.properties.extend_from_slice(bytes);
        self
    }

    /// A topic alias of v5.
    #[must_use]
    pub fn alias(self, alias: u16) -> Self {
        let [high, low] = alias.to_be_bytes();
        self.property(&[0x23, high, low])
    }

    /// The packet.
    pub fn bytes(&self, version: Version) -> Vec<u8> {
        let mut body = text(&self.topic);
        if self.qos > 0 {
            body.extend(self.id.to_be_bytes());
        }
        body.extend(properties(version, &self.properties));
        body.extend(&self.payload);
        packet(0x30 | u8::from(self.dup) << 3 | self.qos << 1 | u8::from(self.retain), &body)
    }
}

/// SUBSCRIBE: filters with their options byte, which in v3 is the QoS.
pub fn subscribe(version: Version, id: u16, filters: &[(&str, u8)]) -> Vec<u8> {
    subscribe_with(version, id, filters, &[])
}

/// SUBSCRIBE with properties as bytes.
pub fn subscribe_with(version: Version, id: u16, filters: &[(&str, u8)], own: &[u8]) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    body.extend(properties(version, own));
    for (filter, options) in filters {
        body.extend(text(filter));
        body.push(*options);
    }
    packet(0x82, &body)
}

/// UNSUBSCRIBE
pub fn unsubscribe(version: Version, id: u16, filters: &[&str]) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    body.extend(properties(version, &[]));
    for filter in filters {
        body.extend(text(filter));
    }
    packet(0xa2, &body)
}

/// DISCONNECT; the code exists in v5 only.
pub fn disconnect(version: Version, code: u8) -> Vec<u8> {
    if version.is_v5() { packet(0xe0, &[code]) } else { packet(0xe0, &[]) }
}

/// PUBACK with success.
pub fn puback(id: u16) -> Vec<u8> {
    packet(0x40, &id.to_be_bytes())
}
