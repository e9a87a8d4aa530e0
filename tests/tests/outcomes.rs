//! What becomes of a message, and what its client sees of it: spec 4.2 to 4.4.
#![allow(clippy::unwrap_used, reason = "in a test, whatever goes wrong is to be seen at once")]

use tidegate_tests::foreign::assert_installed;
use tidegate_tests::gateway::token_of;
use tidegate_tests::guests::guest;
use tidegate_tests::raw::{Connect, Packet, Publish, write};
use tidegate_tests::{Client, Gateway, Options, Version};

const TELEMETRY: &str = "v1/devices/me/telemetry";
/// The columns of spec 4.3; 3.1 behaves as 3.1.1.
const COLUMNS: [(&str, &[Version], u8); 4] = [
    ("v5 QoS 1", &[Version::V5], 1),
    ("v5 QoS 0", &[Version::V5], 0),
    ("v3 QoS 1", &[Version::V31, Version::V311], 1),
    ("v3 QoS 0", &[Version::V31, Version::V311], 0),
];

/// One row of the matrix: what the four kinds of clients see when this device publishes that. Afterwards the connection is
/// open if nothing says that it is closed, and a message in front of it and one behind it count as they should.
#[track_caller]
fn row(gateway: &Gateway, device: &str, topic: &str, payload: &str, expected: [&str; 4]) {
    for ((column, versions, qos), expected) in COLUMNS.into_iter().zip(expected) {
        for &version in versions {
            let mut client = Client::connect(gateway, version, &token_of(device));
            let told = client.reactions(&Publish::new(topic, payload).qos(qos).id(9).bytes(version));
            let place = format!("{device}: {topic} {payload}: {column}, {version:?}");
            assert_eq!(tidegate_tests::raw::read::told(&told, version), expected, "{place}");
            for packet in &told {
                if packet.kind() == "PUBACK" {
                    assert_eq!(packet.id(), 9, "{place}");
                }
                // Spec 4.3, last paragraph: every error code of v5 comes with a reason.
                assert_eq!(packet.code() >= 0x80, !packet.reason().is_empty(), "{place}: {packet:?}");
                assert!(!packet.reason().contains(&token_of(device)), "{place}: {packet:?}");
            }
        }
    }
}

#[test]
fn spec_4_3_success() {
    let gateway = Gateway::start(Options::new());
    gateway.device("d1");
    row(&gateway, "d1", TELEMETRY, "{\"n\":1}", ["PUBACK 0x00", "–", "PUBACK", "–"]);
    // Valid, but nothing to store (spec 7.2, 7.3).
    for (topic, payload) in [(TELEMETRY, "{}"), (TELEMETRY, "[]"), (TELEMETRY, "{\"a\":null}"), ("v2/a", "{}")] {
        row(&gateway, "d1", topic, payload, ["PUBACK 0x00", "–", "PUBACK", "–"]);
    }
    assert_eq!(gateway.numbers("d1"), [1; 6]);
}

#[test]
fn spec_4_3_invalid_payload() {
    let gateway = Gateway::start(Options::new());
    gateway.device("d1");
    let expected = ["PUBACK 0x99", "DISCONNECT 0x99, close", "close", "close"];
    for (topic, payload) in [
        (TELEMETRY, "{\"a\":1"),
        (TELEMETRY, ""),
        (TELEMETRY, "5"),
        // Spec 4.4: these are no special cases.
        (TELEMETRY, "{\"ts\":\"abc\",\"values\":{}}"),
        (TELEMETRY, "{\"a\":NaN}"),
        ("v2/a", "[1]"),
        ("v1/devices/me/rpc/request/1", "{\"params\":{}}"),
    ] {
        row(&gateway, "d1", topic, payload, expected);
    }
    assert!(gateway.story("d1").iter().all(|event| event == "connected" || event.starts_with("disconnected")));
}

#[test]
fn spec_4_3_invalid_payload_acknowledged() {
    let gateway = Gateway::start(Options::new().profile("ack", "send_ack_on_validation_exception = true"));
    gateway.device_of("d1", "ack");
    row(&gateway, "d1", TELEMETRY, "{\"a\":1", ["PUBACK 0x99", "DISCONNECT 0x99, close", "PUBACK", "close"]);
}

