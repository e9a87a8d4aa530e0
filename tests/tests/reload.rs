//! Profiles and plugins that change while the gateway runs: no message is lost, refused or reordered (design §4).
#![allow(clippy::unwrap_used, reason = "in a test, whatever goes wrong is to be seen at once")]

use std::fs;

use serde_json::{Value, json};
use tidegate_tests::gateway::shipped_plugin;
use tidegate_tests::guests::{again, guest};
use tidegate_tests::raw::Publish;
use tidegate_tests::steady::Steady;
use tidegate_tests::wait::until;
use tidegate_tests::{Client, Gateway, Options, Version};

/// What the API says of a profile; `null` if there is none of that name.
fn profile(gateway: &Gateway, name: &str) -> Value {
    let profiles = gateway.api().get("/api/v1/profiles").ok();
    let found = profiles.as_array().unwrap().iter().find(|profile| profile["name"] == name);
    found.cloned().unwrap_or_default()
}

/// Waits until another revision of it is in force, and nothing is wrong with it.
#[track_caller]
fn activated(gateway: &Gateway, name: &str, before: &Value) -> Value {
    until(&format!("another revision of {name}"), || {
        let now = profile(gateway, name);
        (now["revision"].is_string() && now["revision"] != before["revision"] && now["problem"].is_null())
            .then_some(now)
    })
}

/// Waits until something is wrong with its newest version, and makes sure that the old one stays in force and that the
/// API, the log and the metrics say so.
#[track_caller]
fn refused(gateway: &Gateway, name: &str, before: &Value, why: &str) {
    let now = until(&format!("{name} to be refused: {why}"), || {
        let now = profile(gateway, name);
        now["problem"].as_str().is_some_and(|problem| problem.contains(why)).then_some(now)
    });
    for key in ["revision", "plugin", "plugin_version"] {
        assert_eq!(now[key], before[key], "{key} of {now}");
    }
    let complaint = gateway.log_records().into_iter().any(|record| {
        let message = record["message"].as_str().unwrap_or_default();
        record["level"] == "ERROR" && record["profile"] == name && message.contains(why)
    });
    assert!(complaint, "{why:?} is not in the log: {}", gateway.log());
    assert!(reloads(gateway, name, "refused") > 0, "it is not counted");
}

