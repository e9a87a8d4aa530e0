//! All connections, on one thread that never waits for one of them.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::options::Common;
use crate::packets::{self, Packet, Version};
use crate::tally::{Failure, Tally};
use crate::window::{Nanos, Window};

/// Room for what one connection has to say at once.
const READ: usize = 64 * 1024;
/// So many CONNECTs are on their way at once: less than servers let wait.
const ARRIVING: usize = 100;
/// The longest that a turn waits for something to happen.
const TURN: Duration = Duration::from_millis(50);

/// What is to be said on the connections of a fleet.
pub(crate) trait Conversation {
    /// A packet has come.
    ///
    /// # Errors
    /// It ends the conversation on this connection.
    fn hear(&mut self, talk: &mut Talk, packet: Packet, now: Nanos, tally: &mut Tally) -> Result<(), Lost>;

    /// Everything that came has been heard: what to say now is appended to `out`.
    fn say(&mut self, talk: &mut Talk, now: Nanos, out: &mut Vec<u8>);
}

/// Where the conversation on one connection stands.
#[derive(Debug, Default)]
pub(crate) struct Talk {
    pub(crate) window: Window,
    /// When messages were due that have not gone yet; open loop only.
    pub(crate) due: VecDeque<Nanos>,
    /// From CONNACK.
    pub(crate) receive_maximum: Option<u16>,
}

struct Connection {
    stream: TcpStream,
    open: bool,
    /// What was received of a packet that is not there whole.
    incoming: Vec<u8>,
    /// What the socket has not taken.
    outgoing: Vec<u8>,
    talk: Talk,
}

/// All connections.
pub(crate) struct Fleet {
    poll: Poll,
    events: Events,
    connections: Vec<Connection>,
    /// How many of them are not open any more.
    lost: usize,
    version: Version,
    scratch: Box<[u8]>,
    out: Vec<u8>,
    started: Instant,
    patience: Duration,
    last_heard: Instant,
    /// Errors so far.
    pub(crate) tally: Tally,
}

