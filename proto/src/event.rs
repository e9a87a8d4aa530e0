//! The event record: [`model::Event`] ↔ the bytes of `event.proto`.

use std::sync::Arc;

use model::event::{Body, Connected, DeadLetter, Disconnected, Event, Origin, RpcRequest};
use model::{DeviceId, Entry, EventId, Sample, TenantId, Timestamp, Value};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};

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
///
/// Written field by field and not through the generated types, which would have to own a copy of every name and text: an
/// event is encoded for each message of each device. The bytes are the same.
pub fn encode(event: &Event, out: &mut Vec<u8>) {
    number(1, event.id.node.into(), out);
    number(2, event.id.boot.into(), out);
    number(3, event.id.sequence, out);
    number(4, event.origin.tenant.0.into(), out);
    number(5, event.origin.device.0, out);
    text(6, &event.origin.name, out);
    text(7, &event.origin.profile, out);
    number(8, event.received.0.cast_unsigned(), out);
    if let Some(topic) = &event.topic {
        present_text(9, topic, out);
    }
    match &event.body {
        Body::Telemetry(samples) => nested(16, out, |out| {
            for sample in samples {
                nested(1, out, |out| {
                    number(1, zigzag(sample.time.0), out);
                    entries(2, &sample.entries, out);
                });
            }
        }),
        Body::ClientAttributes(attributes) => nested(17, out, |out| entries(1, attributes, out)),
        Body::RpcRequest(RpcRequest { id, method, params, context }) => nested(18, out, |out| {
            number(1, i64::from(*id).cast_unsigned(), out);
            text(2, method, out);
            text(3, params, out);
            bytes(4, context, out);
        }),
        Body::Connected(Connected { client_id, peer, protocol }) => nested(19, out, |out| {
            text(1, client_id, out);
            text(2, peer, out);
            text(3, protocol, out);
        }),
        Body::Disconnected(Disconnected { cause, detail }) => nested(20, out, |out| {
            text(1, cause, out);
            text(2, detail, out);
        }),
        Body::DeadLetter(letter) => nested(21, out, |out| {
            text(1, &letter.plugin, out);
            text(2, &letter.version, out);
            text(3, &letter.cause, out);
            text(4, &letter.detail, out);
            text(5, &letter.operation, out);
            bytes(6, &letter.payload, out);
        }),
    }
}

fn entries(tag: u32, entries: &[Entry], out: &mut Vec<u8>) {
    for Entry { key, value } in entries {
        nested(tag, out, |out| {
            text(1, key, out);
            // A value of a `oneof` is written even where it is the default of its type.
            match value {
                Value::Boolean(value) => present_number(2, u64::from(*value), out),
                Value::Long(value) => present_number(3, zigzag(*value), out),
                Value::Double(value) => {
                    encode_key(4, WireType::SixtyFourBit, out);
                    out.extend_from_slice(&value.to_le_bytes());
                }
                Value::String(value) => present_text(5, value, out),
                Value::Json(value) => present_text(6, value, out),
            }
        });
    }
}

/// A message in a message. Its length stands in front of it and is known behind it: most are shorter than 128 bytes, for
/// which one byte was left free; the others are moved.
fn nested(tag: u32, out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    encode_key(tag, WireType::LengthDelimited, out);
    let start = out.len();
    out.push(0);
    fill(out);
    let length = out.len() - start - 1;
    if let Ok(short @ 0..0x80) = u8::try_from(length) {
        out[start] = short;
        return;
    }
    let mut prefix = [0; 10];
    let mut rest = prefix.as_mut_slice();
    encode_varint(length as u64, &mut rest);
    let unused = rest.len();
    let prefix = &prefix[..prefix.len() - unused];
    out.splice(start..=start, prefix.iter().copied());
}

fn number(tag: u32, value: u64, out: &mut Vec<u8>) {
    if value != 0 {
        present_number(tag, value, out);
    }
}

fn present_number(tag: u32, value: u64, out: &mut Vec<u8>) {
    encode_key(tag, WireType::Varint, out);
    encode_varint(value, out);
}

fn text(tag: u32, text: &str, out: &mut Vec<u8>) {
    bytes(tag, text.as_bytes(), out);
}

fn present_text(tag: u32, text: &str, out: &mut Vec<u8>) {
    present_bytes(tag, text.as_bytes(), out);
}

fn bytes(tag: u32, bytes: &[u8], out: &mut Vec<u8>) {
    if !bytes.is_empty() {
        present_bytes(tag, bytes, out);
    }
}

fn present_bytes(tag: u32, bytes: &[u8], out: &mut Vec<u8>) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// `sint64`: small numbers of either sign are short.
fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
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
            encode(&event, &mut record);
            assert_eq!(decode(&record).unwrap(), event);
        }
    }

    /// The generated types read our bytes, and would write the same.
    #[test]
    fn records_are_what_the_generated_types_write() {
        let long = Body::Telemetry(vec![Sample {
            time: Timestamp(1),
            entries: (0..3000).map(|index| Entry { key: format!("k{index}"), value: Value::Long(index) }).collect(),
        }]);
        for body in every_body().into_iter().chain([Body::Telemetry(vec![]), long]) {
            let mut event = event(body);
            for topic in [None, Some(Arc::from(""))] {
                event.topic = topic;
                let mut record = b"before".to_vec();
                encode(&event, &mut record);
                let record = record.strip_prefix(b"before").unwrap();
                assert_eq!(wire::Event::decode(record).unwrap().encode_to_vec(), record, "{event:?}");
            }
        }
    }

    #[test]
    fn damaged_records_are_errors_and_never_panics() {
        for body in every_body() {
            let mut record = Vec::new();
            encode(&event(body), &mut record);
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
