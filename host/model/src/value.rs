//! Values, and the two shapes in which devices send them.

use crate::Timestamp;

/// A value: one of the five kinds of spec §1, no more.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `true` or `false`.
    Boolean(bool),
    /// A 64-bit signed integer (LONG).
    Long(i64),
    /// An IEEE double (DOUBLE). Finite: JSON has no others, and what Protobuf has beside them becomes a string (spec 8.2).
    Double(f64),
    /// Text.
    String(String),
    /// A JSON object or array, as compact text with the member order kept (spec 7.4).
    Json(String),
}

/// A key and its value: an attribute, or one reading of a [`Sample`].
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Never empty (spec 7.4).
    pub key: String,
    /// What the key stands at.
    pub value: Value,
}

/// A value and since when it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Stamped {
    /// When it was measured or written.
    pub time: Timestamp,
    /// What it is.
    pub value: Value,
}

/// Readings taken at one time: the point set of spec 7.2.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The device's time, or the host's receive time when the device gave none.
    pub time: Timestamp,
    /// The readings; a key occurs at most once.
    pub entries: Vec<Entry>,
}
