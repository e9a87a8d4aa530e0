//! Clients that are not ours: mosquitto, paho, the ThingsBoard SDK. Each asserts what the event log holds afterwards.
#![allow(clippy::unwrap_used, reason = "in a test, whatever goes wrong is to be seen at once")]

use serde_json::{Value, json};
use tidegate_tests::foreign::{Did, Python, run};
use tidegate_tests::{Gateway, Options};

const VERSIONS: [(&str, &str); 3] = [("mqttv31", "3.1"), ("mqttv311", "3.1.1"), ("mqttv5", "5.0")];

fn mosquitto(program: &str, gateway: &Gateway, version: &str, token: &str, arguments: &[&str]) -> Did {
    let port = gateway.address().port().to_string();
    let own = ["-h", "127.0.0.1", "-p", &port, "-V", version, "-u", token, "-W", "120"];
    // Only some of these programs can be told how long to wait.
    let own = if program == "mosquitto_pub" { &own[..own.len() - 2] } else { &own[..] };
    run(program, &[own, arguments].concat())
}

/// Telemetry and attributes in each version (spec 4.1). Not with QoS 2: in v5 these clients do not even try, since CONNACK
/// tells them; in v3 they take the PUBACK of spec 4.2 for a mistake. paho below does not.
#[test]
fn mosquitto_pub_publishes() {
    let gateway = Gateway::start(Options::new());
    for (version, protocol) in VERSIONS {
        let device = format!("device-{version}");
        let token = gateway.device(&device);
        let publish = |qos: &str, topic: &str, payload: &str| {
            mosquitto("mosquitto_pub", &gateway, version, &token, &["-i", "me", "-q", qos, "-t", topic, "-m", payload])
        };
        let telemetry = "v1/devices/me/telemetry";
        publish("0", telemetry, "{\"qos\":0}").ok();
        publish("1", telemetry, r#"{"temperature":25.5,"humidity":60,"status":"active"}"#).ok();
        publish("1", "v2/a", "{\"serialNumber\":\"SN-1\"}").ok();
        gateway.story_until(&device, "disconnected client");
        let values = gateway.telemetry(&device);
        let expected = [json!({ "qos": 0 }), json!({ "temperature": 25.5, "humidity": 60, "status": "active" })];
        assert_eq!(values, expected, "{version}");
        let attributes = gateway.events(&format!("device={device}&kind=client-attributes"));
        assert_eq!(attributes[0]["attributes"], json!({ "serialNumber": "SN-1" }));
        let connected = gateway.events(&format!("device={device}&kind=connected"));
        let seen: Vec<_> = connected.iter().map(|event| (&event["protocol"], &event["client_id"])).collect();
        assert!(seen.iter().all(|seen| *seen == (&protocol.into(), &"me".into())), "{seen:?}");
    }
}

/// Many messages over one connection, a line each.
#[test]
fn mosquitto_pub_streams_lines() {
    let gateway = Gateway::start(Options::new());
    let lines: String = (0..2000).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    std::fs::write(gateway.path("lines"), lines).unwrap();
    for (version, _) in VERSIONS {
        let device = format!("device-{version}");
        let token = gateway.device(&device);
        let port = gateway.address().port();
        let file = gateway.path("lines");
        let command = format!(
            "mosquitto_pub -h 127.0.0.1 -p {port} -V {version} -u {token} -i me -q 1 -l -t v1/devices/me/telemetry < {}",
            file.display()
        );
        run("sh", &["-c", &command]).ok();
        assert_eq!(gateway.numbers(&device), (0..2000).collect::<Vec<_>>(), "{version}");
    }
}

/// What is refused is an error of the client, with the code of spec 2.3 and 4.3.
#[test]
fn mosquitto_pub_is_refused() {
    let gateway = Gateway::start(Options::new());
    let token = gateway.device("d1");
    let publish = ["-i", "me", "-q", "1", "-t", "v1/devices/me/telemetry", "-m", "{}"];
    for (version, expected) in [("mqttv31", 5), ("mqttv311", 5), ("mqttv5", 0x87)] {
        let did = mosquitto("mosquitto_pub", &gateway, version, "wrong", &publish);
        assert_eq!(did.status, Some(expected), "{version}: {}", did.said);
        assert!(did.said.to_lowercase().contains("not authori"), "{version}: {}", did.said);
    }
    let did = mosquitto("mosquitto_pub", &gateway, "mqttv5", &token, &["-q", "1", "-t", "nowhere", "-m", "{}"]);
    assert!(did.said.to_lowercase().contains("topic name invalid"), "{}", did.said);
    let invalid = ["-q", "1", "-t", "v1/devices/me/telemetry", "-m", "{temperature:"];
    let did = mosquitto("mosquitto_pub", &gateway, "mqttv5", &token, &invalid);
    assert!(did.said.to_lowercase().contains("payload format invalid"), "{}", did.said);
}

/// Spec 5.1: subscriptions that are granted, and one that is not.
#[test]
fn mosquitto_sub_subscribes() {
    let gateway = Gateway::start(Options::new());
    let token = gateway.device("d1");
    for (version, _) in VERSIONS {
        // -E: leave when the subscriptions are acknowledged.
        let granted = ["-i", "me", "-E", "-q", "1", "-t", "v1/devices/me/attributes", "-t", "v2/r/req/+"];
        mosquitto("mosquitto_sub", &gateway, version, &token, &granted).ok();
        let refused = mosquitto("mosquitto_sub", &gateway, version, &token, &["-i", "me", "-E", "-t", "#"]);
        assert!(refused.said.contains("denied"), "{version}: {}", refused.said);
    }
    assert!(gateway.story("d1").iter().all(|event| event == "connected" || event == "disconnected client"));
}

/// Spec 12.2: a request and its answer on one connection.
#[test]
fn mosquitto_rr_gets_the_session_limits() {
    let gateway = Gateway::start(Options::new());
    let token = gateway.device("d1");
    for (version, _) in &VERSIONS[1..] {
        let ask = ["-i", "me", "-q", "1", "-t", "v1/devices/me/rpc/request/1", "-e", "v1/devices/me/rpc/response/1"];
        let ask = [&ask[..], &["-m", "{\"method\":\"getSessionLimits\"}"]].concat();
        let answer = mosquitto("mosquitto_rr", &gateway, version, &token, &ask).ok();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["maxPayloadSize"], 65_536, "{version}");
    }
}

