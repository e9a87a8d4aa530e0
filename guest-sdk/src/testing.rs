//! For a plugin's own tests, which run natively with `cargo test`: messages as the gateway hands them over, and a call that
//! checks what the gateway would check.
//!
//! ```
//! use tidegate_plugin::testing::{attributes, decode, on_topic, telemetry};
//! # use tidegate_plugin::{Converter, Decoded, Entry, Event, EventBody, Fault, Operations, Reject, Sample, Uplink, Value};
//! # struct Switch;
//! # impl Converter for Switch {
//! #     const OPERATIONS: Operations = Operations::TELEMETRY;
//! #     fn configure(_config: &str) -> Result<Self, Vec<String>> { Ok(Self) }
//! #     fn decode(&self, message: &Uplink) -> Decoded {
//! #         let value = match message.payload.as_slice() {
//! #             b"on" => Value::Boolean(true),
//! #             b"off" => Value::Boolean(false),
//! #             _ => return Reject::malformed("on or off expected").into(),
//! #         };
//! #         let key = message.topic.as_ref().map_or("switch", |topic| topic.captures[0].as_str()).to_owned();
//! #         Event::telemetry(vec![Sample { time: None, entries: vec![Entry { key, value }] }]).into()
//! #     }
//! # }
//! let switch = Switch::configure("{}").unwrap();
//!
//! let events = decode(&switch, &telemetry("on")).unwrap();
//! let entry = Entry { key: "switch".into(), value: Value::Boolean(true) };
//! assert_eq!(events, [Event::telemetry(vec![Sample { time: None, entries: vec![entry] }])]);
//!
//! let reject = decode(&switch, &telemetry("perhaps")).unwrap_err();
//! assert_eq!(reject.reason, "on or off expected");
//!
//! // As if the profile had the filter `home/+/state`.
//! assert!(decode(&switch, &on_topic(telemetry("on"), "home/lamp/state", ["lamp"])).is_ok());
//! ```

use crate::{Converter, Decoded, Entry, Event, EventBody, MatchedTopic, Operation, Reject, Timestamp, Uplink, Value};

/// When every message of this module was received: 2023-11-14 22:13:20 UTC.
pub const RECEIVED: Timestamp = 1_700_000_000_000;

/// A message that the topic says to be this.
pub fn uplink(operation: Operation, payload: impl Into<Vec<u8>>) -> Uplink {
    Uplink { operation, topic: None, payload: payload.into(), received: RECEIVED }
}

/// A telemetry message.
pub fn telemetry(payload: impl Into<Vec<u8>>) -> Uplink {
    uplink(Operation::Telemetry, payload)
}

/// A message with client attributes.
pub fn attributes(payload: impl Into<Vec<u8>>) -> Uplink {
    uplink(Operation::Attributes, payload)
}

/// A call of the application by the device, with the request id that its topic carries.
pub fn rpc_request(id: i32, payload: impl Into<Vec<u8>>) -> Uplink {
    uplink(Operation::RpcRequest(id), payload)
}

/// The same message on a topic that a wildcard filter of the profile matched. `captures` are the levels that `+` stands
/// for, in order, and last what `#` stands for.
pub fn on_topic<'a>(message: Uplink, name: &str, captures: impl IntoIterator<Item = &'a str>) -> Uplink {
    let captures = captures.into_iter().map(str::to_owned).collect();
    Uplink { topic: Some(MatchedTopic { name: name.to_owned(), captures }), ..message }
}

/// Decodes one message, as the gateway would take it: its events, or the first refusal, which is what the device sees.
///
/// # Errors
/// The refusal.
///
/// # Panics
/// When the converter does what makes the gateway treat it as broken and keep the message as a dead letter: an event that
/// the operation cannot mean, a child that is named where there is none, an empty key, a double that is not finite; or
/// when the same message gives something else the second time.
#[track_caller]
pub fn decode<C: Converter>(converter: &C, message: &Uplink) -> Result<Vec<Event>, Reject> {
    let decoded = converter.decode(message);
    assert!(decoded == converter.decode(message), "the same message means something else the second time: {decoded:?}");
    if let Some(broken) = broken(&decoded, message.operation) {
        panic!("the gateway would take the plugin for broken: {broken}: {decoded:?}");
    }
    let Decoded { events, rejects } = decoded;
    rejects.into_iter().next().map_or(Ok(events), Err)
}

/// What the contract does not allow here.
fn broken(decoded: &Decoded, operation: Operation) -> Option<&'static str> {
    let children = decoded.events.iter().map(|event| &event.child);
    let children = children.chain(decoded.rejects.iter().map(|reject| &reject.child));
    if !is_of_gateway(operation) && children.into_iter().any(Option::is_some) {
        return Some("it names a child where the session is no gateway");
    }
    decoded.events.iter().find_map(|event| match (&event.body, operation) {
        (EventBody::Telemetry(samples), Operation::Telemetry | Operation::GatewayTelemetry) => {
            samples.iter().flat_map(|sample| &sample.entries).find_map(broken_entry)
        }
        (EventBody::ClientAttributes(entries), Operation::Attributes | Operation::GatewayAttributes) => {
            entries.iter().find_map(broken_entry)
        }
        (EventBody::AttributeRequest(request), Operation::AttributeRequest(id)) => wrong_id(request.id, id),
        (EventBody::RpcRequest(request), Operation::RpcRequest(id)) => wrong_id(request.id, id),
        (EventBody::RpcResponse(response), Operation::RpcResponse(id)) => wrong_id(response.id, id),
        (EventBody::AttributeRequest(_), Operation::GatewayAttributeRequest)
        | (EventBody::RpcResponse(_), Operation::GatewayRpcResponse)
        | (EventBody::Claim(_), Operation::Claim | Operation::GatewayClaim)
        | (EventBody::Provision(_), Operation::Provision)
        | (EventBody::ChildConnect(_), Operation::GatewayConnect)
        | (EventBody::ChildDisconnect, Operation::GatewayDisconnect)
        | (EventBody::GatewayLatency(_), Operation::GatewayTelemetry) => None,
        _ => Some("it returns an event that the operation cannot mean"),
    })
}

