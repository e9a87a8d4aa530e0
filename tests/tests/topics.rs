//! What a topic means: spec 4.1.
#![allow(clippy::unwrap_used, reason = "in a test, whatever goes wrong is to be seen at once")]

use tidegate_tests::guests::guest;
use tidegate_tests::raw::Publish;
use tidegate_tests::{Client, Gateway, Options, Version};

const V5: Version = Version::V5;

/// Spec 4.1, rows 3, 4, 11 and 12 in their JSON forms: what is stored, and under which topic.
#[test]
fn spec_4_1_telemetry_and_attributes() {
    let gateway = Gateway::start(Options::new());
    let token = gateway.device("d1");
    let rows = [
        ("v1/devices/me/attributes", "client-attributes"),
        ("v1/devices/me/telemetry", "telemetry"),
        ("v2/t", "telemetry"),
        ("v2/t/j", "telemetry"),
        ("v2/a", "client-attributes"),
        ("v2/a/j", "client-attributes"),
    ];
    for version in Version::ALL {
        let mut client = Client::connect(&gateway, version, &token);
        for (index, (topic, kind)) in rows.into_iter().enumerate() {
            let puback = client.publish(7, topic, format!("{{\"key\":{index}}}"));
            assert_eq!((puback.kind(), puback.code()), ("PUBACK", 0), "{topic}");
            let event = gateway.events("device=d1").pop().unwrap();
            assert_eq!((event["kind"].as_str(), event["topic"].as_str()), (Some(kind), Some(topic)), "{event}");
            let values = if kind == "telemetry" { &event["samples"][0]["values"] } else { &event["attributes"] };
            assert_eq!(values["key"], index, "{event}");
        }
    }
}

/// Spec 4.1: topics are case-sensitive, a trailing `/` makes another topic, and everything that is not in the table is
/// invalid. What a device may not subscribe to it may not publish to either.
#[test]
fn spec_4_1_anything_else_is_an_invalid_topic() {
    let gateway = Gateway::start(Options::new());
    let mut client = Client::connect(&gateway, V5, &gateway.device("d1"));
    for topic in [
        "v1/devices/me/telemetry/",
        "/v1/devices/me/telemetry",
        "V1/devices/me/telemetry",
        "v1/devices/me/Telemetry",
        "v1/devices/you/telemetry",
        "v1/devices/me",
        "v2/t/",
        "v2/t/x",
        "v2/T",
        "v2",
        "telemetry",
        "$SYS/broker",
        "/provision/request",
        "spBv1.0/group/NBIRTH/node",
        "v1/devices/me/rpc/request/",
        "v1/devices/me/rpc/request/abc",
        "v1/devices/me/rpc/request/-1",
        "v1/devices/me/rpc/request/2147483648",
        "v1/devices/me/rpc/request/1/2",
        "v2/r/req/j/x",
        "v2/r/req/",
    ] {
        let puback = client.publish(7, topic, "{\"a\":1}");
        assert_eq!((puback.kind(), puback.code()), ("PUBACK", 0x90), "{topic}");
        assert!(!puback.reason().is_empty(), "{topic}");
    }
    client.ping();
    assert_eq!(gateway.story("d1"), ["connected"]);
}

/// Spec 6, last paragraph: on a JSON profile there are no schemas for `/p` topics, so nothing on them is valid.
#[test]
fn spec_6_protobuf_topics_of_a_json_profile() {
    let gateway = Gateway::start(Options::new());
    let mut client = Client::connect(&gateway, V5, &gateway.device("d1"));
    for topic in ["v2/t/p", "v2/a/p"] {
        let puback = client.publish(7, topic, [0x09, 0, 0, 0, 0, 0, 0x80, 0x39, 0x40]);
        assert_eq!((puback.kind(), puback.code()), ("PUBACK", 0x99), "{topic}");
        assert!(puback.reason().contains("schema"), "{topic}: {}", puback.reason());
    }
}

