//! Plugins that fail: only the guilty message suffers, and nobody else notices (design §5).
#![allow(clippy::unwrap_used, reason = "in a test, whatever goes wrong is to be seen at once")]

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use tidegate_tests::gateway::shipped_plugin;
use tidegate_tests::guests::guest;
use tidegate_tests::raw::{Packet, Publish};
use tidegate_tests::steady::Steady;
use tidegate_tests::{Client, Gateway, Options, Version};

const TELEMETRY: &str = "v1/devices/me/telemetry";

/// Hostile guests, what their dead letters give as the cause, and what stands in the detail.
const GUESTS: [(&str, &str, &str); 9] = [
    ("trap-on-x", "trap", "wasm backtrace"),
    ("recursion", "trap", "stack exhausted"),
    ("loop", "timeout", ""),
    ("grow", "memory", ""),
    ("huge-result", "contract", ""),
    ("out-of-bounds", "contract", ""),
    ("not-utf8", "contract", "utf-8"),
    ("short-list", "contract", "results for"),
    ("child", "contract", "named the child"),
];
/// What a guest may have, so that the end comes soon.
const LIMITS: &str = "converter.limits = { call_time = \"50 ms\", memory = \"16 MiB\" }\n";

/// What the API says of a profile.
fn profile(gateway: &Gateway, name: &str) -> Value {
    let profiles = gateway.api().get("/api/v1/profiles").ok();
    profiles.as_array().unwrap().iter().find(|profile| profile["name"] == name).cloned().unwrap_or_default()
}

/// The most memory that the process has had, in KiB.
fn peak_memory(gateway: &Gateway) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.pid().as_raw_nonzero())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}

/// The sum of a counter over all its labels that contain this.
fn counter(gateway: &Gateway, name: &str, label: &str) -> u64 {
    let metrics = gateway.api().get("/metrics").body;
    let lines = metrics.lines().filter(|line| line.starts_with(&format!("{name}{{")) && line.contains(label));
    lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
}

/// Design §5, spec 4.3, last row: every way to fail, all of them at once, beside a device whose plugin is sound. Each
/// message becomes a dead letter that says which plugin in which version failed of what; memory stays bounded.
#[test]
fn every_hostile_guest_at_once() {
    let options =
        GUESTS.into_iter().fold(Options::new(), |options, (name, ..)| options.own_plugin(name, guest(name), LIMITS));
    let gateway = Gateway::start(options);
    let steady = Steady::start(&gateway, &gateway.device("steady"));
    steady.advance(20);
    let before = peak_memory(&gateway);
    std::thread::scope(|scope| {
        for (name, ..) in GUESTS {
            let token = gateway.device_of(name, name);
            let gateway = &gateway;
            scope.spawn(move || {
                let mut client = Client::connect(gateway, Version::V5, &token);
                let publish = |id| Publish::new(TELEMETRY, format!("x{id}")).id(id).bytes(Version::V5);
                let packets = client.reactions(&[publish(1), publish(2), publish(3)].concat());
                let told: Vec<_> = packets.iter().map(|packet| (packet.kind(), packet.code())).collect();
                assert_eq!(told, [("PUBACK", 0x83), ("PUBACK", 0x83), ("PUBACK", 0x83), ("PINGRESP", 0)], "{name}");
            });
        }
    });
    for (name, cause, detail) in GUESTS {
        let letters = gateway.events(&format!("device={name}&kind=dead-letter"));
        assert_eq!(letters.len(), 3, "{name}");
        for (letter, payload) in letters.iter().zip(["7831", "7832", "7833"]) {
            assert_eq!((&letter["plugin"], &letter["cause"]), (&name.into(), &cause.into()), "{letter}");
            assert_eq!(letter["version"], profile(&gateway, name)["plugin_version"], "{letter}");
            assert_eq!((&letter["payload_hex"], &letter["topic"]), (&payload.into(), &TELEMETRY.into()), "{letter}");
            let said = letter["detail"].as_str().unwrap();
            assert!(!said.is_empty() && said.contains(detail), "{name}: {said}");
        }
        let failures = counter(&gateway, "tidegate_plugin_failures_total", &format!("plugin=\"{name}\""));
        assert!(failures >= 3, "{name}: {failures} failures counted");
        assert_eq!(
            gateway.story(name).len(),
            5,
            "{name}: connected, three letters, disconnected: {:?}",
            gateway.story(name)
        );
    }
    let grown = peak_memory(&gateway).saturating_sub(before);
    assert!(grown < 256 * 1024, "{grown} KiB more than before");
    steady.advance(20);
    steady.stop_unharmed(&gateway, "steady");
    gateway.assert_healthy();
}

