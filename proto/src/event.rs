//! The event record: [`model::Event`] ↔ the bytes of `event.proto`.

use std::sync::Arc;

use model::event::{Body, Connected, DeadLetter, Disconnected, Event, Origin, RpcRequest};
use model::{DeviceId, Entry, EventId, Sample, TenantId, Timestamp, Value};
use prost::Message;

#[allow(missing_docs, clippy::all, unreachable_pub)]
mod wire {
    include!(concat!(env!("OUT_DIR"), "/tidegate.event.v1.rs"));
}

/// Bytes that are not the record they should be.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Not Protobuf, or not this message.
    #[error("record: {0}")]
    Wire(#[from] prost::DecodeError),
    /// A field without which the record makes no sense is absent, or a number is out of range.
    #[error("record: {0} is missing or out of range")]
    Field(&'static str),
}

/// Appends the record of `event` to `out`, without a length in front.
pub fn encode(event: Event, out: &mut Vec<u8>) {
    let record = wire::Event {
        node: event.id.node.into(),
        boot: event.id.boot,
        sequence: event.id.sequence,
        tenant: event.origin.tenant.0,
        device: event.origin.device.0,
        device_name: event.origin.name.clone(),
        profile: event.origin.profile.clone(),
        received: event.received.0,
        topic: event.topic.map(|topic| topic.as_ref().to_owned()),
        body: Some(body_to_wire(event.body)),
    };
    out.reserve(record.encoded_len());
    record.encode_raw(out);
}

/// Reads one record.
///
/// # Errors
/// The bytes are not an event record, or come from a newer version with a kind of event this one does not know.
pub fn decode(record: &[u8]) -> Result<Event, DecodeError> {
    let record = wire::Event::decode(record)?;
    Ok(Event {
        id: EventId {
            node: record.node.try_into().map_err(|_| DecodeError::Field("node"))?,
            boot: record.boot,
            sequence: record.sequence,
        },
        origin: Arc::new(Origin {
            tenant: TenantId(record.tenant),
            device: DeviceId(record.device),
            name: record.device_name,
            profile: record.profile,
        }),
        received: Timestamp(record.received),
        topic: record.topic.map(Arc::from),
        body: body_from_wire(record.body.ok_or(DecodeError::Field("body"))?)?,
    })
}

fn body_to_wire(body: Body) -> wire::event::Body {
    match body {
        Body::Telemetry(samples) => wire::event::Body::Telemetry(wire::Telemetry {
            samples: samples
                .into_iter()
                .map(|sample| wire::Sample { time: sample.time.0, entries: entries_to_wire(sample.entries) })
                .collect(),
        }),
        Body::ClientAttributes(entries) => {
            wire::event::Body::ClientAttributes(wire::Attributes { entries: entries_to_wire(entries) })
        }
        Body::RpcRequest(RpcRequest { id, method, params, context }) => {
            wire::event::Body::RpcRequest(wire::RpcRequest { id, method, params, context })
        }
        Body::Connected(Connected { client_id, peer, protocol }) => {
            wire::event::Body::Connected(wire::Connected { client_id, peer, protocol })
        }
        Body::Disconnected(Disconnected { cause, detail }) => {
            wire::event::Body::Disconnected(wire::Disconnected { cause, detail })
        }
        Body::DeadLetter(letter) => {
            let DeadLetter { plugin, version, cause, detail, operation, payload } = *letter;
            wire::event::Body::DeadLetter(wire::DeadLetter { plugin, version, cause, detail, operation, payload })
        }
    }
}

fn body_from_wire(body: wire::event::Body) -> Result<Body, DecodeError> {
    Ok(match body {
        wire::event::Body::Telemetry(telemetry) => Body::Telemetry(
            telemetry
                .samples
                .into_iter()
                .map(|sample| Ok(Sample { time: Timestamp(sample.time), entries: entries_from_wire(sample.entries)? }))
                .collect::<Result<_, DecodeError>>()?,
        ),
        wire::event::Body::ClientAttributes(attributes) => {
            Body::ClientAttributes(entries_from_wire(attributes.entries)?)
        }
        wire::event::Body::RpcRequest(wire::RpcRequest { id, method, params, context }) => {
            Body::RpcRequest(RpcRequest { id, method, params, context })
        }
        wire::event::Body::Connected(wire::Connected { client_id, peer, protocol }) => {
            Body::Connected(Connected { client_id, peer, protocol })
        }
        wire::event::Body::Disconnected(wire::Disconnected { cause, detail }) => {
            Body::Disconnected(Disconnected { cause, detail })
        }
        wire::event::Body::DeadLetter(wire::DeadLetter { plugin, version, cause, detail, operation, payload }) => {
            Body::DeadLetter(Box::new(DeadLetter { plugin, version, cause, detail, operation, payload }))
        }
    })
}

fn entries_to_wire(entries: Vec<Entry>) -> Vec<wire::Entry> {
    entries
        .into_iter()
        .map(|Entry { key, value }| wire::Entry {
            key,
            value: Some(match value {
                Value::Boolean(value) => wire::entry::Value::Boolean(value),
                Value::Long(value) => wire::entry::Value::Long(value),
                Value::Double(value) => wire::entry::Value::Double(value),
                Value::String(value) => wire::entry::Value::String(value),
                Value::Json(value) => wire::entry::Value::Json(value),
            }),
        })
        .collect()
}

fn entries_from_wire(entries: Vec<wire::Entry>) -> Result<Vec<Entry>, DecodeError> {
    entries
        .into_iter()
        .map(|wire::Entry { key, value }| {
            Ok(Entry {
                key,
                value: match value.ok_or(DecodeError::Field("value"))? {
                    wire::entry::Value::Boolean(value) => Value::Boolean(value),
                    wire::entry::Value::Long(value) => Value::Long(value),
                    wire::entry::Value::Double(value) => Value::Double(value),
                    wire::entry::Value::String(value) => Value::String(value),
                    wire::entry::Value::Json(value) => Value::Json(value),
                },
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(body: Body) -> Event {
        Event {
            id: EventId { node: 1, boot: 2, sequence: 3 },
            origin: Arc::new(Origin {
                tenant: TenantId::DEFAULT,
                device: DeviceId(42),
                name: "boiler 7".to_owned(),
                profile: "default".to_owned(),
            }),
            received: Timestamp(1_700_000_000_000),
            topic: Some(Arc::from("v1/devices/me/telemetry")),
            body,
        }
    }

    fn every_body() -> Vec<Body> {
        let entries = vec![
            Entry { key: "b".to_owned(), value: Value::Boolean(false) },
            Entry { key: "l".to_owned(), value: Value::Long(i64::MIN) },
            Entry { key: "d".to_owned(), value: Value::Double(-0.0) },
            Entry { key: "s".to_owned(), value: Value::String(String::new()) },
            Entry { key: "j".to_owned(), value: Value::Json("{}".to_owned()) },
        ];
        vec![
            Body::Telemetry(vec![
                Sample { time: Timestamp(-5), entries: entries.clone() },
                Sample { time: Timestamp(0), entries: vec![] },
            ]),
            Body::ClientAttributes(entries),
            Body::RpcRequest(RpcRequest {
                id: 7,
                method: "getTime".to_owned(),
                params: "null".to_owned(),
                context: vec![0, 255],
            }),
            Body::Connected(Connected {
                client_id: "c".to_owned(),
                peer: "127.0.0.1:4".to_owned(),
                protocol: "5.0".to_owned(),
            }),
            Body::Disconnected(Disconnected { cause: "client".to_owned(), detail: String::new() }),
            Body::DeadLetter(Box::new(DeadLetter {
                plugin: "json".to_owned(),
                version: "ab".to_owned(),
                cause: "trap".to_owned(),
                detail: "unreachable".to_owned(),
                operation: "telemetry".to_owned(),
                payload: vec![1, 2, 3],
            })),
        ]
    }

    #[test]
    fn every_kind_of_event_survives_its_record() {
        for body in every_body() {
            let event = event(body);
            let mut record = Vec::new();
            encode(event.clone(), &mut record);
            assert_eq!(decode(&record).unwrap(), event);
        }
    }

    #[test]
    fn damaged_records_are_errors_and_never_panics() {
        for body in every_body() {
            let mut record = Vec::new();
            encode(event(body), &mut record);
            for cut in 0..record.len() {
                let _ = decode(&record[..cut]);
            }
            for bit in 0..record.len() * 8 {
                let mut flipped = record.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                let _ = decode(&flipped);
            }
        }
        assert!(matches!(decode(&[]), Err(DecodeError::Field("body"))));
        assert!(matches!(decode(&[0xff; 9]), Err(DecodeError::Wire(_))));
    }
}
