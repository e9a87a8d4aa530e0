//! Bad input never panics, hangs, or loses somebody else's message. Every case runs beside a device that does nothing
//! wrong: each of its messages must be acknowledged, and be in the log once and in its place.
#![allow(clippy::unwrap_used, reason = "in a test, whatever goes wrong is to be seen at once")]

use std::time::Duration;

use tidegate_tests::raw::{Connect, PINGREQ, Packet, Publish, write};
use tidegate_tests::steady::Steady;
use tidegate_tests::wait::{pause, until_true};
use tidegate_tests::{Client, Gateway, Options, Version};

const TELEMETRY: &str = "v1/devices/me/telemetry";

/// Runs `attack` with the token of a device beside a steady one.
#[track_caller]
fn beside_a_steady_device(options: Options, attack: impl FnOnce(&Gateway, &str)) {
    let gateway = Gateway::start(options);
    let token = gateway.device("hostile");
    let steady = Steady::start(&gateway, &gateway.device("steady"));
    steady.advance(50);
    attack(&gateway, &token);
    // It is still served after all that.
    steady.advance(50);
    steady.stop_unharmed(&gateway, "steady");
    gateway.assert_healthy();
}

/// Numbers that look random and are the same every time: a failure can be looked at again.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit).unwrap()).unwrap()
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| u8::try_from(self.next() >> 56).unwrap()).collect()
    }
}

/// Noise before CONNECT and after it.
#[test]
fn garbage() {
    beside_a_steady_device(Options::new(), |gateway, token| {
        let mut random = Random(0x7469_6465_6761_7465);
        for round in 0..150 {
            let length = 1 + random.below(300);
            let noise = random.bytes(length);
            let version = Version::ALL[round % 3];
            let mut client =
                if round % 2 == 0 { Client::open(gateway, version) } else { Client::connect(gateway, version, token) };
            let _ = client.try_send(&noise);
            client.half_close();
            client.rest();
        }
    });
}

/// Good packets with one byte changed.
#[test]
fn packets_with_a_wrong_byte() {
    beside_a_steady_device(Options::new(), |gateway, token| {
        let mut random = Random(1);
        for round in 0..300 {
            let version = Version::ALL[round % 3];
            let mut bytes = [
                Connect::new(version).client("c").user(token).keep_alive(60).bytes(),
                write::subscribe(version, 1, &[("v2/a", 1), ("v2/r/req/+", 0)]),
                Publish::new(TELEMETRY, "{\"a\":[1,2,{\"b\":\"c\"}]}").bytes(version),
                write::unsubscribe(version, 2, &["v2/a"]),
                PINGREQ.to_vec(),
            ]
            .concat();
            let place = random.below(bytes.len());
            bytes[place] ^= u8::try_from(1 + random.below(255)).unwrap();
            let mut client = Client::open(gateway, version);
            let _ = client.try_send(&bytes);
            client.half_close();
            // Which version the gateway answers in depends on the byte, so what it says is not read as packets.
            client.drain();
        }
    });
}

/// Every beginning of a conversation, and then nothing any more.
#[test]
fn half_a_packet_and_then_the_end() {
    beside_a_steady_device(Options::new(), |gateway, token| {
        for version in Version::ALL {
            let connect = Connect::new(version).client("c").user(token).bytes();
            let publish = Publish::new(TELEMETRY, "{\"a\":1}").bytes(version);
            for length in 0..connect.len() {
                let mut client = Client::open(gateway, version);
                client.send(&connect[..length]);
                client.half_close();
                assert_eq!(client.rest(), [], "{version:?}, {length}");
            }
            for length in 0..publish.len() {
                let mut client = Client::connect(gateway, version, token);
                client.send(&publish[..length]);
                client.half_close();
                assert_eq!(client.rest(), [], "{version:?}, {length}");
            }
        }
        until_true("the last one to be gone", || {
            gateway.api().get("/api/v1/sessions").ok().as_array().unwrap().len() == 1
        });
        assert!(gateway.telemetry("hostile").is_empty());
    });
}