#[test]
fn paho_in_every_version() {
    let gateway = Gateway::start(Options::new());
    let port = gateway.address().port().to_string();
    for (version, protocol) in [("3", "3.1"), ("4", "3.1.1"), ("5", "5.0")] {
        let device = format!("device-{version}");
        let token = gateway.device(&device);
        Python::Common.run("paho_device.py", &[&port, &token, version]).ok();
        let values = gateway.telemetry(&device);
        let mut expected = vec![json!({ "qos": 0 }), json!({ "qos": 1 })];
        if version != "5" {
            expected.push(json!({ "qos": 2 }));
        }
        expected.extend((0..500).map(|n| json!({ "n": n })));
        assert_eq!(values, expected, "{protocol}");
        let end = if version == "5" { "disconnected refused" } else { "disconnected client" };
        gateway.story_until(&device, end);
        assert_eq!(gateway.events(&format!("device={device}&kind=connected"))[0]["protocol"], protocol);
    }
}

#[test]
fn thingsboard_sdk_as_a_device() {
    let gateway = Gateway::start(Options::new());
    let token = gateway.device("d1");
    let port = gateway.address().port().to_string();
    Python::ThingsBoard.run("thingsboard/device.py", &[&port, &token]).ok();
    let samples: Vec<Value> = gateway
        .events("device=d1&kind=telemetry")
        .iter()
        .flat_map(|event| event["samples"].as_array().unwrap().clone())
        .collect();
    assert_eq!(samples[0]["values"], json!({ "temperature": 41.9, "enabled": false, "mode": "A" }));
    assert_eq!(samples[1], json!({ "time": 1_634_567_890_123_i64, "values": { "temperature": 25.5 } }));
    assert_eq!(samples[2], json!({ "time": 1, "values": { "n": 1 } }));
    assert_eq!(samples[3], json!({ "time": 2, "values": { "n": 2 } }));
    let times: Vec<_> = samples[4..].iter().map(|sample| sample["time"].as_u64().unwrap()).collect();
    assert_eq!(times, (100..300).collect::<Vec<_>>());
    let attributes = gateway.events("device=d1&kind=client-attributes");
    let expected = json!({ "firmwareVersion": "1.2.3", "serialNumber": "SN-1", "count": 3 });
    assert_eq!(attributes[0]["attributes"], expected);
}

#[test]
fn thingsboard_sdk_as_a_gateway() {
    let gateway = Gateway::start(Options::new());
    let token = gateway.gateway_device("g1");
    let port = gateway.address().port().to_string();
    Python::ThingsBoard.run("thingsboard/gateway.py", &[&port, &token]).ok();
    assert_eq!(gateway.numbers("g1"), [1]);
}
