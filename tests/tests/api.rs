//! The admin API (design §7): every route with good and bad input, who may use it, and its OpenAPI document, which must
//! say of every answer that it may come.
#![allow(clippy::unwrap_used, reason = "in a test, whatever goes wrong is to be seen at once")]

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tidegate_tests::api::{Answer, Api};
use tidegate_tests::foreign::Python;
use tidegate_tests::guests::guest;
use tidegate_tests::{Client, Gateway, Options, Version};
use ureq::http::Method;

/// Stands for the cursor behind the newest event.
const END: &str = "end";
const NO_CURSOR: &str = "00000000000000000000000000000000";

/// One request and its answer: method, path in the document, path, body, status, and what the answer must contain.
type Row = (&'static str, &'static str, &'static str, Option<Value>, u16, &'static str);

/// Every operation with good and bad input, in an order in which each finds what it needs.
fn rows() -> Vec<Row> {
    let (devices, device) = ("/api/v1/devices", "/api/v1/devices/{name}");
    let (credentials, telemetry) = ("/api/v1/devices/{name}/credentials", "/api/v1/devices/{name}/telemetry");
    let attributes = "/api/v1/devices/{name}/attributes/client";
    let (events, cursors, cursor) = ("/api/v1/events", "/api/v1/cursors", "/api/v1/cursors/{name}");
    let (sessions, session, profiles) = ("/api/v1/sessions", "/api/v1/sessions/{device}", "/api/v1/profiles");
    let (check, config) = ("/api/v1/plugins/check", "/api/v1/config");
    let token = |token: &str| json!({ "type": "ACCESS_TOKEN", "token": token });
    vec![
        ("POST", devices, devices, Some(json!({ "name": "a" })), 201, "ACCESS_TOKEN"),
        (
            "POST",
            devices,
            devices,
            Some(json!({ "name": "b", "profile": "default", "gateway": true, "credentials": token("t-b") })),
            201,
            "t-b",
        ),
        (
            "POST",
            devices,
            devices,
            Some(
                json!({ "name": "c", "credentials": { "type": "MQTT_BASIC", "client_id": "c", "user_name": "u", "password": "p" } }),
            ),
            201,
            "MQTT_BASIC",
        ),
        ("POST", devices, devices, Some(json!({ "name": "a" })), 409, "device name \\\"a\\\" is taken"),
        (
            "POST",
            devices,
            devices,
            Some(json!({ "name": "d", "credentials": token("t-b") })),
            409,
            "another device is already found by this access token",
        ),
        ("POST", devices, devices, Some(json!({})), 400, "missing field `name`"),
        ("POST", devices, devices, Some(json!([])), 400, "body: "),
        ("POST", devices, devices, Some(json!({ "name": "" })), 400, "expected 1 to 255 characters"),
        (
            "POST",
            devices,
            devices,
            Some(json!({ "name": 5 })),
            400,
            "body: name: invalid type: integer, expected a string",
        ),
        ("POST", devices, devices, Some(json!({ "name": "d", "speed": 1 })), 400, "body: speed: unknown field `speed`"),
        (
            "POST",
            devices,
            devices,
            Some(json!({ "name": "d", "profile": "nowhere" })),
            400,
            "profile: there is none named",
        ),
        (
            "POST",
            devices,
            devices,
            Some(json!({ "name": "d", "credentials": token("") })),
            400,
            "credentials: access token: expected at least one character",
        ),
        (
            "POST",
            devices,
            devices,
            Some(json!({ "name": "d", "credentials": { "type": "MQTT_BASIC" } })),
            400,
            "credentials: basic: ",
        ),
        (
            "POST",
            devices,
            devices,
            Some(json!({ "name": "d", "credentials": { "type": "X509" } })),
            400,
            "expected `ACCESS_TOKEN` or `MQTT_BASIC`",
        ),
        ("GET", devices, devices, None, 200, "\"name\":\"a\""),
        ("GET", devices, "/api/v1/devices?prefix=b&profile=default&limit=1", None, 200, "\"name\":\"b\""),
        ("GET", devices, "/api/v1/devices?limit=0", None, 400, "limit: expected 1 to 1000, got 0"),
        ("GET", devices, "/api/v1/devices?limit=1001", None, 400, "limit: expected 1 to 1000, got 1001"),
        ("GET", devices, "/api/v1/devices?limit=x", None, 400, "limit: "),
        ("GET", devices, "/api/v1/devices?speed=1", None, 400, "speed: unknown field"),
        ("GET", device, "/api/v1/devices/a", None, 200, "\"name\":\"a\""),
        ("GET", device, "/api/v1/devices/nobody", None, 404, "there is no device named \\\"nobody\\\""),
        ("GET", device, "/api/v1/devices/%ff", None, 400, "path: "),
        ("PATCH", device, "/api/v1/devices/a", Some(json!({ "gateway": true })), 200, "\"gateway\":true"),
        ("PATCH", device, "/api/v1/devices/a", Some(json!({})), 200, "\"gateway\":true"),
        ("PATCH", device, "/api/v1/devices/a", Some(json!({ "name": "b" })), 409, "device name \\\"b\\\" is taken"),
        (
            "PATCH",
            device,
            "/api/v1/devices/a",
            Some(json!({ "profile": "nowhere" })),
            400,
            "profile: there is none named",
        ),
        ("PATCH", device, "/api/v1/devices/a", Some(json!({ "id": 7 })), 400, "body: id: unknown field `id`"),
        ("PATCH", device, "/api/v1/devices/nobody", Some(json!({})), 404, "nobody"),
        ("GET", credentials, "/api/v1/devices/b/credentials", None, 200, "t-b"),
        ("GET", credentials, "/api/v1/devices/nobody/credentials", None, 404, "nobody"),
        ("PUT", credentials, "/api/v1/devices/a/credentials", Some(token("t-a")), 200, "t-a"),
        (
            "PUT",
            credentials,
            "/api/v1/devices/a/credentials",
            Some(token("t-b")),
            409,
            "another device is already found",
        ),
        (
            "PUT",
            credentials,
            "/api/v1/devices/a/credentials",
            Some(json!({ "type": "MQTT_BASIC", "password": "p" })),
            400,
            "a password needs a user name",
        ),
        ("PUT", credentials, "/api/v1/devices/nobody/credentials", Some(token("t-n")), 404, "nobody"),
        ("GET", telemetry, "/api/v1/devices/connected/telemetry", None, 200, "\"t\":{\"time\":1,\"value\":2}"),
        ("GET", telemetry, "/api/v1/devices/nobody/telemetry", None, 404, "nobody"),
        ("GET", attributes, "/api/v1/devices/connected/attributes/client", None, 200, "\"value\":\"SN-1\""),
        ("GET", attributes, "/api/v1/devices/nobody/attributes/client", None, 404, "nobody"),
        (
            "GET",
            events,
            "/api/v1/events?from=oldest&limit=10&device=connected&profile=default&kind=telemetry",
            None,
            200,
            "samples",
        ),
        ("GET", events, "/api/v1/events?from=end", None, 200, "\"events\":[]"),
        (
            "GET",
            events,
            "/api/v1/events?from=middle",
            None,
            400,
            "from: unknown variant `middle`, expected `oldest` or `end`",
        ),
        ("GET", events, "/api/v1/events?limit=0", None, 400, "limit: 1 to 1000 expected, got 0"),
        ("GET", events, "/api/v1/events?kind=nonsense", None, 400, "kind: one of telemetry, "),
        ("GET", events, "/api/v1/events?wait=-1", None, 400, "wait: "),
        ("GET", events, "/api/v1/events?cursor=x", None, 400, "cursor: expected the 32 hexadecimal digits"),
        ("GET", events, "/api/v1/events?reader=nobody", None, 404, "no cursor named \\\"nobody\\\""),
        ("PUT", cursor, "/api/v1/cursors/audit", Some(json!({ "policy": "hold" })), 200, "cursor"),
        (
            "PUT",
            cursor,
            "/api/v1/cursors/audit",
            Some(json!({ "policy": "keep" })),
            400,
            "body: policy: unknown variant `keep`, expected `hold` or `gap`",
        ),
        ("PUT", cursor, "/api/v1/cursors/a%20b", Some(json!({})), 400, "cursor name: expected 1 to 100 characters"),
        ("GET", cursors, cursors, None, 200, "\"policy\":\"hold\""),
        ("POST", cursor, "/api/v1/cursors/audit", Some(json!({ "cursor": END })), 200, "{}"),
        (
            "POST",
            cursor,
            "/api/v1/cursors/audit",
            Some(json!({ "cursor": NO_CURSOR })),
            400,
            "belongs to another event log",
        ),
        ("POST", cursor, "/api/v1/cursors/audit", Some(json!({})), 400, "missing field `cursor`"),
        ("DELETE", cursor, "/api/v1/cursors/audit", None, 200, "{}"),
        ("DELETE", cursor, "/api/v1/cursors/audit", None, 404, "no cursor named \\\"audit\\\""),
        (
            "POST",
            check,
            check,
            Some(json!("garbage")),
            400,
            "not a WebAssembly file: expected a core module or a component",
        ),
        ("GET", config, config, None, 200, "\"max_payload_size\":65536"),
        ("GET", profiles, profiles, None, 200, "\"plugin\":\"json\""),
        ("GET", sessions, sessions, None, 200, "\"device\":\"connected\""),
        ("DELETE", session, "/api/v1/sessions/connected", None, 200, "{}"),
        ("DELETE", session, "/api/v1/sessions/a", None, 404, "device \\\"a\\\" is not connected"),
        ("DELETE", session, "/api/v1/sessions/nobody", None, 404, "nobody"),
        ("DELETE", device, "/api/v1/devices/a", None, 200, "{}"),
        ("DELETE", device, "/api/v1/devices/a", None, 404, "there is no device named"),
    ]
}

