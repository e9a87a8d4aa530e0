//! SUBSCRIBE and UNSUBSCRIBE: spec 5.
#![allow(clippy::unwrap_used, reason = "in a test, whatever goes wrong is to be seen at once")]

use tidegate_tests::raw::{Packet, Publish, Value, write};
use tidegate_tests::{Client, Gateway, Options, Version};

const V5: Version = Version::V5;

/// Who subscribes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Device,
    Gateway,
}

#[track_caller]
fn subscribe(client: &mut Client, filters: &[(&str, u8)]) -> Vec<u8> {
    client.send(&write::subscribe(client.version(), 77, filters));
    let suback = client.receive();
    assert_eq!((suback.kind(), suback.id()), ("SUBACK", 77));
    suback.codes().to_vec()
}

#[track_caller]
fn unsubscribe(client: &mut Client, filters: &[&str]) -> Vec<u8> {
    client.send(&write::unsubscribe(client.version(), 78, filters));
    let unsuback = client.receive();
    assert_eq!((unsuback.kind(), unsuback.id()), ("UNSUBACK", 78));
    unsuback.codes().to_vec()
}

/// Spec 5.1: who may subscribe to what, and with which code (v5) it is refused. In v3 every refusal is 0x80.
const FILTERS: [(&str, u8, u8); 50] = [
    // filter, device, gateway
    ("v1/devices/me/attributes", 1, 1),
    ("v2/a", 1, 1),
    ("v2/a/j", 1, 1),
    ("v2/a/p", 1, 1),
    ("v1/devices/me/rpc/request/+", 1, 1),
    ("v2/r/req/+", 1, 1),
    ("v2/r/req/j/+", 1, 1),
    ("v2/r/req/p/+", 1, 1),
    ("v1/devices/me/rpc/response/+", 1, 1),
    ("v2/r/res/+", 1, 1),
    ("v2/r/res/j/+", 1, 1),
    ("v2/r/res/p/+", 1, 1),
    ("v1/devices/me/attributes/response/+", 1, 1),
    ("v2/a/res/+", 1, 1),
    ("v2/a/res/j/+", 1, 1),
    ("v2/a/res/p/+", 1, 1),
    ("v2/fw/response/+/chunk/+", 1, 1),
    ("v2/fw/error", 1, 1),
    ("v2/sw/response/+/chunk/+", 1, 1),
    ("v2/sw/error", 1, 1),
    ("v2/fw/response/+", 1, 1),
    ("v2/sw/response/+", 1, 1),
    // A number in place of `+`.
    ("v1/devices/me/rpc/request/17", 1, 1),
    ("v2/r/res/j/0", 1, 1),
    ("v1/devices/me/attributes/response/5", 1, 1),
    ("v2/fw/response/3/chunk/+", 1, 1),
    ("v2/fw/response/+/chunk/7", 1, 1),
    // Gateways only.
    ("v1/gateway/attributes", 0x87, 1),
    ("v1/gateway/rpc", 0x87, 1),
    ("v1/gateway/attributes/response", 0x87, 1),
    ("v1/gateway/disconnect", 0x87, 1),
    // Not in the list.
    ("#", 0x8f, 0x8f),
    ("+/devices/me/attributes", 0x8f, 0x8f),
    ("v1/devices/me/#", 0x8f, 0x8f),
    ("v1/devices/+/attributes", 0x8f, 0x8f),
    ("v1/devices/me/telemetry", 0x8f, 0x8f),
    ("v1/gateway/#", 0x8f, 0x8f),
    ("v2/a/", 0x8f, 0x8f),
    ("V2/a", 0x8f, 0x8f),
    ("v2/r/req/x", 0x8f, 0x8f),
    ("v2/r/req/-1", 0x8f, 0x8f),
    ("/provision/response", 0x8f, 0x8f),
    ("spBv1.0/+/NCMD/+", 0x8f, 0x8f),
    ("$SYS/#", 0x8f, 0x8f),
    // Shared.
    ("$share/group/v2/a", 0x9e, 0x9e),
    ("$share/group/#", 0x9e, 0x9e),
    // Syntactically invalid.
    ("a/#/b", 0x8f, 0x8f),
    ("a+", 0x8f, 0x8f),
    ("v2/a#", 0x8f, 0x8f),
    ("v2/+a", 0x8f, 0x8f),
];