/// Spec 4.1: with its own topics a profile gives up the v1 default of that kind, but never the v2 topics.
#[test]
fn spec_4_1_own_topics_replace_the_v1_defaults() {
    let options = Options::new()
        .profile("telemetry", "telemetry_topic = \"sensor/data\"")
        .profile("attributes", "attributes_topic = \"sensor/about\"");
    let gateway = Gateway::start(options);
    let rows = [
        ("telemetry", "sensor/data", Some("telemetry")),
        ("telemetry", "v1/devices/me/telemetry", None),
        ("telemetry", "v1/devices/me/attributes", Some("client-attributes")),
        ("telemetry", "v2/t", Some("telemetry")),
        ("telemetry", "v2/a/j", Some("client-attributes")),
        ("attributes", "sensor/about", Some("client-attributes")),
        ("attributes", "v1/devices/me/attributes", None),
        ("attributes", "v1/devices/me/telemetry", Some("telemetry")),
        ("attributes", "v2/a", Some("client-attributes")),
    ];
    for (index, (profile, topic, kind)) in rows.into_iter().enumerate() {
        let name = format!("d{index}");
        let mut client = Client::connect(&gateway, V5, &gateway.device_of(&name, profile));
        let puback = client.publish(7, topic, "{\"a\":1}");
        assert_eq!(puback.code(), if kind.is_some() { 0 } else { 0x90 }, "{profile}: {topic}");
        client.ping();
        let stored = gateway.story(&name);
        assert_eq!(stored.get(1).map(String::as_str), kind, "{profile}: {topic}");
    }
}

/// Spec 4.1, the table of profile filters.
#[test]
fn spec_4_1_profile_filters() {
    let rows: [(&str, &[&str], &[&str]); 6] = [
        ("plain/text", &["plain/text"], &["plain", "plain/text/", "plain/text/x", "Plain/text"]),
        (
            "Sensor/Temperature/House/+",
            &["Sensor/Temperature/House/48"],
            &[
                "Sensor/Temperature",
                "Sensor/Temperature/House",
                "Sensor/Temperature/House/48/x",
                "Sensor/Temperature/House/",
            ],
        ),
        (
            "Sensor/+/House/#",
            &["Sensor/Temperature/House", "Sensor/Temperature/House/48/x"],
            &["Sensor/House/48", "Sensor//House/48"],
        ),
        ("Sensor/#", &["Sensor", "Sensor/Temperature", "Sensor/a/b/c"], &["Sensor2/x"]),
        ("Sensor/Temperature/#", &["Sensor/Temperature", "Sensor/Temperature/x"], &["Sensor/Temperature2", "Sensor"]),
        ("#", &["a", "a/b", "/"], &["$SYS", "$SYS/x"]),
    ];
    let mut options = Options::new();
    for (index, (filter, ..)) in rows.iter().enumerate() {
        options = options.profile(&format!("p{index}"), &format!("telemetry_topic = \"{filter}\""));
    }
    let gateway = Gateway::start(options);
    for (index, (filter, matching, others)) in rows.into_iter().enumerate() {
        let name = format!("d{index}");
        let mut client = Client::connect(&gateway, V5, &gateway.device_of(&name, &format!("p{index}")));
        for (topics, code) in [(matching, 0), (others, 0x90)] {
            for topic in topics {
                assert_eq!(client.publish(7, topic, "{\"a\":1}").code(), code, "{filter}: {topic}");
            }
        }
        // The topic that matched is passed on.
        let stored = gateway.events(&format!("device={name}&kind=telemetry"));
        let topics: Vec<_> = stored.iter().map(|event| event["topic"].as_str().unwrap()).collect();
        assert_eq!(topics, matching, "{filter}");
    }
}