/// A crowd of clients that send a CONNECT byte by byte, forever.
#[test]
fn slowloris() {
    beside_a_steady_device(Options::new().set("connect_timeout=2"), |gateway, token| {
        let connect = Connect::new(Version::V5).user(token).client(&"c".repeat(200)).bytes();
        let mut slow: Vec<_> = (0..200).map(|_| Client::open(gateway, Version::V5)).collect();
        // Below the time limit: all are served in the end.
        for client in &mut slow[..100] {
            client.send(&connect[..10]);
        }
        for client in &mut slow[..100] {
            client.send(&connect[10..20]);
        }
        for client in &mut slow[..2] {
            client.send(&connect[20..]);
            assert_eq!(client.receive().code(), 0);
        }
        // The others never come to an end, and are closed without a word.
        for client in &mut slow[2..] {
            for byte in &connect[20..25] {
                if client.try_send(&[*byte]).is_err() {
                    break;
                }
            }
        }
        for client in &mut slow[2..] {
            assert_eq!(client.rest(), []);
        }
    });
}

/// Lengths that promise more than anybody may send. Nothing is set aside for them.
#[test]
fn huge_lengths() {
    beside_a_steady_device(Options::new(), |gateway, token| {
        for first in [0x10, 0x30, 0x32, 0x82] {
            let mut client = Client::open(gateway, Version::V5);
            client.send(&[first, 0xff, 0xff, 0xff, 0x7f]);
            client.drain();
            let mut client = Client::connect(gateway, Version::V5, token);
            client.send(&[first, 0xff, 0xff, 0xff, 0x7f]);
            let expected = if first == 0x10 { 0x82 } else { 0x95 };
            assert_eq!(client.end(), expected, "{first:#04x}");
        }
        // Within the limit, but the rest never comes. Many of them, each with as much as it may send.
        let part = &Publish::new(TELEMETRY, vec![b'x'; 65_000]).bytes(Version::V5)[..64_000];
        let mut clients: Vec<_> = (0..50).map(|_| Client::open(gateway, Version::V5)).collect();
        for (index, client) in clients.iter_mut().enumerate() {
            let own = gateway.device(&format!("part-{index}"));
            client.greet(&Connect::new(Version::V5).user(&own));
            client.send(part);
        }
    });
}

/// More connections than there may be: the surplus is closed at once, and there is room again when others have left.
#[test]
fn more_connections_than_there_may_be() {
    beside_a_steady_device(Options::new().set("max_connections=20"), |gateway, token| {
        let crowd: Vec<_> = (0..19).map(|_| Client::open(gateway, Version::V5)).collect();
        until_true("the crowd to be counted", || {
            gateway.api().get("/metrics").body.contains("tidegate_connections 20")
        });
        for _ in 0..50 {
            let mut surplus = Client::open(gateway, Version::V5);
            let _ = surplus.try_send(&Connect::new(Version::V5).user(token).bytes());
            assert_eq!(surplus.rest(), []);
        }
        drop(crowd);
        until_true("room", || {
            let mut client = Client::open(gateway, Version::V5);
            client.try_send(&Connect::new(Version::V5).user(token).bytes()).is_ok()
                && matches!(client.next_or_close(), Packet::ConnAck { code: 0, .. })
        });
        let metrics = gateway.api().get("/metrics").body;
        assert!(metrics.contains("tidegate_connects_total{result=\"too-many\"}"), "{metrics}");
    });
}

/// A client that publishes and never reads: once nothing more fits into its socket it has `write_timeout`.
#[test]
fn a_client_that_does_not_read() {
    beside_a_steady_device(Options::new().set("write_timeout=1"), |gateway, token| {
        let mut deaf = Client::open_narrow(gateway, Version::V5);
        deaf.greet(&Connect::new(Version::V5).user(token));
        // Each of these is answered with a long reason, so that the answers fill every buffer on the way.
        let publish = Publish::new(format!("nowhere/{}", "x".repeat(1000)), "").bytes(Version::V5).repeat(10);
        let sender = std::thread::spawn(move || {
            while deaf.try_send(&publish).is_ok() {}
            deaf
        });
        let story = gateway.story_until("hostile", "disconnected write-timeout");
        assert_eq!(story, ["connected", "disconnected write-timeout"]);
        drop(sender.join().unwrap());
    });
}

