//! Packets as one line of text that a table can hold.

use tidegate_mqtt::Qos;
use tidegate_mqtt::codec::{Ack, Connect, Packet, Properties, Property, PropertyId, Value};

use super::bytes::hex;

/// Everything that a packet says, defaults left out.
pub(crate) fn describe(packet: &Packet<'_>) -> String {
    let mut text = String::new();
    match packet {
        Packet::Connect(c) => connect(&mut text, c),
        Packet::Publish(p) => {
            text += &format!("PUBLISH {} qos={}", topic(p.topic), p.qos as u8);
            flag(&mut text, "dup", p.dup);
            flag(&mut text, "retain", p.retain);
            if p.qos != Qos::AtMostOnce {
                text += &format!(" id={}", p.packet_id);
            }
            properties(&mut text, &p.properties);
            text += &format!(" {}", lossy(p.payload));
        }
        Packet::PubAck(a) => ack(&mut text, "PUBACK", a),
        Packet::PubRec(a) => ack(&mut text, "PUBREC", a),
        Packet::PubRel(a) => ack(&mut text, "PUBREL", a),
        Packet::PubComp(a) => ack(&mut text, "PUBCOMP", a),
        Packet::Subscribe(s) => {
            text += &format!("SUBSCRIBE id={}", s.packet_id);
            if let Some(identifier) = s.identifier {
                text += &format!(" identifier={identifier}");
            }
            for (filter, qos) in &s.filters {
                text += &format!(" {}:{}", topic(filter), *qos as u8);
            }
        }
        Packet::Unsubscribe(u) => {
            text += &format!("UNSUBSCRIBE id={}", u.packet_id);
            for filter in &u.filters {
                text += &format!(" {}", topic(filter));
            }
        }
        Packet::PingReq => text += "PINGREQ",
        Packet::Disconnect(d) => {
            text += &format!("DISCONNECT {:02x}", d.code.value());
            properties(&mut text, &d.properties);
        }
        Packet::Auth(a) => {
            text += &format!("AUTH {:02x}", a.code.value());
            properties(&mut text, &a.properties);
        }
    }
    text
}

fn connect(text: &mut String, c: &Connect) {
    *text += &format!("CONNECT {} {}", c.version, topic(&c.client_id));
    flag(text, "clean", c.clean_start);
    *text += &format!(" keep={}", c.keep_alive);
    if let Some(will) = &c.will {
        *text += &format!(" will={}:{}:{}", will.topic, will.qos as u8, lossy(&will.payload));
        flag(text, "will-retain", will.retain);
        flag(text, "will-text", will.is_text);
        if will.delay > 0 {
            *text += &format!(" will-delay={}", will.delay);
        }
        option(text, "will-expiry", will.expiry);
        option(text, "will-type", will.content_type.as_ref());
        option(text, "will-response", will.response_topic.as_ref());
        option(text, "will-correlation", will.correlation_data.as_deref().map(lossy));
        pairs(text, &will.user_properties);
    }
    option(text, "user", c.user_name.as_ref());
    option(text, "password", c.password.as_deref().map(lossy));
    if c.session_expiry > 0 {
        *text += &format!(" expiry={}", c.session_expiry);
    }
    if c.receive_maximum != u16::MAX {
        *text += &format!(" receive={}", c.receive_maximum);
    }
    if c.maximum_packet_size != u32::MAX {
        *text += &format!(" max={}", c.maximum_packet_size);
    }
    if c.topic_alias_maximum > 0 {
        *text += &format!(" aliases={}", c.topic_alias_maximum);
    }
    flag(text, "response-information", c.request_response_information);
    flag(text, "no-problem-information", !c.request_problem_information);
    option(text, "auth", c.authentication_method.as_ref());
    option(text, "auth-data", c.authentication_data.as_deref().map(lossy));
    pairs(text, &c.user_properties);
}

fn ack(text: &mut String, name: &str, a: &Ack<'_>) {
    *text += &format!("{name} id={} {:02x}", a.packet_id, a.code.value());
    properties(text, &a.properties);
}

/// In the order of their identifiers, whatever the order in the packet; a payload format of 0 is the default.
fn properties(text: &mut String, properties: &Properties<'_>) {
    let mut sorted: Vec<Property<'_>> = properties.iter().collect();
    sorted.sort_by_key(|property| property.id as u8);
    sorted.retain(|property| *property != Property::new(PropertyId::PayloadFormatIndicator, Value::Byte(0)));
    for property in sorted {
        *text += &match property.value {
            Value::Text(value) => format!(" {:?}={value}", property.id),
            Value::Binary(value) => format!(" {:?}={}", property.id, lossy(value)),
            Value::Pair(name, value) => format!(" {name}={value}"),
            number => format!(" {:?}={}", property.id, number.number().expect("a number")),
        };
    }
}

fn pairs(text: &mut String, pairs: &[(String, String)]) {
    for (name, value) in pairs {
        *text += &format!(" {name}={value}");
    }
}

pub(crate) fn flag(text: &mut String, name: &str, set: bool) {
    if set {
        *text += &format!(" {name}");
    }
}

pub(crate) fn option(text: &mut String, name: &str, value: Option<impl std::fmt::Display>) {
    if let Some(value) = value {
        *text += &format!(" {name}={value}");
    }
}

pub(crate) fn topic(text: &str) -> String {
    if text.is_empty() { "(empty)".into() } else { text.to_owned() }
}

pub(crate) fn lossy(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok("") => "(empty)".into(),
        Ok(text) if text.chars().all(|c| c.is_ascii_graphic()) => text.into(),
        _ => format!("[{}]", hex(bytes)),
    }
}
