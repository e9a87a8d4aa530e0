//! CONNECT and what is said to it: spec 2, 2.1 to 2.3.
#![allow(clippy::unwrap_used, reason = "in a test, whatever goes wrong is to be seen at once")]

use tidegate_tests::raw::{Connect, PINGREQ, Packet, Property, Publish, Value, write};
use tidegate_tests::{Client, Gateway, Options, Version};

const TELEMETRY: &str = "v1/devices/me/telemetry";

fn numbers(packet: &Packet) -> Vec<(u8, u32)> {
    let number = |property: &Property| match property.value {
        Value::Number(number) => Some((property.id, number)),
        Value::Text(_) => None,
    };
    let mut numbers: Vec<_> = packet.properties().iter().filter_map(number).collect();
    numbers.sort_unstable();
    numbers
}

/// Spec 2.2: exactly these properties, and no others.
#[test]
fn spec_2_2_connack_says_what_the_host_can_do() {
    let gateway = Gateway::start(Options::new());
    let token = gateway.device("d1");
    let limits = [(0x21, 100), (0x22, 16), (0x24, 1), (0x27, 65_536), (0x2a, 0)];

    let mut client = Client::open(&gateway, Version::V5);
    let connack = client.greet(&Connect::new(Version::V5).client("me").user(&token).unclean().keep_alive(60));
    assert!(matches!(connack, Packet::ConnAck { session_present: false, code: 0, .. }), "{connack:?}");
    assert_eq!(numbers(&connack), limits);
    assert_eq!(connack.property(0x12), None, "no client identifier is assigned to who has one");
    client.leave();

    // Nothing is kept of a session yet, so what is granted differs from what was asked for, and is told.
    let mut client = Client::open(&gateway, Version::V5);
    let connack = client.greet(&Connect::new(Version::V5).client("me").user(&token).property(&[0x11, 0, 0, 0, 9]));
    assert!(numbers(&connack).contains(&(0x11, 0)), "{connack:?}");
    client.leave();

    for version in [Version::V31, Version::V311] {
        let mut client = Client::open(&gateway, version);
        let connack = client.greet(&Connect::new(version).client("me").user(&token).unclean());
        assert_eq!(connack, Packet::ConnAck { session_present: false, code: 0, properties: vec![] });
        client.leave();
    }
}

/// Spec 2.2, 21: the figures are those of the settings.
#[test]
fn spec_2_2_connack_follows_the_settings() {
    let gateway = Gateway::start(Options::new().set("max_payload_size=1000").set("max_inflight=5"));
    let token = gateway.device("d1");
    let mut client = Client::open(&gateway, Version::V5);
    let connack = client.greet(&Connect::new(Version::V5).client("me").user(&token));
    assert_eq!(numbers(&connack), [(0x21, 5), (0x22, 16), (0x24, 1), (0x27, 1000), (0x2a, 0)]);
}

/// Spec 2.2: who has no client identifier gets one, and another one than everybody else.
#[test]
fn spec_2_2_an_empty_client_id_is_replaced() {
    let gateway = Gateway::start(Options::new());
    let mut assigned = Vec::new();
    let mut clients = Vec::new();
    for name in ["d1", "d2"] {
        let token = gateway.device(name);
        let mut client = Client::open(&gateway, Version::V5);
        let connack = client.greet(&Connect::new(Version::V5).user(&token));
        let Some(Value::Text(id)) = connack.property(0x12) else { panic!("{connack:?}") };
        assert!(!id.is_empty() && !assigned.contains(id), "{id:?} after {assigned:?}");
        let events = gateway.events(&format!("device={name}&kind=connected"));
        assert_eq!(events[0]["client_id"], id.as_str());
        assigned.push(id.clone());
        clients.push(client);
    }
    // 3.1.1 has no way to tell, but serves an empty one with a clean session.
    let mut client = Client::open(&gateway, Version::V311);
    assert_eq!(client.greet(&Connect::new(Version::V311).user("token-of-d1")).code(), 0);
}

