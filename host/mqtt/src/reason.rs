//! Reason codes of MQTT 5.0 and return codes of MQTT 3.x, each with the place where the host uses it.

use std::fmt;

/// A reason code (MQTT5 §2.4). Below 0x80 it reports success, from 0x80 on failure.
///
/// MQTT 3.x has no reason codes: there a code decides only whether the connection stays open, and for CONNACK it is
/// translated by [`v3_return_code`](Self::v3_return_code).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReasonCode(u8);

impl ReasonCode {
    /// The code as it stands on the wire.
    pub const fn value(self) -> u8 {
        self.0
    }

    /// Whether the code reports a failure.
    pub const fn is_error(self) -> bool {
        self.0 >= 0x80
    }

    /// What a refusing CONNACK says in MQTT 3.x for this code (spec 2.3). `None`: 3.x has no word for it, and the
    /// connection is closed without a CONNACK.
    pub const fn v3_return_code(self) -> Option<u8> {
        match self {
            Self::UNSUPPORTED_PROTOCOL_VERSION => Some(1),
            Self::CLIENT_IDENTIFIER_NOT_VALID => Some(2),
            Self::SERVER_UNAVAILABLE | Self::CONNECTION_RATE_EXCEEDED => Some(3),
            // Not 4, "bad user name or password": clients of ThingsBoard know only 5.
            Self::BAD_USER_NAME_OR_PASSWORD | Self::NOT_AUTHORIZED => Some(5),
            _ => None,
        }
    }

    /// What the CONNACK says when a connection is closed with this code before the CONNECT was answered.
    /// A server must not send DISCONNECT then [MQTT-3.14.0-1], and not every code of DISCONNECT is one of CONNACK.
    pub(crate) const fn in_connack(self) -> Self {
        match self {
            Self::SERVER_SHUTTING_DOWN
            | Self::SESSION_TAKEN_OVER
            | Self::ADMINISTRATIVE_ACTION
            | Self::MAXIMUM_CONNECT_TIME => Self::SERVER_UNAVAILABLE,
            code => code,
        }
    }
}

impl From<u8> for ReasonCode {
    fn from(value: u8) -> Self {
        Self(value)
    }
}

impl fmt::Display for ReasonCode {
    /// `0x97 quota exceeded`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#04x} {}", self.0, self.name())
    }
}

macro_rules! reason_codes {
    ($($value:literal $constant:ident $name:literal $use:literal;)*) => {
        impl ReasonCode {
            $(#[doc = concat!("`", stringify!($value), "` ", $name, ": ", $use, ".")]
            pub const $constant: Self = Self($value);)*

            /// The name of the code in words.
            pub const fn name(self) -> &'static str {
                match self.0 {
                    $($value => $name,)*
                    _ => "undefined reason code",
                }
            }
        }
    };
}

