//! Events and values as JSON, for the API and the terminal (spec 7.5).

use std::str::FromStr;

use model::{Body, Event, Sample, Value};
use serde_json::{Map, Number, Value as Json, json};

/// A value: LONG as an integer, DOUBLE always with a point or an exponent, JSON embedded.
pub fn value(value: &Value) -> Json {
    match value {
        Value::Boolean(value) => Json::Bool(*value),
        Value::Long(value) => Json::from(*value),
        // NaN and infinities have no JSON number; they are told as spec 8.2 tells them.
        Value::Double(value) => Number::from_f64(*value).map_or_else(|| Json::from(not_finite(*value)), Json::Number),
        Value::String(value) => Json::String(value.clone()),
        Value::Json(text) => Json::from_str(text).unwrap_or_else(|_| Json::String(text.clone())),
    }
}

/// An event, without its cursor.
pub fn event(event: &Event) -> Map<String, Json> {
    let mut object = Map::new();
    object.insert("id".to_owned(), event.id.to_string().into());
    object.insert("device".to_owned(), event.origin.name.clone().into());
    object.insert("device_id".to_owned(), event.origin.device.0.into());
    object.insert("profile".to_owned(), event.origin.profile.clone().into());
    object.insert("received".to_owned(), event.received.0.into());
    if let Some(topic) = &event.topic {
        object.insert("topic".to_owned(), topic.as_ref().into());
    }
    object.insert("kind".to_owned(), kind(&event.body).into());
    match &event.body {
        Body::Telemetry(samples) => {
            object.insert("samples".to_owned(), samples.iter().map(sample).collect());
        }
        Body::ClientAttributes(entries) => {
            object.insert("attributes".to_owned(), members(entries));
        }
        Body::RpcRequest(request) => {
            object.insert("request_id".to_owned(), request.id.into());
            object.insert("method".to_owned(), request.method.clone().into());
            let params = Json::from_str(&request.params).unwrap_or_else(|_| request.params.clone().into());
            object.insert("params".to_owned(), params);
        }
        Body::Connected(connected) => {
            object.insert("client_id".to_owned(), connected.client_id.clone().into());
            object.insert("peer".to_owned(), connected.peer.clone().into());
            object.insert("protocol".to_owned(), connected.protocol.clone().into());
        }
        Body::Disconnected(disconnected) => {
            object.insert("cause".to_owned(), disconnected.cause.clone().into());
            object.insert("detail".to_owned(), disconnected.detail.clone().into());
        }
        Body::DeadLetter(letter) => {
            object.insert("plugin".to_owned(), letter.plugin.clone().into());
            object.insert("version".to_owned(), letter.version.clone().into());
            object.insert("cause".to_owned(), letter.cause.clone().into());
            object.insert("detail".to_owned(), letter.detail.clone().into());
            object.insert("operation".to_owned(), letter.operation.clone().into());
            object.insert("payload_hex".to_owned(), hex(&letter.payload).into());
        }
    }
    object
}

/// All that [`kind`] can say.
pub const KINDS: [&str; 6] =
    ["telemetry", "client-attributes", "rpc-request", "connected", "disconnected", "dead-letter"];

/// The name of a kind of event, one of [`KINDS`].
pub fn kind(body: &Body) -> &'static str {
    match body {
        Body::Telemetry(_) => "telemetry",
        Body::ClientAttributes(_) => "client-attributes",
        Body::RpcRequest(_) => "rpc-request",
        Body::Connected(_) => "connected",
        Body::Disconnected(_) => "disconnected",
        Body::DeadLetter(_) => "dead-letter",
    }
}

fn sample(sample: &Sample) -> Json {
    json!({ "time": sample.time.0, "values": members(&sample.entries) })
}

fn members(entries: &[model::Entry]) -> Json {
    Json::Object(entries.iter().map(|entry| (entry.key.clone(), value(&entry.value))).collect())
}

fn not_finite(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spec 7.5.
    #[test]
    fn values_keep_their_kind() {
        let rows = [
            (Value::Boolean(true), "true"),
            (Value::Long(42), "42"),
            (Value::Double(42.0), "42.0"),
            (Value::Double(0.1), "0.1"),
            (Value::Double(f64::NAN), "\"NaN\""),
            (Value::Double(f64::NEG_INFINITY), "\"-Infinity\""),
            (Value::String("42".to_owned()), "\"42\""),
            (Value::Json("{\"b\":[1,2.50],\"a\":null}".to_owned()), "{\"b\":[1,2.5],\"a\":null}"),
        ];
        for (value, expected) in rows {
            assert_eq!(super::value(&value).to_string(), expected, "{value:?}");
        }
    }
}
