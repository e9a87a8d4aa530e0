//! Design §1: any mix of packets gives the same events and outcomes one by one, batched, and split anywhere.
//!
//! The real pipeline (sockets, workers, the shipped plugin) on storage in memory. The same packets are sent by three
//! devices: each packet alone, with the next one only after it was dealt with; all in one write; cut at random places.
#![allow(missing_docs, clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use model::{Body, TenantId};
use platform::log::{EventLog, Item, Limits, MemoryLog};
use platform::registry::{Credential, Memory, NewDevice, Registry};
use proptest::prelude::*;
use tidegate::config::Settings;
use tidegate::gateway;
use tidegate::server::Server;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

struct Running {
    runtime: Runtime,
    registry: Arc<Memory>,
    log: Arc<MemoryLog>,
    address: SocketAddr,
}

/// One gateway for all cases; it ends with the process.
static GATEWAY: LazyLock<Running> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (registry, log) = (Arc::new(Memory::new()), Arc::new(MemoryLog::new()));
    let data = std::env::temp_dir().join(format!("tidegate-batching-{}", std::process::id()));
    std::fs::create_dir_all(&data).unwrap();
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins");
    assert!(plugins.join("json.wasm").exists(), "run `make plugins` first");
    let settings = Settings { data, plugins, profiles: "/nonexistent".into(), workers: 1, ..Settings::default() };
    let (registry_, log_) = (registry.clone(), log.clone());
    let address = runtime.block_on(async move {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let admin = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stop = CancellationToken::new();
        let server = Server::start_with(settings, registry_, log_, listener, admin, stop, |_| {}).await.unwrap();
        let address = server.address;
        std::mem::forget(server);
        address
    });
    Running { runtime, registry, log, address }
});

