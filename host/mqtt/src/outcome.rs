//! What became of a published message, and what the client sees of it: the matrix of spec 4.3.

use std::borrow::Cow;

use crate::{Qos, ReasonCode, Version};

/// What became of one published message. Every operation ends in one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The row of the matrix.
    pub situation: Situation,
    /// What was wrong, for the client's Reason String and the log, such as
    /// `telemetry: key "t": number expected at byte 14`. Never contains credentials. Empty for success.
    pub reason: Cow<'static, str>,
}

impl Outcome {
    /// The message was processed.
    pub const SUCCESS: Self = Self { situation: Situation::Success, reason: Cow::Borrowed("") };

    /// An outcome other than success, and why.
    pub fn new(situation: Situation, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { situation, reason: reason.into() }
    }
}

/// The rows of spec 4.3.
///
/// The row "wildcard in topic name" is missing: such a packet is refused by the decoder with 0x90 and never becomes a
/// message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Situation {
    /// Processed, and every event of it is on stable storage.
    Success,
    /// The payload breaks the payload rules (spec 4.4), in the opinion of the host or of a converter.
    InvalidPayload,
    /// The topic means nothing for this session (spec 4.1).
    InvalidTopic,
    /// A rate limit is exceeded (spec 18.3).
    RateLimited,
    /// A topic of the gateway API, used by a device that is no gateway.
    NotAGateway,
    /// The pipeline or the storage failed; nothing of the message is stored.
    ProcessingFailed,
    /// The converter trapped, or ran out of time or memory, and the dead letter is on stable storage.
    ConverterFailed,
}

impl Situation {
    /// All rows, each at the place of its number.
    pub const ALL: [Self; 7] = [
        Self::Success,
        Self::InvalidPayload,
        Self::InvalidTopic,
        Self::RateLimited,
        Self::NotAGateway,
        Self::ProcessingFailed,
        Self::ConverterFailed,
    ];

    /// The word for it in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::InvalidPayload => "invalid-payload",
            Self::InvalidTopic => "invalid-topic",
            Self::RateLimited => "rate-limited",
            Self::NotAGateway => "not-a-gateway",
            Self::ProcessingFailed => "processing-failed",
            Self::ConverterFailed => "converter-failed",
        }
    }
}

/// The settings that change a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    /// The profile's `sendAckOnValidationException`: an invalid payload is acknowledged in v3 as well.
    pub ack_on_error: bool,
    /// The host's `v3_invalid_topic = ack`: an invalid topic is acknowledged or ignored in v3 instead of closing.
    pub ack_invalid_topic: bool,
}

/// What the client sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reaction {
    /// The code of the PUBACK, if one is sent. In v3 a PUBACK has no code and this is always success.
    pub puback: Option<ReasonCode>,
    /// What happens to the connection after that.
    pub then: Then,
}

/// What happens to the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It stays open.
    StayOpen,
    /// It is closed: v5 with a DISCONNECT of this code, v3 without a word.
    Close(ReasonCode),
}

/// What a client sees of the outcome of its message (spec 4.3). QoS 2 counts as QoS 1, as v3 has it (spec 4.2).
pub fn react(situation: Situation, version: Version, qos: Qos, policy: Policy) -> Reaction {
    let row = row(situation, policy);
    match (version.is_v5(), qos) {
        (true, Qos::AtLeastOnce | Qos::ExactlyOnce) => row[0],
        (true, Qos::AtMostOnce) => row[1],
        (false, Qos::AtLeastOnce | Qos::ExactlyOnce) => row[2],
        (false, Qos::AtMostOnce) => row[3],
    }
}