/// The issue: an OpenAPI document that is valid, has every operation, and says of every answer that it may come and how it
/// looks.
#[test]
fn every_operation_answers_as_the_document_says() {
    let gateway = Gateway::start(Options::new());
    let document = Api { token: String::new(), ..gateway.api().clone() }.get("/api/v1/openapi.json").ok();
    std::fs::write(gateway.path("openapi.json"), document.to_string()).unwrap();
    Python::Common.run("openapi.py", &[gateway.path("openapi.json").to_str().unwrap()]).ok();

    let mut client = Client::connect(&gateway, Version::V5, &gateway.device("connected"));
    client.telemetry(1, "{\"ts\":1,\"values\":{\"t\":2}}");
    client.publish(2, "v1/devices/me/attributes", "{\"serial\":\"SN-1\"}");
    let end = gateway.api().get("/api/v1/events?from=end").ok()["next"].clone();
    let mut seen = BTreeSet::new();
    for (method, template, path, body, status, expected) in rows() {
        let label = format!("{method} {path} {body:?}");
        // The one thing that cannot stand in a table.
        let body = body.map(|body| if body == json!({ "cursor": END }) { json!({ "cursor": end }) } else { body });
        let answer = request(gateway.api(), method, path, body);
        assert_eq!(answer.status, status, "{label}: {}", answer.body);
        assert!(answer.body.contains(expected), "{label}: {}", answer.body);
        assert_documented(&document, method, template, &answer, &label);
        seen.insert((method.to_lowercase(), template.to_owned(), status < 300));
    }
    let check = "/api/v1/plugins/check";
    let answer = gateway.api().upload(&format!("{check}?name=quiet&config=%7B%7D"), guest("quiet"));
    assert_eq!((&answer.ok()["name"], &answer.json()["operations"]), (&json!("quiet"), &json!(["telemetry"])));
    assert_documented(&document, "POST", check, &answer, check);
    seen.insert(("post".to_owned(), check.to_owned(), true));
    for (template, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(seen.contains(&(method.clone(), template.clone(), true)), "{method} {template} is not tried");
            let may_be_wrong = !operation["parameters"].is_null() || !operation["requestBody"].is_null();
            assert!(!may_be_wrong || seen.contains(&(method.clone(), template.clone(), false)), "{method} {template}");
        }
    }
}

