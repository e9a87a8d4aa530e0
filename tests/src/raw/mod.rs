//! An MQTT client that sends and shows every byte, so that a test can do what no decent client would.
//!
//! - [`mod@write`]: packets to be sent, well made or not
//! - [`read`]: packets of the gateway, taken apart far enough to be judged

pub mod read;
pub mod write;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use crate::gateway::Gateway;
use crate::wait::DEADLINE;
pub use read::{Packet, Property, Value};
pub use write::{Connect, PINGREQ, Publish};

/// A protocol version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1
    V31,
    /// MQTT 3.1.1
    V311,
    /// MQTT 5.0
    V5,
}

impl Version {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::V31, Self::V311, Self::V5];

    /// Whether packets have reason codes and properties.
    pub fn is_v5(self) -> bool {
        self == Self::V5
    }
}

/// One connection to a gateway.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    version: Version,
    /// Read, and not taken yet.
    buffer: Vec<u8>,
}

impl Client {
    /// A connection on which nothing has been sent. What comes is read as packets of this version.
    #[track_caller]
    pub fn open(gateway: &Gateway, version: Version) -> Self {
        Self::open_at(gateway.address(), version)
    }

    /// The same by address.
    #[track_caller]
    pub fn open_at(address: SocketAddr, version: Version) -> Self {
        let stream = TcpStream::connect_timeout(&address, DEADLINE).unwrap();
        Self::on(stream, version)
    }

    /// A connection that takes in as little as possible while nobody reads.
    #[track_caller]
    pub fn open_narrow(gateway: &Gateway, version: Version) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(1).unwrap(); // the kernel makes the least of it that it can
        socket.connect(&gateway.address().into()).unwrap();
        Self::on(socket.into(), version)
    }

    fn on(stream: TcpStream, version: Version) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        Self { stream, version, buffer: Vec::new() }
    }

    /// Connects the device that has this access token.
    #[track_caller]
    pub fn connect(gateway: &Gateway, version: Version, token: &str) -> Self {
        let mut client = Self::open(gateway, version);
        let connack = client.greet(&Connect::new(version).user(token));
        assert_eq!(connack.code(), 0, "{connack:?}");
        client
    }

    /// Sends CONNECT and returns the CONNACK.
    #[track_caller]
    pub fn greet(&mut self, connect: &Connect) -> Packet {
        self.send(&connect.bytes());
        let packet = self.receive();
        assert!(matches!(packet, Packet::ConnAck { .. }), "CONNACK expected, got {packet:?}");
        packet
    }

    /// The version that it speaks.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Sends bytes.
    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).unwrap();
    }

    /// Sends bytes, if the peer still takes them.
    ///
    /// # Errors
    /// It does not.
    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Publishes, and returns what is said to that.
    #[track_caller]
    pub fn publish(&mut self, id: u16, topic: &str, payload: impl AsRef<[u8]>) -> Packet {
        self.send(&Publish::new(topic, payload).id(id).bytes(self.version));
        self.receive()
    }

    /// Publishes telemetry, and makes sure that it is acknowledged.
    #[track_caller]
    pub fn telemetry(&mut self, id: u16, payload: impl AsRef<[u8]>) {
        let puback = self.publish(id, "v1/devices/me/telemetry", payload);
        assert_eq!((puback.kind(), puback.id(), puback.code()), ("PUBACK", id, 0), "{puback:?}");
    }

    /// Sends all that, and a PINGREQ behind it; returns what the gateway does about it in the words of spec 4.3, such as
    /// `PUBACK 0x99`, `DISCONNECT 0x99, close` or `–` for nothing at all.
    #[track_caller]
    pub fn reaction(&mut self, bytes: &[u8]) -> String {
        read::told(&self.reactions(bytes), self.version)
    }

    /// The same as packets. The last one is a PINGRESP if the connection stays open, else [`Packet::Close`].
    #[track_caller]
    pub fn reactions(&mut self, bytes: &[u8]) -> Vec<Packet> {
        self.send(&[bytes, &PINGREQ].concat());
        let mut packets = Vec::new();
        loop {
            let packet = self.next_or_close();
            let last = matches!(packet, Packet::PingResp | Packet::Close);
            packets.push(packet);
            if last {
                return packets;
            }
        }
    }

    /// Makes sure that the connection is open and that nothing was sent to it but the answer to this.
    #[track_caller]
    pub fn ping(&mut self) {
        assert_eq!(self.reactions(&[]), [Packet::PingResp]);
    }

    /// The next packet.
    ///
    /// # Panics
    /// The gateway closes the connection, or sends nothing within [`DEADLINE`].
    #[track_caller]
    pub fn receive(&mut self) -> Packet {
        match self.next_or_close() {
            Packet::Close => panic!("the gateway closed the connection"),
            packet => packet,
        }
    }

    /// The next packet, or [`Packet::Close`].
    ///
    /// # Panics
    /// The gateway sends nothing within [`DEADLINE`], or no packet.
    #[track_caller]
    pub fn next_or_close(&mut self) -> Packet {
        loop {
            if let Some((packet, length)) = read::packet(&self.buffer, self.version) {
                self.buffer.drain(..length);
                return packet;
            }
            let mut chunk = [0; 16 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => {
                    assert!(self.buffer.is_empty(), "closed in the middle of a packet: {:02x?}", self.buffer);
                    return Packet::Close;
                }
                Ok(length) => self.buffer.extend_from_slice(&chunk[..length]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Packet::Close,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("waiting for a packet: {error}; read so far: {:02x?}", self.buffer),
            }
        }
    }

    /// Everything up to the end of the connection.
    #[track_caller]
    pub fn rest(&mut self) -> Vec<Packet> {
        let mut packets = Vec::new();
        loop {
            match self.next_or_close() {
                Packet::Close => return packets,
                packet => packets.push(packet),
            }
        }
    }

    /// Reads up to the end of the connection without looking at it.
    pub fn drain(&mut self) {
        let mut chunk = [0; 16 * 1024];
        while self.stream.read(&mut chunk).is_ok_and(|length| length > 0) {}
    }

    /// Makes sure that nothing is said for so long, and that the connection stays open.
    #[track_caller]
    pub fn silence(&mut self, time: Duration) {
        assert!(self.buffer.is_empty(), "said already: {:02x?}", self.buffer);
        self.stream.set_read_timeout(Some(time)).unwrap();
        let mut chunk = [0; 64];
        let read = self.stream.read(&mut chunk).map(|length| &chunk[..length]);
        let silent =
            read.as_ref().is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
        assert!(silent, "silence expected, got {read:02x?}");
        self.stream.set_read_timeout(Some(DEADLINE)).unwrap();
    }

    /// How the connection ends, and that nothing else is said: the code of the DISCONNECT in v5, 0 in v3 and where none
    /// was sent.
    #[track_caller]
    pub fn end(&mut self) -> u8 {
        match self.rest().as_slice() {
            [] => 0,
            [Packet::Disconnect { code, .. }] => *code,
            others => panic!("a close expected, got {others:?}"),
        }
    }

    /// Says goodbye and waits until the gateway has closed the connection.
    #[track_caller]
    pub fn leave(mut self) {
        self.send(&write::disconnect(self.version, 0));
        assert_eq!(self.rest(), []);
    }

    /// Sends no more, but reads on.
    pub fn half_close(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Ends the connection with a reset, as a crashed network stack does.
    pub fn reset(self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
}
