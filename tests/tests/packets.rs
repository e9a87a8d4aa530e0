//! Packets that break a rule of MQTT, and limits: spec 2, 2.7, 18.4.
#![allow(clippy::unwrap_used, reason = "in a test, whatever goes wrong is to be seen at once")]

use std::time::Duration;

use tidegate_tests::guests::guest;
use tidegate_tests::raw::{Connect, PINGREQ, Packet, Publish, write};
use tidegate_tests::wait::pause;
use tidegate_tests::{Client, Gateway, Options, Version};

const TELEMETRY: &str = "v1/devices/me/telemetry";

/// Spec 2.7: 0x81 for what cannot be decoded, 0x82 for what breaks a rule; v3 is closed without a word. The whole table is
/// that of the codec; these rows show that its verdicts reach the wire.
#[test]
fn spec_2_7_malformed_packets_and_protocol_errors() {
    let gateway = Gateway::start(Options::new());
    let token = gateway.device("d1");
    let rows: [(&str, Vec<u8>, u8); 14] = [
        ("reserved packet type", vec![0x00, 0x00], 0x81),
        ("QoS 3", Publish::new(TELEMETRY, "{}").qos(3).bytes(Version::V5), 0x81),
        (
            "reserved flags of SUBSCRIBE",
            [&[0x80], &write::subscribe(Version::V5, 1, &[("v2/a", 1)])[1..]].concat(),
            0x81,
        ),
        ("overlong remaining length", vec![0x30, 0xff, 0xff, 0xff, 0xff, 0x7f], 0x81),
        ("a topic longer than its packet", write::packet(0x30, &[0x00, 0x10, b'a']), 0x81),
        ("invalid UTF-8 in a topic", Publish::new([0xff, 0xfe], "{}").bytes(Version::V5), 0x81),
        ("U+0000 in a topic", Publish::new("v2\0t", "{}").bytes(Version::V5), 0x81),
        ("PINGREQ with a body", write::packet(0xc0, &[1]), 0x81),
        ("DUP with QoS 0", Publish::new(TELEMETRY, "{}").qos(0).dup().bytes(Version::V5), 0x81),
        ("packet id 0", Publish::new(TELEMETRY, "{}").id(0).bytes(Version::V5), 0x82),
        ("SUBSCRIBE without filters", write::subscribe(Version::V5, 1, &[]), 0x82),
        ("a packet of servers", write::packet(0xd0, &[]), 0x82),
        ("AUTH out of nowhere", write::packet(0xf0, &[0x18, 0]), 0x82),
        ("a property twice", Publish::new(TELEMETRY, "{}").alias(1).alias(1).bytes(Version::V5), 0x82),
    ];
    for (what, bytes, code) in rows {
        let mut client = Client::connect(&gateway, Version::V5, &token);
        let told = client.reactions(&bytes);
        let [Packet::Disconnect { code: got, .. }, Packet::Close] = told.as_slice() else { panic!("{what}: {told:?}") };
        assert_eq!(*got, code, "{what}: {}", told[0].reason());
        assert!(!told[0].reason().is_empty(), "{what}");
    }
    let rows: [(&str, Vec<u8>); 5] = [
        ("reserved packet type", vec![0x00, 0x00]),
        ("QoS 3", Publish::new(TELEMETRY, "{}").qos(3).bytes(Version::V311)),
        ("packet id 0", Publish::new(TELEMETRY, "{}").id(0).bytes(Version::V311)),
        ("overlong remaining length", vec![0x30, 0xff, 0xff, 0xff, 0xff, 0x7f]),
        ("AUTH", write::packet(0xf0, &[])),
    ];
    for (what, bytes) in rows {
        for version in [Version::V31, Version::V311] {
            let mut client = Client::connect(&gateway, version, &token);
            assert_eq!(client.reaction(&bytes), "close", "{what}, {version:?}");
        }
    }
    assert!(gateway.numbers("d1").is_empty());
    // What was sent is never quoted: it may be a credential.
    assert!(!gateway.log().contains(&token));
}

/// Spec 2, row "packet limit": the remaining length counts. Over it 0x95, as soon as the header is there.
#[test]
fn spec_2_packet_limit() {
    for limit in [1000, 65_536] {
        let gateway = Gateway::start(Options::new().set(&format!("max_payload_size={limit}")));
        let token = gateway.device("d1");
        for version in Version::ALL {
            let of_length = |length: usize| {
                let empty = Publish::new(TELEMETRY, "").bytes(version).len() - 2;
                let text = "a".repeat(length - empty - "{\"s\":\"\"}".len());
                Publish::new(TELEMETRY, format!("{{\"s\":\"{text}\"}}")).bytes(version)
            };
            let mut client = Client::connect(&gateway, version, &token);
            let accepted = if version.is_v5() { "PUBACK 0x00" } else { "PUBACK" };
            assert_eq!(client.reaction(&of_length(limit)), accepted, "{version:?}, {limit}");
            let refused = if version.is_v5() { "DISCONNECT 0x95, close" } else { "close" };
            assert_eq!(client.reaction(&of_length(limit + 1)), refused, "{version:?}, {limit}");
            // The header says enough: nothing of the body need come.
            let mut client = Client::connect(&gateway, version, &token);
            client.send(&[&[0x30], write::remaining_length(limit + 1).as_slice()].concat());
            assert_eq!(client.end(), if version.is_v5() { 0x95 } else { 0 }, "{version:?}, {limit}");
        }
    }
}

