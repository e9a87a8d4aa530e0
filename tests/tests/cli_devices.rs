//! The commands `device`, `session` and `profile` (design §7): in words, in JSON, and what they complain about.
#![allow(clippy::unwrap_used, reason = "in a test, whatever goes wrong is to be seen at once")]

use serde_json::{Value, json};
use tidegate_tests::{Client, Gateway, Options, Version};

/// The columns of a table, without its header.
fn rows(table: &str) -> Vec<Vec<&str>> {
    table
        .lines()
        .skip(1)
        .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
        .collect()
}

/// `device add|list|show|set|rm|credentials`, one after the other.
#[test]
fn device_commands() {
    let gateway = Gateway::start(Options::new().profile("boiler", ""));
    let cli = |line: &str| gateway.cli(&line.split(' ').collect::<Vec<_>>());
    let added = cli("device add d1").ok();
    let token = added.strip_prefix("created d1\naccess token: ").unwrap().trim();
    assert!(token.len() >= 20, "{token}");
    assert_eq!(cli("device credentials d1").ok(), format!("access token: {token}\n"));
    let created =
        cli("device add d2 --profile boiler --gateway --client-id c --user-name u --password p --json").json();
    let basic = json!({ "type": "MQTT_BASIC", "client_id": "c", "user_name": "u", "password": "p" });
    assert_eq!((&created["name"], &created["gateway"], &created["credentials"]), (&json!("d2"), &json!(true), &basic));
    assert_eq!(cli("device credentials d2").ok(), "client id: c\nuser name: u\npassword: p\n");
    assert_eq!(cli("device credentials d2 --json").json(), basic);
    assert_eq!(cli("device add d3 --token my-token").ok(), "created d3\naccess token: my-token\n");

    let table = cli("device list").ok();
    let shown: Vec<_> = rows(&table).iter().map(|row| row[..row.len() - 1].join(" ")).collect();
    assert_eq!(shown, ["d1 default", "d2 boiler yes", "d3 default"]);
    let names = |line: &str| -> Vec<Value> {
        cli(line).json().as_array().unwrap().iter().map(|device| device["name"].clone()).collect()
    };
    assert_eq!(names("device list --json"), ["d1", "d2", "d3"]);
    assert_eq!(names("device list --json --profile boiler"), ["d2"]);
    assert_eq!(names("device list --json --prefix d3"), ["d3"]);

    assert!(cli("device show d1").ok().contains("profile default, gateway false, created "));
    assert!(cli("device show d1").ok().contains("never connected"));
    assert_eq!(
        cli("device set d1 --rename e1 --profile boiler --gateway true").ok(),
        "e1: profile boiler, gateway true\n"
    );
    assert_eq!(cli("device set e1 --gateway false --json").json()["gateway"], false);
    assert_eq!(
        cli("device credentials e1 --user-name bob --password secret").ok(),
        "user name: bob\npassword: secret\n"
    );
    assert_eq!(cli("device rm e1").ok(), "deleted e1\n");
    assert_eq!(cli("device rm d2 --json").json(), json!({}));
    assert_eq!(names("device list --json"), ["d3"]);

    let rows = [
        ("device show nobody", "there is no device named \"nobody\""),
        ("device rm nobody", "there is no device named \"nobody\""),
        ("device credentials nobody", "there is no device named \"nobody\""),
        ("device set d3 --profile nowhere", "profile: there is none named \"nowhere\""),
        ("device add d4 --profile nowhere", "profile: there is none named \"nowhere\""),
        ("device add d3", "device name \"d3\" is taken"),
        ("device add d4 --token my-token", "another device is already found by this access token"),
        ("device add d4 --password p", "credentials: basic: a password needs a user name"),
    ];
    for (line, expected) in rows {
        let said = cli(line).failed();
        assert!(said.contains(expected) && !said.contains("my-token"), "{line}: {said}");
    }
    assert_eq!(names("device list --json"), ["d3"]);
}

