//! The same packets, read by rmqtt-codec, the strictest other decoder known, and by mqttbytes.
//!
//! Ours is stricter than both, so what it accepts they accept as well, and they read the same. What it refuses is the
//! business of the tables.

use proptest::prelude::*;
use tidegate_mqtt::Version;
use tidegate_mqtt::codec::{self, Packet, Stage};

use crate::cases;
use crate::common::bytes::packet;
use crate::common::describe::describe;
use crate::mutate::{Random, mutate};
use crate::theirs;

const LIMIT: u32 = 65_536;

/// Where rmqtt-codec is wrong, or more narrow than the specification.
fn is_known(packet: &Packet<'_>, bytes: &[u8]) -> bool {
    let text = describe(packet);
    match packet {
        // It wants the strings that 3.1 may leave out, and a client id with clean start 0 in 5.0.
        Packet::Connect(connect) => {
            connect.version == Version::V31 || connect.client_id.is_empty() || text.contains("will-expiry=0")
        }
        // It takes a Message Expiry Interval of 0 for an error.
        Packet::Publish(_) => text.contains("MessageExpiryInterval=0"),
        // It closes for an empty filter, which spec 5.1 refuses in SUBACK, and does not know that 3.1 repeats these
        // with DUP.
        Packet::Subscribe(_) | Packet::Unsubscribe(_) | Packet::PubRel(_) => {
            text.contains("(empty)") || bytes[0] & 0b1000 != 0
        }
        _ => false,
    }
}

/// Compares the three decoders on what may be a packet. Says whether there was anything to compare.
fn compare(stage: Stage, bytes: &[u8]) -> bool {
    let Ok(Some((packet, used))) = codec::decode(bytes, stage, LIMIT) else { return false };
    let bytes = &bytes[..used];
    if is_known(&packet, bytes) {
        return false;
    }
    let version = match (&packet, stage) {
        (Packet::Connect(connect), _) => connect.version,
        (_, Stage::Established(version)) => version,
        (packet, Stage::First) => panic!("{packet:?} as the first packet"),
    };
    let ours = describe(&packet);
    assert_eq!(theirs::rmqtt(version, bytes).as_ref(), Some(&ours), "rmqtt-codec on {bytes:02x?}");
    if let Some(theirs) = theirs::mqttbytes(version, bytes) {
        assert_eq!(theirs, theirs::for_mqttbytes(&packet), "mqttbytes on {bytes:02x?}");
    }
    // What rmqtt-codec writes, we read.
    let rewritten = theirs::rmqtt_rewritten(version, bytes).expect("written");
    let (again, _) = codec::decode(&rewritten, stage, LIMIT).expect("right").expect("whole");
    assert_eq!(describe(&again), ours, "written by rmqtt-codec: {rewritten:02x?}");
    true
}

fn all_cases() -> Vec<(Stage, Vec<u8>)> {
    let cases = cases::v3::CASES.iter().chain(cases::v5::CASES);
    cases.map(|case| (case.stage, packet(case.bytes))).collect()
}

#[test]
fn the_tables() {
    let compared = all_cases().into_iter().filter(|(stage, bytes)| compare(*stage, bytes)).count();
    assert!(compared > 50, "only {compared} packets were compared");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn almost_packets(seed in any::<u64>()) {
        let cases = all_cases();
        let mut random = Random::new(seed);
        let (stage, bytes) = &cases[random.below(cases.len())];
        let (_, other) = &cases[random.below(cases.len())];
        compare(*stage, &mutate(&mut random, bytes, other));
    }

    /// Not even almost packets.
    #[test]
    fn noise(stage in prop::sample::select(vec![cases::FIRST, cases::V31, cases::V311, cases::V5]), bytes in any::<Vec<u8>>()) {
        compare(stage, &bytes);
    }
}
