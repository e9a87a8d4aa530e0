//! What rmqtt-codec and mqttbytes make of a packet, in the words of `common::describe`.

use bytes::BytesMut;
use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::{v3, v5};
use tidegate_mqtt::codec::{self, Connect, PropertyId, Value, Will};
use tidegate_mqtt::{Qos, Version};
use tokio_util::codec::{Decoder, Encoder};

use crate::common::describe::{describe, flag, lossy, option, topic};

/// Reads one packet with rmqtt-codec. `None`: it refuses.
pub(crate) fn rmqtt(version: Version, bytes: &[u8]) -> Option<String> {
    let mut buffer = BytesMut::from(bytes);
    match version {
        Version::V5 => Some(describe_v5(&v5::Codec::default().decode(&mut buffer).ok()??.0)),
        Version::V31 | Version::V311 => Some(describe_v3(&v3::Codec::default().decode(&mut buffer).ok()??.0)),
    }
}

/// Reads one packet with rmqtt-codec and writes it again.
pub(crate) fn rmqtt_rewritten(version: Version, bytes: &[u8]) -> Option<BytesMut> {
    let mut buffer = BytesMut::from(bytes);
    let mut out = BytesMut::new();
    match version {
        Version::V5 => {
            let packet = v5::Codec::default().decode(&mut buffer).ok()??.0;
            v5::Codec::default().encode(packet, &mut out).ok()?;
        }
        Version::V31 | Version::V311 => {
            let packet = v3::Codec::default().decode(&mut buffer).ok()??.0;
            v3::Codec::default().encode(packet, &mut out).ok()?;
        }
    }
    Some(out)
}

fn describe_v5(packet: &v5::Packet) -> String {
    let mut text = String::new();
    match packet {
        v5::Packet::Connect(c) => return describe(&codec::Packet::Connect(Box::new(connect_v5(c)))),
        v5::Packet::Publish(p) => publish(&mut text, p),
        v5::Packet::PublishAck(a) => {
            ack(&mut text, "PUBACK", a.packet_id.get(), a.reason_code.into(), &a.reason_string, &a.properties);
        }
        v5::Packet::PublishReceived(a) => {
            ack(&mut text, "PUBREC", a.packet_id.get(), a.reason_code.into(), &a.reason_string, &a.properties);
        }
        v5::Packet::PublishRelease(a) => {
            ack(&mut text, "PUBREL", a.packet_id.get(), a.reason_code.into(), &a.reason_string, &a.properties);
        }
        v5::Packet::PublishComplete(a) => {
            ack(&mut text, "PUBCOMP", a.packet_id.get(), a.reason_code.into(), &a.reason_string, &a.properties);
        }
        v5::Packet::Subscribe(s) => {
            text += &format!("SUBSCRIBE id={}", s.packet_id);
            option(&mut text, "identifier", s.id);
            for (filter, options) in &s.topic_filters {
                text += &format!(" {}:{}", topic(filter), options.qos.value());
            }
        }
        v5::Packet::Unsubscribe(u) => unsubscribe(&mut text, u.packet_id.get(), &u.topic_filters),
        v5::Packet::PingRequest => text += "PINGREQ",
        v5::Packet::Disconnect(d) => {
            text += &format!("DISCONNECT {:02x}", u8::from(d.reason_code));
            option(&mut text, "SessionExpiryInterval", d.session_expiry_interval_secs);
            option(&mut text, "ReasonString", d.reason_string.as_ref());
            user(&mut text, &d.user_properties);
        }
        v5::Packet::Auth(a) => {
            text += &format!("AUTH {:02x}", u8::from(a.reason_code));
            option(&mut text, "AuthenticationMethod", a.auth_method.as_ref());
            option(&mut text, "AuthenticationData", a.auth_data.as_deref().map(lossy));
            option(&mut text, "ReasonString", a.reason_string.as_ref());
            user(&mut text, &a.user_properties);
        }
        server => text += &format!("{server:?}"),
    }
    text
}

