//! The rows of spec 7 and 12.1, natively; and the reader against serde_json on arbitrary input.
#![allow(missing_docs, clippy::unwrap_used)]

use proptest::prelude::*;
use tidegate_json::Json;
use tidegate_plugin::{
    Command, CommandBody, Converter, Decoded, Entry, EventBody, Operation, RpcAnswer, Uplink, Value,
};

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
        let decode = |operation| json.decode(&uplink(operation, payload.clone()));
        let label = format!("spec {}: {}", row.spec, row.payload);
        let mut check = |operation, expected: Result<Vec<String>, String>| {
            checks += 1;
            match (decode(operation), expected) {
                (decoded, Ok(expected)) => {
                    assert_eq!(decoded.rejects, [], "{label}");
                    assert_eq!(
                        decoded.events.into_iter().flat_map(|event| lines(event.body)).collect::<Vec<_>>(),
                        expected,
                        "{label}"
                    );
                }
                (Decoded { events, rejects }, Err(reason)) => {
                    assert_eq!(events, [], "{label}");
                    assert_eq!(rejects.len(), 1, "{label}");
                    assert!(rejects[0].reason.contains(&reason), "{label}: {:?}", rejects[0].reason);
                }
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
    let decoded = Json::default().decode(&uplink(Operation::Attributes, format!("{{{}}}", members.join(",")).into()));
    let [event] = decoded.events.as_slice() else { panic!("{decoded:?}") };
    let EventBody::ClientAttributes(entries) = &event.body else { panic!("{event:?}") };
    assert_eq!(entries.len(), 1000);
    assert_eq!(entries[0], Entry { key: "k0".to_owned(), value: Value::Long(2000) });
}

fn uplink(operation: Operation, payload: Vec<u8>) -> Uplink {
    Uplink { operation, topic: None, payload, received: 1_700_000_000_000 }
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

fn strict() -> Json {
    Json::configure(r#"{"json_lenient":false}"#).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// What serde_json takes for an object, we do, and the other way round (spec 7.1).
    #[test]
    fn strict_reading_agrees_with_serde_json(text in r#"[\{\}\[\]":,a0-9.eE+\- tfn\\u]{0,24}"#) {
        let ours = strict().decode(&uplink(Operation::Attributes, format!("{{{text}}}").into_bytes()));
        let theirs = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&format!("{{{text}}}"));
        match theirs {
            Err(_) if !text.contains(['e', 'E']) => prop_assert_eq!(ours.rejects.len(), 1, "{}", text),
            // An empty key or a number without a value is JSON, but not a payload; 1e999 is neither for serde_json.
            Ok(_) if !text.contains("\"\"") && !text.contains(['e', 'E']) => prop_assert_eq!(ours.rejects, vec![], "{}", text),
            _ => {}
        }
    }

    /// Stored JSON is the same document, compactly (spec 7.4).
    #[test]
    fn stored_json_is_the_same_document(value in document()) {
        let pretty = serde_json::to_string_pretty(&serde_json::json!({ "k": [&value] })).unwrap();
        let decoded = strict().decode(&uplink(Operation::Attributes, pretty.into_bytes()));
        let EventBody::ClientAttributes(entries) = &decoded.events[0].body else { panic!() };
        let Value::Json(text) = &entries[0].value else { panic!() };
        prop_assert_eq!(text, &serde_json::to_string(&[value]).unwrap());
    }

    /// Nothing that a device sends panics.
    #[test]
    fn any_bytes_are_events_or_rejects(payload in prop::collection::vec(any::<u8>(), 0..64)) {
        for operation in [Operation::Telemetry, Operation::Attributes, Operation::RpcRequest(1)] {
            let _ = Json::default().decode(&uplink(operation, payload.clone()));
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
        let _ = Json::default().decode(&uplink(Operation::Telemetry, payload));
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