fn request(api: &Api, method: &str, path: &str, body: Option<Value>) -> Answer {
    api.request(Method::from_bytes(method.as_bytes()).unwrap(), path, body.map(|body| body.to_string()))
}

#[track_caller]
fn assert_documented(document: &Value, method: &str, template: &str, answer: &Answer, label: &str) {
    let operation = &document["paths"][template][method.to_lowercase()];
    let response = &operation["responses"][answer.status.to_string()];
    assert!(response.is_object(), "{label}: {} is not documented", answer.status);
    let Some(content) = response["content"].as_object() else { return assert_eq!(answer.json(), json!({}), "{label}") };
    let schema = content.get(&answer.content_type).unwrap_or_else(|| panic!("{label}: {}", answer.content_type));
    fits(document, &schema["schema"], &answer.json())
        .unwrap_or_else(|error| panic!("{label}: {error}: {}", answer.body));
}

/// As much of JSON Schema as the document uses.
fn fits(document: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let all = |schemas: &Value| -> Vec<Result<(), String>> {
        schemas.as_array().into_iter().flatten().map(|schema| fits(document, schema, value)).collect()
    };
    if let Some(reference) = schema["$ref"].as_str() {
        return fits(document, document.pointer(reference.strip_prefix('#').unwrap()).unwrap(), value);
    }
    all(&schema["allOf"]).into_iter().collect::<Result<(), _>>()?;
    if schema["oneOf"].is_array() && !all(&schema["oneOf"]).iter().any(Result::is_ok) {
        return Err(format!("{value} is none of {}", schema["oneOf"]));
    }
    let actual = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    match &schema["type"] {
        Value::String(wanted) if wanted != actual => return Err(format!("{value}: {wanted} documented")),
        Value::Array(wanted) if !wanted.contains(&json!(actual)) => {
            return Err(format!("{value}: {wanted:?} documented"));
        }
        _ => {}
    }
    for key in schema["required"].as_array().into_iter().flatten() {
        value.get(key.as_str().unwrap()).ok_or_else(|| format!("{key} is missing"))?;
    }
    for (key, schema) in schema["properties"].as_object().into_iter().flatten() {
        value
            .get(key)
            .map_or(Ok(()), |value| fits(document, schema, value).map_err(|error| format!("{key}: {error}")))?;
    }
    value.as_array().into_iter().flatten().try_for_each(|item| fits(document, &schema["items"], item))
}

