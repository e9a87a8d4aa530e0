//! How a session ends: spec 2.5 to 2.7.
#![allow(clippy::unwrap_used, reason = "in a test, whatever goes wrong is to be seen at once")]

use std::time::{Duration, Instant};

use serde_json::json;
use tidegate_tests::guests::guest;
use tidegate_tests::raw::{Connect, PINGREQ, Publish};
use tidegate_tests::wait::pause;
use tidegate_tests::{Client, Gateway, Options, Version};

/// Spec 2.5: the newer connection wins, whatever its client id or version; the application sees one disconnect and one
/// connect, in this order.
#[test]
fn spec_2_5_take_over() {
    let gateway = Gateway::start(Options::new());
    let token = gateway.device("d1");
    for old_version in Version::ALL {
        for new_version in Version::ALL {
            let before = gateway.story("d1").len();
            let mut old = Client::connect(&gateway, old_version, &token);
            old.telemetry(1, "{\"n\":1}");
            let mut new = Client::open(&gateway, new_version);
            let connack = new.greet(&Connect::new(new_version).client("another").user(&token));
            assert_eq!(connack.code(), 0);
            assert_eq!(old.end(), if old_version.is_v5() { 0x8e } else { 0 }, "{old_version:?}, {new_version:?}");
            new.ping();
            new.leave();
            let story = &gateway.story("d1")[before..];
            let expected = ["connected", "telemetry", "disconnected taken-over", "connected", "disconnected client"];
            assert_eq!(story, expected, "{old_version:?}, {new_version:?}");
        }
    }
}

/// Spec 2.5 and design §1: what the old connection had sent is settled before the new CONNACK.
#[test]
fn spec_2_5_the_old_connection_is_settled_before_the_new_connack() {
    // The guest needs its whole call time for each message, so the take-over happens in the middle of a drain.
    let gateway =
        Gateway::start(Options::new().own_plugin("slow", guest("loop"), "converter.limits.call_time = \"1 s\""));
    let token = gateway.device_of("d1", "slow");
    let mut old = Client::connect(&gateway, Version::V5, &token);
    old.send(&Publish::new("v1/devices/me/telemetry", "x").id(5).bytes(Version::V5));
    pause(Duration::from_millis(200));
    Client::connect(&gateway, Version::V5, &token).leave();
    let told: Vec<_> = old.rest().iter().map(|packet| (packet.kind(), packet.code())).collect();
    assert_eq!(told, [("PUBACK", 0x83), ("DISCONNECT", 0x8e)]);
    let expected = ["connected", "dead-letter timeout", "disconnected taken-over", "connected", "disconnected client"];
    assert_eq!(gateway.story("d1"), expected);
}

/// Spec 2.5: many connections of one device at once. One of them stays, and the story makes sense.
#[test]
fn spec_2_5_a_crowd_of_connections_leaves_one() {
    let gateway = Gateway::start(Options::new());
    let token = gateway.device("d1");
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let (address, token) = (gateway.address(), token.clone());
            std::thread::spawn(move || {
                let mut client = Client::open_at(address, Version::V5);
                let connack = client.greet(&Connect::new(Version::V5).user(&token));
                assert_eq!(connack.code(), 0);
                client
            })
        })
        .collect();
    let mut clients: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let open = clients.iter_mut().filter_map(|client| (client.reaction(&[]) == "–").then_some(())).count();
    assert_eq!(open, 1);
    let story = gateway.story("d1");
    for (index, event) in story.iter().enumerate() {
        let expected = if index % 2 == 0 { "connected" } else { "disconnected taken-over" };
        assert_eq!(event, expected, "{story:?}");
    }
    assert_eq!(story.len(), 15, "{story:?}");
}

/// Spec 2.6: no packet for 1.5 times the interval. v5 0x8D, v3 close.
#[test]
fn spec_2_6_keep_alive_is_enforced() {
    let gateway = Gateway::start(Options::new());
    let mut clients = Vec::new();
    for (version, name) in [(Version::V31, "d1"), (Version::V311, "d2"), (Version::V5, "d3")] {
        let token = gateway.device(name);
        let mut client = Client::open(&gateway, version);
        assert_eq!(client.greet(&Connect::new(version).user(&token).keep_alive(1)).code(), 0);
        clients.push((client, name));
    }
    for (client, name) in &mut clients {
        assert_eq!(client.end(), if client.version().is_v5() { 0x8d } else { 0 }, "{name}");
        assert_eq!(gateway.story(name), ["connected", "disconnected keep-alive"]);
    }
}

