//! Packed rows: stamped values ↔ the bytes of `row.proto`.

use model::{Stamped, Timestamp, Value};
use prost::Message;

use crate::event::DecodeError;

#[allow(missing_docs, clippy::all, unreachable_pub)]
mod wire {
    include!(concat!(env!("OUT_DIR"), "/tidegate.row.v1.rs"));
}

/// The bytes of a row with these keys and values.
pub fn encode<'a>(entries: impl Iterator<Item = (&'a String, &'a Stamped)>) -> Vec<u8> {
    let entries = entries.map(|(key, Stamped { time, value })| wire::Stamped {
        key: key.clone(),
        time: time.0,
        value: Some(match value {
            Value::Boolean(value) => wire::stamped::Value::Boolean(*value),
            Value::Long(value) => wire::stamped::Value::Long(*value),
            Value::Double(value) => wire::stamped::Value::Double(*value),
            Value::String(value) => wire::stamped::Value::String(value.clone()),
            Value::Json(value) => wire::stamped::Value::Json(value.clone()),
        }),
    });
    wire::Row { entries: entries.collect() }.encode_to_vec()
}

/// Reads a row.
///
/// # Errors
/// The bytes are not a row.
pub fn decode(row: &[u8]) -> Result<Vec<(String, Stamped)>, DecodeError> {
    let entry = |wire::Stamped { key, time, value }| {
        let value = match value.ok_or(DecodeError::Field("value"))? {
            wire::stamped::Value::Boolean(value) => Value::Boolean(value),
            wire::stamped::Value::Long(value) => Value::Long(value),
            wire::stamped::Value::Double(value) => Value::Double(value),
            wire::stamped::Value::String(value) => Value::String(value),
            wire::stamped::Value::Json(value) => Value::Json(value),
        };
        Ok((key, Stamped { time: Timestamp(time), value }))
    };
    wire::Row::decode(row)?.entries.into_iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_value_survives_its_row() {
        let values = [
            Value::Boolean(true),
            Value::Long(i64::MAX),
            Value::Double(0.1),
            Value::String("s".to_owned()),
            Value::Json("[1]".to_owned()),
        ];
        let entries: Vec<(String, Stamped)> = values
            .into_iter()
            .enumerate()
            .map(|(index, value)| (format!("k{index}"), Stamped { time: Timestamp(-(index as i64)), value }))
            .collect();
        let row = encode(entries.iter().map(|(key, stamped)| (key, stamped)));
        assert_eq!(decode(&row).unwrap(), entries);
        assert!(decode(&[0xff]).is_err());
    }
}