/// A name is any text of 1 to 255 characters, so it may look like a path.
#[test]
fn devices_may_have_any_name() {
    let gateway = Gateway::start(Options::new());
    for name in ["..", ".", "a/b", "a b", "100%", "?x=1#y", "größe", "%2e", "+", "\"\\"] {
        gateway.cli(&["device", "add", name]).ok();
        assert_eq!(gateway.cli(&["device", "show", name, "--json"]).json()["name"], name);
        assert_eq!(gateway.cli(&["device", "set", name, "--gateway", "true", "--json"]).json()["name"], name);
        gateway.cli(&["device", "rm", name]).ok();
    }
    let said = gateway.cli(&["device", "add", &"x".repeat(256)]).failed();
    assert!(said.contains("expected 1 to 255 characters"), "{said}");
    let said = gateway.cli(&["device", "add", ""]).failed();
    assert!(said.contains("expected 1 to 255 characters"), "{said}");
}

/// What a device sent, and its session, as people and programs see them.
#[test]
fn device_show_and_session() {
    let gateway = Gateway::start(Options::new());
    let token = gateway.device("d1");
    let mut client = Client::connect(&gateway, Version::V311, &token);
    client.telemetry(1, "{\"ts\":1000,\"values\":{\"t\":25.0,\"s\":\"on\"}}");
    client.publish(2, "v1/devices/me/attributes", "{\"serial\":\"SN-1\"}");
    let shown = gateway.cli(&["device", "show", "d1"]).ok();
    assert!(shown.contains("connected since 2"), "{shown}");
    for cell in ["t          25.0", "s          \"on\"", "1970-01-01T00:00:01.000Z", "serial            \"SN-1\""] {
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(squeezed(&shown).contains(&squeezed(cell)), "{cell}: {shown}");
    }
    let shown = gateway.cli(&["device", "show", "d1", "--json"]).json();
    assert_eq!(shown["connection"]["connected"], true);
    assert_eq!(shown["telemetry"]["t"], json!({ "time": 1000, "value": 25.0 }));
    assert_eq!(shown["client_attributes"]["serial"]["value"], "SN-1");

    let table = gateway.cli(&["session", "list"]).ok();
    let row = rows(&table).remove(0);
    assert_eq!((row[0], row[3]), ("d1", "3.1.1"), "{table}");
    let sessions = gateway.cli(&["session", "list", "--json"]).json();
    assert_eq!((&sessions[0]["device"], &sessions[0]["protocol"]), (&json!("d1"), &json!("3.1.1")));
    assert_eq!(gateway.cli(&["session", "close", "d1"]).ok(), "closed the session of d1\n");
    assert_eq!(client.end(), 0);
    gateway.story_until("d1", "disconnected administrative");
    let said = gateway.cli(&["session", "close", "d1"]).failed();
    assert!(said.contains("device \"d1\" is not connected"), "{said}");
    assert!(gateway.cli(&["session", "close", "nobody"]).failed().contains("there is no device named \"nobody\""));
    let mut client = Client::connect(&gateway, Version::V5, &token);
    assert_eq!(gateway.cli(&["session", "close", "d1", "--json"]).json(), json!({}));
    assert_eq!(client.end(), 0x98);
}

/// `profile list` says which plugin decodes what, and what is wrong.
#[test]
fn profile_list() {
    let gateway =
        Gateway::start(Options::new().profile("bad", "speed = 1").profile("other", "telemetry_topic = \"a\""));
    let profiles = gateway.cli(&["profile", "list", "--json"]).json();
    let seen: Vec<_> =
        profiles.as_array().unwrap().iter().map(|p| (p["name"].as_str().unwrap(), p["plugin"].as_str())).collect();
    assert_eq!(seen, [("bad", None), ("default", Some("json")), ("other", Some("json"))]);
    let table = gateway.cli(&["profile", "list"]).ok();
    assert!(table.contains("profiles/bad.toml:1: speed: unknown key"), "{table}");
    assert_eq!(rows(&table).len(), 3, "{table}");
}