#[test]
fn spec_4_3_invalid_topic() {
    let gateway = Gateway::start(Options::new());
    gateway.device("d1");
    row(&gateway, "d1", "nowhere", "{\"n\":1}", ["PUBACK 0x90", "–", "close", "close"]);
}

#[test]
fn spec_4_3_invalid_topic_acknowledged() {
    let gateway = Gateway::start(Options::new().set("v3_invalid_topic=ack"));
    gateway.device("d1");
    row(&gateway, "d1", "nowhere", "{\"n\":1}", ["PUBACK 0x90", "–", "PUBACK", "–"]);
}

#[test]
fn spec_4_3_wildcard_in_topic_name() {
    let gateway = Gateway::start(Options::new());
    gateway.device("d1");
    for topic in ["v1/devices/+/telemetry", "v1/#", "v2/t+"] {
        let close = "DISCONNECT 0x90, close";
        row(&gateway, "d1", topic, "{\"n\":1}", [close, close, "close", "close"]);
    }
}

#[test]
fn spec_4_3_gateway_topic_from_a_non_gateway() {
    let gateway = Gateway::start(Options::new());
    gateway.device("d1");
    for topic in ["v1/gateway/telemetry", "v1/gateway/connect", "v1/gateway"] {
        row(&gateway, "d1", topic, "{\"c\":[{\"n\":1}]}", ["PUBACK 0x87", "–", "close", "close"]);
    }
}

/// Spec 4.3: the dead letter is stored, the connection stays open, and v3 is acknowledged as well: without that the client
/// would send the poison for ever.
#[test]
fn spec_4_3_converter_failed() {
    let gateway = Gateway::start(Options::new().own_plugin("fragile", guest("trap-on-x"), ""));
    gateway.device_of("d1", "fragile");
    row(&gateway, "d1", TELEMETRY, "xyz", ["PUBACK 0x83", "–", "PUBACK", "–"]);
    let letters = gateway.events("kind=dead-letter");
    assert_eq!(letters.len(), 6);
    for letter in letters {
        assert_eq!((&letter["device"], &letter["topic"]), (&"d1".into(), &TELEMETRY.into()));
        assert_eq!((&letter["plugin"], &letter["cause"]), (&"fragile".into(), &"trap".into()));
        assert_eq!((&letter["operation"], &letter["payload_hex"]), (&"telemetry".into(), &"78797a".into()));
        assert_eq!(letter["version"].as_str().unwrap().len(), 16);
        assert!(!letter["detail"].as_str().unwrap().is_empty(), "the backtrace: {letter}");
    }
}

/// Spec 4.3: `converter_failures_close = n` closes after n in a row, and a message that works starts the count anew.
#[test]
fn spec_4_3_converter_failures_close() {
    let options = Options::new().set("converter_failures_close=3").own_plugin("fragile", guest("trap-on-x"), "");
    let gateway = Gateway::start(options);
    let token = gateway.device_of("d1", "fragile");
    for version in [Version::V311, Version::V5] {
        let mut client = Client::connect(&gateway, version, &token);
        for payload in ["x", "x", "ok", "x", "x"] {
            let puback = client.publish(1, TELEMETRY, payload);
            assert_eq!(puback.kind(), "PUBACK", "{version:?} {payload}");
        }
        // The third in a row: it is acknowledged, and what is behind it has no effect.
        let third = Publish::new(TELEMETRY, "x").id(2).bytes(version);
        let behind = Publish::new("v2/a", "{\"n\":1}").id(3).bytes(version);
        let expected = if version.is_v5() { "PUBACK 0x83, DISCONNECT 0x83, close" } else { "PUBACK, close" };
        assert_eq!(client.reaction(&[third, behind].concat()), expected);
    }
    assert!(gateway.events("kind=client-attributes").is_empty());
    assert_eq!(gateway.events("kind=dead-letter").len(), 10);
}

