//! When storage stops, sockets stop being read (design §6): a disk without room, and a limit that a reader holds.
#![allow(clippy::unwrap_used, reason = "in a test, whatever goes wrong is to be seen at once")]

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tidegate_tests::api::Api;
use tidegate_tests::foreign::{assert_installed, run};
use tidegate_tests::gateway::token_of;
use tidegate_tests::raw::{Connect, PINGREQ, Packet, Publish};
use tidegate_tests::steady::Steady;
use tidegate_tests::wait::{until, until_true};
use tidegate_tests::{Client, Gateway, Options, Version};

/// So small that a few messages need another one.
const SEGMENT: &str = "event_log.segment_size=256 KiB";
/// How long nothing must be heard of a gateway that does not listen.
const SILENCE: Duration = Duration::from_millis(300);

/// A device of a gateway that takes in nothing any more, and what it has said meanwhile.
struct Stopped {
    talker: Client,
}

impl Stopped {
    /// Waits until the intake has stopped while `talker` was connected, and makes sure that it says why, everywhere, and
    /// that it does not listen: no PUBACK, no PINGRESP. Who connects is told to come again (spec 2.3).
    #[track_caller]
    fn wait(gateway: &Gateway, mut talker: Client, reason: &[&str]) -> Self {
        let ready = until("intake to stop", || {
            let ready = gateway.api().get("/readyz");
            (ready.status == 503).then_some(ready.body)
        });
        for part in reason {
            assert!(ready.contains(part), "/readyz does not say {part:?}: {ready}");
            let complaint = gateway.log_records().iter().any(|record| {
                record["level"] == "ERROR" && record["reason"].as_str().is_some_and(|reason| reason.contains(part))
            });
            assert!(complaint, "the log does not say {part:?}: {}", gateway.log());
        }
        assert_eq!(gateway.api().get("/healthz").status, 200, "it lives");
        let metrics = gateway.api().get("/metrics").body;
        assert!(metrics.contains("\ntidegate_log_state 1"), "{metrics}");
        talker.send(&Publish::new("v1/devices/me/telemetry", "{\"n\":1}").id(7).bytes(talker.version()));
        talker.silence(SILENCE);
        talker.send(&PINGREQ);
        talker.silence(SILENCE);
        let newcomer = gateway.device("newcomer");
        for (version, code) in [(Version::V5, 0x88), (Version::V311, 3)] {
            let connack = Client::open(gateway, version).greet(&Connect::new(version).user(&newcomer));
            assert_eq!(connack.code(), code, "{connack:?}");
        }
        assert!(gateway.telemetry("talker").is_empty());
        Self { talker }
    }

    /// There is room again: all of them are answered, in order, and what they sent is stored.
    #[track_caller]
    fn goes_on(self, gateway: &Gateway) {
        let Self { mut talker } = self;
        let puback = talker.receive();
        assert_eq!((puback.kind(), puback.id(), puback.code()), ("PUBACK", 7, 0), "{puback:?}");
        assert_eq!(talker.receive(), Packet::PingResp);
        until_true("the gateway to be ready", || gateway.api().get("/readyz").status == 200);
        let mut newcomer = Client::connect(gateway, Version::V5, &token_of("newcomer"));
        newcomer.telemetry(1, "{\"n\":2}");
        assert!(gateway.log().contains("there is space again"), "{}", gateway.log());
        gateway.assert_healthy();
    }
}

/// Fills the disk, makes room, and looks.
#[track_caller]
fn full_disk(options: Options, prepare: impl FnOnce(&Gateway), make_room: impl FnOnce(&Gateway)) {
    let gateway = Gateway::start(options.set(SEGMENT));
    prepare(&gateway);
    let talker = Client::connect(&gateway, Version::V5, &gateway.device("talker"));
    let steady = Steady::start(&gateway, &gateway.device("steady"));
    let stopped = Stopped::wait(&gateway, talker, &["No space left on device", "data/events/segment.new"]);
    let acknowledged = steady.acknowledged();
    assert_eq!(gateway.numbers("steady"), (0..acknowledged).collect::<Vec<_>>(), "stored and acknowledged");
    make_room(&gateway);
    stopped.goes_on(&gateway);
    steady.advance(50);
    steady.stop_unharmed(&gateway, "steady");
    assert_eq!((gateway.numbers("talker"), gateway.numbers("newcomer")), (vec![1], vec![2]));
}

