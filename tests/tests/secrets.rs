//! Credentials are nowhere but where they are asked for, and payloads nowhere but in the event log (design §6, spec 19).
#![allow(clippy::unwrap_used, reason = "in a test, whatever goes wrong is to be seen at once")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::json;
use tidegate_tests::raw::Connect;
use tidegate_tests::wait::until_true;
use tidegate_tests::{Client, Gateway, Options, Version};

/// What devices and people present, right and wrong. Each is long enough to stand nowhere by chance.
const SECRETS: [&str; 8] = [
    "S3cr3tT0kenOne",
    "S3cr3tT0kenTwo",
    "S3cr3tUserName",
    "S3cr3tPassword",
    "Wr0ngT0kenXyz",
    "Wr0ngUserName",
    "Wr0ngPassw0rd",
    "Wr0ngAdminT0ken",
];
/// What devices send.
const PAYLOAD: &str = "M4rkerOfPayload";

/// Devices that come with right and wrong credentials, good and bad payloads; and people who do the same.
fn live_through(gateway: &Gateway) {
    let [token, other_token, user, password, wrong_token, wrong_user, wrong_password, wrong_admin] = SECRETS;
    let api = gateway.api();
    let basic =
        |password: &str| json!({ "type": "MQTT_BASIC", "client_id": "c", "user_name": user, "password": password });
    gateway.create(json!({ "name": "d1", "credentials": { "type": "ACCESS_TOKEN", "token": token } }));
    gateway.create(json!({ "name": "d2", "credentials": basic(password) }));
    gateway.create(json!({ "name": "d3" }));
    for version in Version::ALL {
        let mut client = Client::connect(gateway, version, token);
        client.telemetry(1, format!("{{\"{PAYLOAD}\":\"{PAYLOAD}\"}}"));
        client.publish(2, "v1/devices/me/attributes", format!("{{\"a\":\"{PAYLOAD}\"}}"));
        // Invalid: v3 is closed, v5 is told.
        client.reaction(
            &tidegate_tests::raw::Publish::new("v1/devices/me/telemetry", format!("{{{PAYLOAD}")).id(3).bytes(version),
        );
        let connect = |user: &str| Connect::new(version).client("c").user(user);
        for (connect, accepted) in [
            (connect(user).password(password), true),
            (connect(user).password(wrong_password), false),
            (connect(user), false),
            (connect(wrong_user).password(wrong_password), false),
            (connect(wrong_token), false),
        ] {
            let mut client = Client::open(gateway, version);
            let connack = client.greet(&connect);
            assert_eq!(connack.code() == 0, accepted, "{connect:?}");
            assert!(SECRETS.iter().all(|secret| !connack.reason().contains(secret)), "{connack:?}");
            if accepted {
                client.leave();
            }
        }
    }
    // What is refused does not say what was presented.
    for (method, path, body, status) in [
        (
            "POST",
            "/api/v1/devices",
            json!({ "name": "x", "credentials": { "type": "ACCESS_TOKEN", "token": token } }),
            409,
        ),
        ("POST", "/api/v1/devices", json!({ "name": "x", "credentials": token }), 400),
        (
            "POST",
            "/api/v1/devices",
            json!({ "name": "x", "credentials": { "type": "ACCESS_TOKEN", "token": [token] } }),
            400,
        ),
        (
            "POST",
            "/api/v1/devices",
            json!({ "name": "x", "credentials": { "type": "MQTT_BASIC", "password": password } }),
            400,
        ),
        (
            "POST",
            "/api/v1/devices",
            json!({ "name": "x", "profile": "nowhere", "credentials": basic(wrong_password) }),
            400,
        ),
        ("PUT", "/api/v1/devices/d3/credentials", basic(password), 409),
        ("PUT", "/api/v1/devices/d3/credentials", json!(token), 400),
        ("PUT", "/api/v1/devices/nobody/credentials", basic(wrong_password), 404),
    ] {
        let method = ureq::http::Method::from_bytes(method.as_bytes()).unwrap();
        let answer = api.request(method, path, Some(body.to_string()));
        answer.problem(status);
        assert_clean(&answer.body, path);
    }
    let said = gateway.cli(&["device", "list", "--api-token", wrong_admin]).failed();
    assert_clean(&said, "the command line");
    api.put("/api/v1/devices/d3/credentials", json!({ "type": "ACCESS_TOKEN", "token": other_token })).ok();
    Client::connect(gateway, Version::V5, other_token).leave();
    api.put("/api/v1/devices/d1/credentials", json!({ "type": "ACCESS_TOKEN", "token": format!("{token}-2") })).ok();
    gateway.cli(&["device", "rm", "d2"]).ok();
    gateway.create(json!({ "name": "d2", "credentials": basic(password) }));
    gateway.story_until("d3", "disconnected client");
}