impl Fleet {
    /// Opens connections until as many are there as wanted. Those that fail are counted.
    ///
    /// # Errors
    /// Not a single one could be opened, or the server takes fewer messages at once than `window`.
    pub(crate) fn connect(common: &Common, window: u16, progress: impl Fn(usize)) -> anyhow::Result<Self> {
        let users = common.user_names()?;
        let mut fleet = Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            connections: Vec::new(),
            lost: 0,
            version: common.version,
            scratch: vec![0; READ].into(),
            out: Vec::new(),
            started: Instant::now(),
            patience: common.patience,
            last_heard: Instant::now(),
            tally: Tally::default(),
        };
        let wanted = common.connections as usize;
        let mut arrival = Arrival { arrived: 0 };
        let (mut dialled, mut arriving) = (0, 0);
        while dialled < wanted || arriving > 0 {
            while dialled < wanted && arriving < ARRIVING {
                let user = users.get(dialled).map(String::as_str);
                match fleet.dial(common, dialled, user) {
                    Ok(()) => arriving += 1,
                    Err(error) if dialled == 0 => bail!("{}: {error}", common.address),
                    Err(error) => fleet.tally.count(Failure::NotConnected, format!("{}: {error}", common.address)),
                }
                dialled += 1;
            }
            fleet.turn(TURN, &mut arrival)?;
            arriving = fleet.talks().filter(|talk| talk.receive_maximum.is_none()).count();
            progress(arrival.arrived);
            ensure!(!fleet.is_out_of_patience(), "{} does not answer CONNECT", common.address);
        }
        let first = fleet.tally.iter().next().map_or("", |(_, counted)| &counted.first);
        ensure!(fleet.open() > 0, "no connection could be opened: {first}");
        let least = fleet.talks().filter_map(|talk| talk.receive_maximum).min().unwrap_or(u16::MAX);
        ensure!(window <= least, "--window {window}: the server takes at most {least} messages at once");
        Ok(fleet)
    }

    /// Waits until something happens or this time is over, and lets the conversation go on where it did. Returns whether
    /// anything did.
    pub(crate) fn turn(&mut self, wait: Duration, conversation: &mut impl Conversation) -> anyhow::Result<bool> {
        match self.poll.poll(&mut self.events, Some(wait.min(TURN))) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(false),
            polled => polled?,
        }
        let mut heard = false;
        for event in &self.events {
            let Some(connection) = self.connections.get_mut(event.token().0).filter(|connection| connection.open)
            else {
                continue;
            };
            heard = true;
            let now = since(self.started);
            let received = connection.receive(self.version, &mut self.scratch, |talk, packet| {
                conversation.hear(talk, packet, now, &mut self.tally)
            });
            let sent = received.and_then(|()| connection.say(conversation, now, &mut self.out));
            if let Err(lost) = sent {
                connection.lose(&self.poll, lost, &mut self.tally);
                self.lost += 1;
            }
        }
        if heard {
            self.last_heard = Instant::now();
        }
        Ok(heard)
    }

    /// Lets the conversation speak on the connections with these indices without being spoken to.
    pub(crate) fn prompt(&mut self, indices: Range<usize>, conversation: &mut impl Conversation) {
        let now = self.now();
        for connection in self.connections[indices].iter_mut().filter(|connection| connection.open) {
            if let Err(lost) = connection.say(conversation, now, &mut self.out) {
                connection.lose(&self.poll, lost, &mut self.tally);
                self.lost += 1;
            }
        }
    }

    /// Says goodbye on every connection.
    pub(crate) fn close(&mut self) {
        for connection in self.connections.iter_mut().filter(|connection| connection.open) {
            // Whether the server hears it makes no difference any more.
            let _ = connection.send(&packets::DISCONNECT);
            connection.open = false;
            self.lost += 1;
        }
    }

    /// Now, on the clock of all the times here.
    pub(crate) fn now(&self) -> Nanos {
        since(self.started)
    }

    /// Whether the server has said nothing for too long.
    pub(crate) fn is_out_of_patience(&self) -> bool {
        self.last_heard.elapsed() > self.patience
    }

    /// The server has had nothing to answer until now.
    pub(crate) fn be_patient(&mut self) {
        self.last_heard = Instant::now();
    }

    /// How many connections are open.
    pub(crate) fn open(&self) -> usize {
        self.connections.len() - self.lost
    }

    /// How many connections there are, those that were lost included.
    pub(crate) fn len(&self) -> usize {
        self.connections.len()
    }

    /// The conversation on the connection with this index, if it is open.
    pub(crate) fn talk(&mut self, index: usize) -> Option<&mut Talk> {
        self.connections.get_mut(index).filter(|connection| connection.open).map(|connection| &mut connection.talk)
    }

    /// The conversations on all open connections.
    pub(crate) fn talks(&self) -> impl Iterator<Item = &Talk> {
        self.connections.iter().filter(|connection| connection.open).map(|connection| &connection.talk)
    }

    /// Messages that were lost with their connections, or are in flight, or have not even gone.
    pub(crate) fn unanswered(&self) -> u64 {
        self.connections
            .iter()
            .map(|connection| connection.talk.window.len() + connection.talk.due.len())
            .sum::<usize>() as u64
    }

    fn dial(&mut self, common: &Common, index: usize, user: Option<&str>) -> std::io::Result<()> {
        let stream = std::net::TcpStream::connect_timeout(&common.address, common.patience)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        // Two generators must not take over each other's sessions.
        let client_id = format!("load-{}-{index}", std::process::id());
        let token = Token(self.connections.len());
        self.poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        let connect = packets::connect(self.version, &client_id, user);
        let mut connection =
            Connection { stream, open: true, incoming: Vec::new(), outgoing: Vec::new(), talk: Talk::default() };
        connection.send(&connect).map_err(|lost| std::io::Error::other(lost.detail))?;
        self.connections.push(connection);
        Ok(())
    }
}