/// Design §5: the batch is run again in halves until the guilty message stands alone. Everything around it is decoded and
/// stored in its place, of the same device and of others that were gathered with it.
#[test]
fn only_the_guilty_message_suffers() {
    const MESSAGES: u16 = 40;
    let toml = "telemetry_topic = \"t/+\"\n";
    let text = format!("{toml}converter = \"fragile\"\n");
    let options = Options::new().file("plugins/fragile.wasm", guest("event-or-trap"));
    let gateway = Gateway::start(options.profile("fragile", &text).set("workers=1").set("max_inflight=64"));
    let guilty: [&[u16]; 3] = [&[3, 17, 18, 39], &[], &[0]];
    let names = ["d0", "d1", "d2"];
    let tokens = names.map(|name| gateway.device_of(name, "fragile"));
    let mut clients: Vec<_> = tokens.iter().map(|token| Client::connect(&gateway, Version::V5, token)).collect();
    let is_guilty = |device: usize, number: u16| guilty[device].contains(&number);
    for (device, client) in clients.iter_mut().enumerate() {
        let publish = |number| {
            let payload = if is_guilty(device, number) { "x" } else { "ok" };
            Publish::new(format!("t/{number}"), payload).id(number + 1).bytes(Version::V5)
        };
        client.send(&(0..MESSAGES).flat_map(publish).collect::<Vec<_>>());
    }
    for (device, client) in clients.iter_mut().enumerate() {
        for number in 0..MESSAGES {
            let puback = client.receive();
            let expected = if is_guilty(device, number) { 0x83 } else { 0 };
            assert_eq!((puback.id(), puback.code()), (number + 1, expected), "device {device}: {puback:?}");
        }
        client.ping();
        let events = gateway.events(&format!("device={}", names[device]));
        let stored: Vec<_> = events[1..].iter().map(|event| (event["topic"].clone(), event["kind"].clone())).collect();
        let kind = |number| if is_guilty(device, number) { "dead-letter" } else { "telemetry" };
        let expected = (0..MESSAGES).map(|number| (format!("t/{number}").into(), kind(number).into()));
        assert_eq!(stored, expected.collect::<Vec<(Value, Value)>>(), "device {device}");
    }
    gateway.assert_healthy();
}

/// Design §5, "Repeated faults: backoff": a guest that only fails is not started as fast as the machine can, and costs
/// others nothing: not those with another profile, not even one with the same plugin. One success ends it.
#[test]
fn a_guest_that_only_fails_is_slowed_down() {
    let options = Options::new().file("plugins/fragile.wasm", guest("trap-on-x"));
    let options = options.profile("p", "converter = \"fragile\"\n").profile("q", "converter = \"fragile\"\n");
    let gateway = Gateway::start(options);
    let steady = Steady::start(&gateway, &gateway.device("steady"));
    let mut client = Client::connect(&gateway, Version::V5, &gateway.device_of("d1", "p"));
    let mut neighbour = Client::connect(&gateway, Version::V5, &gateway.device_of("d2", "q"));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let failing = scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                assert_eq!(client.publish(1, TELEMETRY, "x").code(), 0x83);
            }
            client
        });
        let before = steady.acknowledged();
        for _ in 0..10 {
            steady.advance(100);
            neighbour.telemetry(1, "good");
        }
        let served = steady.acknowledged() - before;
        let failures = counter(&gateway, "tidegate_plugin_failures_total", "plugin=\"fragile\"");
        // The one waits for its acknowledgements, the other soon for a second each time.
        assert!(failures < served / 4, "{failures} failures while {served} messages were served");
        stop.store(true, Ordering::SeqCst);
        let mut client = failing.join().unwrap();
        client.telemetry(2, "good");
        assert_eq!(client.publish(3, TELEMETRY, "x").code(), 0x83);
        client.telemetry(4, "good");
    });
    steady.stop_unharmed(&gateway, "steady");
    gateway.assert_healthy();
}

/// A profile that is broken from the start: it is shown with its problem, and everybody else is served.
#[test]
fn a_profile_that_never_worked() {
    let gateway = Gateway::start(Options::new().own_plugin("broken", guest("trap-in-configure"), ""));
    let broken = profile(&gateway, "broken");
    assert!(broken["problem"].as_str().unwrap().contains("failed while starting: trap"), "{broken}");
    assert!(broken["revision"].is_null(), "{broken}");
    let steady = Steady::start(&gateway, &gateway.device("steady"));
    steady.advance(20);
    steady.stop_unharmed(&gateway, "steady");
    gateway.assert_healthy();
}

/// Core modules with our bindings are wrapped at load, components are taken as they are: both do the same.
#[test]
fn a_core_module_and_a_component_do_the_same() {
    let module = shipped_plugin("json");
    assert_eq!(module[..8], *b"\0asm\x01\0\0\0", "a core module");
    let encoder = wit_component::ComponentEncoder::default().module(&module).unwrap();
    let component = encoder.validate(true).encode().unwrap();
    assert_eq!(component[..8], *b"\0asm\x0d\0\x01\0", "a component");
    let options = Options::new().file("plugins/wrapped.wasm", component).profile("p", "converter = \"wrapped\"\n");
    let gateway = Gateway::start(options);
    for (file, kind) in [("plugins/json.wasm", "core-module"), ("plugins/wrapped.wasm", "component")] {
        assert_eq!(gateway.cli(&["--json", "plugin", "check", file]).json()["kind"], kind);
    }
    assert_ne!(profile(&gateway, "p")["plugin_version"], profile(&gateway, "default")["plugin_version"]);
    let payloads = [
        "{\"a\":1,\"b\":2.5,\"c\":true,\"d\":\"text\",\"e\":{\"f\":[1]}}",
        "{\"ts\":1700000000000,\"values\":{\"a\":\"5\"}}",
        "[{\"a\":1},{\"ts\":5,\"values\":{\"b\":null}}]",
        "{\"a\":",
        "17",
    ];
    let told = ["default", "p"].map(|profile| {
        let mut client = Client::connect(&gateway, Version::V5, &gateway.device_of(&format!("of-{profile}"), profile));
        let pubacks: Vec<Packet> = payloads.iter().map(|payload| client.publish(1, TELEMETRY, payload)).collect();
        (pubacks, gateway.telemetry(&format!("of-{profile}")))
    });
    assert_eq!(told[0], told[1]);
    assert!(told[0].1.len() >= 3, "{told:?}");
}
