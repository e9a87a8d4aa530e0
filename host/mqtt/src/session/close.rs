//! How a connection ends: with a code where MQTT has a place for it (spec 2.7).

use std::borrow::Cow;
use std::fmt;

use bytes::BytesMut;

use super::{Phase, Session};
use crate::ReasonCode;
use crate::codec::{DecodeError, Peer, Property, PropertyId, Value};

/// Why the host ends a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// The code of the DISCONNECT, or of the CONNACK if there was none yet.
    pub code: ReasonCode,
    /// For the client's Reason String and the log. Never contains credentials. May be empty.
    pub reason: Cow<'static, str>,
}

impl Close {
    /// A close for this reason.
    pub fn new(code: ReasonCode, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { code, reason: reason.into() }
    }
}

impl From<DecodeError> for Close {
    #[cold]
    fn from(error: DecodeError) -> Self {
        Self::new(error.code, error.to_string())
    }
}

impl fmt::Display for Close {
    /// `0x97 quota exceeded: too many packets before CONNACK`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.reason {
            "" => self.code.fmt(f),
            reason => write!(f, "{}: {reason}", self.code),
        }
    }
}

impl std::error::Error for Close {}

impl Session {
    /// Ends the connection: appends to `out` what the client is to be told, after which `out` is to be flushed and the
    /// socket closed.
    ///
    /// That is a DISCONNECT in v5 and nothing in v3. Before CONNACK a server must not send DISCONNECT [MQTT-3.14.0-1], so
    /// the code goes into a CONNACK, if it has a meaning there. After a refusing CONNACK, a DISCONNECT of the client or
    /// an earlier call, nothing is written.
    pub fn close(&mut self, close: &Close, out: &mut BytesMut) {
        let reason = reason_string(close.code, &close.reason);
        // A farewell that the client cannot take is discarded [MQTT-3.1.2-25].
        match self.phase {
            Phase::Established(peer) => _ = peer.disconnect(close.code, reason.as_slice(), out),
            Phase::Answering(hello) => refuse(hello.peer, close.code, reason, out),
            Phase::Opened(Some(version)) => {
                refuse(
                    Peer { version, maximum_packet_size: u32::MAX, problem_information: true },
                    close.code,
                    reason,
                    out,
                );
            }
            Phase::Opened(None) | Phase::Leaving(_) | Phase::Closed => {}
        }
        self.phase = Phase::Closed;
        self.clock.stop();
    }
}

fn refuse(peer: Peer, code: ReasonCode, reason: Option<Property<'_>>, out: &mut BytesMut) {
    let code = code.in_connack();
    // v3 has few return codes. Where there is none, closing says it all.
    if peer.version.is_v5() || code.v3_return_code().is_some() {
        _ = peer.connack(false, code, reason.as_slice(), out);
    }
}

/// The Reason String that goes with an error code. Longer than 1 KiB is cut: it may come from a plugin.
pub(super) fn reason_string(code: ReasonCode, text: &str) -> Option<Property<'_>> {
    let text = text.get(..text.floor_char_boundary(1024)).unwrap_or_default();
    (code.is_error() && !text.is_empty()).then(|| Property::new(PropertyId::ReasonString, Value::Text(text)))
}
