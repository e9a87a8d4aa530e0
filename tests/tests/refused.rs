//! Why a CONNECT is refused, and who may connect: spec 2.3, 3.2, 3.3.
#![allow(clippy::unwrap_used, reason = "in a test, whatever goes wrong is to be seen at once")]

use serde_json::{Value, json};
use tidegate_tests::raw::{Connect, Packet};
use tidegate_tests::{Client, Gateway, Options, Version};

/// A CONNECT as the tables of the specification have it: client id, user name, password; empty is absent.
fn connect(version: Version, client: &str, user: &str, password: &str) -> Connect {
    let mut connect = Connect::new(version);
    if !client.is_empty() {
        connect = connect.client(client);
    }
    if !user.is_empty() {
        connect = connect.user(user);
    }
    if !password.is_empty() {
        connect = connect.password(password);
    }
    connect
}

/// The code of the CONNACK that this one gets. After a refusal the connection must be closed without another word.
#[track_caller]
fn code(gateway: &Gateway, version: Version, connect: &Connect) -> u8 {
    let mut client = Client::open(gateway, version);
    let connack = client.greet(connect);
    assert!(matches!(connack, Packet::ConnAck { session_present: false, .. }), "{connack:?}");
    match connack.code() {
        0 => client.leave(),
        _ => assert_eq!(client.rest(), [], "after {connack:?}"),
    }
    connack.code()
}

/// Spec 2.3, first row.
#[test]
fn spec_2_3_uniform_codes() {
    let gateway = Gateway::start(Options::new());
    gateway.device("d1");
    for version in Version::ALL {
        let expected = if version.is_v5() { 0x87 } else { 5 };
        for (client, user, password) in [("c", "wrong", "wrong"), ("c", "wrong", ""), ("c", "", ""), ("", "wrong", "")]
        {
            let connect = connect(version, client, user, password);
            assert_eq!(code(&gateway, version, &connect), expected, "{version:?} {connect:?}");
        }
    }
}

/// Spec 2.3, second row and last paragraph. In v3 a client id alone is 2, everything else 5.
#[test]
fn spec_2_3_detailed_codes() {
    let gateway = Gateway::start(Options::new().set("auth_failure_codes=detailed"));
    gateway.device("d1");
    let rows = [
        ("c", "wrong", "wrong", 0x86, 5),
        ("c", "wrong", "", 0x86, 5),
        ("", "wrong", "", 0x86, 5),
        ("c", "", "wrong", 0x86, 0), // v3 cannot say this
        ("", "", "wrong", 0x86, 0),
        ("c", "", "", 0x85, 2),
        (" ", "", "", 0x87, 5),
        ("", "", "", 0x87, 5),
        ("", "wrong", "wrong", 0x87, 5),
    ];
    for (client, user, password, v5, v311) in rows {
        for (version, expected) in [(Version::V5, v5), (Version::V311, v311)] {
            if expected > 0 {
                let connect = connect(version, client, user, password);
                assert_eq!(code(&gateway, version, &connect), expected, "{version:?} {client:?} {user:?} {password:?}");
            }
        }
    }
}

/// Spec 2.3: the profile of the device is gone, so nobody can say what its messages mean.
#[test]
fn spec_2_3_an_internal_failure_is_server_unavailable() {
    let mut gateway = Gateway::start(Options::new().profile("boiler", ""));
    let token = gateway.device_of("d1", "boiler");
    gateway.stop();
    std::fs::remove_file(gateway.path("profiles/boiler.toml")).unwrap();
    gateway.run();
    for version in Version::ALL {
        let expected = if version.is_v5() { 0x88 } else { 3 };
        assert_eq!(code(&gateway, version, &Connect::new(version).user(&token)), expected, "{version:?}");
    }
}

/// Spec 2.3, row "client id empty with clean session 0".
#[test]
fn spec_2_3_an_empty_client_id_needs_a_clean_session() {
    let gateway = Gateway::start(Options::new());
    let token = gateway.device("d1");
    let v311 = Version::V311;
    assert_eq!(code(&gateway, v311, &Connect::new(v311).user(&token).unclean()), 2);
    assert_eq!(code(&gateway, v311, &Connect::new(v311).user(&token).client("c").unclean()), 0);
    assert_eq!(code(&gateway, Version::V5, &Connect::new(Version::V5).user(&token).unclean()), 0);
}

/// A v5 CONNACK that refuses may say why, but never with a credential in it, and not to who does not want to know
/// (MQTT5 §3.1.2.11.7).
#[test]
fn a_refusal_gives_a_reason_without_credentials() {
    let gateway = Gateway::start(Options::new());
    let connect = Connect::new(Version::V5).client("some-client").user("some-user").password("some-password");
    let connack = Client::open(&gateway, Version::V5).greet(&connect);
    assert!(!connack.reason().is_empty(), "{connack:?}");
    for secret in ["some-user", "some-password"] {
        assert!(!connack.reason().contains(secret), "{connack:?}");
    }
}