/// Spec 4.1, last row of that table: such a profile is refused, with a reason that names the file and the key.
#[test]
fn spec_4_1_an_invalid_profile_filter_is_refused() {
    let gateway = Gateway::start(Options::new().profile("wrong", "\ntelemetry_topic = \"Sensor/Temperature#\""));
    let profiles = gateway.cli(&["profile", "list", "--json"]).json();
    let wrong = profiles.as_array().unwrap().iter().find(|profile| profile["name"] == "wrong").unwrap();
    let problem = wrong["problem"].as_str().unwrap();
    assert!(problem.contains("wrong.toml:2: telemetry_topic: "), "{problem}");
    assert!(wrong.get("revision").is_none(), "{wrong}");
}

/// What the wildcards of a filter stood for reaches the plugin (spec 4.1, last sentence; design §3).
#[test]
fn spec_4_1_captures_reach_the_plugin() {
    let options = Options::new().own_plugin("captures", guest("captures"), "telemetry_topic = \"Sensor/+/Data/#\"");
    let gateway = Gateway::start(options);
    let mut client = Client::connect(&gateway, V5, &gateway.device_of("d1", "captures"));
    // The guest traps unless the payload is what `+` stood for.
    for (topic, payload, code) in [
        ("Sensor/abc/Data", "abc", 0),
        ("Sensor/abc/Data/x/y", "abc", 0),
        ("Sensor/abc/Data", "abd", 0x83),
        ("Sensor/ä/Data", "ä", 0),
    ] {
        assert_eq!(client.publish(7, topic, payload).code(), code, "{topic}: {payload}");
    }
}

/// Spec 4.1: a v5 topic alias is resolved before matching.
#[test]
fn spec_4_1_topic_aliases() {
    let gateway = Gateway::start(Options::new());
    let mut client = Client::connect(&gateway, V5, &gateway.device("d1"));
    let mut publish =
        |topic: &str, alias: u16, payload: &str| client.reaction(&Publish::new(topic, payload).alias(alias).bytes(V5));
    assert_eq!(publish("v2/t", 1, "{\"n\":1}"), "PUBACK 0x00");
    assert_eq!(publish("", 1, "{\"n\":2}"), "PUBACK 0x00");
    assert_eq!(publish("v2/a", 16, "{\"n\":3}"), "PUBACK 0x00");
    assert_eq!(publish("", 16, "{\"n\":4}"), "PUBACK 0x00");
    assert_eq!(publish("", 1, "{\"n\":5}"), "PUBACK 0x00");
    assert_eq!(publish("v2/a", 1, "{\"n\":6}"), "PUBACK 0x00", "an alias can be given another topic");
    assert_eq!(publish("", 1, "{\"n\":7}"), "PUBACK 0x00");
    assert_eq!(publish("nowhere", 2, "{\"n\":8}"), "PUBACK 0x90");
    assert_eq!(publish("", 2, "{\"n\":8}"), "PUBACK 0x90");
    assert_eq!(gateway.numbers("d1"), [1, 2, 5]);
    let attributes = gateway.events("kind=client-attributes");
    let numbers: Vec<_> = attributes.iter().map(|event| event["attributes"]["n"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [3, 4, 6, 7]);
    assert!(attributes.iter().all(|event| event["topic"] == "v2/a"), "{attributes:?}");
}

/// Spec 4.1: alias 0 or above the maximum: DISCONNECT 0x94. An alias that stands for nothing is a protocol error.
#[test]
fn spec_4_1_wrong_topic_aliases() {
    let gateway = Gateway::start(Options::new());
    let token = gateway.device("d1");
    for (topic, alias, code) in [("v2/t", 0, "0x94"), ("v2/t", 17, "0x94"), ("v2/t", 65_535, "0x94"), ("", 1, "0x82")] {
        let mut client = Client::connect(&gateway, V5, &token);
        let told = client.reaction(&Publish::new(topic, "{\"n\":1}").alias(alias).bytes(V5));
        assert_eq!(told, format!("DISCONNECT {code}, close"), "{topic:?}, alias {alias}");
    }
    // Neither a topic nor an alias.
    let mut client = Client::connect(&gateway, V5, &token);
    assert_eq!(client.reaction(&Publish::new("", "{}").bytes(V5)), "DISCONNECT 0x82, close");
    assert!(gateway.numbers("d1").is_empty());
}
