//! `tidegate serve` as a person types it (design §7): the demo, and what keeps a gateway from starting.
#![allow(clippy::unwrap_used, reason = "in a test, whatever goes wrong is to be seen at once")]

use serde_json::Value;
use tidegate_tests::cli::Folder;
use tidegate_tests::foreign::run;
use tidegate_tests::wait::until_true;
use tidegate_tests::{Client, Gateway, Options, Version};

/// The issue, "The repository": a demo device on the first start only, a line that works as printed, every event shown
/// live; Ctrl-C ends it in order.
#[test]
fn serve_demo() {
    let mut gateway = Gateway::start(Options::new().flag("--demo"));
    let printed = |gateway: &Gateway| {
        let line = gateway.log().lines().rev().find(|line| line.starts_with("  mosquitto_pub ")).map(str::to_owned);
        line.unwrap_or_else(|| panic!("{}", gateway.log()))
    };
    until_true("the line to try", || gateway.log().contains("Ctrl-C stops"));
    let line = printed(&gateway);
    let said = run("sh", &["-c", &line]).ok();
    assert!(said.contains("received PUBACK"), "{said}");
    until_true("the events", || gateway.stdout().contains(" demo disconnected client\n"));
    let shown = gateway.stdout();
    let shown: Vec<_> = shown.lines().map(|line| line.split_once(' ').unwrap().1).collect();
    assert!(shown[0].starts_with("demo connected from 127.0.0.1:") && shown[0].ends_with(", MQTT 3.1.1"), "{shown:?}");
    let expected = ["demo telemetry temperature=25.5 humidity=60 status=\"active\"", "demo disconnected client"];
    assert_eq!(shown[1..], expected);

    gateway.signal(rustix::process::Signal::INT);
    assert!(gateway.wait().success(), "{}", gateway.log());
    assert!(gateway.log().contains("\"message\":\"stopped\""));

    gateway.run();
    until_true("the line of the second start", || gateway.log().matches("Ctrl-C stops").count() == 2);
    let token = |line: &str| line.split(" -u ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    assert_eq!(token(&printed(&gateway)), token(&line));
    assert_eq!(gateway.cli(&["device", "list", "--json"]).json().as_array().unwrap().len(), 1);
}

/// The same for programs: one JSON object on a line for each event.
#[test]
fn serve_demo_as_json() {
    let gateway = Gateway::start(Options::new().flag("--demo").flag("--json"));
    until_true("the line to try", || gateway.log().contains("Ctrl-C stops"));
    let credentials = gateway.cli(&["device", "credentials", "demo", "--json"]).json();
    let mut client = Client::connect(&gateway, Version::V5, credentials["token"].as_str().unwrap());
    client.telemetry(1, "{\"n\":1}");
    until_true("the events", || gateway.stdout().lines().count() == 2);
    let kinds: Vec<Value> =
        gateway.stdout().lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["kind"].clone()).collect();
    assert_eq!(kinds, ["connected", "telemetry"]);
}

/// What keeps a gateway from starting is said with the setting or the file at fault.
#[test]
fn serve_says_why_it_cannot() {
    let running = Gateway::start(Options::new());
    let data = running.data();
    let taken = running.address().to_string();
    let own = ["serve", "--bind=127.0.0.1:0", "--set", "admin.bind=127.0.0.1:0"];
    let rows: [(&[&str], String); 5] = [
        (&["--set", &format!("bind={taken}")], format!("bind = {taken}: ")),
        (&["--set", &format!("admin.bind={taken}")], format!("admin.bind = {taken}: ")),
        (&["--plugins", "nowhere"], "profile \"default\": plugin \"json\": nowhere/json.wasm: No such file".into()),
        (&["--data", "plugins/json.wasm"], "data folder plugins/json.wasm: ".into()),
        (&["--data", data.to_str().unwrap()], "another process is using this".into()),
    ];
    for (arguments, expected) in rows {
        let folder = Folder::default();
        let said = folder.cli(&[&own, arguments].concat()).failed();
        assert!(said.contains(&expected), "{arguments:?}: {said}");
    }
}