/// The counter of reloads of a profile with this result.
fn reloads(gateway: &Gateway, name: &str, result: &str) -> u64 {
    let metrics = gateway.api().get("/metrics").body;
    let labels = [format!("profile=\"{name}\""), format!("result=\"{result}\"")];
    let lines = metrics.lines().filter(|line| line.starts_with("tidegate_profile_reloads_total{"));
    let mut counts = lines.filter(|line| labels.iter().all(|label| line.contains(label)));
    counts.next().map_or(0, |line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
}

/// Design §4: twenty versions of a plugin, one after the other, under devices that publish all the time.
#[test]
fn twenty_versions_of_a_plugin() {
    let gateway = Gateway::start(Options::new().profile("other", ""));
    let first = Steady::start(&gateway, &gateway.device("first"));
    let second = Steady::start(&gateway, &gateway.device_of("second", "other"));
    let json = shipped_plugin("json");
    let mut seen = vec![profile(&gateway, "default")];
    for version in 1..=20 {
        gateway.replace("plugins/json.wasm", again(&json, version));
        let now = activated(&gateway, "default", seen.last().unwrap());
        assert!(seen.iter().all(|before| before["plugin_version"] != now["plugin_version"]), "{now}");
        activated(&gateway, "other", &json!({ "revision": "" }));
        seen.push(now);
        first.advance(10);
        second.advance(10);
    }
    assert_eq!((reloads(&gateway, "default", "activated"), reloads(&gateway, "other", "activated")), (20, 20));
    assert_eq!(reloads(&gateway, "default", "refused"), 0);
    first.stop_unharmed(&gateway, "first");
    second.stop_unharmed(&gateway, "second");
    gateway.assert_healthy();
}

/// Design §4, spec 20: a changed profile file. Open sessions go over to the new profile with their next message, and to
/// its topics.
#[test]
fn spec_20_a_changed_profile() {
    let gateway = Gateway::start(Options::new().profile("p", "").profile("q", ""));
    let steady = Steady::start(&gateway, &gateway.device_of("steady", "q"));
    let mut client = Client::connect(&gateway, Version::V5, &gateway.device_of("d1", "p"));
    let mut before = profile(&gateway, "p");
    // Spec 7.4: whether a text that looks like a number becomes one.
    for (cast, expected) in [(true, json!(5)), (false, json!("5")), (true, json!(5)), (false, json!("5"))] {
        let text = format!("type_cast_enabled = {cast}\ntelemetry_topic = \"sensor/{cast}\"\n");
        gateway.replace("profiles/q.toml", format!("type_cast_enabled = {cast}\n"));
        gateway.replace("profiles/p.toml", &text);
        before = activated(&gateway, "p", &before);
        let puback = client.publish(1, &format!("sensor/{cast}"), "{\"a\":\"5\"}");
        assert_eq!((puback.kind(), puback.code()), ("PUBACK", 0), "{text}");
        assert_eq!(gateway.telemetry("d1").last().unwrap()["a"], expected, "{text}");
        // The topic of the version before means nothing any more.
        let old = Publish::new(format!("sensor/{}", !cast), "{\"a\":1}").id(2).bytes(Version::V5);
        assert_eq!(client.reaction(&old), "PUBACK 0x90", "{text}");
        steady.advance(10);
    }
    gateway.replace("profiles/p.toml", "type_cast_enabled = true\n");
    activated(&gateway, "p", &before);
    client.telemetry(3, "{\"a\":\"6\"}");
    assert_eq!(gateway.telemetry("d1").last().unwrap()["a"], 6);
    assert_eq!(gateway.story("d1").first().unwrap(), "connected");
    assert!(gateway.story("d1").iter().all(|event| !event.starts_with("disconnected")), "the session stayed open");
    steady.stop_unharmed(&gateway, "steady");
}

/// Design §4: a file that the configuration names belongs to the revision.
#[test]
fn a_changed_named_file() {
    let toml = "converter.config.schema_file = \"deep/schema.txt\"\n";
    let options = Options::new().own_plugin("boiler", guest("quiet"), toml);
    let gateway = Gateway::start(options.file("profiles/boiler/deep/schema.txt", "version 1"));
    let steady = Steady::start(&gateway, &gateway.device("steady"));
    let mut client = Client::connect(&gateway, Version::V5, &gateway.device_of("d1", "boiler"));
    let first = profile(&gateway, "boiler");
    gateway.replace("profiles/boiler/deep/schema.txt", "version 2");
    let second = activated(&gateway, "boiler", &first);
    assert_eq!(second["plugin_version"], first["plugin_version"], "the plugin is the same");
    client.telemetry(1, "x");
    fs::remove_file(gateway.path("profiles/boiler/deep/schema.txt")).unwrap();
    refused(&gateway, "boiler", &second, "profiles/boiler/deep/schema.txt: No such file");
    client.telemetry(2, "x");
    gateway.replace("profiles/boiler/deep/schema.txt", "version 1");
    let third = activated(&gateway, "boiler", &second);
    assert_eq!(third["revision"], first["revision"], "a revision is what it is made of");
    client.telemetry(3, "x");
    steady.stop_unharmed(&gateway, "steady");
}

/// Design §4, "Anything wrong: the old one stays": each of these, with its file named, and then a good one again.
#[test]
fn broken_replacements() {
    let json = shipped_plugin("json");
    let (toml, wasm) = ("profiles/p.toml", "plugins/own.wasm");
    let half = json[..json.len() / 2].to_vec();
    let import = |module: &str| {
        let text = format!("(module (import \"{module}\" \"f\" (func)) (memory (export \"memory\") 1))");
        tidegate_tests::guests::module(&text)
    };
    let rows: Vec<(&str, Vec<u8>, &str)> = vec![
        (wasm, b"this is no plugin".to_vec(), "plugins/own.wasm: not a WebAssembly file"),
        (wasm, Vec::new(), "plugins/own.wasm: not a WebAssembly file"),
        (wasm, half, "plugins/own.wasm: core module cannot be wrapped"),
        (wasm, import("wasi_snapshot_preview1"), "wasi_snapshot_preview1"),
        (wasm, import("unheard-of"), "unheard-of"),
        (wasm, b"\0asm\x0d\0\x01\0".to_vec(), "plugins/own.wasm: exports no"),
        (
            wasm,
            guest("refuse"),
            "plugins/own.wasm: refused its configuration: schema: text expected; rate: number expected",
        ),
        (wasm, guest("trap-in-configure"), "plugins/own.wasm: failed while starting: trap"),
        (toml, b"converter = \"own\"\nconverter = 1\n".to_vec(), "profiles/p.toml:2"),
        (toml, b"converter = \"own\"\nspeed = 1\n".to_vec(), "profiles/p.toml:2: speed: unknown key"),
        (toml, b"converter = [\n".to_vec(), "profiles/p.toml:1"),
        (toml, b"\xff\xfe".to_vec(), "profiles/p.toml"),
        (toml, b"converter = \"nowhere\"\n".to_vec(), "plugins/nowhere.wasm: No such file"),
        (toml, b"converter = \"own\"\ntelemetry_topic = \"a/#/b\"\n".to_vec(), "profiles/p.toml:2: telemetry_topic"),
    ];
    let good_toml = "converter = \"own\"\n";
    let gateway = Gateway::start(Options::new().file(wasm, json.clone()).profile("p", good_toml));
    let steady = Steady::start(&gateway, &gateway.device_of("steady", "p"));
    let other = Steady::start(&gateway, &gateway.device("other"));
    let mut before = profile(&gateway, "p");
    let revision_of_others = profile(&gateway, "default")["revision"].clone();
    for (version, (file, contents, why)) in (1..).zip(rows) {
        gateway.replace(file, contents);
        refused(&gateway, "p", &before, why);
        steady.advance(10);
        // A new session is served by the old version as well.
        Client::connect(&gateway, Version::V311, &gateway.device_of(&format!("new-{version}"), "p")).telemetry(1, "{}");
        gateway.replace(toml, good_toml);
        gateway.replace(wasm, again(&json, version));
        before = activated(&gateway, "p", &before);
        other.advance(10);
    }
    assert_eq!(profile(&gateway, "default")["revision"], revision_of_others, "others are not touched");
    steady.stop_unharmed(&gateway, "steady");
    other.stop_unharmed(&gateway, "other");
    gateway.assert_healthy();
}

/// A file that is written slowly, in place: at no moment is half of it in force.
#[test]
fn a_file_that_is_written_in_pieces() {
    let json = again(&shipped_plugin("json"), 1);
    let gateway = Gateway::start(Options::new());
    let steady = Steady::start(&gateway, &gateway.device("steady"));
    let before = profile(&gateway, "default");
    let file = gateway.path("plugins/json.wasm");
    for part in 1..=8 {
        fs::write(&file, &json[..json.len() * part / 8]).unwrap();
        steady.advance(20);
    }
    let now = activated(&gateway, "default", &before);
    assert_ne!(now["plugin_version"], before["plugin_version"]);
    assert_eq!(reloads(&gateway, "default", "activated"), 1);
    steady.stop_unharmed(&gateway, "steady");
}

/// Files that are gone: the last version stays, and the API says why.
#[test]
fn removed_files() {
    let json = shipped_plugin("json");
    let options = Options::new().file("plugins/own.wasm", json.clone()).profile("p", "converter = \"own\"\n");
    let gateway = Gateway::start(options);
    let steady = Steady::start(&gateway, &gateway.device_of("steady", "p"));
    let before = profile(&gateway, "p");
    fs::remove_file(gateway.path("plugins/own.wasm")).unwrap();
    refused(&gateway, "p", &before, "plugins/own.wasm: No such file");
    steady.advance(10);
    gateway.replace("plugins/own.wasm", again(&json, 1));
    let before = activated(&gateway, "p", &before);
    fs::remove_file(gateway.path("profiles/p.toml")).unwrap();
    refused(&gateway, "p", &before, "its file is gone");
    steady.advance(10);
    gateway.replace("profiles/p.toml", "converter = \"own\"\ntype_cast_enabled = false\n");
    activated(&gateway, "p", &before);
    steady.stop_unharmed(&gateway, "steady");
}

/// A profile that appears while the gateway runs can be used at once, and so can the plugin beside it.
#[test]
fn new_profiles() {
    let gateway = Gateway::start(Options::new());
    let steady = Steady::start(&gateway, &gateway.device("steady"));
    let unknown = gateway.api().post("/api/v1/devices", json!({ "name": "d0", "profile": "new" }));
    assert!(unknown.problem(400).contains("new"));
    gateway.replace("profiles/new.toml", "telemetry_topic = \"new/topic\"\n");
    let unnamed = json!({ "revision": "" });
    activated(&gateway, "new", &unnamed);
    let mut client = Client::connect(&gateway, Version::V5, &gateway.device_of("d1", "new"));
    assert_eq!(client.publish(1, "new/topic", "{\"n\":1}").code(), 0);
    assert_eq!(gateway.numbers("d1"), [1]);
    // A folder: its plugin arrives before the file that asks for it, as with any tool that copies.
    gateway.replace("profiles/boiler/boiler.wasm", guest("trap-on-x"));
    gateway.replace("profiles/boiler/profile.toml", "converter = \"boiler\"\n");
    activated(&gateway, "boiler", &unnamed);
    let mut client = Client::connect(&gateway, Version::V5, &gateway.device_of("d2", "boiler"));
    assert_eq!(client.publish(1, "v1/devices/me/telemetry", "x").code(), 0x83);
    assert_eq!(gateway.events("device=d2&kind=dead-letter")[0]["plugin"], "boiler");
    steady.stop_unharmed(&gateway, "steady");
}

/// Design §4: a profile's own plugin lies beside it and goes before a shared one of the same name; each of them changes
/// for itself.
#[test]
fn own_and_shared_plugins() {
    let json = shipped_plugin("json");
    let options = Options::new().own_plugin("boiler", guest("quiet"), "").file("plugins/boiler.wasm", json.clone());
    let gateway = Gateway::start(options.profile("shared", "converter = \"boiler\"\n"));
    let mut own = Client::connect(&gateway, Version::V5, &gateway.device_of("own", "boiler"));
    let steady = Steady::start(&gateway, &gateway.device_of("steady", "shared"));
    own.telemetry(1, "this is no JSON");
    let both = || (profile(&gateway, "boiler"), profile(&gateway, "shared"));
    let before = both();
    assert_ne!(before.0["plugin_version"], before.1["plugin_version"]);
    gateway.replace("plugins/boiler.wasm", again(&json, 1));
    activated(&gateway, "shared", &before.1);
    let between = both();
    assert_eq!(between.0, before.0, "the own plugin has not changed");
    gateway.replace("profiles/boiler/boiler.wasm", again(&guest("quiet"), 1));
    activated(&gateway, "boiler", &between.0);
    assert_eq!(both().1, between.1, "the shared plugin has not changed");
    own.telemetry(2, "neither is this");
    // Without its own plugin the profile takes the shared one.
    fs::remove_file(gateway.path("profiles/boiler/boiler.wasm")).unwrap();
    let shared = activated(&gateway, "boiler", &both().0);
    assert_eq!(shared["plugin_version"], between.1["plugin_version"]);
    own.telemetry(3, "{\"n\":3}");
    assert_eq!(gateway.numbers("own"), [3]);
    steady.stop_unharmed(&gateway, "steady");
}
