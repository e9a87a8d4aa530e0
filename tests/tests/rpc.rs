//! Client-side RPC as far as the host answers it by itself: spec 12.1, 12.2, and how answers travel: spec 6.
#![allow(clippy::unwrap_used, reason = "in a test, whatever goes wrong is to be seen at once")]

use serde_json::{Value, json};
use tidegate_tests::raw::{Connect, Packet, Publish, write};
use tidegate_tests::{Client, Gateway, Options, Version};

/// Request and response topic of each variant that a JSON profile has.
const VARIANTS: [(&str, &str); 3] = [
    ("v1/devices/me/rpc/request/", "v1/devices/me/rpc/response/"),
    ("v2/r/req/", "v2/r/res/"),
    ("v2/r/req/j/", "v2/r/res/j/"),
];

/// The answer to a request: its topic and its body. It must come behind the PUBACK, and be the only thing that comes.
#[track_caller]
fn ask(client: &mut Client, topic: &str, payload: &str) -> (String, Value) {
    let told = client.reactions(&Publish::new(topic, payload).id(9).bytes(client.version()));
    let [Packet::PubAck { id: 9, code: 0, .. }, Packet::Publish { topic, payload, id, .. }, Packet::PingResp] =
        told.as_slice()
    else {
        panic!("{topic}: {told:?}")
    };
    client.send(&write::puback(*id));
    (topic.clone(), serde_json::from_slice(payload).unwrap())
}

/// Spec 12.2: the same on every variant, with and without the params that SDKs send, for devices and gateways.
#[test]
fn spec_12_2_get_session_limits() {
    let gateway = Gateway::start(Options::new().set("max_payload_size=50000").set("max_inflight=30"));
    let unlimited = json!({ "messages": null, "telemetryMessages": null, "telemetryDataPoints": null });
    let device = json!({ "maxPayloadSize": 50_000, "maxInflightMessages": 30, "rateLimits": unlimited });
    let mut of_gateway = device.clone();
    of_gateway["gatewayRateLimits"] = unlimited;
    let rows = [(gateway.device("d1"), device), (gateway.gateway_device("g1"), of_gateway)];
    for (token, expected) in &rows {
        for version in Version::ALL {
            let mut client = Client::connect(&gateway, version, token);
            for (request, response) in VARIANTS {
                for (id, params) in
                    [("1", ",\"params\":{\"timeout\":5000}"), ("2147483647", ""), ("0", ",\"params\":null")]
                {
                    let payload = format!("{{\"method\":\"getSessionLimits\"{params}}}");
                    let answer = ask(&mut client, &format!("{request}{id}"), &payload);
                    assert_eq!(answer, (format!("{response}{id}"), expected.clone()), "{version:?} {request}{id}");
                }
            }
        }
    }
}

/// Spec 12.1: no handler, no application: answered at once. Spec 4.1: the answer has the canonical number.
#[test]
fn spec_12_1_no_handler() {
    let gateway = Gateway::start(Options::new());
    let token = gateway.device("d1");
    for version in Version::ALL {
        let mut client = Client::connect(&gateway, version, &token);
        for (request, response) in VARIANTS {
            for (id, canonical) in [("7", "7"), ("007", "7"), ("0", "0"), ("2147483647", "2147483647")] {
                let answer = ask(&mut client, &format!("{request}{id}"), "{\"method\":\"getTime\",\"params\":{}}");
                let expected = (format!("{response}{canonical}"), json!({ "error": "no handler" }));
                assert_eq!(answer, expected, "{version:?} {request}{id}");
            }
        }
    }
}

/// Spec 12.1: `method` is a required string, anything else is an invalid payload, and is not answered.
#[test]
fn spec_12_1_invalid_requests() {
    let gateway = Gateway::start(Options::new());
    let mut client = Client::connect(&gateway, Version::V5, &gateway.device("d1"));
    for (request, _) in VARIANTS {
        for payload in
            ["", "{}", "[]", "5", "{\"method\":5}", "{\"method\":null}", "{\"params\":{}}", "{\"method\":\"m\""]
        {
            let told = client.reaction(&Publish::new(format!("{request}1"), payload).bytes(Version::V5));
            assert_eq!(told, "PUBACK 0x99", "{request}: {payload}");
        }
    }
}

/// Spec 4.2: QoS 0 is processed and not acknowledged; the answer comes nevertheless.
#[test]
fn spec_12_1_a_request_with_qos_0_is_answered() {
    let gateway = Gateway::start(Options::new());
    let token = gateway.device("d1");
    for version in Version::ALL {
        let mut client = Client::connect(&gateway, version, &token);
        let request = Publish::new("v2/r/req/3", "{\"method\":\"m\"}").qos(0).bytes(version);
        let kinds: Vec<_> = client.reactions(&request).iter().map(Packet::kind).collect();
        assert_eq!(kinds, ["PUBLISH", "PINGRESP"], "{version:?}");
    }
}

/// Spec 6: at most as many messages of QoS 1 are on their way as the client takes; the rest waits in order.
#[test]
fn spec_6_answers_keep_to_the_receive_maximum_of_the_client() {
    let gateway = Gateway::start(Options::new());
    let token = gateway.device("d1");
    let mut client = Client::open(&gateway, Version::V5);
    client.greet(&Connect::new(Version::V5).user(&token).property(&[0x21, 0, 2]));
    let request = |id: u16| Publish::new(format!("v2/r/req/{id}"), "{\"method\":\"m\"}").id(id).bytes(Version::V5);
    let told = client.reactions(&(1..=5).flat_map(request).collect::<Vec<u8>>());
    let mut topics: Vec<String> = Vec::new();
    let mut waiting: Vec<u16> = Vec::new();
    let mut take = |packet: &Packet, waiting: &mut Vec<u16>| {
        if let Packet::Publish { topic, id, qos: 1, dup: false, .. } = packet {
            topics.push(topic.clone());
            waiting.push(*id);
        }
    };
    told.iter().for_each(|packet| take(packet, &mut waiting));
    assert_eq!((told.len(), waiting.len()), (5 + 2 + 1, 2), "two answers, the others wait: {told:?}");
    while let Some(id) = waiting.pop() {
        client.send(&write::puback(id));
        for packet in client.reactions(&[]) {
            take(&packet, &mut waiting);
        }
    }
    assert_eq!(topics, ["v2/r/res/1", "v2/r/res/2", "v2/r/res/3", "v2/r/res/4", "v2/r/res/5"]);
}

/// Spec 6: an answer larger than the client takes is dropped and counted; the connection goes on.
#[test]
fn spec_6_answers_that_the_client_cannot_take_are_dropped() {
    let gateway = Gateway::start(Options::new());
    let token = gateway.device("d1");
    let mut client = Client::open(&gateway, Version::V5);
    client.greet(&Connect::new(Version::V5).user(&token).property(&[0x27, 0, 0, 0, 100]));
    let limits = Publish::new("v2/r/req/1", "{\"method\":\"getSessionLimits\"}").bytes(Version::V5);
    assert_eq!(client.reaction(&limits), "PUBACK 0x00");
    let (topic, _) = ask(&mut client, "v2/r/req/2", "{\"method\":\"m\"}");
    assert_eq!(topic, "v2/r/res/2");
    let metrics = gateway.api().get("/metrics").body;
    assert!(metrics.contains("tidegate_downlinks_dropped_total 1"), "{metrics}");
}