/// Spec 2, row "protocol versions", and MQTT 3.1's own rule for the client identifier.
#[test]
fn spec_2_protocol_versions() {
    let gateway = Gateway::start(Options::new());
    let token = gateway.device("d1");
    let long = "a".repeat(23);
    let longer = "a".repeat(24);
    // version of the answer, protocol name, level, client id, expected CONNACK code
    let rows = [
        (Version::V31, "MQIsdp", 3, "a", 0),
        (Version::V31, "MQIsdp", 3, long.as_str(), 0),
        (Version::V31, "MQIsdp", 3, longer.as_str(), 2),
        (Version::V31, "MQIsdp", 3, "", 2),
        (Version::V311, "MQTT", 4, "a", 0),
        (Version::V5, "MQTT", 5, "a", 0),
        (Version::V311, "MQTT", 3, "a", 1),
        (Version::V311, "MQTT", 0, "a", 1),
        (Version::V311, "MQIsdp", 4, "a", 1),
        (Version::V5, "MQTT", 6, "a", 0x84),
        (Version::V5, "MQTT", 255, "a", 0x84),
    ];
    for (version, name, level, client_id, expected) in rows {
        let mut client = Client::open(&gateway, version);
        let connect = Connect::new(version).client(client_id).user(&token);
        client.send(&connect.bytes_with(name, level, 0x82));
        let connack = client.receive();
        assert_eq!((connack.kind(), connack.code()), ("CONNACK", expected), "{name} {level} {client_id:?}");
        if expected == 0 {
            client.leave();
        } else {
            assert_eq!(client.rest(), [], "{name} {level} {client_id:?}: closed, and no DISCONNECT");
        }
    }
    let protocols = gateway.events("kind=connected").iter().map(|event| event["protocol"].clone()).collect::<Vec<_>>();
    assert_eq!(protocols, ["3.1", "3.1", "3.1.1", "5.0"]);
}

/// Spec 2.1, step 1: flags that are reserved or contradict each other are malformed: v5 0x81, v3 close.
#[test]
fn spec_2_1_reserved_flags_are_malformed() {
    let gateway = Gateway::start(Options::new());
    let token = gateway.device("d1");
    for version in Version::ALL {
        let (name, level) = if version == Version::V31 { ("MQIsdp", 3) } else { ("MQTT", 4) };
        let level = if version.is_v5() { 5 } else { level };
        // The reserved bit; will QoS 3; will QoS without a will; will retain without a will.
        for flags in [0x83, 0x9e, 0x8a, 0xa2] {
            let mut client = Client::open(&gateway, version);
            client.send(&Connect::new(version).client("a").user(&token).bytes_with(name, level, flags));
            let told: Vec<_> = client.rest().iter().map(|packet| (packet.kind(), packet.code())).collect();
            let expected = if version.is_v5() { vec![("CONNACK", 0x81)] } else { vec![] };
            assert_eq!(told, expected, "{version:?}, flags {flags:#04x}");
        }
    }
    assert_eq!(gateway.story("d1"), [""; 0]);
}