/// The system says ENOSPC to whoever wants space for another segment, until the tracer leaves.
fn no_space_from(segment: u32) -> Options {
    assert_installed("strace");
    let fault = format!("inject=fallocate:error=ENOSPC:when={segment}+");
    // Without `--seccomp-bpf`, whose filter would stay when the tracer leaves.
    let tracer = ["strace", "-D", "-I", "2", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fallocate", "-e", &fault];
    Options::new().under(&tracer)
}

fn end_tracer(gateway: &Gateway) {
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.pid().as_raw_nonzero())).unwrap();
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:")).unwrap();
    kill_process(Pid::from_raw(tracer.trim().parse().unwrap()).unwrap(), Signal::TERM).unwrap();
}

/// Design §6, on every machine: the system refuses to allocate.
#[test]
fn a_disk_that_gives_no_space() {
    full_disk(no_space_from(4), |_| {}, end_tracer);
}

/// Design §6, on a real file system without room, where the machine lets a test have one: a mount of its own needs root
/// or unprivileged user namespaces.
#[test]
fn a_file_system_without_room() {
    let mount = "mount -t tmpfs -o size=4m,mode=700 none";
    let allowed = run("unshare", &["-Urm", "sh", "-c", &format!("{mount} /mnt")]);
    if allowed.status != Some(0) {
        eprintln!("not tested, only `a_disk_that_gives_no_space` is: no mounts here: {}", allowed.said);
        return;
    }
    let start = format!("mkdir -p data/events && {mount} data/events && exec \"$0\" \"$@\"");
    // The folder as the gateway sees it.
    let ballast = |gateway: &Gateway| -> PathBuf {
        let folder = gateway.data().join("events");
        format!("/proc/{}/root{}/ballast", gateway.pid().as_raw_nonzero(), folder.display()).into()
    };
    full_disk(
        Options::new().under(&["unshare", "-Urm", "sh", "-c", &start]),
        |gateway| fs::write(ballast(gateway), vec![1; 3 << 20]).unwrap(),
        |gateway| fs::remove_file(ballast(gateway)).unwrap(),
    );
}

/// A gateway that waits for space ends when it is told to. What it could not store is not acknowledged (spec 4.3, row
/// "processing failed"), and everything that was acknowledged is there when it starts again.
#[test]
fn a_gateway_without_room_can_be_stopped() {
    let mut gateway = Gateway::start(no_space_from(4).set(SEGMENT));
    let talker = Client::connect(&gateway, Version::V5, &gateway.device("talker"));
    let filler = gateway.device("filler");
    let mut client = Client::connect(&gateway, Version::V311, &filler);
    let filling = std::thread::spawn(move || {
        // One commit each, up to the one that does not return.
        let publish = |n: &u64| Publish::new("v1/devices/me/telemetry", format!("{{\"n\":{n}}}")).bytes(Version::V311);
        (0_u64..).find(|n| client.try_send(&publish(n)).is_err() || client.next_or_close().kind() != "PUBACK")
    });
    let Stopped { mut talker } = Stopped::wait(&gateway, talker, &["No space left on device"]);
    gateway.stop();
    let codes: Vec<_> = talker.rest().iter().map(|packet| (packet.kind(), packet.code())).collect();
    assert_eq!(codes, [("PUBACK", 0x83), ("DISCONNECT", 0x83)]);
    let acknowledged = filling.join().unwrap().unwrap();
    gateway.start_plainly();
    gateway.run();
    assert_eq!(gateway.numbers("filler"), (0..acknowledged).collect::<Vec<_>>());
    assert!(gateway.telemetry("talker").is_empty());
    let mut again = Client::connect(&gateway, Version::V311, &filler);
    again.telemetry(1, format!("{{\"n\":{acknowledged}}}"));
    gateway.assert_healthy();
}