/// Spec 5.1, row by row, for devices and gateways, in all versions and with every requested QoS.
#[test]
fn spec_5_1_accepted_filters_and_outcomes() {
    let gateway = Gateway::start(Options::new());
    let device = gateway.device("d1");
    let gateway_device = gateway.gateway_device("g1");
    for version in Version::ALL {
        for (kind, token) in [(Kind::Device, &device), (Kind::Gateway, &gateway_device)] {
            let mut client = Client::connect(&gateway, version, token);
            for (filter, for_device, for_gateway) in FILTERS {
                let expected = if kind == Kind::Device { for_device } else { for_gateway };
                for requested in 0..=2 {
                    // Granted QoS = min(requested, 1).
                    let expected = match expected {
                        1 => requested.min(1),
                        refused if version.is_v5() => refused,
                        _ => 0x80,
                    };
                    let codes = subscribe(&mut client, &[(filter, requested)]);
                    assert_eq!(codes, [expected], "{kind:?}, {version:?}: {filter}, QoS {requested}");
                }
            }
            client.ping();
        }
    }
}

/// Spec 5.1: one SUBACK with one code per filter, in order; a refused one does not spoil the others.
#[test]
fn spec_5_1_one_code_per_filter() {
    let gateway = Gateway::start(Options::new());
    let token = gateway.device("d1");
    let filters =
        [("v2/a", 1), ("#", 1), ("v2/r/req/+", 0), ("$share/g/v2/a", 1), ("v1/gateway/rpc", 1), ("v2/a/j", 2)];
    for version in Version::ALL {
        let mut client = Client::connect(&gateway, version, &token);
        let codes = subscribe(&mut client, &filters);
        let expected = if version.is_v5() { [1, 0x8f, 0, 0x9e, 0x87, 1] } else { [1, 0x80, 0, 0x80, 0x80, 1] };
        assert_eq!(codes, expected, "{version:?}");
        client.ping();
    }
}

/// Spec 5.1, 10.4: the profile's own filter, as text or a topic that it matches.
#[test]
fn spec_5_1_the_profiles_attribute_filter() {
    let options = Options::new()
        .profile("plain", "attributes_subscribe_topic = \"sensor/attributes\"")
        .profile("wild", "attributes_subscribe_topic = \"sensor/+/attributes\"");
    let gateway = Gateway::start(options);
    let rows = [
        ("plain", "sensor/attributes", 1),
        ("plain", "sensor/+", 0x8f),
        ("plain", "v1/devices/me/attributes", 1),
        ("wild", "sensor/+/attributes", 1),
        ("wild", "sensor/7/attributes", 1),
        ("wild", "sensor/attributes", 0x8f),
    ];
    for (index, (profile, filter, expected)) in rows.into_iter().enumerate() {
        let mut client = Client::connect(&gateway, V5, &gateway.device_of(&format!("d{index}"), profile));
        assert_eq!(subscribe(&mut client, &[(filter, 1)]), [expected], "{profile}: {filter}");
    }
}

/// Spec 5.1: No Local, Retain As Published and Retain Handling are accepted and have no effect.
#[test]
fn spec_5_1_subscription_options_of_v5() {
    let gateway = Gateway::start(Options::new());
    let mut client = Client::connect(&gateway, V5, &gateway.device("d1"));
    for options in [0x01 | 0x04, 0x01 | 0x08, 0x01 | 0x10, 0x01 | 0x20, 0x01 | 0x2c] {
        assert_eq!(subscribe(&mut client, &[("v1/devices/me/rpc/response/+", options)]), [1], "{options:#04x}");
    }
    let told = client.reactions(&rpc(V5, 5));
    let kinds: Vec<_> = told.iter().map(Packet::kind).collect();
    assert_eq!(kinds, ["PUBACK", "PUBLISH", "PINGRESP"]);
    let Packet::Publish { retain, .. } = told[1] else { panic!() };
    assert!(!retain, "spec 2.8: outbound RETAIN is 0");
}

