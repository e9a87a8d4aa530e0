//! What a message is meant to be, once its topic was matched (spec 4.1).

use std::fmt;

/// The meaning of a topic, with the request id where the topic carries one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Time series points: rows 4 and 11 of spec 4.1.
    Telemetry,
    /// Client attributes: rows 3 and 12.
    Attributes,
    /// A client-side RPC: rows 7 and 14.
    RpcRequest(i32),
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Telemetry => "telemetry",
            Self::Attributes => "attributes",
            Self::RpcRequest(_) => "rpc-request",
        })
    }
}
