//! Identities. All of them are plain numbers that the registry and the event log hand out.

use std::fmt;
use std::str::FromStr;

/// A tenant. Every registry key and cache key starts with one (design §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId(pub u32);

impl TenantId {
    /// The tenant `default`, which always exists.
    pub const DEFAULT: Self = Self(1);
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A device. Stable over renames; never reused after a device was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceId(pub u64);

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The unique id of an event: which node made it, in which of its runs, as which event of that run.
///
/// Readers get events at least once and use this to recognise a repetition (design §6). Written `node-boot-sequence`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId {
    /// The node of the cluster; 0 on a single node.
    pub node: u16,
    /// Which run of that node: counted up at every start.
    pub boot: u32,
    /// Counted up with every event of the run, from 0.
    pub sequence: u64,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.node, self.boot, self.sequence)
    }
}

/// The text is not three decimal numbers joined by `-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventIdError(String);

impl fmt::Display for EventIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event id: expected node-boot-sequence such as 0-3-128, got {:?}", self.0)
    }
}

impl std::error::Error for EventIdError {}

impl FromStr for EventId {
    type Err = EventIdError;

    fn from_str(text: &str) -> Result<Self, EventIdError> {
        let parse = || {
            let mut parts = text.split('-');
            let id = Self {
                node: parts.next()?.parse().ok()?,
                boot: parts.next()?.parse().ok()?,
                sequence: parts.next()?.parse().ok()?,
            };
            parts.next().is_none().then_some(id)
        };
        parse().ok_or_else(|| EventIdError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_ids_survive_text() {
        let id = EventId { node: 3, boot: 17, sequence: u64::MAX };
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in ["", "1-2", "1-2-3-4", "a-b-c", "70000-1-1", "1--1"] {
            assert!(bad.parse::<EventId>().is_err(), "{bad}");
        }
    }
}
