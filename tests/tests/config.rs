//! Settings and profiles as files, environment and flags (the issue, "host/gateway"; spec 20, 21): which goes before which,
//! and that every mistake is told with its file, line and key.
#![allow(clippy::unwrap_used, reason = "in a test, whatever goes wrong is to be seen at once")]

use serde_json::{Value, json};
use tidegate_tests::cli::Folder;
use tidegate_tests::{Client, Gateway, Options, Version};

fn settings(folder: &Folder, arguments: &[&str], environment: &[(&str, &str)]) -> Value {
    folder.cli_with(&[&["config", "check", "--json"], arguments].concat(), environment).json()
}

/// Each source over the one before: default, file, environment, flag.
#[test]
fn later_sources_go_before_earlier_ones() {
    let folder = Folder::default();
    assert_eq!(settings(&folder, &[], &[])["max_inflight"], 100, "spec 21");
    folder.write("tidegate.toml", "max_inflight = 1\n[admin]\nbind = \"127.0.0.1:1\"\n[log]\nfilter = \"warn\"\n");
    let seen = settings(&folder, &[], &[]);
    assert_eq!((&seen["max_inflight"], &seen["admin"]["bind"]), (&json!(1), &json!("127.0.0.1:1")));
    let environment = [("TIDEGATE_MAX_INFLIGHT", "2"), ("TIDEGATE_ADMIN__BIND", "127.0.0.1:2")];
    let seen = settings(&folder, &[], &environment);
    assert_eq!((&seen["max_inflight"], &seen["admin"]["bind"]), (&json!(2), &json!("127.0.0.1:2")));
    assert_eq!(seen["log"], json!({ "format": "text", "filter": "warn" }), "what nobody overrides stays");
    let flags = ["--set", "max_inflight=3", "--set", "admin.bind=127.0.0.1:3"];
    let seen = settings(&folder, &flags, &environment);
    assert_eq!((&seen["max_inflight"], &seen["admin"]["bind"]), (&json!(3), &json!("127.0.0.1:3")));
    assert_eq!(settings(&folder, &["--set", "workers=1", "--set", "workers=2"], &[])["workers"], 2);
    assert_eq!(settings(&folder, &["--data", "elsewhere"], &[("TIDEGATE_DATA", "there")])["data"], "elsewhere");
    // What looks like something else may be the name of a folder.
    assert_eq!(settings(&folder, &["--data", "5"], &[("TIDEGATE_PROFILES", "true")])["data"], "5");
    // Settings that only make sense together may come in any order and from anywhere.
    let log = ["--set", "event_log.disk_limit=4 MiB", "--set", "event_log.retention_size=3 MiB"];
    let seen = settings(&folder, &log, &[("TIDEGATE_EVENT_LOG__SEGMENT_SIZE", "1 MiB")]);
    assert_eq!(seen["event_log"]["disk_limit"], "4.0 MiB");

    folder.write("other.toml", "max_inflight = 7\n");
    let seen = settings(&folder, &["--config", "other.toml"], &[]);
    assert_eq!(
        (&seen["max_inflight"], &seen["log"]["filter"]),
        (&json!(7), &json!("info")),
        "instead of tidegate.toml"
    );
}

/// What a running gateway does is what its settings say, from each source.
#[test]
fn a_gateway_runs_by_its_settings() {
    let toml = "max_payload_size = 100\nmax_inflight = 5\n";
    let gateway = Gateway::start(Options::new().file("tidegate.toml", toml).set("max_inflight=6"));
    let token = gateway.device("d1");
    let mut client = Client::open(&gateway, Version::V5);
    let connack = client.greet(&tidegate_tests::raw::Connect::new(Version::V5).user(&token));
    assert!(connack.property(0x21).is_some_and(|value| format!("{value:?}").contains('6')), "{connack:?}");
    let payload = format!("{{\"a\":\"{}\"}}", "x".repeat(200));
    assert_eq!(
        client.reaction(&tidegate_tests::raw::Publish::new("v1/devices/me/telemetry", payload).bytes(Version::V5)),
        "DISCONNECT 0x95, close"
    );
}

