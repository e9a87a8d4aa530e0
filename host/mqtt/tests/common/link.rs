//! A session and its client in memory, with a clock that only moves when it is told to.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tidegate_mqtt::codec::Connect;
use tidegate_mqtt::session::{Accepted, ProfileRules, Ticket};
use tidegate_mqtt::{Close, Kind, Outcome, Request, Session, Settings};

use super::bytes::{hex, packet};

/// What the host does with a session, without a host.
pub(crate) struct Link {
    pub(crate) session: Session,
    pub(crate) now: Instant,
    /// What the client sent and the session has not taken.
    pub(crate) unread: Vec<u8>,
    /// What the session sent.
    pub(crate) out: BytesMut,
    /// What the session asked for, in words.
    pub(crate) requests: Vec<String>,
    /// The CONNECT to be answered.
    pub(crate) connect: Option<Box<Connect>>,
    /// Answer CONNECT with success at once, as this kind of session. `None`: leave it.
    pub(crate) accept: Option<Kind>,
    pub(crate) rules: ProfileRules,
    /// Settle every message at once with what this says for its topic. `None`: leave it in `tickets`.
    pub(crate) outcome: Option<fn(&str) -> Outcome>,
    pub(crate) tickets: Vec<Ticket>,
    /// What the last packet was refused for, until the connection is closed for it.
    pub(crate) fault: Option<Close>,
    /// Why the connection was closed.
    pub(crate) closed: Option<Close>,
}

impl Link {
    pub(crate) fn new() -> Self {
        Self::with(Settings::default())
    }

    pub(crate) fn with(settings: Settings) -> Self {
        let now = Instant::now();
        Self {
            session: Session::new(Arc::new(settings), now),
            now,
            unread: Vec::new(),
            out: BytesMut::new(),
            requests: Vec::new(),
            connect: None,
            accept: Some(Kind::Device),
            rules: ProfileRules::default(),
            outcome: Some(|_| Outcome::SUCCESS),
            tickets: Vec::new(),
            fault: None,
            closed: None,
        }
    }

    /// A connection that sent this CONNECT and was accepted as a device.
    pub(crate) fn established(connect: &str) -> Self {
        Self::new().connected(connect)
    }

    pub(crate) fn connected(mut self, connect: &str) -> Self {
        self.send(connect);
        assert_eq!(self.closed, None);
        self.out.clear();
        self.requests.clear();
        self
    }

    pub(crate) fn v311() -> Self {
        Self::established("10 .. 00 04 'MQTT' 04 02 00 00 00 01 'a'")
    }

    pub(crate) fn v5() -> Self {
        Self::established("10 .. 00 04 'MQTT' 05 02 00 00 00 00 01 'a'")
    }

    /// The client sends a packet, in the notation of [`super::bytes`].
    pub(crate) fn send(&mut self, notation: &str) {
        self.feed(&packet(notation));
    }

    /// The client sends bytes; the host takes all packets that are there whole.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        self.drain();
    }

    /// Takes packets until there is none or one is at fault, and closes for that.
    pub(crate) fn drain(&mut self) {
        self.feed_until_fault(&[]);
        if let Some(fault) = self.fault.take() {
            self.close(fault);
        }
    }

    /// [`feed`](Self::feed), but what came before a fault may still be settled before the connection is closed for it.
    pub(crate) fn feed_until_fault(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        let unread = std::mem::take(&mut self.unread);
        let mut taken = 0;
        while self.closed.is_none() && self.fault.is_none() {
            match self.take_packet(&unread[taken..]) {
                Ok(None) => break,
                Ok(Some(used)) => taken += used,
                Err(fault) => self.fault = Some(fault),
            }
        }
        self.unread = unread[taken..].to_vec();
    }

    fn take_packet(&mut self, unread: &[u8]) -> Result<Option<usize>, Close> {
        let Some((packet, used)) = self.session.decode(unread)? else { return Ok(None) };
        match self.session.receive(packet, self.now, &mut self.out)? {
            Request::None | Request::Subscribed { .. } => {}
            Request::Authenticate(connect) => {
                self.requests.push(format!("authenticate {}", connect.client_id));
                self.connect = Some(connect);
                if let Some(kind) = self.accept {
                    self.accept(kind)?;
                }
            }
            Request::Publish(message) => {
                let topic = message.topic.to_string();
                self.requests.push(format!("publish {topic} {}", String::from_utf8_lossy(message.payload)));
                match self.outcome {
                    Some(outcome) => self.session.settle(message.ticket, &outcome(&topic), &mut self.out)?,
                    None => self.tickets.push(message.ticket),
                }
            }
            Request::Acknowledged { packet_id, code } => {
                self.requests.push(format!("acknowledged {packet_id} {:02x}", code.value()));
            }
            Request::Disconnect { code, reason, publish_will } => {
                let reason = reason.unwrap_or("-");
                self.requests.push(format!("disconnect {:02x} {reason} will={publish_will}", code.value()));
            }
        }
        Ok(Some(used))
    }

    /// The platform says yes.
    pub(crate) fn accept(&mut self, kind: Kind) -> Result<(), Close> {
        let rules = self.rules.clone();
        self.session.accept(Accepted { kind, rules, client_id: "assigned" }, self.now, &mut self.out)
    }

    /// Settles the oldest message that waits.
    pub(crate) fn settle(&mut self, outcome: &Outcome) {
        let ticket = self.tickets.remove(0);
        if let Err(close) = self.session.settle(ticket, outcome, &mut self.out) {
            self.close(close);
        }
    }

    pub(crate) fn close(&mut self, close: Close) {
        self.session.close(&close, &mut self.out);
        self.closed = Some(close);
    }

    /// Time goes by; closes if a time limit has come.
    pub(crate) fn wait(&mut self, time: Duration) {
        self.now += time;
        if let Err(close) = self.session.expire(self.now) {
            self.close(close);
        }
    }

    pub(crate) fn take_out(&mut self) -> Vec<u8> {
        self.out.split().to_vec()
    }

    /// What the session sent since the last call must be these packets.
    #[track_caller]
    pub(crate) fn expect(&mut self, notation: &str) {
        let sent = self.take_out();
        assert_eq!(hex(&sent), hex(&packet(notation)));
    }

    /// The requests since the last call must be these.
    #[track_caller]
    pub(crate) fn expect_requests(&mut self, expected: &[&str]) {
        assert_eq!(std::mem::take(&mut self.requests), expected);
    }

    #[track_caller]
    pub(crate) fn expect_closed(&self, code: u8) {
        assert_eq!(self.closed.as_ref().map(|close| close.code.value()), Some(code), "{:?}", self.closed);
    }

    #[track_caller]
    pub(crate) fn expect_open(&self) {
        assert_eq!(self.closed, None);
    }
}