fn is_of_gateway(operation: Operation) -> bool {
    matches!(
        operation,
        Operation::GatewayConnect
            | Operation::GatewayDisconnect
            | Operation::GatewayTelemetry
            | Operation::GatewayAttributes
            | Operation::GatewayAttributeRequest
            | Operation::GatewayRpcResponse
            | Operation::GatewayClaim
    )
}

fn broken_entry(entry: &Entry) -> Option<&'static str> {
    match &entry.value {
        _ if entry.key.is_empty() => Some("it returns an empty key"),
        Value::Double(double) if !double.is_finite() => Some("it returns a double that is not finite"),
        Value::Json(text) if !text.starts_with(['{', '[']) => {
            Some("it returns as JSON what is neither an object nor an array")
        }
        _ => None,
    }
}

fn wrong_id(id: i32, expected: i32) -> Option<&'static str> {
    (id != expected).then_some("it answers for another request id than the message has")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::{Operations, RpcRequest, Sample};

    /// Returns what it was made with.
    struct Fixed(Decoded);

    impl Converter for Fixed {
        const OPERATIONS: Operations = Operations::TELEMETRY;

        fn configure(_config: &str) -> Result<Self, Vec<String>> {
            Ok(Self(Decoded { events: Vec::new(), rejects: Vec::new() }))
        }

        fn decode(&self, _message: &Uplink) -> Decoded {
            self.0.clone()
        }
    }

    fn entry(key: &str, value: Value) -> Event {
        Event::telemetry(vec![Sample { time: None, entries: vec![Entry { key: key.to_owned(), value }] }])
    }

    #[test]
    fn what_the_gateway_takes_is_returned() {
        let event = entry("a", Value::Double(1.5));
        assert_eq!(decode(&Fixed(event.clone().into()), &telemetry("x")), Ok(vec![event.clone()]));
        let refused = Decoded { events: vec![event], rejects: vec![Reject::malformed("a"), Reject::malformed("b")] };
        assert_eq!(decode(&Fixed(refused), &telemetry("x")), Err(Reject::malformed("a")));
    }

    #[test]
    fn what_the_gateway_does_not_take_is_named() {
        let child = |event| Event { child: Some("c".to_owned()), ..event };
        let request = EventBody::RpcRequest(RpcRequest {
            id: 8,
            method: "m".to_owned(),
            params: "null".to_owned(),
            context: Vec::new(),
        });
        for (decoded, message, reason) in [
            (entry("", Value::Boolean(true)).into(), telemetry("x"), "empty key"),
            (entry("a", Value::Double(f64::NAN)).into(), telemetry("x"), "not finite"),
            (entry("a", Value::Json("5".to_owned())).into(), telemetry("x"), "neither an object nor an array"),
            (entry("a", Value::Long(5)).into(), attributes("x"), "cannot mean"),
            (child(entry("a", Value::Long(5))).into(), telemetry("x"), "names a child"),
            (Reject { child: Some("c".to_owned()), ..Reject::malformed("a") }.into(), telemetry("x"), "names a child"),
            (Event::own(request).into(), rpc_request(7, "x"), "another request id"),
        ] {
            let decoded: Decoded = decoded;
            let broken = broken(&decoded, message.operation);
            assert!(broken.is_some_and(|broken| broken.contains(reason)), "{decoded:?}: {broken:?}");
        }
        assert_eq!(broken(&child(entry("a", Value::Long(5))).into(), Operation::GatewayTelemetry), None);
    }

    #[test]
    #[should_panic(expected = "take the plugin for broken: it returns an empty key")]
    fn a_broken_plugin_fails_its_test() {
        let _ = decode(&Fixed(entry("", Value::Long(1)).into()), &telemetry("x"));
    }

    #[test]
    #[should_panic(expected = "the second time")]
    fn state_between_calls_is_noticed() {
        struct Toggle(AtomicBool);

        impl Converter for Toggle {
            const OPERATIONS: Operations = Operations::TELEMETRY;

            fn configure(_config: &str) -> Result<Self, Vec<String>> {
                Ok(Self(AtomicBool::new(false)))
            }

            fn decode(&self, _message: &Uplink) -> Decoded {
                entry("a", Value::Boolean(self.0.fetch_xor(true, Ordering::Relaxed))).into()
            }
        }

        let _ = decode(&Toggle::configure("{}").unwrap(), &telemetry("x"));
    }

    #[test]
    fn a_topic_and_its_captures() {
        let topic = on_topic(telemetry("x"), "home/lamp/state", ["lamp"]).topic.unwrap();
        assert_eq!((topic.name.as_str(), topic.captures), ("home/lamp/state", vec!["lamp".to_owned()]));
    }
}