/// Spec 2.6: a PINGREQ is answered, and counts as a packet.
#[test]
fn spec_2_6_pings_keep_a_connection() {
    let gateway = Gateway::start(Options::new());
    let token = gateway.device("d1");
    // 5 s are more than 1.5 times 2 s, and the time between two pings is far less, unless this machine has no time for
    // us; then it is tried again.
    let kept = (0..10).any(|_| {
        let mut client = Client::open(&gateway, Version::V5);
        client.greet(&Connect::new(Version::V5).user(&token).keep_alive(2));
        (0..10).all(|_| {
            let started = Instant::now();
            pause(Duration::from_millis(500));
            let told = client.reaction(&[]);
            assert!(told == "–" || started.elapsed() > Duration::from_millis(1500), "{told}");
            told == "–"
        })
    });
    assert!(kept, "ten times in a row this machine stood still");
}

/// Spec 2.6: `session_timeout` without any packet: v5 0xA0, v3 close; but not a client whose keep-alive is longer.
#[test]
fn spec_2_6_inactivity() {
    let gateway = Gateway::start(Options::new().set("session_timeout=1"));
    let mut patient = Client::open(&gateway, Version::V5);
    patient.greet(&Connect::new(Version::V5).user(&gateway.device("patient")).keep_alive(60));
    for (version, name) in [(Version::V311, "d2"), (Version::V5, "d3")] {
        let mut client = Client::connect(&gateway, version, &gateway.device(name));
        assert_eq!(client.end(), if version.is_v5() { 0xa0 } else { 0 }, "{name}");
        assert_eq!(gateway.story(name), ["connected", "disconnected inactivity"]);
    }
    patient.ping();
}

/// Spec 2: `connect_timeout`, for who sends nothing and for who sends a CONNECT byte by byte.
#[test]
fn spec_2_time_to_connect() {
    let gateway = Gateway::start(Options::new().set("connect_timeout=1"));
    let mut silent = Client::open(&gateway, Version::V5);
    let mut slow = Client::open(&gateway, Version::V5);
    let connect = Connect::new(Version::V5).user(&gateway.device("d1")).bytes();
    for byte in &connect[..connect.len() - 1] {
        pause(Duration::from_millis(100));
        if slow.try_send(&[*byte]).is_err() {
            break;
        }
    }
    assert_eq!(slow.rest(), []);
    assert_eq!(silent.rest(), []);
    assert_eq!(gateway.events(""), [""; 0]);
}

/// Design §1: while the host itself does not read, keep-alive and inactivity clocks stand still. Would fail if the clock
/// went on while a plugin works.
#[test]
fn clocks_stand_still_while_the_host_works() {
    let options = Options::new().set("session_timeout=1").own_plugin(
        "slow",
        guest("loop"),
        "converter.limits.call_time = \"3 s\"",
    );
    let gateway = Gateway::start(options);
    for (name, keep_alive) in [("d1", 1), ("d2", 0)] {
        let token = gateway.device_of(name, "slow");
        let mut client = Client::open(&gateway, Version::V5);
        client.greet(&Connect::new(Version::V5).user(&token).keep_alive(keep_alive));
        let puback = client.publish(1, "v1/devices/me/telemetry", "x");
        assert_eq!((puback.kind(), puback.code()), ("PUBACK", 0x83), "{name}");
        client.ping();
    }
}

/// Spec 2.7: 0x8B to everybody when the host stops, after what they had sent is acknowledged.
#[test]
fn spec_2_7_shutdown() {
    let mut gateway = Gateway::start(Options::new());
    let mut clients = Vec::new();
    for (version, name) in [(Version::V31, "d1"), (Version::V311, "d2"), (Version::V5, "d3")] {
        let mut client = Client::connect(&gateway, version, &gateway.device(name));
        client.telemetry(1, "{\"n\":1}");
        clients.push((client, name));
    }
    let mut stranger = Client::open(&gateway, Version::V5);
    let stopping = std::thread::spawn(move || {
        gateway.stop();
        gateway
    });
    for (client, _) in &mut clients {
        assert_eq!(client.end(), if client.version().is_v5() { 0x8b } else { 0 });
    }
    assert_eq!(stranger.rest(), [], "no DISCONNECT before CONNACK");
    let mut gateway = stopping.join().unwrap();
    gateway.run();
    for (_, name) in &clients {
        assert_eq!(gateway.story(name), ["connected", "telemetry", "disconnected shutdown"]);
    }
}

