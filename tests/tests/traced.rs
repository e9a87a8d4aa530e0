//! PUBACK means: every event of the message is on stable storage (design §6). Proved from the system calls.
#![allow(clippy::unwrap_used, reason = "in a test, whatever goes wrong is to be seen at once")]

use std::fs;

use tempfile::TempDir;
use tidegate_tests::foreign::assert_installed;
use tidegate_tests::raw::{Packet, Publish};
use tidegate_tests::trace::{Proof, check, marked, tracer};
use tidegate_tests::{Client, Gateway, Options, Version};

const DEVICES: usize = 4;
const MESSAGES: usize = 60;
/// Messages of one device on their way at once.
const WINDOW: usize = 6;

/// Several devices publish at once, so that commits serve many; then every system call of the gateway is looked at.
#[track_caller]
fn traced(options: Options) -> Proof {
    assert_installed("strace");
    let folder = TempDir::with_prefix("tidegate-trace-").unwrap();
    let output = folder.path().join("trace");
    let options = options.set("event_log.segment_size=256 KiB").set("event_log.retention_size=1 MiB");
    let mut gateway = Gateway::start(options.under(&tracer(output.to_str().unwrap())));
    let tokens: Vec<_> = (0..DEVICES).map(|device| gateway.device(&format!("d{device}"))).collect();
    std::thread::scope(|scope| {
        for (device, token) in tokens.iter().enumerate() {
            let gateway = &gateway;
            scope.spawn(move || publish(gateway, device, token));
        }
    });
    let port = gateway.address().port();
    gateway.stop();
    let proof = check(&fs::read_to_string(output).unwrap(), port).unwrap();
    let all = DEVICES * MESSAGES;
    assert_eq!((proof.received, proof.acknowledged), (all, all), "the trace does not show every message");
    proof
}

fn publish(gateway: &Gateway, device: usize, token: &str) {
    let version = if device.is_multiple_of(2) { Version::V5 } else { Version::V311 };
    let mut client = Client::connect(gateway, version, token);
    for window in (0..MESSAGES).collect::<Vec<_>>().chunks(WINDOW) {
        let id = |number: usize| u16::try_from(number + 1).unwrap();
        for &number in window {
            let payload = marked(&format!("d{device}"), number);
            client.send(&Publish::new("v1/devices/me/telemetry", payload).id(id(number)).bytes(version));
        }
        for &number in window {
            let puback = client.receive();
            assert!(matches!(puback, Packet::PubAck { code: 0, .. }) && puback.id() == id(number), "{puback:?}");
        }
    }
    client.leave();
}

/// Design §6: no PUBACK before the commit, where commits bypass the page cache.
#[test]
fn no_puback_before_a_direct_commit() {
    let proof = traced(Options::new());
    assert!(proof.synchronous_writes > 0 && proof.syncs == 0, "{proof:?}");
}

/// Design §6: nor where the file system refuses that, and commits are ordinary writes with fdatasync.
#[test]
fn no_puback_before_a_buffered_commit() {
    // A folder stands where the gateway wants to try.
    let proof = traced(Options::new().file("data/events/direct.probe/in-the-way", ""));
    assert!(proof.syncs > 0 && proof.synchronous_writes == 0, "{proof:?}");
}