/// Spec 18.4: more than Receive Maximum messages of QoS 1 that wait for their PUBACK: 0x93. A client that keeps to it is
/// served, however fast it is.
#[test]
fn spec_18_4_receive_maximum() {
    let gateway = Gateway::start(Options::new());
    let token = gateway.device("d1");
    let burst = |count: u16| -> Vec<u8> {
        (1..=count).flat_map(|id| Publish::new("v2/t", format!("{{\"n\":{id}}}")).id(id).bytes(Version::V5)).collect()
    };
    let mut client = Client::connect(&gateway, Version::V5, &token);
    for _ in 0..3 {
        let told = client.reactions(&burst(100));
        assert_eq!(told.len(), 101, "{told:?}");
        assert!(told.iter().all(|packet| packet.code() == 0), "{told:?}");
    }
    // In one segment, so the gateway sees 101 publishes before it can have acknowledged one.
    let told = client.reactions(&burst(101));
    let last = told.iter().find(|packet| packet.kind() == "DISCONNECT");
    assert_eq!(last.map(Packet::code), Some(0x93), "{told:?}");
}

/// Spec 18.4: v3 knows no Receive Maximum; the gateway takes as much at once as it wants, and the rest waits.
#[test]
fn spec_18_4_v3_may_send_as_much_as_it_wants() {
    let gateway = Gateway::start(Options::new());
    let token = gateway.device("d1");
    let mut client = Client::connect(&gateway, Version::V311, &token);
    let publish = |id: u16| Publish::new("v2/t", format!("{{\"n\":{id}}}")).id(id).bytes(Version::V311);
    let told = client.reactions(&(1..=1000).flat_map(publish).collect::<Vec<u8>>());
    let ids: Vec<_> = told.iter().map(Packet::id).collect();
    assert_eq!(ids, (1..=1000).chain([0]).collect::<Vec<_>>());
    assert_eq!(gateway.numbers("d1"), (1..=1000).collect::<Vec<_>>());
}

/// Spec 2.1: at most 100 packets wait before CONNACK. Here CONNACK waits for the old connection of the device, whose drain
/// is with a slow plugin.
#[test]
fn spec_2_1_queue_before_connack() {
    let gateway =
        Gateway::start(Options::new().own_plugin("slow", guest("loop"), "converter.limits.call_time = \"2 s\""));
    let token = gateway.device_of("d1", "slow");
    for (count, ok) in [(100, true), (101, false)] {
        let mut old = Client::connect(&gateway, Version::V5, &token);
        old.send(&Publish::new(TELEMETRY, "x").bytes(Version::V5));
        pause(Duration::from_millis(200));
        let mut new = Client::open(&gateway, Version::V5);
        new.send(&Connect::new(Version::V5).user(&token).bytes());
        pause(Duration::from_millis(200));
        new.send(&PINGREQ.repeat(count));
        let connack = new.receive();
        if ok {
            assert_eq!((connack.kind(), connack.code()), ("CONNACK", 0));
            for _ in 0..count {
                assert_eq!(new.receive(), Packet::PingResp);
            }
            new.ping();
        } else {
            // MQTT has no DISCONNECT of a server before CONNACK [MQTT-3.14.0-1]; the code is the same.
            assert_eq!((connack.kind(), connack.code()), ("CONNACK", 0x97), "{connack:?}");
            assert_eq!(new.rest(), []);
        }
    }
}

/// The same when everything arrives at once with CONNECT.
#[test]
fn spec_2_1_queue_before_connack_in_one_segment() {
    let gateway = Gateway::start(Options::new());
    let token = gateway.device("d1");
    for (count, code) in [(100, 0), (101, 0x97)] {
        let mut client = Client::open(&gateway, Version::V5);
        client.send(&[Connect::new(Version::V5).user(&token).bytes(), PINGREQ.repeat(count)].concat());
        let connack = client.receive();
        assert_eq!((connack.kind(), connack.code()), ("CONNACK", code), "{count} packets behind CONNECT");
        if code == 0 {
            assert!((0..count).all(|_| client.receive() == Packet::PingResp));
        }
    }
}

/// Spec 4.2: there is no QoS 2, so a PUBREL belongs to another life. It gets the answer that MQTT has for that, and in
/// v3 the one that lets a client go on.
#[test]
fn packets_of_qos_2_find_nothing() {
    let gateway = Gateway::start(Options::new());
    let token = gateway.device("d1");
    for version in Version::ALL {
        let mut client = Client::connect(&gateway, version, &token);
        client.send(&write::packet(0x62, &[0, 7]));
        let code = if version.is_v5() { 0x92 } else { 0 };
        assert_eq!(client.receive(), Packet::PubComp { id: 7, code }, "{version:?}");
        // A PUBACK for nothing means nothing.
        client.send(&write::puback(7));
        client.ping();
    }
}
