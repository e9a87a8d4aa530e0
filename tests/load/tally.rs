//! Errors, counted by kind.

use std::collections::BTreeMap;
use std::fmt::Display;

use serde::Serialize;

/// What can go wrong. Whoever is to blame, the numbers of such a run are not those of an undisturbed server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Failure {
    /// No TCP connection.
    NotConnected,
    /// CONNACK with a code that is not 0.
    Refused,
    /// The server closed the connection, or it broke.
    Closed,
    /// A packet that nobody asked for, or that is malformed.
    Unexpected,
    /// A message was answered with a reason code of 0x80 or more.
    Rejected,
    /// A message that was due was never answered.
    Unanswered,
}

/// Errors of a run.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub(crate) struct Tally(BTreeMap<Failure, Counted>);

/// How often, and how it looked the first time.
#[derive(Debug, Serialize)]
pub(crate) struct Counted {
    pub(crate) count: u64,
    pub(crate) first: String,
}

impl Tally {
    /// Counts an error.
    pub(crate) fn count(&mut self, failure: Failure, detail: impl Display) {
        self.add(failure, 1, detail);
    }

    /// Counts so many of them, which may be none.
    pub(crate) fn add(&mut self, failure: Failure, count: u64, detail: impl Display) {
        if count > 0 {
            let counted = self.0.entry(failure).or_insert_with(|| Counted { count: 0, first: detail.to_string() });
            counted.count += count;
        }
    }

    /// By kind.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Failure, &Counted)> {
        self.0.iter().map(|(failure, counted)| (*failure, counted))
    }

    /// Whether there was none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
