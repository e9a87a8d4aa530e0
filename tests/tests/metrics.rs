//! What machines watch (the issue, "host/gateway"; spec 19): health, readiness, and metrics that parse and move.
#![allow(clippy::unwrap_used, reason = "in a test, whatever goes wrong is to be seen at once")]

use std::collections::BTreeMap;

use tidegate_tests::guests::guest;
use tidegate_tests::raw::Connect;
use tidegate_tests::wait::until_true;
use tidegate_tests::{Client, Gateway, Options, Version};

/// The samples of an exposition in the text format 0.0.4, by name with labels.
struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    /// # Panics
    /// It is not in that format.
    #[track_caller]
    fn of(gateway: &Gateway) -> Self {
        let answer = gateway.api().get("/metrics");
        assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        assert!(answer.body.ends_with('\n'));
        let mut samples = BTreeMap::new();
        let mut types = BTreeMap::new();
        let mut helped = Vec::new();
        for line in answer.body.lines().filter(|line| !line.is_empty()) {
            if let Some(comment) = line.strip_prefix("# ") {
                let mut words = comment.splitn(3, ' ');
                let (word, name, rest) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
                match word {
                    "TYPE" => assert!(types.insert(name, rest).is_none(), "{line}: twice"),
                    "HELP" => helped.push(name),
                    _ => panic!("{line}"),
                }
                continue;
            }
            let (name, value) = line.rsplit_once(' ').unwrap();
            let bare = name.split('{').next().unwrap();
            assert!(bare.starts_with("tidegate_"), "{line}");
            assert!(bare.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{line}");
            if let Some(labels) = name.strip_prefix(bare).filter(|labels| !labels.is_empty()) {
                let labels = labels.strip_prefix('{').and_then(|labels| labels.strip_suffix('}')).unwrap();
                for label in labels.split(',') {
                    let (_, value) = label.split_once('=').unwrap_or_else(|| panic!("{line}"));
                    assert!(value.len() >= 2 && value.starts_with('"') && value.ends_with('"'), "{line}");
                }
            }
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| bare.strip_suffix(end));
            let family = family.filter(|family| types.get(family) == Some(&"histogram")).unwrap_or(bare);
            assert!(types.contains_key(family) && helped.contains(&family), "{family}: TYPE and HELP before it");
            assert_eq!(types[family] == "counter", family.ends_with("_total"), "{family}: {}", types[family]);
            assert!(samples.insert(name.to_owned(), value.parse().unwrap()).is_none(), "{line}: twice");
        }
        Self(samples)
    }

    /// The sum of all samples of this name with all these labels.
    fn get(&self, name: &str) -> f64 {
        let (bare, labels) = name.split_once('{').map_or((name, ""), |(bare, rest)| (bare, rest.trim_end_matches('}')));
        let wanted: Vec<_> = labels.split(',').filter(|label| !label.is_empty()).collect();
        let fits = |sample: &str| {
            let (own, rest) = sample.split_once('{').unwrap_or((sample, ""));
            own == bare && wanted.iter().all(|label| rest.contains(label))
        };
        self.0.iter().filter(|(sample, _)| fits(sample)).map(|(_, value)| value).sum()
    }
}

