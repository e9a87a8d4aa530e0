//! The command `events` (design §6 and §7): following, reading, readers that come back.
#![allow(clippy::unwrap_used, reason = "in a test, whatever goes wrong is to be seen at once")]

use serde_json::{Value, json};
use tidegate_tests::raw::Publish;
use tidegate_tests::wait::until_true;
use tidegate_tests::{Client, Gateway, Options, Version};

/// `events tail` shows what comes from now on, or everything with `--all`; filters choose.
#[test]
fn events_tail() {
    let gateway = Gateway::start(Options::new().profile("other", ""));
    let mut one = Client::connect(&gateway, Version::V5, &gateway.device("one"));
    let mut two = Client::connect(&gateway, Version::V5, &gateway.device_of("two", "other"));
    one.telemetry(1, "{\"n\":1}");
    let mut all = gateway.follow(&["events", "tail", "--all"]);
    for expected in ["one connected from", "two connected from", "one telemetry n=1"] {
        let line = all.line();
        assert!(line.contains(expected) && !line.contains('\u{1b}'), "{expected}: {line}");
    }
    let mut of_two = gateway.follow(&["events", "tail", "--all", "--json", "--device=two", "--kind=telemetry"]);
    let mut of_other = gateway.follow(&["events", "tail", "--all", "--profile=other", "--kind=telemetry"]);
    one.telemetry(2, "{\"n\":2}");
    two.telemetry(1, "{\"n\":3}");
    let line = of_two.line();
    let event: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&event["device"], &event["samples"][0]["values"]), (&json!("two"), &json!({ "n": 3 })));
    assert!(of_other.line().contains("two telemetry n=3"));
    assert!(all.line().contains("one telemetry n=2"));

    // Without --all only what comes. When the command has begun to follow cannot be seen from here, so events come until
    // it shows one of them; none of those above may be before it.
    let mut new = gateway.follow(&["events", "tail", "--device=one"]);
    let mut id = 3;
    let (send, shown) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || send.send(new.line()).unwrap());
    until_true("a line", || {
        one.telemetry(id, format!("{{\"n\":{}}}", 1000 + id));
        id += 1;
        shown.try_recv().is_ok_and(|line| {
            assert!(line.contains("one telemetry n=10"), "{line}");
            true
        })
    });
    reader.join().unwrap();
}

/// `events read`: pages, filters, cursors, and readers that go on where they stopped (design §6).
#[test]
fn events_read() {
    let gateway = Gateway::start(Options::new());
    let mut client = Client::connect(&gateway, Version::V5, &gateway.device("d1"));
    let publish = |client: &mut Client, numbers: std::ops::Range<u16>| {
        for n in numbers {
            client.telemetry(n + 1, format!("{{\"n\":{n}}}"));
        }
    };
    publish(&mut client, 0..3);
    let read =
        |line: &str| gateway.cli(&[&["events", "read"], line.split(' ').collect::<Vec<_>>().as_slice()].concat());
    let numbers = |line: &str| -> Vec<u64> {
        let of = |event: &Value| event["samples"][0]["values"]["n"].as_u64();
        read(&format!("{line} --json")).json_lines().iter().filter_map(of).collect()
    };
    assert_eq!(gateway.cli(&["events", "read"]).ok().lines().count(), 4);
    assert!(read("--kind telemetry").ok().lines().next().unwrap().ends_with(" d1 telemetry n=0"));
    assert_eq!(numbers("--device d1 --kind telemetry"), [0, 1, 2]);
    assert_eq!(numbers("--kind telemetry --limit 2"), [0, 1]);
    assert!(numbers("--device nobody").is_empty());
    let cursor = read("--kind telemetry --limit 2 --json").json_lines()[1]["cursor"].as_str().unwrap().to_owned();
    assert_eq!(numbers(&format!("--cursor {cursor}")), [2]);

    assert_eq!(numbers("--reader billing --kind telemetry --limit 1"), [0]);
    assert_eq!(numbers("--reader billing --kind telemetry"), [1, 2]);
    assert!(numbers("--reader billing --kind telemetry").is_empty());
    publish(&mut client, 3..5);
    assert_eq!(numbers("--reader billing --kind telemetry"), [3, 4]);
    assert_eq!(numbers("--reader audit --hold --kind telemetry"), [0, 1, 2, 3, 4]);
    let readers = || -> Vec<(Value, Value)> {
        let readers = gateway.cli(&["events", "readers", "--json"]).json();
        readers.as_array().unwrap().iter().map(|c| (c["name"].clone(), c["policy"].clone())).collect()
    };
    let (audit, billing) = (json!("audit"), json!("billing"));
    assert_eq!(readers(), [(audit.clone(), json!("hold")), (billing.clone(), json!("gap"))]);
    // What was agreed stays until somebody says otherwise.
    assert!(numbers("--reader audit --kind telemetry").is_empty());
    assert_eq!(readers()[0], (audit.clone(), json!("hold")));
    let shown = gateway.cli(&["events", "readers"]).ok();
    let rows: Vec<Vec<_>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[..2], [["reader", "policy", "behind", "missed"], ["audit", "hold", "0", "0"]]);
    numbers("--reader audit --gap");
    assert_eq!(readers()[0], (audit, json!("gap")));
    gateway.cli(&["events", "forget", "audit"]).ok();
    assert_eq!(readers(), [(billing, json!("gap"))]);
    assert!(gateway.cli(&["events", "forget", "audit"]).failed().contains("audit"));

    let rows = [
        ("--cursor x", "cursor: expected the 32 hexadecimal digits that a read returned, got \"x\""),
        ("--cursor 00000000000000000000000000000000", "cursor: belongs to another event log, or was mistyped"),
        ("--reader a/b", "cursor name: expected 1 to 100 characters of a-z"),
        (
            "--kind nonsense",
            "kind: one of telemetry, client-attributes, rpc-request, connected, disconnected, dead-letter",
        ),
    ];
    for (line, expected) in rows {
        let said = read(line).failed();
        assert!(said.contains(expected), "{line}: {said}");
    }
}

/// `head` has seen enough long before the end: no error.
#[test]
fn a_reader_of_the_output_may_go_away() {
    let gateway = Gateway::start(Options::new());
    let mut client = Client::connect(&gateway, Version::V5, &gateway.device("d1"));
    let publish =
        Publish::new("v1/devices/me/telemetry", format!("{{\"a\":\"{}\"}}", "x".repeat(1000))).bytes(Version::V5);
    client.send(&publish.repeat(500));
    client.telemetry(1, "{}");
    let mut reading = gateway.follow(&["events", "read"]);
    reading.line();
    assert_eq!(reading.close(), 0);
}
