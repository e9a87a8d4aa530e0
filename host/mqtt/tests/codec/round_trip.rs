//! What is written can be read: by our own decoder where a client may send the packet as well, and by rmqtt-codec where
//! only a server may.

use bytes::BytesMut;
use proptest::prelude::*;
use rmqtt_codec::{v3, v5};
use tidegate_mqtt::codec::{self, Message, Packet, PacketType, Peer, Property, PropertyId, Stage, Value};
use tidegate_mqtt::{Qos, ReasonCode, Version};

use crate::common::describe::describe;
use crate::theirs;

const PEER: Peer = Peer { version: Version::V5, maximum_packet_size: u32::MAX, problem_information: true };
const LIMIT: u32 = 300_000;

fn versions() -> impl Strategy<Value = Version> {
    prop::sample::select(vec![Version::V31, Version::V311, Version::V5])
}

fn text() -> impl Strategy<Value = String> {
    "[a-zäß温/ ]{0,12}"
}

fn topic() -> impl Strategy<Value = String> {
    "[a-zäß温/]{1,12}"
}

/// Owned properties, for proptest to hold.
#[derive(Debug, Clone)]
enum Owned {
    Number(PropertyId, u32),
    Text(PropertyId, String),
    Binary(PropertyId, Vec<u8>),
    User(String, String),
}

impl Owned {
    fn as_property(&self) -> Property<'_> {
        use PropertyId as Id;
        match self {
            Self::Number(id, value) => Property::new(
                *id,
                match id {
                    Id::PayloadFormatIndicator | Id::MaximumQos | Id::RetainAvailable => Value::Byte((value % 2) as u8),
                    Id::WildcardSubscriptionAvailable | Id::SubscriptionIdentifierAvailable => {
                        Value::Byte((value % 2) as u8)
                    }
                    Id::SharedSubscriptionAvailable => Value::Byte((value % 2) as u8),
                    Id::TopicAlias | Id::ReceiveMaximum | Id::TopicAliasMaximum | Id::ServerKeepAlive => {
                        Value::Short((*value as u16).max(1))
                    }
                    Id::SubscriptionIdentifier => Value::Variable(value % 268_435_455 + 1),
                    _ => Value::Long((*value).max(1)),
                },
            ),
            Self::Text(id, text) => Property::new(*id, Value::Text(text)),
            Self::Binary(id, bytes) => Property::new(*id, Value::Binary(bytes)),
            Self::User(name, value) => Property::new(Id::UserProperty, Value::Pair(name, value)),
        }
    }
}

/// Some of the properties with these identifiers, each at most once, and any number of user properties.
fn properties(ids: &'static [PropertyId]) -> impl Strategy<Value = Vec<Owned>> {
    use PropertyId as Id;
    let one = |id: Id| match id {
        Id::CorrelationData | Id::AuthenticationData => {
            prop::collection::vec(any::<u8>(), 0..8).prop_map(move |bytes| Owned::Binary(id, bytes)).boxed()
        }
        Id::ResponseTopic => topic().prop_map(move |text| Owned::Text(id, text)).boxed(),
        Id::ContentType | Id::ReasonString | Id::AuthenticationMethod | Id::ServerReference => {
            text().prop_map(move |text| Owned::Text(id, text)).boxed()
        }
        Id::AssignedClientIdentifier | Id::ResponseInformation => {
            text().prop_map(move |text| Owned::Text(id, text)).boxed()
        }
        _ => any::<u32>().prop_map(move |value| Owned::Number(id, value)).boxed(),
    };
    let each: Vec<_> = ids.iter().map(|id| prop::option::of(one(*id))).collect();
    let user = prop::collection::vec((text(), text()).prop_map(|(name, value)| Owned::User(name, value)), 0..3);
    (each, user).prop_map(|(each, user)| each.into_iter().flatten().chain(user).collect())
}

fn borrowed(owned: &[Owned]) -> Vec<Property<'_>> {
    owned.iter().map(Owned::as_property).collect()
}

/// Decodes what was written as if a client had sent it.
fn read_back(out: &[u8], version: Version) -> Packet<'_> {
    let (packet, used) = codec::decode(out, Stage::Established(version), LIMIT).expect("right").expect("whole");
    assert_eq!(used, out.len());
    packet
}