// The codes of MQTT5 §2.4 that the host sends or that a client may send to it.
reason_codes! {
    0x00 SUCCESS "success" "every acknowledgement; granted QoS 0 in SUBACK; normal DISCONNECT";
    0x01 GRANTED_QOS_1 "granted QoS 1" "SUBACK (spec 5.1)";
    0x04 DISCONNECT_WITH_WILL "disconnect with will message" "DISCONNECT from a client that wants its will published";
    0x10 NO_MATCHING_SUBSCRIBERS "no matching subscribers" "PUBACK from a client";
    0x11 NO_SUBSCRIPTION_EXISTED "no subscription existed" "UNSUBACK (spec 5.2)";
    0x18 CONTINUE_AUTHENTICATION "continue authentication" "AUTH";
    0x19 RE_AUTHENTICATE "re-authenticate" "AUTH from a client";
    0x80 UNSPECIFIED_ERROR "unspecified error" "from clients; in 3.x the refusal of a filter in SUBACK";
    0x81 MALFORMED_PACKET "malformed packet" "bytes that are no packet (spec 2.7)";
    0x82 PROTOCOL_ERROR "protocol error" "a packet that breaks a rule, such as a second CONNECT (spec 2.1, 2.7)";
    0x83 IMPLEMENTATION_SPECIFIC_ERROR "implementation specific error" "processing failed (spec 4.3)";
    0x84 UNSUPPORTED_PROTOCOL_VERSION "unsupported protocol version" "CONNACK (spec 2.3)";
    0x85 CLIENT_IDENTIFIER_NOT_VALID "client identifier not valid" "CONNACK (spec 2.3)";
    0x86 BAD_USER_NAME_OR_PASSWORD "bad user name or password" "CONNACK with detailed codes (spec 2.3)";
    0x87 NOT_AUTHORIZED "not authorized" "CONNACK, PUBACK, SUBACK (spec 2.3, 4.3, 5.1)";
    0x88 SERVER_UNAVAILABLE "server unavailable" "CONNACK (spec 2.3)";
    0x8B SERVER_SHUTTING_DOWN "server shutting down" "DISCONNECT when the host stops (spec 2.7)";
    0x8C BAD_AUTHENTICATION_METHOD "bad authentication method" "CONNACK: the host has no enhanced authentication";
    0x8D KEEP_ALIVE_TIMEOUT "keep alive timeout" "DISCONNECT (spec 2.6)";
    0x8E SESSION_TAKEN_OVER "session taken over" "DISCONNECT (spec 2.5)";
    0x8F TOPIC_FILTER_INVALID "topic filter invalid" "SUBACK, UNSUBACK (spec 5)";
    0x90 TOPIC_NAME_INVALID "topic name invalid" "PUBACK, DISCONNECT (spec 4.3)";
    0x91 PACKET_IDENTIFIER_IN_USE "packet identifier in use" "PUBACK from a client";
    0x92 PACKET_IDENTIFIER_NOT_FOUND "packet identifier not found" "PUBREL, PUBCOMP: there is no QoS 2 (spec 4.2)";
    0x93 RECEIVE_MAXIMUM_EXCEEDED "receive maximum exceeded" "DISCONNECT (spec 2.7)";
    0x94 TOPIC_ALIAS_INVALID "topic alias invalid" "DISCONNECT (spec 4.1)";
    0x95 PACKET_TOO_LARGE "packet too large" "DISCONNECT, CONNACK (spec 2)";
    0x96 MESSAGE_RATE_TOO_HIGH "message rate too high" "DISCONNECT (spec 4.3)";
    0x97 QUOTA_EXCEEDED "quota exceeded" "PUBACK, SUBACK, CONNACK (spec 2.1, 4.3, 18.4)";
    0x98 ADMINISTRATIVE_ACTION "administrative action" "DISCONNECT (spec 2.7)";
    0x99 PAYLOAD_FORMAT_INVALID "payload format invalid" "PUBACK, DISCONNECT (spec 4.3)";
    0x9B QOS_NOT_SUPPORTED "QoS not supported" "DISCONNECT after a QoS 2 publish (spec 4.2)";
    0x9E SHARED_SUBSCRIPTIONS_NOT_SUPPORTED "shared subscriptions not supported" "SUBACK (spec 5.1)";
    0x9F CONNECTION_RATE_EXCEEDED "connection rate exceeded" "CONNACK (spec 2.3)";
    0xA0 MAXIMUM_CONNECT_TIME "maximum connect time" "DISCONNECT (spec 2.6)";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v3_return_codes_are_those_of_spec_2_3() {
        for (code, v3) in [
            (ReasonCode::NOT_AUTHORIZED, Some(5)),
            (ReasonCode::BAD_USER_NAME_OR_PASSWORD, Some(5)),
            (ReasonCode::CLIENT_IDENTIFIER_NOT_VALID, Some(2)),
            (ReasonCode::SERVER_UNAVAILABLE, Some(3)),
            (ReasonCode::CONNECTION_RATE_EXCEEDED, Some(3)),
            (ReasonCode::UNSUPPORTED_PROTOCOL_VERSION, Some(1)),
            (ReasonCode::MALFORMED_PACKET, None),
        ] {
            assert_eq!(code.v3_return_code(), v3, "{code}");
        }
    }

    #[test]
    fn codes_read_as_number_and_name() {
        assert_eq!(ReasonCode::QUOTA_EXCEEDED.to_string(), "0x97 quota exceeded");
        assert_eq!(ReasonCode::from(0x42).to_string(), "0x42 undefined reason code");
    }
}