impl Connection {
    fn receive(
        &mut self,
        version: Version,
        scratch: &mut [u8],
        mut hear: impl FnMut(&mut Talk, Packet) -> Result<(), Lost>,
    ) -> Result<(), Lost> {
        loop {
            let kept = self.incoming.len();
            scratch[..kept].copy_from_slice(&self.incoming);
            let read = match self.stream.read(&mut scratch[kept..]) {
                Ok(0) if kept < scratch.len() => return Err(Lost::closed("by the server")),
                Ok(0) => return Err(Lost::unexpected("packet too large")),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(Lost::closed(error)),
            };
            let mut bytes = &scratch[..kept + read];
            loop {
                match packets::read(bytes, version) {
                    Ok(Some((packet, taken))) => {
                        hear(&mut self.talk, packet)?;
                        bytes = &bytes[taken..];
                    }
                    Ok(None) => break,
                    Err(malformed) => return Err(Lost::unexpected(malformed)),
                }
            }
            self.incoming.clear();
            self.incoming.extend_from_slice(bytes);
            if kept + read < scratch.len() {
                return Ok(()); // the socket is empty; it says so when there is more
            }
        }
    }

    fn say(&mut self, conversation: &mut impl Conversation, now: Nanos, out: &mut Vec<u8>) -> Result<(), Lost> {
        out.clear();
        conversation.say(&mut self.talk, now, out);
        self.send(out)
    }

    /// Sends what was left over and then these bytes; keeps what the socket does not take.
    fn send(&mut self, bytes: &[u8]) -> Result<(), Lost> {
        if !self.outgoing.is_empty() {
            let written = write(&mut self.stream, &self.outgoing)?;
            self.outgoing.drain(..written);
        }
        let written = if self.outgoing.is_empty() { write(&mut self.stream, bytes)? } else { 0 };
        self.outgoing.extend_from_slice(&bytes[written..]);
        Ok(())
    }

    fn lose(&mut self, poll: &Poll, lost: Lost, tally: &mut Tally) {
        self.open = false;
        tally.count(lost.failure, lost.detail);
        // The socket is of no use any more, whatever the answer is.
        let _ = poll.registry().deregister(&mut self.stream);
    }
}

fn write(stream: &mut TcpStream, bytes: &[u8]) -> Result<usize, Lost> {
    let mut written = 0;
    while written < bytes.len() {
        match stream.write(&bytes[written..]) {
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Lost::closed(error)),
        }
    }
    Ok(written)
}

/// Why a connection is of no more use.
pub(crate) struct Lost {
    failure: Failure,
    detail: String,
}

impl Lost {
    /// It is closed.
    pub(crate) fn closed(detail: impl ToString) -> Self {
        Self { failure: Failure::Closed, detail: detail.to_string() }
    }

    /// The server says what it should not.
    pub(crate) fn unexpected(detail: impl ToString) -> Self {
        Self { failure: Failure::Unexpected, detail: detail.to_string() }
    }
}

fn since(started: Instant) -> Nanos {
    u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// The conversation before CONNACK.
struct Arrival {
    arrived: usize,
}

impl Conversation for Arrival {
    fn hear(&mut self, talk: &mut Talk, packet: Packet, _: Nanos, _: &mut Tally) -> Result<(), Lost> {
        match packet {
            Packet::ConnAck { code: 0, receive_maximum } if talk.receive_maximum.is_none() => {
                talk.receive_maximum = Some(receive_maximum);
                self.arrived += 1;
                Ok(())
            }
            Packet::ConnAck { code, .. } => {
                Err(Lost { failure: Failure::Refused, detail: format!("CONNACK with code {code:#04x}") })
            }
            packet => Err(Lost::unexpected(format!("{packet:?} instead of CONNACK"))),
        }
    }

    fn say(&mut self, _: &mut Talk, _: Nanos, _: &mut Vec<u8>) {}
}