/// Spec 2.7, 3.1: 0x98 when the session of a device cannot go on as it is.
#[test]
fn spec_2_7_administrative_actions() {
    let gateway = Gateway::start(Options::new().profile("other", ""));
    type Action = fn(&Gateway);
    let actions: [(&str, Action); 6] = [
        ("credentials", |gateway| {
            let credentials = json!({ "type": "ACCESS_TOKEN", "token": "another" });
            gateway.api().put("/api/v1/devices/d1/credentials", credentials).ok();
        }),
        ("close by the API", |gateway| drop(gateway.api().delete("/api/v1/sessions/d1").ok())),
        ("close by the command line", |gateway| drop(gateway.cli(&["session", "close", "d1"]).ok())),
        ("another profile", |gateway| drop(gateway.cli(&["device", "set", "d1", "--profile", "other"]).ok())),
        ("another name", |gateway| drop(gateway.cli(&["device", "set", "d1", "--rename", "d2"]).ok())),
        ("deletion", |gateway| drop(gateway.cli(&["device", "rm", "d1"]).ok())),
    ];
    for (what, act) in actions {
        for version in Version::ALL {
            let mut client = Client::connect(&gateway, version, &gateway.device("d1"));
            let neighbour = gateway.device("neighbour");
            let mut neighbour = Client::connect(&gateway, version, &neighbour);
            act(&gateway);
            assert_eq!(client.end(), if version.is_v5() { 0x98 } else { 0 }, "{what}, {version:?}");
            neighbour.ping();
            let last = gateway.events("kind=disconnected").pop().unwrap();
            assert_eq!(last["cause"], "administrative", "{what}: {last}");
            for name in ["d1", "d2", "neighbour"] {
                gateway.api().delete(&format!("/api/v1/devices/{name}"));
            }
        }
    }
}

/// Spec 3.1: after a change of credentials the old ones are worth nothing, at once.
#[test]
fn spec_3_1_old_credentials_are_refused_at_once() {
    let gateway = Gateway::start(Options::new());
    let token = gateway.device("d1");
    for number in 0..20 {
        let new = format!("token-{number}");
        let old = if number == 0 { token.clone() } else { format!("token-{}", number - 1) };
        let mut client = Client::connect(&gateway, Version::V5, &old);
        let credentials = json!({ "type": "ACCESS_TOKEN", "token": new });
        gateway.api().put("/api/v1/devices/d1/credentials", credentials).ok();
        let mut late = Client::open(&gateway, Version::V5);
        assert_eq!(late.greet(&Connect::new(Version::V5).user(&old)).code(), 0x87);
        assert_eq!(client.end(), 0x98);
    }
}

/// Spec 3.5: the gateway flag is read at CONNECT; setting it does not end a session.
#[test]
fn spec_3_5_the_gateway_flag_waits_for_the_next_connect() {
    let gateway = Gateway::start(Options::new());
    let token = gateway.device("d1");
    let mut client = Client::connect(&gateway, Version::V5, &token);
    gateway.cli(&["device", "set", "d1", "--gateway", "true"]).ok();
    let connect = Publish::new("v1/gateway/connect", "{\"device\":\"c\"}").bytes(Version::V5);
    assert_eq!(client.reaction(&connect), "PUBACK 0x87");
    client.leave();
    let mut client = Client::connect(&gateway, Version::V5, &token);
    assert_ne!(client.reaction(&connect), "PUBACK 0x87");
}

/// DISCONNECT of the client ends the session without a word, and what it had sent before counts.
#[test]
fn goodbye() {
    let gateway = Gateway::start(Options::new());
    let token = gateway.device("d1");
    for version in Version::ALL {
        let mut client = Client::connect(&gateway, version, &token);
        let publish = Publish::new("v1/devices/me/telemetry", "{\"n\":1}").id(3).bytes(version);
        let goodbye = tidegate_tests::raw::write::disconnect(version, 0);
        client.send(&[publish.clone(), goodbye, publish, PINGREQ.to_vec()].concat());
        let told: Vec<_> = client.rest().iter().map(|packet| (packet.kind(), packet.id())).collect();
        assert_eq!(told, [("PUBACK", 3)], "{version:?}: what is behind the DISCONNECT does not count");
    }
    assert_eq!(gateway.numbers("d1"), [1, 1, 1]);
}