/// Spec 19: counters per profile and reason for connects, refusals, disconnects, messages and faults; and how the log does.
#[test]
fn metrics_tell_what_happens() {
    let options = Options::new().own_plugin("fragile", guest("trap-on-x"), "").profile("bad", "");
    let gateway = Gateway::start(options);
    let token = gateway.device("d1");
    let before = Metrics::of(&gateway);
    assert_eq!(before.get("tidegate_connections"), 0.0);
    assert_eq!(before.get("tidegate_log_state"), 0.0);
    assert!(before.0.contains_key("tidegate_log_state"), "the state of the log shows from the start");

    let mut client = Client::connect(&gateway, Version::V5, &token);
    client.telemetry(1, "{\"a\":1}");
    client.telemetry(2, "{\"a\":1}");
    assert_eq!(Metrics::of(&gateway).get("tidegate_connections"), 1.0);
    client.publish(3, "v1/devices/me/telemetry", "{");
    client.publish(4, "nowhere", "{}");
    client.leave();
    let mut fragile = Client::connect(&gateway, Version::V5, &gateway.device_of("d2", "fragile"));
    assert_eq!(fragile.publish(1, "v1/devices/me/telemetry", "x").code(), 0x83);
    let mut refused = Client::open(&gateway, Version::V5);
    assert_eq!(refused.greet(&Connect::new(Version::V5).user("wrong")).code(), 0x87);
    refused.end();
    gateway.replace("profiles/bad.toml", "speed = 1");

    let rows = [
        ("tidegate_connects_total{result=\"accepted\",profile=\"default\"}", 1.0),
        ("tidegate_connects_total{result=\"accepted\",profile=\"fragile\"}", 1.0),
        ("tidegate_connects_total{result=\"refused\",reason=\"no device has these credentials\"}", 1.0),
        ("tidegate_disconnects_total{profile=\"default\",cause=\"client\"}", 1.0),
        ("tidegate_disconnects_total{profile=\"\",cause=\"refused\"}", 1.0),
        ("tidegate_messages_total{profile=\"default\"}", 4.0),
        ("tidegate_messages_total{profile=\"fragile\"}", 1.0),
        ("tidegate_plugin_failures_total{plugin=\"fragile\",cause=\"trap\"}", 1.0),
        ("tidegate_profile_reloads_total{profile=\"bad\",result=\"refused\"}", 1.0),
        // Two connects, two messages, a dead letter, a disconnect.
        ("tidegate_log_records_total", 6.0),
        ("tidegate_connections", 1.0),
    ];
    let mut seen = String::new();
    until_true("the metrics", || {
        let metrics = Metrics::of(&gateway);
        seen = rows.iter().map(|(name, _)| format!("{name} {}\n", metrics.get(name))).collect();
        let done = rows.iter().all(|(name, expected)| metrics.get(name) == *expected);
        done || {
            eprintln!("{seen}");
            false
        }
    });
    let after = Metrics::of(&gateway);
    for name in [
        "tidegate_log_commits_total",
        "tidegate_log_bytes_total",
        "tidegate_log_commit_seconds_count",
        "tidegate_log_disk_bytes",
        "tidegate_batch_messages_count",
        "tidegate_plugin_call_seconds_count",
    ] {
        assert!(after.get(name) > 0.0, "{name}");
    }
    assert!(after.get("tidegate_plugin_messages_total") >= 4.0);
    let outcomes: Vec<_> = after.0.keys().filter(|name| name.starts_with("tidegate_messages_total{")).collect();
    assert_eq!(outcomes.len(), 4, "one for each outcome and profile: {outcomes:?}");
}

/// `/healthz` says that the process answers, `/readyz` that it takes in events.
#[test]
fn health() {
    let gateway = Gateway::start(Options::new());
    assert_eq!(gateway.api().get("/healthz").body, "ok\n");
    assert_eq!(gateway.api().get("/readyz").body, "ready\n");
    // A reader that holds everything, and no room for more: alive, and not ready.
    let gateway = Gateway::start(
        Options::new()
            .set("event_log.segment_size=256 KiB")
            .set("event_log.retention_size=1 MiB")
            .set("event_log.disk_limit=3 MiB"),
    );
    gateway.api().put("/api/v1/cursors/r", serde_json::json!({ "policy": "hold" })).ok();
    let mut client = Client::connect(&gateway, Version::V5, &gateway.device("d1"));
    let payload = format!("{{\"a\":\"{}\"}}", "x".repeat(60_000));
    let publish = tidegate_tests::raw::Publish::new("v1/devices/me/telemetry", payload).bytes(Version::V5);
    // More than the log may hold; what the gateway does not read any more waits in the socket and in this thread.
    let sending = std::thread::spawn(move || {
        let sent = client.try_send(&publish.repeat(100));
        (client, sent)
    });
    until_true("the log to be full", || gateway.api().get("/readyz").status == 503);
    let said = gateway.api().get("/readyz").body;
    assert!(said.starts_with("event log waits: ") && said.contains("disk"), "{said}");
    assert_eq!(gateway.api().get("/healthz").status, 200);
    assert_eq!(Metrics::of(&gateway).get("tidegate_log_state"), 1.0);
    gateway.api().delete("/api/v1/cursors/r").ok();
    until_true("room", || gateway.api().get("/readyz").status == 200);
    sending.join().unwrap().1.unwrap();
}
