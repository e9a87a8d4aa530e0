//! Time limits of a connection (spec 2, 2.6). The time is given, never read.

use std::time::{Duration, Instant};

use super::{Close, Session};
use crate::ReasonCode;

/// When the connection ends for lack of a packet.
#[derive(Debug)]
pub(super) struct Clock {
    /// From when `limit` counts: the last packet, or the start, moved on by the time that the host did not read.
    since: Instant,
    /// The host has not been reading since.
    paused: Option<Instant>,
    limit: Limit,
}

#[derive(Debug)]
enum Limit {
    /// Waiting for CONNECT.
    Connect(Duration),
    /// The platform is being asked; it has time limits of its own.
    None,
    /// Keep Alive times 1.5.
    KeepAlive(Duration),
    /// No keep alive; the host's own limit.
    Inactivity(Duration),
}

impl Clock {
    pub(super) fn until_connect(limit: Duration, now: Instant) -> Self {
        Self { since: now, paused: None, limit: Limit::Connect(limit) }
    }

    /// A packet arrived.
    #[inline]
    pub(super) fn packet(&mut self, now: Instant) {
        self.since = now;
        if self.paused.is_some() {
            self.paused = Some(now);
        }
    }

    pub(super) fn stop(&mut self) {
        self.limit = Limit::None;
    }

    /// The connection is established; `keep_alive` is the client's, in seconds, 0 for none.
    ///
    /// Keep-alive ends it after 1.5 intervals, inactivity after `session_timeout`, but not a client whose keep-alive is
    /// longer than that (spec 2.6). So there is only ever one of the two to wait for.
    pub(super) fn establish(&mut self, keep_alive: u16, session_timeout: Duration, now: Instant) {
        let interval = Duration::from_secs(keep_alive.into());
        let patience = interval * 3 / 2;
        self.limit = if keep_alive > 0 && (interval > session_timeout || patience <= session_timeout) {
            Limit::KeepAlive(patience)
        } else {
            Limit::Inactivity(session_timeout)
        };
        self.packet(now);
    }

    fn deadline(&self) -> Option<Instant> {
        match (self.paused, &self.limit) {
            (Some(_), _) | (_, Limit::None) => None,
            (None, Limit::Connect(limit) | Limit::KeepAlive(limit) | Limit::Inactivity(limit)) => {
                self.since.checked_add(*limit)
            }
        }
    }
}

impl Session {
    /// When to call [`expire`](Self::expire). Moves with every packet, so a timer need only be set anew when it fires.
    /// `None`: not before something else happens.
    pub fn deadline(&self) -> Option<Instant> {
        self.clock.deadline()
    }

    /// Fails if the [`deadline`](Self::deadline) has come.
    pub fn expire(&self, now: Instant) -> Result<(), Close> {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return Ok(());
        }
        Err(match self.clock.limit {
            Limit::Connect(limit) => {
                Close::new(ReasonCode::MAXIMUM_CONNECT_TIME, format!("no CONNECT within {limit:?}"))
            }
            Limit::KeepAlive(limit) => {
                Close::new(ReasonCode::KEEP_ALIVE_TIMEOUT, format!("no packet for {limit:?}, 1.5 times the keep alive"))
            }
            Limit::Inactivity(limit) => {
                Close::new(ReasonCode::MAXIMUM_CONNECT_TIME, format!("no packet for {limit:?}"))
            }
            Limit::None => return Ok(()),
        })
    }

    /// The host stops reading from the socket: the client cannot make itself heard, so its time stands still.
    pub fn pause(&mut self, now: Instant) {
        self.clock.paused.get_or_insert(now);
    }

    /// The host reads again.
    pub fn resume(&mut self, now: Instant) {
        if let Some(paused) = self.clock.paused.take() {
            let silence = now.saturating_duration_since(paused);
            self.clock.since = self.clock.since.checked_add(silence).unwrap_or(now);
        }
    }
}