/// A gateway that ended at the limit starts there: its API serves before anything is appended, so that the reader can
/// move on.
#[test]
fn a_start_at_the_limit_waits_for_the_reader() {
    let mut gateway = Gateway::start(at_a_limit());
    gateway.api().put("/api/v1/cursors/slow", json!({ "policy": "hold" })).ok();
    let talker = Client::connect(&gateway, Version::V5, &gateway.device("talker"));
    let steady = Steady::start(&gateway, &gateway.device("steady"));
    Stopped::wait(&gateway, talker, &["slow"]);
    gateway.kill();
    let acknowledged = steady.stop().acknowledged;
    let data = gateway.data();
    let _ = fs::remove_file(data.join("admin-address"));
    let reader = std::thread::spawn(move || {
        let address = until("the API", || fs::read_to_string(data.join("admin-address")).ok()?.trim().parse().ok());
        let api = Api::new(address, fs::read_to_string(data.join("admin-token")).unwrap().trim());
        let waiting = until("intake to stop", || Some(api.get("/readyz")).filter(|ready| ready.status == 503)).body;
        let page = api.get("/api/v1/events?limit=1000").ok();
        api.post("/api/v1/cursors/slow", json!({ "cursor": page["next"] })).ok();
        (waiting, page)
    });
    gateway.run();
    let (waiting, page) = reader.join().unwrap();
    assert!(waiting.contains("disk limit") && waiting.contains("slow"), "{waiting}");
    let stored = page["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["device"] == "steady" && event["kind"] == "telemetry");
    assert_eq!(stored.count() as u64, acknowledged);
    assert_eq!(gateway.story_until("talker", "disconnected gateway-restarted").len(), 1);
    gateway.assert_healthy();
}

fn at_a_limit() -> Options {
    Options::new().set(SEGMENT).set("event_log.retention_size=768 KiB").set("event_log.disk_limit=1280 KiB")
}

/// Design §6: a cursor that says `hold` keeps segments; at `disk_limit` intake stops, and goes on when the reader has
/// moved on. The reader gets everything, once and in order.
#[test]
fn a_reader_that_holds_the_log_to_its_limit() {
    let options =
        Options::new().set(SEGMENT).set("event_log.retention_size=768 KiB").set("event_log.disk_limit=1280 KiB");
    let gateway = Gateway::start(options);
    let held = gateway.api().put("/api/v1/cursors/slow", json!({ "policy": "hold" })).ok();
    let mut cursor = held["cursor"].as_str().unwrap().to_owned();
    let talker = Client::connect(&gateway, Version::V5, &gateway.device("talker"));
    let steady = Steady::start(&gateway, &gateway.device("steady"));
    let stopped = Stopped::wait(&gateway, talker, &["disk limit of 1310720 bytes", "slow"]);
    let mut read: Vec<Value> = Vec::new();
    let mut read_on = |read: &mut Vec<Value>| {
        let page = gateway.api().get(&format!("/api/v1/events?cursor={cursor}&limit=1000")).ok();
        read.extend(page["events"].as_array().unwrap().iter().cloned());
        page["next"].as_str().unwrap().clone_into(&mut cursor);
        gateway.api().post("/api/v1/cursors/slow", json!({ "cursor": cursor })).ok();
    };
    read_on(&mut read);
    stopped.goes_on(&gateway);
    // The limit is reached again and again, and the reader moves on each time.
    let goal = steady.acknowledged() + 60;
    until_true("the steady device to go on", || {
        read_on(&mut read);
        steady.acknowledged() >= goal
    });
    let stopping = std::thread::spawn(|| steady.stop());
    until_true("the steady device to end", || {
        read_on(&mut read);
        stopping.is_finished()
    });
    let published = stopping.join().unwrap();
    read_on(&mut read);
    assert!(!published.lost && published.sent == published.acknowledged, "{published:?}");
    let of_steady = read.iter().filter(|event| event["device"] == "steady" && event["kind"] == "telemetry");
    let numbers: Vec<_> = of_steady.map(|event| event["samples"][0]["values"]["n"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..published.sent).collect::<Vec<_>>());
    assert!(read.iter().all(|event| event["kind"] != "gap"), "it was not held");
    gateway.assert_healthy();
}
