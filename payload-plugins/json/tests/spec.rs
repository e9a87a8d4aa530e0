//! The rows of spec 7 and 12.1, natively; and the reader against serde_json on arbitrary input.
#![allow(missing_docs, clippy::unwrap_used)]

use proptest::prelude::*;
use tidegate_json::Json;
use tidegate_plugin::testing::{attributes, decode, rpc_request, telemetry, uplink};
use tidegate_plugin::{Command, CommandBody, Converter, Entry, Event, EventBody, Operation, Reject, RpcAnswer, Value};

#[derive(serde::Deserialize)]
struct Rows {
    row: Vec<Row>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Row {
    spec: String,
    #[serde(default)]
    payload: String,
    hex: Option<String>,
    settings: Option<toml::Table>,
    telemetry: Option<Vec<String>>,
    attributes: Option<Vec<String>>,
    rpc: Option<String>,
    invalid: Option<String>,
    attributes_invalid: Option<String>,
    rpc_invalid: Option<String>,
}

#[test]
fn every_row_of_the_specification() {
    let rows: Rows = toml::from_str(include_str!("spec-7.toml")).unwrap_or_else(|error| panic!("{error}"));
    let mut checks = 0;
    for row in rows.row {
        let settings = serde_json::to_string(&row.settings.unwrap_or_default()).unwrap();
        let json = Json::configure(&settings).unwrap();
        let payload = match &row.hex {
            Some(hex) => {
                (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
            }
            None => row.payload.clone().into_bytes(),
        };
        let label = format!("spec {}: {}", row.spec, row.payload);
        let mut check = |operation, expected: Result<Vec<String>, String>| {
            checks += 1;
            match (decode(&json, &uplink(operation, payload.clone())), expected) {
                (Ok(events), Ok(expected)) => {
                    let lines = events.into_iter().flat_map(|event| lines(event.body));
                    assert_eq!(lines.collect::<Vec<_>>(), expected, "{label}");
                }
                (Err(reject), Err(reason)) => assert!(reject.reason.contains(&reason), "{label}: {:?}", reject.reason),
                (result, expected) => panic!("{label}: {result:?} instead of {expected:?}"),
            }
        };
        let before = [&row.telemetry, &row.attributes].iter().filter(|part| part.is_some()).count();
        assert!(before + usize::from(row.invalid.is_some()) <= 2, "{label}");
        if let Some(samples) = row.telemetry {
            check(Operation::Telemetry, Ok(samples));
        }
        if let Some(attributes) = row.attributes {
            check(Operation::Attributes, Ok(attributes));
        }
        if let Some(call) = row.rpc {
            check(Operation::RpcRequest(7), Ok(vec![format!("7: {call}")]));
        }
        if let Some(reason) = row.invalid {
            check(Operation::Telemetry, Err(reason));
        }
        if let Some(reason) = row.attributes_invalid {
            check(Operation::Attributes, Err(reason));
        }
        if let Some(reason) = row.rpc_invalid {
            check(Operation::RpcRequest(7), Err(reason));
        }
    }
    assert!(checks > 80, "{checks} checks");
}

/// Spec 12.1: the application's payload as is; an error as `{"error":…}`.
#[test]
fn rpc_responses() {
    let json = Json::default();
    let encode = |body| {
        let answer = RpcAnswer { id: 7, body, context: Vec::new() };
        json.encode(&Command { child: None, body: CommandBody::RpcResponse(answer) })
    };
    assert_eq!(encode(Ok(r#"{"time":1700000000}"#.to_owned())), Ok(br#"{"time":1700000000}"#.to_vec()));
    assert_eq!(encode(Err("timeout".to_owned())), Ok(br#"{"error":"timeout"}"#.to_vec()));
    assert_eq!(encode(Err("say \"why\"".to_owned())), Ok(br#"{"error":"say \"why\""}"#.to_vec()));
}

#[test]
fn large_objects_keep_their_last_values() {
    let members: Vec<String> = (0..3000).map(|number| format!("\"k{}\":{number}", number % 1000)).collect();
    let entries = entries(decode(&Json::default(), &attributes(format!("{{{}}}", members.join(",")))));
    assert_eq!(entries.len(), 1000);
    assert_eq!(entries[0], Entry { key: "k0".to_owned(), value: Value::Long(2000) });
}

fn entries(result: Result<Vec<Event>, Reject>) -> Vec<Entry> {
    match result.as_deref() {
        Ok([Event { body: EventBody::ClientAttributes(entries), .. }]) => entries.clone(),
        other => panic!("{other:?}"),
    }
}

fn lines(body: EventBody) -> Vec<String> {
    match body {
        EventBody::Telemetry(samples) => samples
            .into_iter()
            .map(|sample| {
                let time = sample.time.map_or("host".to_owned(), |time| time.to_string());
                format!("{time}: {}", line(sample.entries))
            })
            .collect(),
        EventBody::ClientAttributes(entries) => vec![line(entries)],
        EventBody::RpcRequest(request) => vec![format!("{}: {}({})", request.id, request.method, request.params)],
        other => panic!("{other:?}"),
    }
}

fn line(entries: Vec<Entry>) -> String {
    let entry = |Entry { key, value }| match value {
        Value::Boolean(value) => format!("{key}=BOOLEAN {value}"),
        Value::Long(value) => format!("{key}=LONG {value}"),
        Value::Double(value) => format!("{key}=DOUBLE {value}"),
        Value::String(value) => format!("{key}=STRING {value}"),
        Value::Json(value) => format!("{key}=JSON {value}"),
    };
    entries.into_iter().map(entry).collect::<Vec<_>>().join(", ")
}

/// Why a number may be JSON and yet no payload (spec 7.4, row `1e400`).
const TOO_LONG: &str = "a number of at most 1024 digits expected";

fn strict() -> Json {
    Json::configure(r#"{"json_lenient":false}"#).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// What serde_json takes for an object, we do, and the other way round (spec 7.1).
    #[test]
    fn strict_reading_agrees_with_serde_json(text in r#"[\{\}\[\]":,a0-9.eE+\- tfn\\u]{0,24}"#) {
        let text = format!("{{{text}}}");
        let ours = decode(&strict(), &attributes(text.as_str()));
        match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text) {
            // An empty key or a number without a value is JSON, but not a payload.
            Ok(members) if members.contains_key("") => prop_assert!(ours.is_err(), "{}", text),
            Ok(_) => match ours {
                Ok(_) => {}
                Err(reject) => prop_assert!(reject.reason.contains(TOO_LONG), "{}: {}", text, reject.reason),
            },
            // No number is too large for text.
            Err(error) if error.to_string().starts_with("number out of range") => {}
            Err(_) => prop_assert!(ours.is_err(), "{}", text),
        }
    }

    /// A number is one for both, and the same, whatever becomes of it (spec 7.4).
    #[test]
    fn numbers_agree_with_serde_json(literal in r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,18})?([eE][+-]?[0-9]{1,3})?") {
        let theirs = literal.parse::<f64>().unwrap();
        let text = format!("{{\"k\":{literal}}}");
        prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok() || theirs.is_infinite(), "{}", literal);
        let ours = match decode(&Json::default(), &attributes(text)) {
            Ok(_) => entries(decode(&Json::default(), &attributes(format!("{{\"k\":{literal}}}")))).remove(0).value,
            Err(reject) => {
                prop_assert!(reject.reason.contains(TOO_LONG), "{}: {}", literal, reject.reason);
                return Ok(());
            }
        };
        let ours = match ours {
            Value::Long(long) => long as f64,
            Value::Double(double) => double,
            Value::String(text) => {
                prop_assert!(text.bytes().all(|byte| byte.is_ascii_digit() || b"-.".contains(&byte)), "{}", text);
                text.parse().unwrap()
            }
            other => panic!("{other:?}"),
        };
        prop_assert_eq!(ours, theirs, "{}", literal);
    }

    /// What nearly is a number is none for both.
    #[test]
    fn what_is_a_number_agrees_with_serde_json(literal in r"-?[0-9]{0,2}\.?[0-9]{0,2}[eE]?[+-]?[0-9]{0,2}") {
        let text = format!("{{\"k\":{literal}}}");
        let theirs = serde_json::from_str::<serde_json::Value>(&text);
        prop_assert_eq!(decode(&strict(), &attributes(text)).is_ok(), theirs.is_ok(), "{}", literal);
    }

    /// Escapes mean the same to both, pairs of surrogates and halves of them included (spec 7.1).
    #[test]
    fn escapes_agree_with_serde_json(
        parts in prop::collection::vec(r#"\\[bfnrt/\\"'ux]|\\u[0-9a-fA-F]{4}|\\u[dD][89a-fA-F][0-9a-f]{2}|[ aä😀]"#, 0..6)
    ) {
        let literal = format!("\"k{}\"", parts.concat());
        let text = format!("{{{literal}:{literal}}}");
        let ours = decode(&strict(), &attributes(text.as_str()));
        match serde_json::from_str::<String>(&literal) {
            Ok(theirs) => {
                let expected = Entry { key: theirs.clone(), value: Value::String(theirs) };
                prop_assert_eq!(entries(ours), vec![expected], "{}", literal);
            }
            Err(_) => prop_assert!(ours.is_err(), "{}", literal),
        }
    }

    /// Stored JSON is the same document, compactly (spec 7.4).
    #[test]
    fn stored_json_is_the_same_document(value in document()) {
        let pretty = serde_json::to_string_pretty(&serde_json::json!({ "k": [&value] })).unwrap();
        let entries = entries(decode(&strict(), &attributes(pretty)));
        let Value::Json(text) = &entries[0].value else { panic!() };
        prop_assert_eq!(text, &serde_json::to_string(&[value]).unwrap());
    }

    /// Nothing that a device sends panics.
    #[test]
    fn any_bytes_are_events_or_rejects(payload in prop::collection::vec(any::<u8>(), 0..64)) {
        for message in [telemetry(payload.as_slice()), attributes(payload.as_slice()), rpc_request(1, payload.as_slice())] {
            let _ = decode(&Json::default(), &message);
        }
    }

    /// Nor does anything that nearly is a payload.
    #[test]
    fn damaged_payloads_are_events_or_rejects(at in 0_usize..90, byte in any::<u8>(), cut in 0_usize..90) {
        let mut payload = br#"[{"ts":1634567890123,"values":{"a":1.5e3,"b":"\u00e4\n","c":{"d":[null,true]}}},{'x':y}]"#.to_vec();
        if let Some(target) = payload.get_mut(at) {
            *target = byte;
        }
        payload.truncate(cut);
        let _ = decode(&Json::default(), &telemetry(payload));
    }
}

fn document() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        "[ -~äß😀\n\t\u{1}]{0,6}".prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(serde_json::Value::from),
            prop::collection::vec(("[a-c]{0,2}", inner), 0..5)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}
