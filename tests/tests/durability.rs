//! Nothing acknowledged is ever lost (design §6): the process killed at any moment, and its files damaged by hand.
#![allow(clippy::unwrap_used, reason = "in a test, whatever goes wrong is to be seen at once")]

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use tidegate_tests::steady::{Published, Steady};
use tidegate_tests::{Client, Gateway, Options, Version};

const DEVICES: [&str; 4] = ["d0", "d1", "d2", "d3"];
/// The unit in which segments are written; each commit begins one.
const BLOCK: usize = 4096;

/// What one device did between a start of the gateway and its end: numbers from `first` on.
struct Round {
    first: u64,
    published: Published,
}

/// Design §6, "Nothing acknowledged is ever lost": kill -9 in a loop, under load and at rest. After each start every
/// acknowledged number is there, once and in order; what was sent last and not acknowledged may be missing, but only from
/// its end. Event ids are unique, the projection has caught up, and connections that died with the gateway are closed.
#[test]
fn killed_at_any_moment() {
    // How many more acknowledgements until the end; small segments, so that some ends hit the change of segments.
    const MOMENTS: [u64; 12] = [1, 40, 3, 250, 17, 600, 90, 2, 333, 150, 5, 75];
    let options = Options::new().set("event_log.segment_size=256 KiB").set("event_log.retention_size=256 MiB");
    let mut gateway = Gateway::start(options);
    let tokens = DEVICES.map(|device| gateway.device(device));
    let witness = gateway.device("witness");
    let mut rounds: [Vec<Round>; 4] = Default::default();
    for (round, moment) in MOMENTS.into_iter().enumerate() {
        let at_rest = round % 4 == 3;
        let first = rounds.each_ref().map(|rounds| rounds.last().map_or(0, |round| round.published.sent));
        let steady: Vec<_> =
            tokens.iter().zip(first).map(|(token, first)| Steady::start_at(gateway.address(), token, first)).collect();
        steady[round % DEVICES.len()].advance(moment);
        let mut client = Client::connect(&gateway, Version::V311, &witness);
        let attributes = client.publish(1, "v1/devices/me/attributes", format!("{{\"round\":{round}}}"));
        assert_eq!(attributes.kind(), "PUBACK");
        let published: Vec<_> = if at_rest {
            let published = steady.into_iter().map(Steady::stop).collect();
            gateway.device(&format!("of-round-{round}"));
            gateway.kill();
            published
        } else {
            gateway.device(&format!("of-round-{round}"));
            gateway.kill();
            steady.into_iter().map(Steady::stop).collect()
        };
        for ((rounds, first), published) in rounds.iter_mut().zip(first).zip(published) {
            assert!(at_rest || published.lost, "it cannot have outlived the gateway");
            rounds.push(Round { first, published });
        }
        gateway.run();
        for (device, rounds) in DEVICES.iter().zip(&rounds) {
            assert_kept(&gateway, device, rounds);
        }
        let attributes = gateway.api().get("/api/v1/devices/witness/attributes/client").ok();
        assert_eq!(attributes["round"]["value"], round, "what the device wrote last about itself");
        assert_eq!(gateway.story("witness").last().unwrap(), "disconnected gateway-restarted");
        gateway.api().get(&format!("/api/v1/devices/of-round-{round}")).ok();
    }
    let events = gateway.events("");
    let ids: HashSet<_> = events.iter().map(|event| event["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), events.len(), "event ids are unique");
    gateway.assert_healthy();
}

#[track_caller]
fn assert_kept(gateway: &Gateway, device: &str, rounds: &[Round]) {
    let stored = gateway.numbers(device);
    let mut rest = stored.as_slice();
    for (index, Round { first, published: Published { sent, acknowledged, .. } }) in rounds.iter().enumerate() {
        let kept = rest.iter().zip(*first..*sent).take_while(|(stored, expected)| **stored == *expected).count();
        let end = first + u64::try_from(kept).unwrap();
        assert!(end >= *acknowledged, "{device}, round {index}: {acknowledged} acknowledged, kept up to {end}");
        rest = &rest[kept..];
    }
    assert!(rest.is_empty(), "{device}: out of order or twice: {rest:?}");
    let latest = gateway.api().get(&format!("/api/v1/devices/{device}/telemetry")).ok();
    assert_eq!(latest["n"]["value"].as_u64(), stored.last().copied(), "{device}: its latest value");
}

/// Design §6: recovery keeps every committed record and cuts a torn tail, whatever stands behind the last commit.
#[test]
fn a_torn_tail_is_cut_and_nothing_before_it() {
    type Damage = fn(&mut Vec<u8>, usize);
    let rows: [(&str, Damage); 6] = [
        ("garbage up to the end", |bytes, end| noise(&mut bytes[end..])),
        ("cut behind the last commit", |bytes, end| bytes.truncate(end)),
        ("cut in the middle of a block", |bytes, end| bytes.truncate(end + 100)),
        ("garbage behind the end of the file", |bytes, _| {
            let length = bytes.len();
            bytes.resize(length + 10_000, 0);
            noise(&mut bytes[length..]);
        }),
        ("the beginning of another commit", |bytes, end| bytes.copy_within(end - BLOCK..end - BLOCK + 100, end)),
        ("the last commit written in part", |bytes, end| bytes[end - BLOCK + 100..end].fill(0)),
    ];
    let mut gateway = Gateway::start(Options::new().set("event_log.segment_size=256 KiB"));
    let token = gateway.device("d1");
    let mut expected = Vec::new();
    for (row, (what, damage)) in (0_u64..).zip(rows) {
        let mut client = Client::connect(&gateway, Version::V311, &token);
        for n in row * 10..row * 10 + 5 {
            client.telemetry(1, format!("{{\"n\":{n}}}"));
            expected.push(n);
        }
        gateway.kill();
        change(newest_segment(&gateway), |bytes| {
            let end = bytes.iter().rposition(|byte| *byte != 0).unwrap().next_multiple_of(BLOCK);
            damage(bytes, end);
        });
        if what.starts_with("the last commit") {
            expected.pop(); // no power cut does that to a commit that has returned
        }
        let said = gateway.log().len();
        gateway.run();
        assert_eq!(gateway.numbers("d1"), expected, "{what}");
        let cut = gateway.log()[said..].contains("cut a commit that was interrupted");
        assert_eq!(cut, what.contains("commit") && !what.starts_with("cut"), "{what}: {}", &gateway.log()[said..]);
        Client::connect(&gateway, Version::V5, &token).leave();
    }
    gateway.assert_healthy();
}

/// Committed records that the disk no longer has are reported, and readers are told of the gap; what stands around them
/// stays. In the segment that was written last, which is read at the start, and in an older one, which is not.
#[test]
fn flipped_bytes_are_reported() {
    let mut gateway = Gateway::start(Options::new().set("event_log.segment_size=256 KiB"));
    let token = gateway.device("d1");
    for round in [0, 20] {
        let mut client = Client::connect(&gateway, Version::V311, &token);
        for n in round..round + 20 {
            client.telemetry(1, format!("{{\"n\":{n}}}"));
        }
        gateway.kill();
        // The first block is that of the event `connected`, or of `disconnected` and then `connected`.
        change(newest_segment(&gateway), |bytes| bytes[5 * BLOCK + 70] ^= 0x10);
        gateway.run();
        assert!(gateway.log().contains("committed records are damaged"), "{}", gateway.log());
        assert!(gateway.log().contains("events/0"), "the file is not named: {}", gateway.log());
    }
    let older = segments(&gateway).remove(0);
    gateway.kill();
    change(older, |bytes| bytes[10 * BLOCK + 70] ^= 0x10);
    gateway.run();
    let events = gateway.events("device=d1&kind=telemetry");
    let (gaps, kept): (Vec<_>, Vec<_>) = events.into_iter().partition(|event| event["kind"] == "gap");
    for gap in &gaps {
        assert_eq!((&gap["why"], &gap["missing"]), (&"damaged".into(), &1.into()), "{gap}");
    }
    assert_eq!(gaps.len(), 3, "{gaps:?}");
    let kept: Vec<_> = kept.iter().map(|event| event["samples"][0]["values"]["n"].as_u64().unwrap()).collect();
    assert!(kept.is_sorted() && kept.len() == 37, "{kept:?}");
    let metrics = gateway.api().get("/metrics").body;
    let damage = metrics.lines().find_map(|line| line.strip_prefix("tidegate_log_damage_total "));
    assert!(damage.is_some_and(|count| count != "0"), "{metrics}");
    // It goes on.
    let mut client = Client::connect(&gateway, Version::V5, &token);
    client.telemetry(1, "{\"n\":99}");
    assert_eq!(latest(&gateway, "d1"), 99);
    gateway.assert_healthy();
}

/// One log per folder: a second gateway says so and ends, and the first one does not notice.
#[test]
fn two_gateways_on_one_data_folder() {
    let gateway = Gateway::start(Options::new());
    let steady = Steady::start(&gateway, &gateway.device("steady"));
    let serve = ["serve", "--bind=127.0.0.1:0", "--plugins=plugins", "--profiles=profiles"];
    let second = gateway.cli(&[&serve[..], &["--set", "admin.bind=127.0.0.1:0"]].concat());
    assert_eq!(second.status, 1, "{}", second.stderr);
    let complaint = second.stderr.lines().last().unwrap();
    assert!(complaint.starts_with("tidegate: ") && complaint.contains("data/events/lock"), "{}", second.stderr);
    assert!(complaint.contains("another"), "it does not say who is in the way: {complaint}");
    steady.advance(20);
    steady.stop_unharmed(&gateway, "steady");
    gateway.assert_healthy();
}

fn latest(gateway: &Gateway, device: &str) -> Value {
    gateway.api().get(&format!("/api/v1/devices/{device}/telemetry")).ok()["n"]["value"].clone()
}

/// All segments that hold something, oldest first.
fn segments(gateway: &Gateway) -> Vec<PathBuf> {
    let files = fs::read_dir(gateway.data().join("events")).unwrap().map(|entry| entry.unwrap().path());
    let mut segments: Vec<_> = files
        .filter(|file| file.extension().is_some_and(|extension| extension == "seg"))
        .filter(|file| fs::read(file).unwrap().iter().any(|byte| *byte != 0))
        .collect();
    segments.sort();
    segments
}

fn newest_segment(gateway: &Gateway) -> PathBuf {
    segments(gateway).pop().unwrap()
}

fn change(file: PathBuf, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(&file).unwrap();
    change(&mut bytes);
    fs::write(file, bytes).unwrap();
}

/// Bytes that mean nothing.
fn noise(bytes: &mut [u8]) {
    let mut state = 1_u32;
    for byte in bytes {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = state.to_be_bytes()[0];
    }
}