/// The matrix of spec 4.3.
#[rustfmt::skip] // it is a table
fn row(situation: Situation, policy: Policy) -> [Reaction; 4] {
    use ReasonCode as Code;
    use Situation::{
        ConverterFailed, InvalidPayload, InvalidTopic, NotAGateway, ProcessingFailed, RateLimited, Success,
    };

    const fn ack(code: Code) -> Reaction {
        Reaction { puback: Some(code), then: Then::StayOpen }
    }
    const fn close(code: Code) -> Reaction {
        Reaction { puback: None, then: Then::Close(code) }
    }
    const fn ack_and_close(puback: Code, disconnect: Code) -> Reaction {
        Reaction { puback: Some(puback), then: Then::Close(disconnect) }
    }
    const ACK: Reaction = ack(Code::SUCCESS);
    const OPEN: Reaction = Reaction { puback: None, then: Then::StayOpen };
    const PAYLOAD: Code = Code::PAYLOAD_FORMAT_INVALID;
    const TOPIC: Code = Code::TOPIC_NAME_INVALID;
    const QUOTA: Code = Code::QUOTA_EXCEEDED;
    const RATE: Code = Code::MESSAGE_RATE_TOO_HIGH;
    const DENIED: Code = Code::NOT_AUTHORIZED;
    const FAILED: Code = Code::IMPLEMENTATION_SPECIFIC_ERROR;

    match situation {
        //                                           v5 QoS 1                       v5 QoS 0        v3 QoS 1        v3 QoS 0
        Success                                  => [ACK,                           OPEN,           ACK,            OPEN],
        InvalidPayload if policy.ack_on_error    => [ack(PAYLOAD),                  close(PAYLOAD), ACK,            close(PAYLOAD)],
        InvalidPayload                           => [ack(PAYLOAD),                  close(PAYLOAD), close(PAYLOAD), close(PAYLOAD)],
        InvalidTopic if policy.ack_invalid_topic => [ack(TOPIC),                    OPEN,           ACK,            OPEN],
        InvalidTopic                             => [ack(TOPIC),                    OPEN,           close(TOPIC),   close(TOPIC)],
        RateLimited                              => [ack_and_close(QUOTA, RATE),    close(RATE),    close(RATE),    close(RATE)],
        NotAGateway                              => [ack(DENIED),                   OPEN,           close(DENIED),  close(DENIED)],
        ProcessingFailed                         => [ack_and_close(FAILED, FAILED), close(FAILED),  close(FAILED),  close(FAILED)],
        ConverterFailed                          => [ack(FAILED),                   OPEN,           ACK,            OPEN],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spec 4.3 as it is printed there, row by row and column by column.
    #[test]
    fn spec_4_3_outcome_matrix() {
        let default = Policy::default();
        let ack_on_error = Policy { ack_on_error: true, ..default };
        let ack_invalid_topic = Policy { ack_invalid_topic: true, ..default };
        let rows = [
            (Situation::Success, default, ["PUBACK 0x00", "–", "PUBACK", "–"]),
            (Situation::InvalidPayload, default, ["PUBACK 0x99", "DISCONNECT 0x99", "close", "close"]),
            (Situation::InvalidPayload, ack_on_error, ["PUBACK 0x99", "DISCONNECT 0x99", "PUBACK", "close"]),
            (Situation::InvalidTopic, default, ["PUBACK 0x90", "–", "close", "close"]),
            (Situation::InvalidTopic, ack_invalid_topic, ["PUBACK 0x90", "–", "PUBACK", "–"]),
            (Situation::RateLimited, default, ["PUBACK 0x97, DISCONNECT 0x96", "DISCONNECT 0x96", "close", "close"]),
            (Situation::NotAGateway, default, ["PUBACK 0x87", "–", "close", "close"]),
            (
                Situation::ProcessingFailed,
                default,
                ["PUBACK 0x83, DISCONNECT 0x83", "DISCONNECT 0x83", "close", "close"],
            ),
            (Situation::ConverterFailed, default, ["PUBACK 0x83", "–", "PUBACK", "–"]),
        ];
        let columns = [
            (Version::V5, Qos::AtLeastOnce),
            (Version::V5, Qos::AtMostOnce),
            (Version::V311, Qos::AtLeastOnce),
            (Version::V311, Qos::AtMostOnce),
        ];
        for (situation, policy, expected) in rows {
            for ((version, qos), expected) in columns.into_iter().zip(expected) {
                let reaction = react(situation, version, qos, policy);
                assert_eq!(printed(reaction, version), expected, "{situation:?} {policy:?} {version} {qos:?}");
            }
            // 3.1 behaves as 3.1.1, and QoS 2 of v3 as QoS 1 (spec 4.2).
            for qos in [Qos::AtMostOnce, Qos::AtLeastOnce] {
                let v311 = react(situation, Version::V311, qos, policy);
                assert_eq!(react(situation, Version::V31, qos, policy), v311);
            }
            assert_eq!(
                react(situation, Version::V311, Qos::ExactlyOnce, policy),
                react(situation, Version::V311, Qos::AtLeastOnce, policy)
            );
        }
    }

    #[test]
    fn situations_stand_at_their_numbers() {
        for (number, situation) in Situation::ALL.into_iter().enumerate() {
            assert_eq!(situation as usize, number, "{situation:?}");
        }
    }

    fn printed(reaction: Reaction, version: Version) -> String {
        let v5 = version.is_v5();
        let puback =
            reaction.puback.map(|code| if v5 { format!("PUBACK {:#04x}", code.value()) } else { "PUBACK".into() });
        let close = match reaction.then {
            Then::StayOpen => None,
            Then::Close(code) if v5 => Some(format!("DISCONNECT {:#04x}", code.value())),
            Then::Close(_) => Some("close".into()),
        };
        let said: Vec<String> = puback.into_iter().chain(close).collect();
        if said.is_empty() { "–".into() } else { said.join(", ") }
    }
}