/// A mistake in tidegate.toml is told with file, line and key, and with what was expected; by every command that reads it.
#[test]
fn mistakes_in_the_settings_file() {
    let rows = [
        ("speed = 1\n", ":1: speed: unknown key, expected one of `data`, `plugins`, "),
        ("bind = \"0.0.0.0:1883\"\n\n[admin]\n\nport = 1\n", ":5: admin.port: unknown key, expected `bind`"),
        ("[admn]\nbind = \"127.0.0.1:1\"\n", ":1: admn: unknown key"),
        ("\nworkers = \"two\"\n", ":2: workers: invalid type: string \"two\", expected usize"),
        ("bind = 1883\n", ":1: bind: invalid type: integer `1883`, expected socket address"),
        ("bind = \"localhost\"\n", ":1: bind: invalid socket address syntax"),
        ("type_cast_enabled = \"yes\"\n", ":1: type_cast_enabled: invalid type: string \"yes\", expected a boolean"),
        ("max_inflight = 0\n", ":1: max_inflight: at least 1 expected"),
        ("max_inflight = 70000\n", ":1: max_inflight: invalid value: integer `70000`, expected u16"),
        ("max_payload_size = -1\n", ":1: max_payload_size: invalid value: integer `-1`, expected u32"),
        ("max_payload_size = 2000000\n", ":1: max_payload_size: at most 1398085 expected"),
        (
            "\n\nsession_timeout = \"soon\"\n",
            ":3: session_timeout: invalid value: string \"soon\", expected a number of seconds, or a text such as \"10 min\"",
        ),
        (
            "connect_timeout = \"10 bananas\"\n",
            ":1: connect_timeout: invalid value: string \"10 bananas\", expected a number of seconds",
        ),
        ("connect_timeout = 0\n", ":1: connect_timeout: at least 1 expected"),
        ("[event_log]\nsegment_size = \"64 bananas\"\n", ":2: event_log.segment_size: "),
        ("[event_log]\nsegment_size = \"1 KiB\"\n", ":2: event_log.segment_size: a multiple of 4096 from 262144 to "),
        (
            "[event_log]\n\nretention_size = \"1 MiB\"\n",
            ":3: event_log.retention_size: at least 3 segments, 201326592 expected, got 1048576",
        ),
        (
            "[event_log]\ndisk_limit = \"1 MiB\"\n",
            ":2: event_log.disk_limit: at least what is retained, 1073741824 expected, got 1048576",
        ),
        ("[event_log]\nretention_age = 0\n", ":2: event_log.retention_age: at least 1 second expected"),
        ("qos2_v3 = \"maybe\"\n", ":1: qos2_v3: unknown variant `maybe`, expected `accept` or `close`"),
        ("[log]\nformat = \"xml\"\n", ":2: log.format: unknown variant `xml`, expected `text` or `json`"),
        ("[log]\nfilter = \"x=y=z\"\n", ":2: log.filter: "),
        ("workers = 1\nworkers = 2\n", ":2: duplicate key"),
        ("workers = \n", ":1: "),
        ("workers = 1\n[[log]]\n", ":2: log"),
        ("workers: 1\n", ":1: "),
    ];
    let folder = Folder::default();
    for (text, expected) in rows {
        for file in ["tidegate.toml", "conf/own.toml"] {
            folder.write(file, text);
            let arguments: &[&str] = if file == "tidegate.toml" { &[] } else { &["--config", file] };
            for command in [&["config", "check"][..], &["serve"], &["device", "list"]] {
                let said = folder.cli(&[command, arguments].concat()).failed();
                assert!(said.starts_with(&format!("tidegate: {file}{expected}")), "{command:?} {text:?}: {said}");
                assert_eq!(said.matches(expected).count(), 1, "told once: {said}");
            }
            std::fs::remove_file(folder.path(file)).unwrap();
        }
    }
    folder.write("latin1.toml", b"# gr\xf6\xdfe\n");
    for (file, expected) in
        [("nowhere.toml", "No such file"), ("plugins", "Is a directory"), ("latin1.toml", "valid UTF-8")]
    {
        let said = folder.cli(&["config", "check", "--config", file]).failed();
        assert!(said.starts_with(&format!("tidegate: {file}: ")) && said.contains(expected), "{file}: {said}");
    }
}

/// The same for what stands over the file.
#[test]
fn mistakes_in_environment_and_flags() {
    let folder = Folder::default();
    let rows = [
        ("TIDEGATE_SPEED", "1", "environment variable TIDEGATE_SPEED: speed: unknown key, expected one of `data`"),
        (
            "TIDEGATE_ADMIN__PORT",
            "1",
            "environment variable TIDEGATE_ADMIN__PORT: admin.port: unknown key, expected `bind`",
        ),
        (
            "TIDEGATE_WORKERS",
            "two",
            "environment variable TIDEGATE_WORKERS: workers: invalid type: string \"two\", expected usize",
        ),
        (
            "TIDEGATE_SESSION_TIMEOUT",
            "soon",
            "environment variable TIDEGATE_SESSION_TIMEOUT: session_timeout: invalid value: string \"soon\"",
        ),
        ("TIDEGATE_WORKERS__X", "1", "environment variable TIDEGATE_WORKERS__X: workers.x: "),
    ];
    for (name, value, expected) in rows {
        let said = folder.cli_with(&["config", "check"], &[(name, value)]).failed();
        assert!(said.starts_with(&format!("tidegate: {expected}")), "{name}: {said}");
    }
    let rows = [
        ("speed=1", "--set: speed: unknown key, expected one of `data`"),
        ("workers=two", "--set: workers: invalid type: string \"two\", expected usize"),
        ("bind=nowhere", "--set: bind: invalid socket address syntax"),
        ("event_log.segment_size=1 banana", "--set: event_log.segment_size: "),
        ("event_log.retention_size=1 MiB", "--set: event_log.retention_size: at least 3 segments"),
        ("max_inflight=0", "--set: max_inflight: at least 1 expected"),
        ("workers", "--set workers: expected KEY=VALUE, such as --set bind=0.0.0.0:1884"),
        ("=1", "--set: "),
    ];
    for (set, expected) in rows {
        let said = folder.cli(&["config", "check", "--set", set]).failed();
        assert!(said.starts_with(&format!("tidegate: {expected}")), "{set}: {said}");
    }
}