/// Connections that nobody closes: the device is gone, and TCP does not know. Keep-alive ends them, and the next
/// connection of the device need not wait for that.
#[test]
fn half_open_connections() {
    beside_a_steady_device(Options::new(), |gateway, token| {
        let mut forgotten = Client::open(gateway, Version::V5);
        forgotten.greet(&Connect::new(Version::V5).user(token).keep_alive(1));
        let mut again = Client::connect(gateway, Version::V311, token);
        again.telemetry(1, "{\"n\":1}");
        let mut idle = Client::open(gateway, Version::V5);
        idle.greet(&Connect::new(Version::V5).user(&gateway.device("idle")).keep_alive(1));
        assert_eq!(idle.end(), 0x8d);
        assert_eq!(gateway.story("idle"), ["connected", "disconnected keep-alive"]);
    });
}

/// Resets at every moment, in the middle of drains above all. A submitted drain completes (design §1).
#[test]
fn resets() {
    beside_a_steady_device(Options::new(), |gateway, token| {
        for round in 0..100 {
            let mut client = Client::connect(gateway, Version::V5, token);
            let publishes: Vec<u8> = (1..=50)
                .flat_map(|id| Publish::new(TELEMETRY, format!("{{\"n\":{id}}}")).id(id).bytes(Version::V5))
                .collect();
            client.send(&publishes);
            if round % 3 == 0 {
                client.receive();
            }
            if round % 3 == 1 {
                client.send(&publishes[..publishes.len() / 2]);
            }
            client.reset();
        }
        until_true("the last one to be gone", || {
            gateway.api().get("/api/v1/sessions").ok().as_array().unwrap().len() == 1
        });
        // What came in came in whole and in order: every run of numbers begins with 1 and counts up.
        let numbers = gateway.numbers("hostile");
        let mut before = 0;
        for number in numbers {
            assert!(number == 1 || number == before + 1, "{number} after {before}");
            before = number;
        }
    });
}

/// QoS 0 without end: its sender is slowed down by not being read, and loses nothing.
#[test]
fn a_flood_with_qos_0() {
    beside_a_steady_device(Options::new(), |gateway, token| {
        let mut client = Client::connect(gateway, Version::V5, token);
        let flood: Vec<u8> = (0..20_000)
            .flat_map(|n| Publish::new(TELEMETRY, format!("{{\"n\":{n}}}")).qos(0).bytes(Version::V5))
            .collect();
        client.send(&flood);
        client.ping();
        assert_eq!(gateway.numbers("hostile"), (0..20_000).collect::<Vec<_>>());
    });
}

/// A client that sends packets without end to which nothing is said: its connection never has to wait for anything, and
/// nevertheless lets the others of its worker go on, and ends when it is told to.
#[test]
fn a_flood_without_answers() {
    beside_a_steady_device(Options::new().set("workers=1"), |gateway, token| {
        let mut client = Client::connect(gateway, Version::V5, token);
        let flood = std::thread::spawn(move || {
            let puback = [0x40, 2, 0, 1].repeat(10_000);
            while client.try_send(&puback).is_ok() {}
        });
        let other = gateway.device("other");
        for id in 1..20 {
            Client::connect(gateway, Version::V311, &other).telemetry(id, "{\"n\":1}");
        }
        gateway.api().delete("/api/v1/devices/hostile").ok();
        flood.join().unwrap();
    });
}