/// Spec 3.2, row by row.
#[test]
fn spec_3_2_access_token() {
    let gateway = Gateway::start(Options::new());
    let credentials = json!({ "type": "ACCESS_TOKEN", "token": "A1B2C3D4E5F6" });
    gateway.create(json!({ "name": "d1", "credentials": credentials }));
    let rows = [
        ("myDevice001", "A1B2C3D4E5F6", "", true),
        ("myDevice001", "A1B2C3D4E5F6", "whatever", true),
        ("", "A1B2C3D4E5F6", "", true),
        ("myDevice001", "wrong", "", false),
        ("A1B2C3D4E5F6", "", "", false),
        // Byte exact.
        ("myDevice001", "a1b2c3d4e5f6", "", false),
        ("myDevice001", "A1B2C3D4E5F", "", false),
        ("myDevice001", "A1B2C3D4E5F6 ", "", false),
    ];
    check(&gateway, &rows.map(|(client, user, password, accepted)| (client, user, password, accepted.then_some("d1"))));
}

/// Spec 3.3: the example of the specification, row by row.
#[test]
fn spec_3_3_the_example() {
    let gateway = Gateway::start(Options::new());
    for (name, client, user, password) in [
        ("D1", "ClientId", "", ""),
        ("D2", "ClientId", "UserName1", ""),
        ("D3", "ClientId", "UserName2", "secret"),
        ("D4", "ClientId", "UserName3", "secret"),
    ] {
        basic(&gateway, name, client, user, password);
    }
    for (name, token) in [("D5", "UserName1"), ("D6", "UserName2")] {
        gateway.create(json!({ "name": name, "credentials": { "type": "ACCESS_TOKEN", "token": token } }));
    }
    check(
        &gateway,
        &[
            ("random", "UserName1", "", Some("D5")),
            ("ClientId", "", "", Some("D1")),
            ("ClientId", "UserName1", "", Some("D2")),
            ("ClientId", "UserName2", "secret", Some("D3")),
            ("random", "UserName2", "random", Some("D6")),
            ("ClientId", "UserName3", "WRONG", None),
        ],
    );
}

/// Spec 3.3: the look-up order, step by step.
#[test]
fn spec_3_3_look_up_order() {
    let gateway = Gateway::start(Options::new());
    basic(&gateway, "user", "", "u1", "");
    basic(&gateway, "user-password", "", "u2", "p2");
    basic(&gateway, "client", "c3", "", "");
    basic(&gateway, "client-user", "c4", "u4", "");
    basic(&gateway, "all", "c5", "u5", "p5");
    gateway.create(json!({ "name": "token", "credentials": { "type": "ACCESS_TOKEN", "token": "u5" } }));
    check(
        &gateway,
        &[
            // 1. Without a user name only a credential of the client id alone fits.
            ("c3", "", "", Some("client")),
            ("c4", "", "", None),
            ("other", "", "", None),
            // 2. Both: the password must be equal if one is stored, and there is no further attempt.
            ("c4", "u4", "", Some("client-user")),
            ("c4", "u4", "ignored", Some("client-user")),
            ("c5", "u5", "p5", Some("all")),
            ("c5", "u5", "wrong", None),
            ("c5", "u5", "", None),
            // 3. The user name as a token, else a credential of the user name alone.
            ("other", "u5", "wrong", Some("token")),
            ("other", "u1", "", Some("user")),
            ("other", "u1", "ignored", Some("user")),
            ("other", "u2", "p2", Some("user-password")),
            ("other", "u2", "wrong", None),
            ("other", "u2", "", None),
            // 4. A client id that belongs to another user name does not help.
            ("other", "u4", "", None),
            ("c3", "u4", "", None),
        ],
    );
}

/// Spec 3.3: combinations that cannot be stored.
#[test]
fn spec_3_3_combinations_that_mean_nothing_are_refused() {
    let gateway = Gateway::start(Options::new());
    for (credentials, expected) in [
        (json!({ "type": "MQTT_BASIC" }), "credentials: "),
        (json!({ "type": "MQTT_BASIC", "password": "p" }), "credentials: "),
        (json!({ "type": "MQTT_BASIC", "client_id": "c", "password": "p" }), "credentials: "),
        (json!({ "type": "ACCESS_TOKEN", "token": "" }), "credentials: "),
    ] {
        let problem =
            gateway.api().post("/api/v1/devices", json!({ "name": "d", "credentials": credentials })).problem(400);
        assert!(problem.starts_with(expected), "{credentials}: {problem}");
    }
}

fn basic(gateway: &Gateway, name: &str, client: &str, user: &str, password: &str) {
    let mut credentials = json!({ "type": "MQTT_BASIC" });
    for (key, value) in [("client_id", client), ("user_name", user), ("password", password)] {
        if !value.is_empty() {
            credentials[key] = Value::from(value);
        }
    }
    gateway.create(json!({ "name": name, "credentials": credentials }));
}

/// Which device each of these is, in all versions.
#[track_caller]
fn check(gateway: &Gateway, rows: &[(&str, &str, &str, Option<&str>)]) {
    let mut expected_devices = Vec::new();
    for (client, user, password, device) in rows {
        for version in Version::ALL {
            let connect = connect(version, client, user, password);
            let refused = if version.is_v5() { 0x87 } else { 5 };
            let expected = if device.is_some() { 0 } else { refused };
            assert_eq!(code(gateway, version, &connect), expected, "{version:?} {client:?} {user:?} {password:?}");
            expected_devices.extend(*device);
        }
    }
    let connected = gateway.events("kind=connected");
    let devices: Vec<_> = connected.iter().map(|event| event["device"].as_str().unwrap()).collect();
    assert_eq!(devices, expected_devices);
}