proptest! {
    #[test]
    fn publish(
        version in versions(),
        topic in topic(),
        // Around the border between one and two bytes of remaining length, and beyond.
        payload in prop_oneof![prop::collection::vec(any::<u8>(), 0..140), Just(vec![7; 16_384]), Just(vec![7; 100_000])],
        qos in 0_u8..3,
        packet_id in 1_u16..,
        (retain, dup) in any::<(bool, bool)>(),
        owned in properties(&[
            PropertyId::PayloadFormatIndicator, PropertyId::MessageExpiryInterval, PropertyId::ContentType,
            PropertyId::ResponseTopic, PropertyId::CorrelationData, PropertyId::TopicAlias,
        ]),
    ) {
        let qos = Qos::from_bits(qos).unwrap();
        let packet_id = if qos == Qos::AtMostOnce { 0 } else { packet_id };
        let dup = dup && qos != Qos::AtMostOnce;
        let properties = borrowed(&owned);
        let message =
            Message { topic: &topic, payload: &payload, qos, packet_id, retain, dup, properties: &properties };
        let mut out = BytesMut::new();
        Peer { version, ..PEER }.publish(&message, &mut out).unwrap();

        let Packet::Publish(read) = read_back(&out, version) else { panic!("PUBLISH") };
        prop_assert_eq!((read.topic, read.payload), (&topic[..], &payload[..]));
        prop_assert_eq!((read.qos, read.packet_id, read.retain, read.dup), (qos, packet_id, retain, dup));
        let expected = if version.is_v5() { properties } else { Vec::new() };
        prop_assert_eq!(read.properties.iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn acknowledgements(
        version in versions(),
        packet_id in 1_u16..,
        (packet, code) in prop::sample::select(vec![
            (PacketType::PubAck, 0x00), (PacketType::PubAck, 0x10), (PacketType::PubAck, 0x99),
            (PacketType::PubRec, 0x00), (PacketType::PubRec, 0x91), (PacketType::PubRel, 0x00),
            (PacketType::PubRel, 0x92), (PacketType::PubComp, 0x00), (PacketType::PubComp, 0x92),
        ]),
        owned in properties(&[PropertyId::ReasonString]),
    ) {
        let properties = borrowed(&owned);
        let mut out = BytesMut::new();
        Peer { version, ..PEER }.ack(packet, packet_id, ReasonCode::from(code), &properties, &mut out).unwrap();
        let (read_packet, read) = match read_back(&out, version) {
            Packet::PubAck(ack) => (PacketType::PubAck, ack),
            Packet::PubRec(ack) => (PacketType::PubRec, ack),
            Packet::PubRel(ack) => (PacketType::PubRel, ack),
            Packet::PubComp(ack) => (PacketType::PubComp, ack),
            other => panic!("{other:?}"),
        };
        prop_assert_eq!((read_packet, read.packet_id), (packet, packet_id));
        let (code, expected) = if version.is_v5() { (code, properties) } else { (0, Vec::new()) };
        prop_assert_eq!(read.code.value(), code);
        prop_assert_eq!(read.properties.iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn disconnect_and_auth(
        code in prop::sample::select(vec![0x00, 0x04, 0x81, 0x99]),
        owned in properties(&[PropertyId::ReasonString]),
        data in properties(&[PropertyId::AuthenticationData, PropertyId::ReasonString]),
        method in text(),
    ) {
        let properties = borrowed(&owned);
        let mut out = BytesMut::new();
        PEER.disconnect(ReasonCode::from(code), &properties, &mut out).unwrap();
        let Packet::Disconnect(read) = read_back(&out, Version::V5) else { panic!("DISCONNECT") };
        prop_assert_eq!(read.code.value(), code);
        prop_assert_eq!(read.properties.iter().collect::<Vec<_>>(), properties);

        let mut properties = borrowed(&data);
        properties.push(Property::new(PropertyId::AuthenticationMethod, Value::Text(&method)));
        let mut out = BytesMut::new();
        PEER.auth(ReasonCode::CONTINUE_AUTHENTICATION, &properties, &mut out).unwrap();
        let Packet::Auth(read) = read_back(&out, Version::V5) else { panic!("AUTH") };
        prop_assert_eq!(read.code, ReasonCode::CONTINUE_AUTHENTICATION);
        prop_assert_eq!(read.properties.iter().collect::<Vec<_>>(), properties);
    }

    /// Packets that only a server sends, with every property they may carry, read by rmqtt-codec.
    #[test]
    fn packets_of_a_server(
        packet_id in 1_u16..,
        session_present in any::<bool>(),
        connack in properties(&[
            PropertyId::SessionExpiryInterval, PropertyId::AssignedClientIdentifier, PropertyId::ServerKeepAlive,
            PropertyId::AuthenticationMethod, PropertyId::AuthenticationData, PropertyId::ResponseInformation,
            PropertyId::ServerReference, PropertyId::ReasonString, PropertyId::ReceiveMaximum,
            PropertyId::TopicAliasMaximum, PropertyId::MaximumQos, PropertyId::RetainAvailable,
            PropertyId::MaximumPacketSize, PropertyId::WildcardSubscriptionAvailable,
            PropertyId::SubscriptionIdentifierAvailable, PropertyId::SharedSubscriptionAvailable,
        ]),
        grants in properties(&[PropertyId::ReasonString]),
        publish in properties(&[PropertyId::SubscriptionIdentifier, PropertyId::TopicAlias]),
        disconnect in properties(&[PropertyId::ReasonString, PropertyId::ServerReference]),
        granted in prop::collection::vec(prop::sample::select(vec![0x00, 0x01, 0x80, 0x87, 0x8f, 0x97, 0x9e]), 1..9),
        removed in prop::collection::vec(prop::sample::select(vec![0x00, 0x11, 0x83, 0x8f]), 1..9),
    ) {
        let codes = |codes: &[u8]| codes.iter().map(|code| ReasonCode::from(*code)).collect::<Vec<_>>();
        let mut out = BytesMut::new();
        PEER.connack(session_present, ReasonCode::SUCCESS, &borrowed(&connack), &mut out).unwrap();
        PEER.suback(packet_id, &codes(&granted), &borrowed(&grants), &mut out).unwrap();
        PEER.unsuback(packet_id, &codes(&removed), &borrowed(&grants), &mut out).unwrap();
        PEER.pingresp(&mut out).unwrap();
        let message = Message {
            topic: "t", payload: b"p", qos: Qos::AtLeastOnce, packet_id, retain: false, dup: false,
            properties: &borrowed(&publish),
        };
        PEER.publish(&message, &mut out).unwrap();
        PEER.disconnect(ReasonCode::SERVER_SHUTTING_DOWN, &borrowed(&disconnect), &mut out).unwrap();

        let read = theirs::server_packets_v5(&out);
        prop_assert_eq!(read, [
            theirs::connack(session_present, &borrowed(&connack)),
            theirs::suback(packet_id, &granted, &borrowed(&grants)),
            theirs::unsuback(packet_id, &removed, &borrowed(&grants)),
            v5::Packet::PingResponse,
            theirs::server_publish(packet_id, &borrowed(&publish)),
            theirs::disconnect(0x8b, &borrowed(&disconnect)),
        ]);
    }

    /// The same before MQTT 5.0.
    #[test]
    fn packets_of_a_server_v3(
        packet_id in 1_u16..,
        granted in prop::collection::vec(prop::sample::select(vec![0x00, 0x01, 0x87, 0x8f]), 1..9),
        code in prop::sample::select(vec![(0x00, 0), (0x84, 1), (0x85, 2), (0x88, 3), (0x9f, 3), (0x87, 5), (0x86, 5_u8)]),
    ) {
        let peer = Peer { version: Version::V311, ..PEER };
        let codes: Vec<_> = granted.iter().map(|code| ReasonCode::from(*code)).collect();
        let mut out = BytesMut::new();
        peer.connack(false, ReasonCode::from(code.0), &[], &mut out).unwrap();
        peer.suback(packet_id, &codes, &[], &mut out).unwrap();
        peer.unsuback(packet_id, &codes, &[], &mut out).unwrap();
        peer.pingresp(&mut out).unwrap();
        peer.disconnect(ReasonCode::SERVER_SHUTTING_DOWN, &[], &mut out).unwrap();
        peer.auth(ReasonCode::CONTINUE_AUTHENTICATION, &[], &mut out).unwrap();
        let packet_id = packet_id.try_into().unwrap();
        let status = |code: &u8| match code {
            0 => v3::SubscribeReturnCode::Success(v3::QoS::AtMostOnce),
            1 => v3::SubscribeReturnCode::Success(v3::QoS::AtLeastOnce),
            _ => v3::SubscribeReturnCode::Failure,
        };
        prop_assert_eq!(theirs::server_packets_v3(&out), [
            v3::Packet::ConnectAck(v3::ConnectAck { return_code: code.1.try_into().unwrap(), session_present: false }),
            v3::Packet::SubscribeAck { packet_id, status: granted.iter().map(status).collect() },
            v3::Packet::UnsubscribeAck { packet_id },
            v3::Packet::PingResponse,
        ]);
    }

    /// First the reason string yields, then the user properties, then the packet (MQTT5 §3.4.2.2).
    #[test]
    fn packets_fit_the_client(maximum in 1_u32..60, reason in "[a-z]{0,20}", user in "[a-z]{0,20}") {
        let properties = [
            Property::new(PropertyId::ReasonString, Value::Text(&reason)),
            Property::new(PropertyId::UserProperty, Value::Pair("k", &user)),
        ];
        let code = ReasonCode::QUOTA_EXCEEDED;
        let size = |properties: &[Property<'_>]| {
            let mut out = BytesMut::new();
            PEER.ack(PacketType::PubAck, 1, code, properties, &mut out).unwrap();
            out.len()
        };
        let (all, without_reason, bare) = (size(&properties), size(&properties[1..]), size(&[]));
        let maximum_size = maximum as usize;

        let mut out = BytesMut::new();
        let peer = Peer { maximum_packet_size: maximum, ..PEER };
        let result = peer.ack(PacketType::PubAck, 1, code, &properties, &mut out);
        let expected = [all, without_reason, bare].into_iter().find(|size| *size <= maximum_size);
        prop_assert_eq!(result.is_ok(), expected.is_some());
        prop_assert_eq!(out.len(), expected.unwrap_or(0));
        if result.is_ok() {
            prop_assert!(describe(&read_back(&out, Version::V5)).starts_with("PUBACK id=1 97"));
        }
    }

    /// Who wants no problem information gets none, except in PUBLISH, where user properties are part of the message.
    #[test]
    fn no_problem_information(reason in "[a-z]{1,9}", user in "[a-z]{1,9}") {
        let properties = [
            Property::new(PropertyId::ReasonString, Value::Text(&reason)),
            Property::new(PropertyId::UserProperty, Value::Pair("k", &user)),
        ];
        let peer = Peer { problem_information: false, ..PEER };
        let mut out = BytesMut::new();
        peer.ack(PacketType::PubAck, 1, ReasonCode::QUOTA_EXCEEDED, &properties, &mut out).unwrap();
        prop_assert_eq!(&out[..], &[0x40, 3, 0, 1, 0x97]);
        out.clear();
        peer.suback(1, &[ReasonCode::SUCCESS], &properties, &mut out).unwrap();
        prop_assert_eq!(&out[..], &[0x90, 4, 0, 1, 0, 0]);
        out.clear();
        let message = Message {
            topic: "t", payload: b"", qos: Qos::AtMostOnce, packet_id: 0, retain: false, dup: false,
            properties: &properties[1..],
        };
        peer.publish(&message, &mut out).unwrap();
        prop_assert_eq!(describe(&read_back(&out, Version::V5)), format!("PUBLISH t qos=0 k={user} (empty)"));
    }
}

/// [MQTT-3.2.2-6]: whatever the caller says.
#[test]
fn a_refusing_connack_has_no_session() {
    for (version, expected) in [(Version::V5, &[0x20, 3, 0, 0x87, 0][..]), (Version::V311, &[0x20, 2, 0, 5])] {
        let mut out = BytesMut::new();
        Peer { version, ..PEER }.connack(true, ReasonCode::NOT_AUTHORIZED, &[], &mut out).unwrap();
        assert_eq!(&out[..], expected);
    }
}

/// A string that MQTT cannot express is left out rather than cut.
#[test]
fn properties_that_cannot_be_written_are_left_out() {
    let long = "x".repeat(65_536);
    let properties = [
        Property::new(PropertyId::UserProperty, Value::Pair("k", &long)),
        Property::new(PropertyId::UserProperty, Value::Pair("k", "v")),
        Property::new(PropertyId::ReasonString, Value::Text("a\0b")),
    ];
    let mut out = BytesMut::new();
    PEER.ack(PacketType::PubAck, 1, ReasonCode::QUOTA_EXCEEDED, &properties, &mut out).unwrap();
    assert_eq!(describe(&read_back(&out, Version::V5)), "PUBACK id=1 97 k=v");
}

/// Nothing is written of a message that cannot be.
#[test]
fn messages_that_are_too_large() {
    let peer = Peer { maximum_packet_size: 10, ..PEER };
    let mut message = Message {
        topic: "t",
        payload: b"12345",
        qos: Qos::AtMostOnce,
        packet_id: 0,
        retain: false,
        dup: false,
        properties: &[],
    };
    let mut out = BytesMut::new();
    let error = peer.publish(&message, &mut out).unwrap_err();
    assert_eq!((error.size, error.limit), (11, 10));
    let topic = "x".repeat(65_536);
    message.topic = &topic;
    assert_eq!(PEER.publish(&message, &mut out).unwrap_err().limit, 65_535);
    let payload = vec![0; 268_435_455];
    message = Message { topic: "t", payload: &payload, ..message };
    assert!(PEER.publish(&message, &mut out).is_err());
    assert!(out.is_empty());
}