#[derive(Debug, Clone)]
enum Packet {
    Publish { qos: u8, topic: &'static str, payload: &'static str },
    Subscribe { filter: &'static str },
    Ping,
    Garbage,
    Disconnect,
}

fn packet() -> impl Strategy<Value = Packet> {
    let topic = prop_oneof![
        6 => Just("v1/devices/me/telemetry"),
        2 => Just("v1/devices/me/attributes"),
        1 => Just("v2/t/j"),
        2 => Just("v1/devices/me/rpc/request/1"),
        1 => Just("v2/r/req/j/2"),
        1 => Just("nowhere"),
        1 => Just("v1/gateway/telemetry"),
    ];
    let payload = prop_oneof![
        6 => Just(r#"{"a":1,"b":"x","c":1.5}"#),
        2 => Just(r#"{"method":"getSessionLimits","params":{}}"#),
        2 => Just(r#"[{"ts":5,"values":{"a":1}},{"b":true}]"#),
        1 => Just("{}"),
        1 => Just("{broken"),
        1 => Just(""),
    ];
    prop_oneof![
        20 => (0_u8..2, topic, payload).prop_map(|(qos, topic, payload)| Packet::Publish { qos, topic, payload }),
        2 => prop_oneof![Just("v2/a"), Just("v1/devices/me/rpc/response/+"), Just("#")]
            .prop_map(|filter| Packet::Subscribe { filter }),
        2 => Just(Packet::Ping),
        1 => Just(Packet::Garbage),
        1 => Just(Packet::Disconnect),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn events_and_outcomes_do_not_depend_on_how_packets_arrive(
        v5 in any::<bool>(),
        packets in prop::collection::vec(packet(), 1..40),
        cuts in prop::collection::vec(0_usize..3000, 0..8),
    ) {
        let packets: Vec<Vec<u8>> = packets.iter().enumerate().map(|(index, packet)| encode(packet, index as u16 + 1, v5)).collect();
        let all: Vec<u8> = packets.concat();

        let one_by_one = Device::connect(v5).run(packets.iter().map(Vec::as_slice), true);
        let batched = Device::connect(v5).run([all.as_slice()], false);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(all.len())).chain([0, all.len()]).collect();
        cuts.sort_unstable();
        let split = Device::connect(v5).run(cuts.windows(2).map(|cut| &all[cut[0]..cut[1]]), false);

        prop_assert_eq!(&batched, &one_by_one);
        prop_assert_eq!(&split, &one_by_one);
    }
}

/// What the client saw, and what the log has.
#[derive(Debug, PartialEq)]
struct Result {
    packets: Vec<Vec<u8>>,
    closed: bool,
    events: Vec<(Option<String>, Body)>,
}

struct Device {
    name: String,
    stream: TcpStream,
    v5: bool,
}

impl Device {
    fn connect(v5: bool) -> Self {
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let name = format!("d{}", NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        let device = NewDevice {
            name: name.clone(),
            profile: "default".to_owned(),
            gateway: false,
            credential: Some(Credential::token(name.as_str()).unwrap()),
            created: gateway::now(),
        };
        let created = GATEWAY.runtime.block_on(GATEWAY.registry.create_devices(TenantId::DEFAULT, vec![device]));
        created.into_iter().for_each(|created| drop(created.unwrap()));
        let mut stream = TcpStream::connect(GATEWAY.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(&connect_packet(&name, v5)).unwrap();
        let connack = read_packet(&mut stream).expect("CONNACK");
        assert_eq!((connack[0], connack[3]), (0x20, 0), "{connack:?}");
        Self { name, stream, v5 }
    }

    /// Writes the pieces, and reads until everything is answered or the connection ends.
    fn run<'a>(mut self, pieces: impl IntoIterator<Item = &'a [u8]>, mark_each: bool) -> Result {
        let mut packets = Vec::new();
        let mut closed = false;
        for piece in pieces {
            // Writing to a connection that the gateway has closed fails; what it said before is still to be read.
            let _ = self.stream.write_all(piece);
            if mark_each {
                closed |= self.mark(&mut packets);
                if closed {
                    break;
                }
            }
        }
        if !mark_each {
            closed = self.mark(&mut packets);
        }
        if !closed {
            let _ = self.stream.write_all(&[0xe0, 0]);
            while read_packet(&mut self.stream).is_some() {}
        }
        Result { packets, closed, events: events_of(&self.name) }
    }

    /// Sends something recognisable, and collects what comes until it is answered. True when the connection ended
    /// instead.
    fn mark(&mut self, packets: &mut Vec<Vec<u8>>) -> bool {
        // An UNSUBSCRIBE with packet id 65535: its answer cannot be confused with any other.
        let unsubscribe: &[u8] =
            if self.v5 { &[0xa2, 6, 0xff, 0xff, 0, 0, 1, b'x'] } else { &[0xa2, 5, 0xff, 0xff, 0, 1, b'x'] };
        let _ = self.stream.write_all(unsubscribe);
        loop {
            match read_packet(&mut self.stream) {
                Some(packet) if packet[0] == 0xb0 && packet[2..4] == [0xff, 0xff] => return false,
                Some(packet) => packets.push(packet),
                None => return true,
            }
        }
    }
}

/// The events of a device without what differs from run to run, up to its disconnect.
fn events_of(name: &str) -> Vec<(Option<String>, Body)> {
    let runtime = &GATEWAY.runtime;
    let mut position = GATEWAY.log.oldest();
    let mut events = Vec::new();
    let mut committed = GATEWAY.log.committed();
    loop {
        committed.borrow_and_update();
        let page = runtime.block_on(GATEWAY.log.read(position, Limits::default())).unwrap();
        position = page.next();
        for item in page.items() {
            let Item::Event { event, .. } = item else { panic!("a gap") };
            if event.origin.name != name {
                continue;
            }
            match event.body {
                Body::Connected(_) => {}
                Body::Disconnected(_) => return events,
                Body::Telemetry(mut samples) => {
                    // Points without a time of their own got that of the run.
                    let received = event.received;
                    samples.iter_mut().filter(|sample| sample.time == received).for_each(|sample| sample.time.0 = 0);
                    events.push((event.topic.as_deref().map(str::to_owned), Body::Telemetry(samples)));
                }
                body => events.push((event.topic.as_deref().map(str::to_owned), body)),
            }
        }
        if page.is_empty() {
            let waited = runtime.block_on(tokio_timeout(committed.changed()));
            assert!(waited, "no disconnect event of {name}");
        }
    }
}

async fn tokio_timeout(future: impl Future) -> bool {
    tokio::time::timeout(Duration::from_secs(20), future).await.is_ok()
}

fn encode(packet: &Packet, id: u16, v5: bool) -> Vec<u8> {
    let properties: &[u8] = if v5 { &[0] } else { &[] };
    let text = |text: &str| [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat();
    match packet {
        Packet::Publish { qos, topic, payload } => {
            let id: &[u8] = if *qos == 0 { &[] } else { &id.to_be_bytes() };
            frame(0x30 | qos << 1, &[&text(topic), id, properties, payload.as_bytes()])
        }
        Packet::Subscribe { filter } => frame(0x82, &[&id.to_be_bytes(), properties, &text(filter), &[1]]),
        Packet::Ping => vec![0xc0, 0],
        Packet::Garbage => vec![0xf7, 1, 0],
        Packet::Disconnect => vec![0xe0, 0],
    }
}

fn connect_packet(token: &str, v5: bool) -> Vec<u8> {
    let level = if v5 { 5 } else { 4 };
    let properties: &[u8] = if v5 { &[0] } else { &[] };
    let token = [&(token.len() as u16).to_be_bytes(), token.as_bytes()].concat();
    frame(0x10, &[b"\0\x04MQTT", &[level, 0x82, 0, 0], properties, &[0, 0], &token])
}

fn frame(first: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let mut frame = vec![first];
    let mut length = body.len();
    loop {
        let more = if length > 127 { 0x80 } else { 0 };
        frame.push((length % 128) as u8 | more);
        length /= 128;
        if length == 0 {
            break;
        }
    }
    [frame, body].concat()
}

/// A whole packet, or none if the connection ended.
fn read_packet(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut packet = vec![0; 2];
    stream.read_exact(&mut packet).ok()?;
    let mut length = usize::from(packet[1] & 0x7f);
    let mut shift = 7;
    while packet[packet.len() - 1] & 0x80 != 0 {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        length |= usize::from(byte[0] & 0x7f) << shift;
        shift += 7;
        packet.push(byte[0]);
    }
    let header = packet.len();
    packet.resize(header + length, 0);
    stream.read_exact(&mut packet[header..]).ok()?;
    Some(packet)
}