/// The issue: a bearer token. Nobody else sees or does anything; what machines watch is open.
#[test]
fn nothing_without_the_token() {
    let gateway = Gateway::start(Options::new());
    let good = gateway.api().token.clone();
    let (cut, long) = (good[1..].to_owned(), format!("{good}x"));
    for (method, _, path, body, ..) in rows() {
        for token in ["", "wrong", &cut, &long] {
            let api = Api { token: token.to_owned(), ..gateway.api().clone() };
            let answer = request(&api, method, path, body.clone());
            let detail = answer.problem(401);
            assert!(detail.contains("token") && !detail.contains(&cut), "{method} {path}: {detail}");
            assert_eq!(answer.headers["www-authenticate"], "Bearer", "RFC 9110, 11.6.1");
        }
    }
    assert_eq!(gateway.api().get("/api/v1/devices").ok(), json!({ "devices": [] }));
    let nobody = Api { token: String::new(), ..gateway.api().clone() };
    for path in ["/healthz", "/readyz", "/metrics", "/api/v1/openapi.json"] {
        assert_eq!(nobody.get(path).status, 200, "{path}");
    }
}

/// Whatever is wrong with a request, the answer is `application/problem+json` (RFC 9457).
#[test]
fn every_error_has_one_form() {
    let gateway = Gateway::start(Options::new());
    let api = gateway.api();
    for path in ["/", "/nowhere", "/api/v1", "/api/v1/devices/", "/api/v1/devices/a/b", "/api/v1/Devices"] {
        let detail = api.get(path).problem(404);
        assert!(detail.contains("/api/v1/openapi.json"), "{path}: {detail}");
    }
    for (method, path, allowed) in [
        (Method::DELETE, "/api/v1/devices", "GET,HEAD,POST"),
        (Method::POST, "/api/v1/events", "GET,HEAD"),
        (Method::PUT, "/healthz", "GET,HEAD"),
        (Method::OPTIONS, "/api/v1/cursors/a", "DELETE,POST,PUT"),
    ] {
        let answer = api.request(method, path, None);
        answer.problem(405);
        let mut actual: Vec<_> = answer.headers["allow"].to_str().unwrap().split(',').collect();
        actual.sort_unstable();
        assert_eq!(actual.join(","), allowed, "{path}");
    }
    let post = |body: &str| api.request(Method::POST, "/api/v1/devices", Some(body.to_owned()));
    for body in ["", " ", "{", "{\"name\":\"a\"", "{\"name\":\"a\"} x", "{\"name\":\"\u{0}\"}", "name=a", "[[[["] {
        let detail = post(body).problem(400);
        assert!(detail.starts_with("body: "), "{body:?}: {detail}");
    }
    let deep = format!("{{\"name\":{}", "[".repeat(100_000));
    post(&deep).problem(400);
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(1024 * 1024));
    assert_eq!(post(&large).problem(413), "body: at most 1048576 bytes expected");
    // Up to the limit it is looked at: the name is too long for a device.
    assert!(post(&large[..1024 * 1024 - 2].replacen("xx", "\"}", 1)).problem(400).starts_with("body: "));
    assert_eq!(api.get("/api/v1/devices").ok(), json!({ "devices": [] }));
    gateway.assert_healthy();
}