/// Spec 18.4: 100 subscriptions per session; subscribing again takes no more room.
#[test]
fn spec_18_4_subscriptions_per_session() {
    let gateway = Gateway::start(Options::new());
    let token = gateway.device("d1");
    for version in Version::ALL {
        let mut client = Client::connect(&gateway, version, &token);
        for number in 0..100 {
            assert_eq!(subscribe(&mut client, &[(&format!("v2/r/res/{number}"), 1)]), [1], "{number}");
        }
        let full = if version.is_v5() { 0x97 } else { 0x80 };
        assert_eq!(subscribe(&mut client, &[("v2/r/res/100", 1), ("v2/r/res/7", 0)]), [full, 0], "{version:?}");
        unsubscribe(&mut client, &["v2/r/res/50"]);
        assert_eq!(subscribe(&mut client, &[("v2/r/res/100", 1)]), [1], "{version:?}");
    }
}

/// Spec 5.2.
#[test]
fn spec_5_2_unsubscribe() {
    let gateway = Gateway::start(Options::new());
    let token = gateway.device("d1");
    let filters = ["v2/a", "v2/a/j", "#", "a/#/b", "$share/g/v2/a", "v2/r/req/+", "v2/a"];
    for version in Version::ALL {
        let mut client = Client::connect(&gateway, version, &token);
        subscribe(&mut client, &[("v2/a", 1), ("v2/r/req/+", 1)]);
        let codes = unsubscribe(&mut client, &filters);
        let expected: &[u8] = if version.is_v5() { &[0, 0x11, 0x8f, 0x8f, 0x8f, 0, 0x11] } else { &[] };
        assert_eq!(codes, expected, "{version:?}");
        client.ping();
    }
}

/// A client-side RPC that nobody handles (spec 12.1): the one answer that this host gives without an application.
fn rpc(version: Version, id: u16) -> Vec<u8> {
    Publish::new(format!("v1/devices/me/rpc/request/{id}"), "{\"method\":\"m\"}").id(id).bytes(version)
}

/// Spec 6: an answer has the QoS of the subscription that matches its topic, and QoS 1 without one.
#[test]
fn spec_6_quality_of_service_of_an_answer() {
    let gateway = Gateway::start(Options::new());
    let token = gateway.device("d1");
    for version in Version::ALL {
        let mut client = Client::connect(&gateway, version, &token);
        assert_eq!(answered_with(&mut client, 1), 1, "without a subscription");
        subscribe(&mut client, &[("v1/devices/me/rpc/response/+", 0)]);
        assert_eq!(answered_with(&mut client, 2), 0);
        subscribe(&mut client, &[("v1/devices/me/rpc/response/3", 1)]);
        assert_eq!(answered_with(&mut client, 3), 1);
        assert_eq!(answered_with(&mut client, 4), 0, "only messages for that number use its QoS");
        subscribe(&mut client, &[("v1/devices/me/rpc/response/+", 1)]);
        assert_eq!(answered_with(&mut client, 5), 1, "subscribing again replaces the QoS");
        unsubscribe(&mut client, &["v1/devices/me/rpc/response/+", "v1/devices/me/rpc/response/3"]);
        assert_eq!(answered_with(&mut client, 6), 1);
    }
}

/// The QoS of the answer to a request with this id.
#[track_caller]
fn answered_with(client: &mut Client, id: u16) -> u8 {
    let told = client.reactions(&rpc(client.version(), id));
    let [Packet::PubAck { .. }, Packet::Publish { qos, id, .. }, Packet::PingResp] = told.as_slice() else {
        panic!("{told:?}")
    };
    if *qos > 0 {
        client.send(&write::puback(*id));
    }
    *qos
}

/// Spec 2.2: subscription identifiers are echoed on what the subscription covers, and only there.
#[test]
fn spec_2_2_subscription_identifiers_are_echoed() {
    let gateway = Gateway::start(Options::new());
    let mut client = Client::connect(&gateway, V5, &gateway.device("d1"));
    for (filter, identifier) in [("v1/devices/me/rpc/response/+", 5), ("v1/devices/me/rpc/response/2", 6)] {
        client.send(&write::subscribe_with(V5, 77, &[(filter, 1)], &[0x0b, identifier]));
        assert_eq!(client.receive().codes(), [1]);
    }
    for (id, expected) in [(1, vec![5]), (2, vec![5, 6])] {
        let told = client.reactions(&rpc(V5, id));
        let identifiers: Vec<_> = told[1].properties().iter().filter(|property| property.id == 0x0b).collect();
        let numbers: Vec<_> = identifiers.iter().map(|property| property.value.clone()).collect();
        let expected: Vec<_> = expected.into_iter().map(Value::Number).collect();
        assert_eq!(numbers, expected, "{told:?}");
    }
}