#[track_caller]
fn assert_clean(text: &str, place: &str) {
    for secret in SECRETS {
        let at = text.find(secret).map(|at| text[..at].lines().last().unwrap_or_default().len());
        assert!(at.is_none(), "{place} has {secret}: {}", text.lines().find(|line| line.contains(secret)).unwrap());
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Bytes, not text: the files of a database.
fn assert_no_file_has_them(data: &Path) {
    let files = files(data);
    assert!(files.iter().any(|file| file.ends_with("registry.db")), "{files:?}");
    for file in &files {
        let bytes = std::fs::read(file).unwrap_or_default();
        for secret in SECRETS {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{} has {secret}", file.display());
        }
    }
}

/// Design §6: in the data folder credentials are hashed and encrypted, in every file, while it runs and after any end.
#[test]
fn the_data_folder_has_no_credential_in_clear() {
    let mut gateway = Gateway::start(Options::new());
    live_through(&gateway);
    assert!(gateway.data().join("registry.db-wal").is_file(), "the write-ahead log is looked at, too");
    assert_no_file_has_them(&gateway.data());
    gateway.kill();
    assert_no_file_has_them(&gateway.data());
    gateway.run();
    Client::connect(&gateway, Version::V5, &format!("{}-2", SECRETS[0])).leave();
    gateway.stop();
    assert_no_file_has_them(&gateway.data());

    for file in ["registry.key", "admin-token", "registry.db"] {
        let mode = std::fs::metadata(gateway.data().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    assert_eq!(std::fs::metadata(gateway.data().join("events")).unwrap().permissions().mode() & 0o777, 0o700);
    // The payload, in contrast, is in the log: this search does find things.
    let segments = files(&gateway.data().join("events"));
    let found = segments
        .iter()
        .any(|file| std::fs::read(file).unwrap().windows(PAYLOAD.len()).any(|window| window == PAYLOAD.as_bytes()));
    assert!(found);
}

/// The issue: the token is made at the first start and kept for its owner only; the API is on loopback by default.
#[test]
fn the_token_is_kept_for_its_owner() {
    let mut gateway = Gateway::start(Options::new());
    let file = gateway.data().join("admin-token");
    let mode = |file: &Path| std::fs::metadata(file).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&file), 0o600);
    let token = gateway.api().token.clone();
    gateway.stop();
    gateway.run();
    assert_eq!(gateway.api().token, token, "made at the first start only");
    gateway.stop();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).unwrap();
    let serve = ["serve", "--bind=127.0.0.1:0", "--set", "admin.bind=127.0.0.1:0"];
    let said = gateway.cli(&serve).failed();
    assert!(said.contains("admin-token: expected mode 0600, got 0640"), "{said}");
    std::fs::write(&file, "").unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    let said = gateway.cli(&serve).failed();
    assert!(said.contains("admin-token: expected a token, the file is empty"), "{said}");
    std::fs::remove_file(&file).unwrap();
    gateway.run();
    assert_ne!(gateway.api().token, token);
    let settings = gateway.cli(&["config", "check", "--json"]).json();
    assert_eq!(settings["admin"]["bind"], "127.0.0.1:8083");
}

/// Without its key the registry does not open, and says which file is missing.
#[test]
fn the_key_is_needed() {
    let mut gateway = Gateway::start(Options::new());
    gateway.device("d1");
    gateway.stop();
    let key = gateway.data().join("registry.key");
    let bytes = std::fs::read(&key).unwrap();
    let serve = ["serve", "--bind=127.0.0.1:0", "--set", "admin.bind=127.0.0.1:0"];
    std::fs::remove_file(&key).unwrap();
    let said = gateway.cli(&serve).failed();
    assert!(said.contains("registry.key"), "{said}");
    assert!(!key.exists(), "a new key would make the old credentials unreadable for ever");
    std::fs::write(&key, &bytes).unwrap();
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap();
    let said = gateway.cli(&serve).failed();
    assert!(said.contains("registry.key") && said.contains("0600"), "{said}");
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
    gateway.run();
    assert_eq!(gateway.api().get("/api/v1/devices/d1/credentials").ok()["token"], "token-of-d1");
}

/// Design §6: the key is replaceable, and then the old one is of no use; not while the gateway runs.
#[test]
fn the_key_can_be_replaced() {
    let mut gateway = Gateway::start(Options::new());
    let token = gateway.device("d1");
    let key = gateway.data().join("registry.key");
    let old = std::fs::read(&key).unwrap();
    gateway.cli(&["rekey"]).failed();
    assert_eq!(std::fs::read(&key).unwrap(), old);
    gateway.stop();
    assert!(gateway.cli(&["rekey"]).ok().contains("registry.key is a new key"));
    assert_ne!(std::fs::read(&key).unwrap(), old);
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    gateway.run();
    assert_eq!(gateway.api().get("/api/v1/devices/d1/credentials").ok()["token"], token.as_str());
    Client::connect(&gateway, Version::V5, &token).leave();
    gateway.stop();
    std::fs::write(&key, old).unwrap();
    gateway.cli(&["serve", "--bind=127.0.0.1:0", "--set", "admin.bind=127.0.0.1:0"]).failed();
}

/// Spec 19: every refusal is logged with its reason, never with a credential, however much is logged; and never with a
/// payload unless somebody is debugging.
#[test]
fn logs_have_no_credentials() {
    for (format, filter) in [("json", "info"), ("text", "info"), ("json", "trace"), ("text", "trace")] {
        let mut gateway =
            Gateway::start(Options::new().set(&format!("log.format={format}")).set(&format!("log.filter={filter}")));
        live_through(&gateway);
        gateway.stop();
        let log = gateway.log();
        for reason in ["no device has these credentials", "disconnected"] {
            assert!(log.contains(reason), "{format} {filter}: {reason}: {log}");
        }
        assert_clean(&log, &format!("the log as {format} at {filter}"));
        if filter == "info" {
            let line = log.lines().find(|line| line.contains(PAYLOAD));
            assert!(line.is_none(), "{format}: {line:?}");
        }
    }
}

/// Credentials are shown to who asks for them, and in the answer to who sets them; nowhere else.
#[test]
fn credentials_are_shown_on_demand_only() {
    let gateway = Gateway::start(Options::new());
    live_through(&gateway);
    let api = gateway.api();
    let paths = [
        "devices",
        "devices/d1",
        "devices/d1/telemetry",
        "devices/d1/attributes/client",
        "events?limit=1000",
        "sessions",
        "cursors",
        "profiles",
        "openapi.json",
    ];
    for path in paths {
        let answer = api.get(&format!("/api/v1/{path}"));
        answer.ok();
        assert_clean(&answer.body, path);
    }
    let metrics = api.get("/metrics").body;
    assert_clean(&metrics, "/metrics");
    assert!(!metrics.contains(PAYLOAD), "{metrics}");
    for arguments in [
        &["device", "list"][..],
        &["device", "show", "d1"],
        &["events", "read"],
        &["session", "list"],
        &["config", "check"],
    ] {
        assert_clean(&gateway.cli(arguments).ok(), &arguments.join(" "));
        assert_clean(&gateway.cli(&[arguments, &["--json"]].concat()).ok(), &arguments.join(" "));
    }
    assert_eq!(gateway.cli(&["device", "credentials", "d3"]).ok(), format!("access token: {}\n", SECRETS[1]));
    let shown = gateway.cli(&["device", "credentials", "d2", "--json"]).json();
    assert_eq!((&shown["user_name"], &shown["password"]), (&json!(SECRETS[2]), &json!(SECRETS[3])));
    // A dead letter holds its payload, and is an event like any other.
    until_true("the payload", || gateway.api().get("/api/v1/events?limit=1000").body.contains(PAYLOAD));
}
