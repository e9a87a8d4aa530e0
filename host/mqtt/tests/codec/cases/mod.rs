//! Packets, and what the specifications ask for.

pub(crate) mod v3;
pub(crate) mod v5;

use tidegate_mqtt::Version;
use tidegate_mqtt::codec::Stage;

/// One row.
pub(crate) struct Case {
    /// What is special about it.
    pub(crate) name: &'static str,
    pub(crate) stage: Stage,
    /// In the notation of `common::bytes`.
    pub(crate) bytes: &'static str,
    /// Where the specification says so.
    pub(crate) clause: &'static str,
    pub(crate) expect: Expect,
}

pub(crate) enum Expect {
    /// A packet that says this, in the words of `common::describe`.
    Packet(&'static str),
    /// An error with this reason code.
    Refused(u8),
    /// Not a whole packet yet, and nothing wrong with it so far.
    Incomplete,
    /// A packet that the session answers with these bytes.
    Answer(&'static str),
    /// A packet that the session answers with these bytes before it closes.
    AnswerAndClose(&'static str),
}

pub(crate) const FIRST: Stage = Stage::First;
pub(crate) const V31: Stage = Stage::Established(Version::V31);
pub(crate) const V311: Stage = Stage::Established(Version::V311);
pub(crate) const V5: Stage = Stage::Established(Version::V5);