fn describe_v3(packet: &v3::Packet) -> String {
    let mut text = String::new();
    match packet {
        v3::Packet::Connect(c) => return describe(&codec::Packet::Connect(Box::new(connect_v3(c)))),
        v3::Packet::Publish(p) => publish(&mut text, p),
        v3::Packet::PublishAck { packet_id } => text += &format!("PUBACK id={packet_id} 00"),
        v3::Packet::PublishReceived { packet_id } => text += &format!("PUBREC id={packet_id} 00"),
        v3::Packet::PublishRelease { packet_id } => text += &format!("PUBREL id={packet_id} 00"),
        v3::Packet::PublishComplete { packet_id } => text += &format!("PUBCOMP id={packet_id} 00"),
        v3::Packet::Subscribe { packet_id, topic_filters } => {
            text += &format!("SUBSCRIBE id={packet_id}");
            for (filter, qos) in topic_filters {
                text += &format!(" {}:{}", topic(filter), qos.value());
            }
        }
        v3::Packet::Unsubscribe { packet_id, topic_filters } => {
            unsubscribe(&mut text, packet_id.get(), topic_filters);
        }
        v3::Packet::PingRequest => text += "PINGREQ",
        v3::Packet::Disconnect => text += "DISCONNECT 00",
        server => text += &format!("{server:?}"),
    }
    text
}

fn publish(text: &mut String, p: &Publish) {
    *text += &format!("PUBLISH {} qos={}", topic(&p.topic), p.qos.value());
    flag(text, "dup", p.dup);
    flag(text, "retain", p.retain);
    option(text, "id", p.packet_id);
    if let Some(properties) = &p.properties {
        if properties.is_utf8_payload {
            *text += " PayloadFormatIndicator=1";
        }
        option(text, "MessageExpiryInterval", properties.message_expiry_interval);
        option(text, "ContentType", properties.content_type.as_ref());
        option(text, "ResponseTopic", properties.response_topic.as_ref());
        option(text, "CorrelationData", properties.correlation_data.as_deref().map(lossy));
        option(text, "TopicAlias", properties.topic_alias);
        user(text, &properties.user_properties);
    }
    *text += &format!(" {}", lossy(&p.payload));
}

fn ack(
    text: &mut String,
    name: &str,
    id: u16,
    code: u8,
    reason: &Option<impl std::fmt::Display>,
    properties: &v5::UserProperties,
) {
    *text += &format!("{name} id={id} {code:02x}");
    option(text, "ReasonString", reason.as_ref());
    user(text, properties);
}

fn unsubscribe<T: AsRef<[u8]>>(text: &mut String, packet_id: u16, filters: &[T]) {
    *text += &format!("UNSUBSCRIBE id={packet_id}");
    for filter in filters {
        *text += &format!(" {}", topic(std::str::from_utf8(filter.as_ref()).expect("UTF-8")));
    }
}

fn user(text: &mut String, properties: &v5::UserProperties) {
    for (name, value) in properties {
        *text += &format!(" {name}={value}");
    }
}

