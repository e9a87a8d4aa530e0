//! The contract between host and guests: one module for each version of the WIT files, which turns that version's types
//! into those of [`model`]. Old versions keep loading through their module when a newer one comes.

pub(crate) mod bounds;
pub(crate) mod draft;
mod json_text;

use bytes::Bytes;
use model::{Operation, Timestamp};

/// The version that the host speaks, as it stands behind the `@` of an interface name.
pub const VERSION: &str = "0.1.0-draft";

/// A message to be decoded.
#[derive(Debug, Clone)]
pub struct Uplink {
    /// What the topic says the message is.
    pub operation: Operation,
    /// Present when the topic was matched by a wildcard filter of the profile.
    pub topic: Option<MatchedTopic>,
    /// The payload; shares the connection's read buffer.
    pub payload: Bytes,
    /// When the host received it.
    pub received: Timestamp,
}

/// A topic and what the wildcards of a filter stand for in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatchedTopic {
    /// The whole name.
    pub name: String,
    /// The levels that `+` stands for, in order, and last what `#` stands for.
    pub captures: Vec<String>,
}

/// What a converter implements; the host gives the rest to the shipped JSON converter (spec 16).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operations(u32);

impl Operations {
    /// The names of the flags in the order of the contract.
    const NAMES: [&str; 14] = [
        "telemetry",
        "attributes",
        "attribute-request",
        "rpc-request",
        "rpc-response",
        "claim",
        "provision",
        "gateway-connect",
        "gateway-disconnect",
        "gateway-telemetry",
        "gateway-attributes",
        "gateway-attribute-request",
        "gateway-rpc-response",
        "gateway-claim",
    ];

    /// Whether the converter decodes this, and encodes the answer if there is one.
    pub fn contains(self, operation: Operation) -> bool {
        let bit = match operation {
            Operation::Telemetry => 0,
            Operation::Attributes => 1,
            Operation::RpcRequest(_) => 3,
        };
        self.0 & (1 << bit) != 0
    }

    /// The names of what is implemented, as in the WIT file.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.iter().enumerate().filter(move |(bit, _)| self.0 & (1 << bit) != 0).map(|(_, name)| *name)
    }
}
