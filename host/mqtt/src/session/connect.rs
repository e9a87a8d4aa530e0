//! CONNECT and the answer to it (spec 2.1 to 2.3).

use std::time::Instant;

use bytes::BytesMut;

use super::{Close, Phase, ProfileRules, Request, Session};
use crate::codec::{Connect, Peer, Property, PropertyId, Value};
use crate::{Kind, ReasonCode, Version};

/// The highest topic alias that the host takes (spec 2.2).
pub(super) const TOPIC_ALIAS_MAXIMUM: u16 = 16;

/// What the session keeps of the CONNECT until it is answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hello {
    pub(super) peer: Peer,
    keep_alive: u16,
    receive_maximum: u16,
    without_client_id: bool,
    wants_expiry: bool,
    /// ThingsBoard's code for a failed authentication of this client.
    detailed_code: ReasonCode,
}

/// The platform knows the client.
#[derive(Debug, Clone)]
pub struct Accepted<'a> {
    /// What the session may do.
    pub kind: Kind,
    /// What the device's profile says.
    pub rules: ProfileRules,
    /// The client identifier: that of the CONNECT, or one that the host assigned because it was empty. Told to a v5
    /// client if it was assigned.
    pub client_id: &'a str,
}

/// Why a client may not connect (spec 2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Authentication failed.
    NotAuthorized {
        /// It was by a client certificate.
        certificate: bool,
    },
    /// The backend is not reachable, something failed inside, or the host is about to stop.
    Unavailable,
    /// A rate or a number of connections is exceeded.
    RateLimited,
}

impl Refusal {
    /// Spec 2.3; in v3 the code is translated by [`ReasonCode::v3_return_code`].
    fn code(self, detailed: Option<ReasonCode>) -> ReasonCode {
        match self {
            Self::NotAuthorized { certificate: false } => detailed.unwrap_or(ReasonCode::NOT_AUTHORIZED),
            Self::NotAuthorized { certificate: true } => ReasonCode::NOT_AUTHORIZED,
            Self::Unavailable => ReasonCode::SERVER_UNAVAILABLE,
            Self::RateLimited => ReasonCode::CONNECTION_RATE_EXCEEDED,
        }
    }
}

impl Hello {
    fn new(connect: &Connect) -> Self {
        Self {
            peer: Peer {
                version: connect.version,
                maximum_packet_size: connect.maximum_packet_size,
                problem_information: connect.request_problem_information,
            },
            keep_alive: connect.keep_alive,
            receive_maximum: connect.receive_maximum,
            without_client_id: connect.client_id.is_empty(),
            wants_expiry: connect.session_expiry > 0,
            detailed_code: detailed_code(connect),
        }
    }
}

/// Spec 2.3, last paragraph: what ThingsBoard says when authentication without a certificate fails.
fn detailed_code(connect: &Connect) -> ReasonCode {
    let user_name = connect.user_name.as_ref().is_some_and(|text| !text.is_empty());
    let password = connect.password.as_ref().is_some_and(|bytes| !bytes.is_empty());
    match (user_name, password) {
        (true, true) if !connect.client_id.is_empty() => ReasonCode::BAD_USER_NAME_OR_PASSWORD,
        (true, false) | (false, true) => ReasonCode::BAD_USER_NAME_OR_PASSWORD,
        _ if !connect.client_id.trim().is_empty() => ReasonCode::CLIENT_IDENTIFIER_NOT_VALID,
        _ => ReasonCode::NOT_AUTHORIZED,
    }
}

/// What every CONNECT must fulfil, whoever sent it.
fn check(connect: &Connect) -> Result<(), Close> {
    let refuse = |code, reason: &'static str| Err(Close::new(code, reason));
    match connect.version {
        Version::V31 if !(1..=23).contains(&connect.client_id.chars().count()) => {
            refuse(ReasonCode::CLIENT_IDENTIFIER_NOT_VALID, "client identifier: 1 to 23 characters are expected")
        }
        // 3.1.1 [MQTT-3.1.3-8]
        Version::V311 if connect.client_id.is_empty() && !connect.clean_start => {
            refuse(ReasonCode::CLIENT_IDENTIFIER_NOT_VALID, "client identifier: empty, but clean session is 0")
        }
        // [MQTT-4.12.0-1]
        Version::V5 if connect.authentication_method.is_some() => {
            refuse(ReasonCode::BAD_AUTHENTICATION_METHOD, "Authentication Method: there is no enhanced authentication")
        }
        _ => Ok(()),
    }
}

impl Session {
    pub(super) fn connect<'a>(&mut self, connect: Box<Connect>) -> Result<Request<'a>, Close> {
        self.phase = Phase::Answering(Hello::new(&connect));
        self.clock.stop();
        check(&connect)?;
        Ok(Request::Authenticate(connect))
    }

    /// Answers [`Request::Authenticate`]: appends the CONNACK of spec 2.2 to `out`. After that
    /// [`decode`](Self::decode) goes on with the packets that arrived meanwhile.
    ///
    /// Fails if the client cannot even take the CONNACK. Has no effect on a connection that was closed meanwhile.
    pub fn accept(&mut self, accepted: Accepted<'_>, now: Instant, out: &mut BytesMut) -> Result<(), Close> {
        let Phase::Answering(hello) = self.phase else { return Ok(()) };
        let max_inflight = self.settings.max_inflight.max(1);
        let mut properties = vec![
            Property::new(PropertyId::MaximumQos, Value::Byte(1)),
            Property::new(PropertyId::MaximumPacketSize, Value::Long(self.settings.max_packet.max(1))),
            Property::new(PropertyId::ReceiveMaximum, Value::Short(max_inflight)),
            Property::new(PropertyId::TopicAliasMaximum, Value::Short(TOPIC_ALIAS_MAXIMUM)),
            Property::new(PropertyId::SharedSubscriptionAvailable, Value::Byte(0)),
        ];
        if hello.without_client_id {
            properties.push(Property::new(PropertyId::AssignedClientIdentifier, Value::Text(accepted.client_id)));
        }
        if hello.wants_expiry {
            // Sessions end with their connection.
            properties.push(Property::new(PropertyId::SessionExpiryInterval, Value::Long(0)));
        }
        if let Err(error) = hello.peer.connack(false, ReasonCode::SUCCESS, &properties, out) {
            return Err(Close::new(ReasonCode::PACKET_TOO_LARGE, format!("CONNACK: {error}")));
        }
        self.phase = Phase::Established(hello.peer);
        self.kind = accepted.kind;
        self.rules = accepted.rules;
        self.wanted_expiry = hello.wants_expiry;
        self.outbound.set_window(hello.receive_maximum.min(max_inflight));
        self.clock.establish(hello.keep_alive, self.settings.session_timeout, now);
        Ok(())
    }

    /// Answers [`Request::Authenticate`]: appends a refusing CONNACK to `out`, after which `out` is to be flushed and
    /// the socket closed. `reason` is for the Reason String of v5 and may be empty.
    pub fn refuse(&mut self, refusal: Refusal, reason: &str, out: &mut BytesMut) {
        let Phase::Answering(hello) = self.phase else { return };
        let code = refusal.code(self.settings.detailed_auth_codes.then_some(hello.detailed_code));
        self.close(&Close::new(code, reason.to_owned()), out);
    }
}