/// Topics and payloads that are no text, too deep, too long or too many.
#[test]
fn strange_payloads() {
    beside_a_steady_device(Options::new(), |gateway, token| {
        let deep = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
        let arrays = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        let wide = format!("{{{}}}", (0..6000).map(|key| format!("\"{key}\":1")).collect::<Vec<_>>().join(","));
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(65_000));
        let digits = format!("{{\"a\":{}}}", "9".repeat(60_000));
        let exponent = "{\"a\":1e999999999}".to_owned();
        let rows: Vec<(&str, Vec<u8>, u8)> = vec![
            // Spec 7.1: nesting deeper than 64 levels is an invalid payload.
            ("64 levels", deep(64).into(), 0),
            ("65 levels", deep(65).into(), 0x99),
            ("10,000 levels", deep(10_000).into(), 0x99),
            ("30,000 arrays", arrays(30_000).into(), 0x99),
            ("brackets without end", "[".repeat(65_000).into(), 0x99),
            ("6,000 keys", wide.into(), 0),
            ("65,000 characters", long.into(), 0),
            ("60,000 digits", digits.into(), 0x99),
            ("an enormous exponent", exponent.into(), 0x99),
            ("invalid UTF-8", b"{\"a\":\"\xff\xfe\"}".to_vec(), 0x99),
            ("a lone surrogate", b"{\"a\":\"\\ud800\"}".to_vec(), 0x99),
            ("U+0000", b"{\"a\0\":1}".to_vec(), 0x99),
            ("zeros", vec![0; 65_000], 0x99),
            ("a long key", format!("{{\"{}\":1}}", "k".repeat(256)).into(), 0x99),
            ("an empty key", b"{\"\":1}".to_vec(), 0x99),
        ];
        let mut client = Client::connect(gateway, Version::V5, token);
        for (what, payload, code) in rows {
            let puback = client.publish(1, TELEMETRY, payload);
            assert_eq!((puback.kind(), puback.code()), ("PUBACK", code), "{what}: {}", puback.reason());
            assert!(puback.reason().len() <= 1024, "{what}: a reason of {} bytes", puback.reason().len());
        }
        client.ping();
    });
}

/// Connections that come and go as fast as they can, with and without CONNECT, good ones and bad ones.
#[test]
fn a_storm_of_connections() {
    beside_a_steady_device(Options::new(), |gateway, token| {
        let address = gateway.address();
        let storms: Vec<_> = (0..4)
            .map(|kind| {
                let token = token.to_owned();
                std::thread::spawn(move || {
                    for _ in 0..100 {
                        let mut client = Client::open_at(address, Version::V5);
                        match kind {
                            0 => {}
                            1 => _ = client.try_send(&Connect::new(Version::V5).user("wrong").bytes()),
                            2 => _ = client.try_send(&Connect::new(Version::V5).user(&token).bytes()),
                            _ => {
                                let _ = client.try_send(&Connect::new(Version::V5).user(&token).bytes());
                                client.reset();
                            }
                        }
                    }
                })
            })
            .collect();
        storms.into_iter().for_each(|storm| storm.join().unwrap());
        pause(Duration::from_millis(100));
        let mut client = Client::connect(gateway, Version::V5, token);
        client.telemetry(1, "{\"n\":1}");
        // Connected and disconnected take turns, whatever happened.
        let story = gateway.story("hostile");
        for pair in story[..story.len() - 1].chunks(2) {
            assert!(
                matches!(pair, [a, b] if a == "connected" && b.starts_with("disconnected")) || pair.len() == 1,
                "{story:?}"
            );
        }
    });
}

/// Bad input of the admin API (the rest of it is in `api.rs`).
#[test]
fn bad_requests() {
    beside_a_steady_device(Options::new(), |gateway, _| {
        use std::io::{Read, Write};
        let address = gateway.api().url.strip_prefix("http://").unwrap();
        let requests: [&[u8]; 6] = [
            b"\0\0\0\0",
            b"GET\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"POST /api/v1/devices HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999\r\n\r\n",
            b"GET /api/v1/events?limit=\xff HTTP/1.1\r\nhost: x\r\n\r\n",
            &[b'A'; 100_000],
        ];
        for request in requests {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            let _ = stream.write_all(request);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
}