/// Spec 4.3, row "processing failed": the disk refuses, nothing of the message is stored, nothing is acknowledged. A
/// failed write is final (design §6): the gateway stops with an error instead of going on as if nothing had been.
#[test]
fn spec_4_3_processing_failed() {
    assert_installed("strace");
    let expected = ["PUBACK 0x83, DISCONNECT 0x83", "DISCONNECT 0x83", "", ""];
    for ((column, versions, qos), expected) in COLUMNS.into_iter().zip(expected) {
        let version = *versions.last().unwrap();
        // From the start on, the only writes of this length are those of commits: one block each. The first is CONNECT's.
        let fault = "inject=pwritev2,fdatasync:error=EIO:when=2+";
        let tracer = ["strace", "-D", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", fault];
        let mut gateway = Gateway::start(Options::new().under(&tracer));
        let token = gateway.device("d1");
        let mut client = Client::connect(&gateway, version, &token);
        client.send(&Publish::new(TELEMETRY, "{\"n\":1}").qos(qos).bytes(version));
        assert_eq!(told(&client.rest(), version), expected, "{column}");
        let status = gateway.wait();
        assert_eq!(status.code(), Some(1), "{column}: {}", gateway.log());
        assert!(gateway.log().contains("event log has failed"), "{column}: {}", gateway.log());
    }
}

fn told(packets: &[Packet], version: Version) -> String {
    if packets.is_empty() { String::new() } else { tidegate_tests::raw::read::told(packets, version) }
}

/// Spec 4.3, last paragraph: no Reason String for who asked for none (Request Problem Information 0).
#[test]
fn spec_4_3_reason_strings_can_be_declined() {
    let gateway = Gateway::start(Options::new());
    let token = gateway.device("d1");
    let mut client = Client::open(&gateway, Version::V5);
    client.greet(&Connect::new(Version::V5).user(&token).property(&[0x17, 0]));
    let puback = client.publish(1, TELEMETRY, "{\"t\":");
    assert_eq!((puback.code(), puback.properties()), (0x99, &[][..]));
    client.send(&Publish::new(TELEMETRY, "{\"t\":").qos(0).bytes(Version::V5));
    assert_eq!(client.rest(), [Packet::Disconnect { code: 0x99, properties: vec![] }]);
}

/// Spec 4.3: the reason names the place, as in its example.
#[test]
fn spec_4_3_reasons_name_what_was_wrong() {
    let gateway = Gateway::start(Options::new());
    let mut client = Client::connect(&gateway, Version::V5, &gateway.device("d1"));
    for (topic, payload, parts) in [
        (TELEMETRY, "{\"temp\":}", vec!["telemetry", "byte 8"]),
        (TELEMETRY, "{\"ts\":\"abc\",\"values\":{}}", vec!["telemetry", "ts"]),
        ("v2/a", "[]", vec!["attributes", "object"]),
        ("v2/r/req/1", "{}", vec!["method"]),
    ] {
        let puback = client.publish(1, topic, payload);
        assert_eq!(puback.code(), 0x99, "{topic} {payload}");
        for part in parts {
            assert!(puback.reason().contains(part), "{topic} {payload}: {:?}, expected {part:?}", puback.reason());
        }
    }
}

/// Spec 4.2, row QoS 2: v5 is told that it must not; v3 is served as with QoS 1, once, unless `qos2_v3 = close`.
#[test]
fn spec_4_2_qos_2() {
    for (setting, v3) in [("qos2_v3=accept", "PUBACK"), ("qos2_v3=close", "close")] {
        let gateway = Gateway::start(Options::new().set(setting));
        let token = gateway.device("d1");
        for version in Version::ALL {
            let mut client = Client::connect(&gateway, version, &token);
            let expected = if version.is_v5() { "DISCONNECT 0x9b, close" } else { v3 };
            let told = client.reaction(&Publish::new(TELEMETRY, "{\"n\":1}").qos(2).bytes(version));
            assert_eq!(told, expected, "{setting}, {version:?}");
        }
        let stored = if v3 == "PUBACK" { 2 } else { 0 };
        assert_eq!(gateway.numbers("d1").len(), stored, "{setting}");
    }
}

/// Spec 4.2: PUBACKs come in the order of the publishes, whatever these are and whatever becomes of them; replies to other
/// packets stay in their places, too.
#[test]
fn spec_4_2_pubacks_keep_the_order_of_the_publishes() {
    let gateway = Gateway::start(Options::new().own_plugin("mixed", guest("trap-on-x"), ""));
    let token = gateway.device_of("d1", "mixed");
    let mut client = Client::connect(&gateway, Version::V5, &token);
    let publish = |id, topic: &str, payload: &str| Publish::new(topic, payload).id(id).bytes(Version::V5);
    let bytes = [
        publish(50, "v2/a/j", "{\"n\":1}"),
        publish(49, "nowhere", ""),
        publish(48, TELEMETRY, "x"),
        write::subscribe(Version::V5, 47, &[("v2/a", 1)]),
        publish(46, "v2/t/j", "{\"n\":1"),
        publish(45, "v1/devices/me/rpc/request/3", "{\"method\":\"m\"}"),
        publish(44, TELEMETRY, "ok"),
        publish(43, "v1/gateway/connect", "{}"),
        Publish::new("v2/t/j", "{\"n\":1}").qos(0).bytes(Version::V5),
        publish(42, "v2/t/j", "{\"n\":2}"),
    ];
    let told = client.reactions(&bytes.concat());
    let told: Vec<_> = told.iter().map(|packet| (packet.kind(), packet.id(), packet.code())).collect();
    let expected = [
        ("PUBACK", 50, 0),
        ("PUBACK", 49, 0x90),
        ("PUBACK", 48, 0x83),
        ("SUBACK", 47, 0),
        ("PUBACK", 46, 0x99),
        ("PUBACK", 45, 0),
        ("PUBLISH", 1, 0), // spec 12.1: PUBACK first, response later
        ("PUBACK", 44, 0),
        ("PUBACK", 43, 0x87),
        ("PUBACK", 42, 0),
        ("PINGRESP", 0, 0),
    ];
    assert_eq!(told, expected);
    assert_eq!(gateway.story("d1"), ["connected", "client-attributes", "dead-letter trap", "telemetry", "telemetry"]);
}

/// Design §1: a message whose outcome closes the connection cuts the drain. What precedes it is stored and acknowledged,
/// what follows has no effect.
#[test]
fn a_message_that_closes_cuts_what_follows() {
    let gateway = Gateway::start(Options::new());
    let token = gateway.device("d1");
    for version in Version::ALL {
        // In v5 only a bad message with QoS 0 closes.
        let qos = if version.is_v5() { 0 } else { 1 };
        let mut client = Client::connect(&gateway, version, &token);
        let bytes = [
            Publish::new(TELEMETRY, "{\"n\":1}").id(1).bytes(version),
            Publish::new(TELEMETRY, "{\"n\":2}").id(2).bytes(version),
            Publish::new(TELEMETRY, "{\"n\":").id(3).qos(qos).bytes(version),
            Publish::new(TELEMETRY, "{\"n\":4}").id(4).bytes(version),
        ];
        let expected =
            if version.is_v5() { "PUBACK 0x00, PUBACK 0x00, DISCONNECT 0x99, close" } else { "PUBACK, PUBACK, close" };
        assert_eq!(client.reaction(&bytes.concat()), expected, "{version:?}");
    }
    assert_eq!(gateway.numbers("d1"), [1, 2, 1, 2, 1, 2]);
}

/// Spec 4.2: DUP is ignored. Spec 2.8: so is RETAIN.
#[test]
fn spec_4_2_dup_and_retain_are_ignored() {
    let gateway = Gateway::start(Options::new());
    let token = gateway.device("d1");
    for version in Version::ALL {
        let mut client = Client::connect(&gateway, version, &token);
        let publish = Publish::new(TELEMETRY, "{\"n\":1}").id(3);
        let bytes = [publish.bytes(version), publish.clone().dup().bytes(version), publish.retain().bytes(version)];
        let told = client.reactions(&bytes.concat());
        let acknowledged = told.iter().filter(|packet| (packet.kind(), packet.id(), packet.code()) == ("PUBACK", 3, 0));
        assert_eq!(acknowledged.count(), 3, "{told:?}");
    }
    assert_eq!(gateway.numbers("d1"), [1; 9]);
}