/// Spec 2: the first packet must be CONNECT, else close.
#[test]
fn spec_2_the_first_packet_must_be_connect() {
    let gateway = Gateway::start(Options::new());
    let v5 = Version::V5;
    let rows = [
        ("PINGREQ", PINGREQ.to_vec()),
        ("PUBLISH", Publish::new(TELEMETRY, "{}").bytes(v5)),
        ("SUBSCRIBE", write::subscribe(v5, 1, &[("v2/a", 1)])),
        ("DISCONNECT", write::disconnect(v5, 0)),
        ("HTTP", b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n".to_vec()),
        ("TLS", vec![0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00]),
    ];
    for (what, bytes) in rows {
        let mut client = Client::open(&gateway, v5);
        client.send(&bytes);
        assert_eq!(client.rest(), [], "{what}");
    }
}

/// Spec 2.1, last paragraph: v5 0x82, v3 close.
#[test]
fn spec_2_1_a_second_connect_is_a_protocol_error() {
    let gateway = Gateway::start(Options::new());
    let token = gateway.device("d1");
    for version in Version::ALL {
        let mut client = Client::connect(&gateway, version, &token);
        let expected = if version.is_v5() { "DISCONNECT 0x82, close" } else { "close" };
        assert_eq!(client.reaction(&Connect::new(version).user(&token).bytes()), expected);
    }
}

/// Spec 2.1: packets behind CONNECT wait for CONNACK, and are served in their order then.
#[test]
fn spec_2_1_packets_before_connack_are_queued() {
    let gateway = Gateway::start(Options::new());
    let token = gateway.device("d1");
    for version in Version::ALL {
        let mut client = Client::open(&gateway, version);
        let mut bytes = Connect::new(version).user(&token).bytes();
        bytes.extend(Publish::new(TELEMETRY, "{\"n\":0}").qos(0).bytes(version));
        bytes.extend(Publish::new(TELEMETRY, "{\"n\":1}").id(8).bytes(version));
        bytes.extend(write::subscribe(version, 9, &[("v2/a", 1)]));
        bytes.extend(Publish::new(TELEMETRY, "{\"n\":2}").id(10).bytes(version));
        bytes.extend(PINGREQ);
        bytes.extend(write::disconnect(version, 0));
        client.send(&bytes);
        let told: Vec<_> = client.rest().iter().map(|packet| (packet.kind(), packet.id())).collect();
        let expected = [("CONNACK", 0), ("PUBACK", 8), ("SUBACK", 9), ("PUBACK", 10), ("PINGRESP", 0)];
        assert_eq!(told, expected, "{version:?}");
    }
    assert_eq!(gateway.numbers("d1"), [0, 1, 2, 0, 1, 2, 0, 1, 2]);
}

/// Spec 2.1: they are not lost either when the client has left before it gets its CONNACK.
#[test]
fn spec_2_1_packets_of_a_client_that_does_not_wait() {
    let gateway = Gateway::start(Options::new());
    let token = gateway.device("d1");
    for version in Version::ALL {
        let mut client = Client::open(&gateway, version);
        let publish = |n: u16| Publish::new(TELEMETRY, format!("{{\"n\":{n}}}"));
        let packets = [
            Connect::new(version).user(&token).bytes(),
            publish(0).qos(0).bytes(version),
            publish(1).id(1).bytes(version),
            write::disconnect(version, 0),
        ];
        client.send(&packets.concat());
        client.half_close();
        let told: Vec<_> = client.rest().iter().map(Packet::kind).collect();
        assert_eq!(told, ["CONNACK", "PUBACK"], "{version:?}");
    }
    assert_eq!(gateway.numbers("d1"), [0, 1, 0, 1, 0, 1]);
    let story = ["connected", "disconnected client"].repeat(3);
    gateway.story_until("d1", "disconnected client");
    let told: Vec<_> = gateway.story("d1").into_iter().filter(|event| event != "telemetry").collect();
    assert_eq!(told, story);
}

/// Spec 2.1: if CONNECT is refused, what was queued behind it is dropped.
#[test]
fn spec_2_1_packets_behind_a_refused_connect_are_dropped() {
    let gateway = Gateway::start(Options::new());
    gateway.device("d1");
    for version in Version::ALL {
        let mut client = Client::open(&gateway, version);
        let connect = Connect::new(version).user("wrong").bytes();
        client.send(&[connect, Publish::new(TELEMETRY, "{\"n\":0}").bytes(version), PINGREQ.to_vec()].concat());
        let told: Vec<_> = client.rest().iter().map(Packet::kind).collect();
        assert_eq!(told, ["CONNACK"]);
    }
    assert_eq!(gateway.events(""), [""; 0]);
}

/// Spec 2.1, 13: provisioning is refused cleanly while it is not served.
#[test]
fn provisioning_is_refused_cleanly() {
    let gateway = Gateway::start(Options::new());
    for version in Version::ALL {
        for connect in [Connect::new(version).user("provision"), Connect::new(version).client("provision")] {
            let mut client = Client::open(&gateway, version);
            assert_eq!(client.greet(&connect).code(), if version.is_v5() { 0x87 } else { 5 });
            assert_eq!(client.rest(), []);
        }
    }
}
