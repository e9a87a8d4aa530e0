//! The shipped JSON plugin through the sandbox: every row of the specification gives what it gives natively.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::{TENANT, engine, shipped};
use model::{Body, Command, Decoded, Fault, Operation, Timestamp};
use tidegate_plugin::{Converter as _, EventBody, Operation as GuestOperation, Value as GuestValue};
use tidegate_plugin_host::{ConfigureError, Converter, Limits, Plugin, Pool, Uplink};

#[derive(serde::Deserialize)]
struct Rows {
    row: Vec<Row>,
}

/// As in `payload-plugins/json/tests/spec.rs`, which compares with what is expected; here native and sandbox are
/// compared with each other.
#[derive(serde::Deserialize)]
struct Row {
    #[serde(default)]
    payload: String,
    hex: Option<String>,
    settings: Option<toml::Table>,
}

#[tokio::test]
async fn every_row_means_the_same_inside_and_outside_the_sandbox() {
    let rows: Rows = toml::from_str(include_str!("../../../payload-plugins/json/tests/spec-7.toml")).unwrap();
    let engine = engine();
    let plugin = Plugin::load(&engine, "json", &shipped("json")).unwrap();
    let pool = Pool::new();
    assert!(rows.row.len() > 70);
    for row in rows.row {
        let settings = serde_json::to_string(&row.settings.unwrap_or_default()).unwrap();
        let native = tidegate_json::Json::configure(&settings).unwrap();
        let sandboxed = Converter::new(&engine, &plugin, settings, Limits::default()).await.unwrap();
        let payload = match &row.hex {
            Some(hex) => {
                (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
            }
            None => row.payload.clone().into_bytes(),
        };
        let received = Timestamp(1_700_000_000_000);
        let operations = [Operation::Telemetry, Operation::Attributes, Operation::RpcRequest(7)];
        let uplink = |operation| Uplink { operation, topic: None, payload: payload.clone().into(), received };
        let results = pool.decode(&sandboxed, TENANT, &operations.map(uplink)).await;
        for (operation, result) in operations.into_iter().zip(results) {
            let expected = native.decode(&tidegate_plugin::Uplink {
                operation: match operation {
                    Operation::Telemetry => GuestOperation::Telemetry,
                    Operation::Attributes => GuestOperation::Attributes,
                    Operation::RpcRequest(id) => GuestOperation::RpcRequest(id),
                },
                topic: None,
                payload: payload.clone(),
                received: received.0,
            });
            let label = format!("{operation} {}", row.payload);
            assert_eq!(lines(result.unwrap()), native_lines(expected, received), "{label}");
        }
    }
}

#[tokio::test]
async fn answers_are_encoded() {
    let engine = engine();
    let plugin = Plugin::load(&engine, "json", &shipped("json")).unwrap();
    let json = Converter::new(&engine, &plugin, "{}".to_owned(), Limits::default()).await.unwrap();
    let answer = |body| Command::RpcResponse { id: 1, body, context: Vec::new() };
    let commands = [answer(Ok("{\"time\":5}".to_owned())), answer(Err("no handler".to_owned()))];
    let results = Pool::new().encode(&json, TENANT, &commands).await;
    let payloads: Vec<_> = results.into_iter().map(|result| result.unwrap().unwrap()).collect();
    assert_eq!(payloads, ["{\"time\":5}", "{\"error\":\"no handler\"}"]);
}

#[tokio::test]
async fn a_wrong_setting_is_named() {
    let engine = engine();
    let plugin = Plugin::load(&engine, "json", &shipped("json")).unwrap();
    let config = r#"{"config":{"schema":"x"}}"#.to_owned();
    let error = Converter::new(&engine, &plugin, config, Limits::default()).await.unwrap_err();
    assert!(matches!(&error, ConfigureError::Refused(_)));
    assert_eq!(error.to_string(), "refused its configuration: config.schema: the JSON converter has no such setting");
}

#[test]
fn the_same_bytes_have_the_same_version() {
    let engine = engine();
    let bytes = shipped("json");
    let plugin = Plugin::load(&engine, "json", &bytes).unwrap();
    assert_eq!(plugin.version(), tidegate_plugin_host::load::hash(&bytes));
    assert_eq!(plugin.version().len(), 16);
}

fn lines(decoded: Decoded) -> Vec<String> {
    let body = |body| match body {
        Body::Telemetry(samples) => format!("{samples:?}"),
        Body::ClientAttributes(entries) => format!("{entries:?}"),
        Body::RpcRequest(request) => format!("{} {} {}", request.id, request.method, request.params),
        other => panic!("{other:?}"),
    };
    let rejects = decoded.rejects.into_iter().map(|reject| {
        assert_eq!(reject.fault, Fault::Malformed);
        reject.reason
    });
    decoded.events.into_iter().map(body).chain(rejects).collect()
}

fn native_lines(decoded: tidegate_plugin::Decoded, received: Timestamp) -> Vec<String> {
    let entry = |entry: tidegate_plugin::Entry| model::Entry {
        key: entry.key,
        value: match entry.value {
            GuestValue::Boolean(value) => model::Value::Boolean(value),
            GuestValue::Long(value) => model::Value::Long(value),
            GuestValue::Double(value) => model::Value::Double(value),
            GuestValue::String(value) => model::Value::String(value),
            GuestValue::Json(value) => model::Value::Json(value),
        },
    };
    let body = |event: tidegate_plugin::Event| match event.body {
        EventBody::Telemetry(samples) => {
            let sample = |sample: tidegate_plugin::Sample| model::Sample {
                time: sample.time.map_or(received, Timestamp),
                entries: sample.entries.into_iter().map(entry).collect(),
            };
            format!("{:?}", samples.into_iter().map(sample).collect::<Vec<_>>())
        }
        EventBody::ClientAttributes(entries) => format!("{:?}", entries.into_iter().map(entry).collect::<Vec<_>>()),
        EventBody::RpcRequest(request) => format!("{} {} {}", request.id, request.method, request.params),
        other => panic!("{other:?}"),
    };
    let rejects = decoded.rejects.into_iter().map(|reject| reject.reason);
    decoded.events.into_iter().map(body).chain(rejects).collect()
}