fn pairs(properties: &v5::UserProperties) -> Vec<(String, String)> {
    properties.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn qos(qos: QoS) -> Qos {
    Qos::from_bits(qos.value()).expect("0 to 2")
}

/// A CONNECT that says nothing.
fn no_connect(version: Version) -> Connect {
    Connect {
        version,
        clean_start: false,
        keep_alive: 0,
        client_id: String::new(),
        user_name: None,
        password: None,
        will: None,
        session_expiry: 0,
        receive_maximum: u16::MAX,
        maximum_packet_size: u32::MAX,
        topic_alias_maximum: 0,
        request_response_information: false,
        request_problem_information: true,
        authentication_method: None,
        authentication_data: None,
        user_properties: Vec::new(),
    }
}

fn no_will(topic: &str, payload: &[u8]) -> Will {
    Will {
        topic: topic.to_owned(),
        payload: payload.to_vec(),
        qos: Qos::AtMostOnce,
        retain: false,
        delay: 0,
        is_text: false,
        expiry: None,
        content_type: None,
        response_topic: None,
        correlation_data: None,
        user_properties: Vec::new(),
    }
}

fn connect_v3(c: &v3::Connect) -> Connect {
    Connect {
        clean_start: c.clean_session,
        keep_alive: c.keep_alive,
        client_id: c.client_id.to_string(),
        user_name: c.username.as_ref().map(ToString::to_string),
        password: c.password.as_ref().map(|bytes| bytes.to_vec()),
        will: c.last_will.as_ref().map(|will| Will {
            qos: qos(will.qos),
            retain: will.retain,
            ..no_will(&will.topic, &will.message)
        }),
        ..no_connect(if c.protocol.level() == 3 { Version::V31 } else { Version::V311 })
    }
}

fn connect_v5(c: &v5::Connect) -> Connect {
    Connect {
        clean_start: c.clean_start,
        keep_alive: c.keep_alive,
        client_id: c.client_id.to_string(),
        user_name: c.username.as_ref().map(ToString::to_string),
        password: c.password.as_ref().map(|bytes| bytes.to_vec()),
        will: c.last_will.as_ref().map(|will| Will {
            qos: qos(will.qos),
            retain: will.retain,
            delay: will.will_delay_interval_sec.unwrap_or(0),
            is_text: will.is_utf8_payload == Some(true),
            expiry: will.message_expiry_interval.map(|seconds| seconds.get()),
            content_type: will.content_type.as_ref().map(ToString::to_string),
            response_topic: will.response_topic.as_ref().map(ToString::to_string),
            correlation_data: will.correlation_data.as_ref().map(|bytes| bytes.to_vec()),
            user_properties: pairs(&will.user_properties),
            ..no_will(&will.topic, &will.message)
        }),
        session_expiry: c.session_expiry_interval_secs,
        receive_maximum: c.receive_max.map_or(u16::MAX, |value| value.get()),
        maximum_packet_size: c.max_packet_size.map_or(u32::MAX, |value| value.get()),
        topic_alias_maximum: c.topic_alias_max,
        request_response_information: c.request_response_info,
        request_problem_information: c.request_problem_info,
        authentication_method: c.auth_method.as_ref().map(ToString::to_string),
        authentication_data: c.auth_data.as_ref().map(|bytes| bytes.to_vec()),
        user_properties: pairs(&c.user_properties),
        ..no_connect(Version::V5)
    }
}

/// Reads one packet with mqttbytes. `None`: it refuses, or it is one of those that it is known to get wrong.
pub(crate) fn mqttbytes(version: Version, bytes: &[u8]) -> Option<String> {
    use mqttbytes::{v4, v5};

    let mut buffer = BytesMut::from(bytes);
    let mut text = String::new();
    if version == Version::V5 {
        if bytes[0] >> 4 == 10 {
            return None; // prints to stderr
        }
        match v5::read(&mut buffer, usize::MAX).ok()? {
            v5::Packet::PubAck(a) => text += &format!("PUBACK id={} {:02x}", a.pkid, a.reason as u8),
            v5::Packet::PubRec(a) => text += &format!("PUBREC id={} {:02x}", a.pkid, a.reason as u8),
            v5::Packet::PubRel(a) => text += &format!("PUBREL id={} {:02x}", a.pkid, a.reason as u8),
            v5::Packet::PubComp(a) => text += &format!("PUBCOMP id={} {:02x}", a.pkid, a.reason as u8),
            v5::Packet::Publish(p) => {
                text += &format!("PUBLISH {} qos={} id={} {}", topic(&p.topic), p.qos as u8, p.pkid, lossy(&p.payload));
            }
            v5::Packet::Subscribe(s) => {
                text += &format!("SUBSCRIBE id={}", s.pkid);
                option(&mut text, "identifier", s.properties.and_then(|properties| properties.id));
                for filter in s.filters {
                    text += &format!(" {}:{}", topic(&filter.path), filter.qos as u8);
                }
            }
            _ => return None,
        }
        return Some(text);
    }
    match v4::read(&mut buffer, usize::MAX).ok()? {
        v4::Packet::PubAck(a) => text += &format!("PUBACK id={} 00", a.pkid),
        v4::Packet::PubRec(a) => text += &format!("PUBREC id={} 00", a.pkid),
        v4::Packet::PubRel(a) => text += &format!("PUBREL id={} 00", a.pkid),
        v4::Packet::PubComp(a) => text += &format!("PUBCOMP id={} 00", a.pkid),
        v4::Packet::Publish(p) => {
            text += &format!("PUBLISH {} qos={} id={} {}", topic(&p.topic), p.qos as u8, p.pkid, lossy(&p.payload));
        }
        v4::Packet::Subscribe(s) => {
            text += &format!("SUBSCRIBE id={}", s.pkid);
            for filter in s.filters {
                text += &format!(" {}:{}", topic(&filter.path), filter.qos as u8);
            }
        }
        v4::Packet::Unsubscribe(u) => {
            text += &format!("UNSUBSCRIBE id={}", u.pkid);
            for filter in u.topics {
                text += &format!(" {}", topic(&filter));
            }
        }
        v4::Packet::PingReq => text += "PINGREQ",
        v4::Packet::Disconnect => text += "DISCONNECT 00",
        _ => return None,
    }
    Some(text)
}

/// The same words for our own packets, as far as `mqttbytes` goes.
pub(crate) fn for_mqttbytes(packet: &codec::Packet<'_>) -> String {
    match packet {
        codec::Packet::Publish(p) => {
            format!("PUBLISH {} qos={} id={} {}", topic(p.topic), p.qos as u8, p.packet_id, lossy(p.payload))
        }
        codec::Packet::PubAck(a) => format!("PUBACK id={} {:02x}", a.packet_id, a.code.value()),
        codec::Packet::PubRec(a) => format!("PUBREC id={} {:02x}", a.packet_id, a.code.value()),
        codec::Packet::PubRel(a) => format!("PUBREL id={} {:02x}", a.packet_id, a.code.value()),
        codec::Packet::PubComp(a) => format!("PUBCOMP id={} {:02x}", a.packet_id, a.code.value()),
        other => describe(other),
    }
}

/// Reads packets of a server with rmqtt-codec.
pub(crate) fn server_packets_v5(sent: &[u8]) -> Vec<v5::Packet> {
    let mut buffer = BytesMut::from(sent);
    let mut codec = v5::Codec::default();
    std::iter::from_fn(|| codec.decode(&mut buffer).expect("right").map(|(packet, _)| packet)).collect()
}

/// The same before MQTT 5.0.
pub(crate) fn server_packets_v3(sent: &[u8]) -> Vec<v3::Packet> {
    let mut buffer = BytesMut::from(sent);
    let mut codec = v3::Codec::default();
    std::iter::from_fn(|| codec.decode(&mut buffer).expect("right").map(|(packet, _)| packet)).collect()
}

/// Puts properties into a packet of rmqtt-codec by their identifiers.
macro_rules! fill {
    ($packet:ident, $properties:ident, $user:ident, $($id:ident => |$value:ident| $field:ident = $converted:expr;)*) => {
        for property in $properties {
            match (property.id, property.value) {
                (PropertyId::UserProperty, Value::Pair(name, value)) => $packet.$user.push((name.into(), value.into())),
                $((PropertyId::$id, $value) => $packet.$field = $converted,)*
                other => panic!("{other:?}"),
            }
        }
    };
}

fn number(value: Value<'_>) -> u32 {
    value.number().expect("a number")
}

fn text<T: for<'a> From<&'a str>>(value: Value<'_>) -> Option<T> {
    match value {
        Value::Text(text) => Some(text.into()),
        other => panic!("{other:?}"),
    }
}

fn binary(value: Value<'_>) -> Option<bytes::Bytes> {
    match value {
        Value::Binary(bytes) => Some(bytes::Bytes::copy_from_slice(bytes)),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn connack(session_present: bool, properties: &[codec::Property<'_>]) -> v5::Packet {
    let mut packet = v5::ConnectAck { session_present, ..v5::ConnectAck::default() };
    fill! { packet, properties, user_properties,
        SessionExpiryInterval => |value| session_expiry_interval_secs = Some(number(value));
        AssignedClientIdentifier => |value| assigned_client_id = text(value);
        ServerKeepAlive => |value| server_keepalive_sec = Some(number(value) as u16);
        AuthenticationMethod => |value| auth_method = text(value);
        AuthenticationData => |value| auth_data = binary(value);
        ResponseInformation => |value| response_info = text(value);
        ServerReference => |value| server_reference = text(value);
        ReasonString => |value| reason_string = text(value);
        ReceiveMaximum => |value| receive_max = (number(value) as u16).try_into().expect("not 0");
        TopicAliasMaximum => |value| topic_alias_max = number(value) as u16;
        MaximumQos => |value| max_qos = if number(value) == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce };
        RetainAvailable => |value| retain_available = number(value) == 1;
        MaximumPacketSize => |value| max_packet_size = Some(number(value));
        WildcardSubscriptionAvailable => |value| wildcard_subscription_available = number(value) == 1;
        SubscriptionIdentifierAvailable => |value| subscription_identifiers_available = number(value) == 1;
        SharedSubscriptionAvailable => |value| shared_subscription_available = number(value) == 1;
    }
    v5::Packet::ConnectAck(Box::new(packet))
}

pub(crate) fn suback(packet_id: u16, codes: &[u8], properties: &[codec::Property<'_>]) -> v5::Packet {
    let mut packet = v5::SubscribeAck {
        packet_id: packet_id.try_into().expect("not 0"),
        properties: Vec::new(),
        reason_string: None,
        status: codes.iter().map(|code| (*code).try_into().expect("a code of SUBACK")).collect(),
    };
    fill! { packet, properties, properties, ReasonString => |value| reason_string = text(value); }
    v5::Packet::SubscribeAck(packet)
}

pub(crate) fn unsuback(packet_id: u16, codes: &[u8], properties: &[codec::Property<'_>]) -> v5::Packet {
    let mut packet = v5::UnsubscribeAck {
        packet_id: packet_id.try_into().expect("not 0"),
        properties: Vec::new(),
        reason_string: None,
        status: codes.iter().map(|code| (*code).try_into().expect("a code of UNSUBACK")).collect(),
    };
    fill! { packet, properties, properties, ReasonString => |value| reason_string = text(value); }
    v5::Packet::UnsubscribeAck(packet)
}

pub(crate) fn server_publish(packet_id: u16, listed: &[codec::Property<'_>]) -> v5::Packet {
    let mut properties = v5::PublishProperties::default();
    fill! { properties, listed, user_properties,
        SubscriptionIdentifier => |value| subscription_ids = vec![number(value).try_into().expect("not 0")];
        TopicAlias => |value| topic_alias = (number(value) as u16).try_into().ok();
    }
    v5::Packet::Publish(Box::new(Publish {
        dup: false,
        retain: false,
        qos: QoS::AtLeastOnce,
        topic: "t".into(),
        packet_id: packet_id.try_into().ok(),
        payload: bytes::Bytes::from_static(b"p"),
        properties: Some(properties),
    }))
}

pub(crate) fn disconnect(code: u8, properties: &[codec::Property<'_>]) -> v5::Packet {
    let mut packet = v5::Disconnect {
        reason_code: code.try_into().expect("a code of DISCONNECT"),
        session_expiry_interval_secs: None,
        server_reference: None,
        reason_string: None,
        user_properties: Vec::new(),
    };
    fill! { packet, properties, user_properties,
        ReasonString => |value| reason_string = text(value);
        ServerReference => |value| server_reference = text(value);
    }
    v5::Packet::Disconnect(packet)
}