/// Pages by name: whatever the limit, each device once and in order.
#[test]
fn devices_come_in_pages() {
    let gateway = Gateway::start(Options::new().profile("other", ""));
    let mut names: Vec<String> = (0..25).map(|n| format!("device {n} ä&+%")).collect();
    for (n, name) in names.iter().enumerate() {
        gateway.device_of(name, if n % 5 == 0 { "other" } else { "default" });
    }
    names.sort();
    for limit in [1, 7, 25, 100] {
        let mut found = Vec::new();
        let mut pages = 0;
        let mut after = String::new();
        loop {
            let page = gateway.api().get(&format!("/api/v1/devices?limit={limit}{after}")).ok();
            let devices = page["devices"].as_array().unwrap();
            assert!(devices.len() <= limit);
            found.extend(devices.iter().map(|device| device["name"].as_str().unwrap().to_owned()));
            pages += 1;
            let Some(next) = page["next"].as_str() else { break };
            let escaped: String = next.bytes().map(|byte| format!("%{byte:02x}")).collect();
            after = format!("&after={escaped}");
        }
        assert_eq!(found, names, "limit {limit}");
        assert_eq!(pages, 25_usize.div_ceil(limit), "limit {limit}: no empty page at the end");
    }
    let other = gateway.api().get("/api/v1/devices?profile=other").ok();
    assert_eq!(other["devices"].as_array().unwrap().len(), 5);
    assert_eq!(gateway.api().get("/api/v1/devices?prefix=device%202").ok()["devices"].as_array().unwrap().len(), 6);
}