/// Profile files (design §4, spec 20): what `config check` says of a mistake, a running gateway says too.
#[test]
fn mistakes_in_profiles() {
    let rows = [
        ("speed = 1\n", ":1: speed: unknown key, expected one of `transport_payload_type`, "),
        ("\ntelemetry_topic = 5\n", ":2: telemetry_topic: invalid type: integer `5`, expected a string"),
        ("telemetry_topic = \"a/#/b\"\n", ":1: telemetry_topic: "),
        ("attributes_topic = \"a+\"\n", ":1: attributes_topic: "),
        (
            "telemetry_topic = \"a\"\nattributes_topic = \"a\"\n",
            ":1: telemetry_topic: another filter than that of attributes_topic expected",
        ),
        (
            "transport_payload_type = \"XML\"\n",
            ":1: transport_payload_type: unknown variant `XML`, expected `JSON` or `PROTOBUF`",
        ),
        (
            "send_ack_on_validation_exception = 1\n",
            ":1: send_ack_on_validation_exception: invalid type: integer `1`, expected a boolean",
        ),
        (
            "converter = 5\n",
            ":1: converter: invalid type: integer `5`, expected the name of a plugin, or a table with the key `plugin`",
        ),
        ("[converter]\nconfig = {}\n", ":1: converter: missing field `plugin`"),
        (
            "[converter]\nplugin = \"json\"\n\nlimit = 1\n",
            ":4: converter.limit: unknown key, expected one of `plugin`, `config`, `limits`",
        ),
        (
            "[converter]\nplugin = \"json\"\n[converter.limits]\ncall_time = \"soon\"\n",
            ":4: converter.limits.call_time: invalid value: string \"soon\"",
        ),
        (
            "[converter]\nplugin = \"json\"\n[converter.limits]\nmemory = \"64 bananas\"\n",
            ":4: converter.limits.memory: ",
        ),
        (
            "[converter]\nplugin = \"json\"\n[converter.config]\nschema_file = \"nowhere.proto\"\n",
            ":4: schema_file: profiles/nowhere.proto: No such file",
        ),
        (
            "[converter]\nplugin = \"json\"\n[converter.config]\nschema_file = 5\n",
            ":4: schema_file: the name of a file expected",
        ),
        ("converter = \n", ":1: "),
    ];
    let folder = Folder::default();
    let mut options = Options::new();
    for (index, (text, expected)) in rows.iter().enumerate() {
        folder.write(&format!("profiles/p{index}.toml"), text);
        let said = folder.cli(&["config", "check"]).failed();
        let expected = format!("tidegate: profile \"p{index}\": profiles/p{index}.toml{expected}");
        assert!(said.contains(&expected), "{text:?}: {said}");
        options = options.profile(&format!("p{index}"), text);
    }
    let gateway = Gateway::start(options);
    let profiles = gateway.api().get("/api/v1/profiles").ok();
    for (index, (text, expected)) in rows.iter().enumerate() {
        let profile =
            profiles.as_array().unwrap().iter().find(|profile| profile["name"] == format!("p{index}")).unwrap();
        let problem = profile["problem"].as_str().unwrap();
        assert!(problem.starts_with(&format!("profiles/p{index}.toml{expected}")), "{text:?}: {problem}");
        assert!(gateway.log().contains(&format!("profiles/p{index}.toml")), "p{index}");
    }
    // In a folder of its own it is the same; and one name must not stand for two.
    folder.write("profiles/own/profile.toml", "\nspeed = 1");
    folder.write("profiles/p0/profile.toml", "");
    let said = folder.cli(&["config", "check"]).failed();
    assert!(said.contains("profile \"own\": profiles/own/profile.toml:2: speed: unknown key"), "{said}");
    assert!(said.contains("profile \"p0\": p0.toml and p0/profile.toml: one of them expected"), "{said}");
}
