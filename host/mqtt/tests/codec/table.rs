//! The codec, packet by packet: what is accepted, and what every fault is called.

use tidegate_mqtt::Version;
use tidegate_mqtt::codec::{self, Stage};

use crate::cases::{self, Case, Expect};
use crate::common::bytes::{hex, packet};
use crate::common::describe::describe;
use crate::common::link::Link;

const LIMIT: u32 = 65_536;

#[test]
fn mqtt_3() {
    assert!(cases::v3::CASES.len() >= 55);
    check(cases::v3::CASES);
}

#[test]
fn mqtt_5() {
    assert!(cases::v5::CASES.len() >= 81);
    check(cases::v5::CASES);
}

fn check(cases: &[Case]) {
    let failures: Vec<String> = cases.iter().filter_map(|case| failure(case).err()).collect();
    assert!(failures.is_empty(), "{} of {} failed\n{}", failures.len(), cases.len(), failures.join("\n"));
}

fn failure(case: &Case) -> Result<(), String> {
    let bytes = packet(case.bytes);
    let decoded = codec::decode(&bytes, case.stage, LIMIT);
    let as_expected = match (&case.expect, &decoded) {
        (Expect::Packet(expected), Ok(Some((packet, used)))) => {
            // The notation breaks long lines with a backslash.
            let expected = expected.split_whitespace().collect::<Vec<_>>().join(" ");
            describe(packet) == expected && *used == bytes.len()
        }
        (Expect::Refused(code), Err(error)) => error.code.value() == *code,
        (Expect::Incomplete, Ok(None)) => true,
        (Expect::Answer(expected), _) => answer(case.stage, &bytes) == (packet(expected), true),
        (Expect::AnswerAndClose(expected), _) => answer(case.stage, &bytes) == (packet(expected), false),
        _ => false,
    };
    if as_expected {
        return Ok(());
    }
    let decoded = match decoded {
        Ok(Some((packet, used))) => format!("{} in {used} bytes", describe(&packet)),
        Ok(None) => "incomplete".into(),
        Err(error) => format!("{} {error}", error.code),
    };
    let (answer, open) = answer(case.stage, &bytes);
    Err(format!("{} ({}): {decoded}; answer {}, open {open}", case.name, case.clause, hex(&answer)))
}

/// What a session says to these bytes, and whether it stays open.
fn answer(stage: Stage, bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut link = match stage {
        Stage::First => Link::new(),
        Stage::Established(Version::V5) => Link::established("10 .. 00 04 'MQTT' 05 02 00 00 00 00 01 'a'"),
        Stage::Established(Version::V311) => Link::established("10 .. 00 04 'MQTT' 04 02 00 00 00 01 'a'"),
        Stage::Established(Version::V31) => Link::established("10 .. 00 06 'MQIsdp' 03 02 00 00 00 01 'a'"),
    };
    link.feed(bytes);
    (link.take_out(), link.closed.is_none())
}

/// A packet is the same however many bytes arrive at once, and never there before its last byte.
#[test]
fn no_case_is_whole_before_its_last_byte() {
    for case in cases::v3::CASES.iter().chain(cases::v5::CASES) {
        let bytes = packet(case.bytes);
        if !matches!(codec::decode(&bytes, case.stage, LIMIT), Ok(Some((_, used))) if used == bytes.len()) {
            continue;
        }
        for end in 0..bytes.len() {
            let part = codec::decode(&bytes[..end], case.stage, LIMIT);
            assert!(matches!(part, Ok(None)), "{}: {end} of {} bytes: {part:?}", case.name, bytes.len());
        }
        let mut more = bytes.clone();
        more.extend_from_slice(&[0xff; 7]);
        let with_more = codec::decode(&more, case.stage, LIMIT).expect(case.name).expect(case.name);
        assert_eq!(with_more.1, bytes.len(), "{}", case.name);
    }
}

/// A filter costs 40 bytes of memory for three on the wire, so their number has a limit of its own.
#[test]
fn filters_are_counted() {
    for (count, version, expected) in [
        (codec::MAX_FILTERS, Version::V311, None),
        (codec::MAX_FILTERS + 1, Version::V311, Some(0x97)),
        (codec::MAX_FILTERS, Version::V5, None),
        (codec::MAX_FILTERS + 1, Version::V5, Some(0x97)),
    ] {
        let properties = if version == Version::V5 { "00" } else { "" };
        let subscribe = packet(&format!("82 .. 00 0a {properties} {}", "00 01 'a' 00 ".repeat(count)));
        let unsubscribe = packet(&format!("a2 .. 00 0a {properties} {}", "00 01 'a' ".repeat(count)));
        for bytes in [subscribe, unsubscribe] {
            let decoded = codec::decode(&bytes, Stage::Established(version), LIMIT);
            assert_eq!(decoded.err().map(|error| error.code.value()), expected, "{count} filters in {version}");
        }
    }
}

/// An error names the packet, the field and the fault, and quotes nothing.
#[test]
fn errors_read_well() {
    for (bytes, stage, expected) in [
        ("30 .. 00 03 'a/+'", cases::V311, "PUBLISH packet: topic name: wildcard in a topic name"),
        ("00", cases::V5, "packet type: 0 is reserved"),
        ("30 81 80 04", cases::V5, "PUBLISH packet: remaining length: larger than the packet limit"),
        (
            "e0 .. 00 04 1c 00 01 's'",
            cases::V5,
            "DISCONNECT packet: Server Reference: only a server may send the property",
        ),
        (
            "10 .. 00 04 'MQTT' 04 82 00 00 00 01 'a' 00 06 'secret' ff",
            cases::FIRST,
            "CONNECT packet: remaining length: bytes after the last field",
        ),
    ] {
        let error = codec::decode(&packet(bytes), stage, LIMIT).expect_err(expected);
        assert_eq!(error.to_string(), expected);
    }
}

/// Credentials do not get into logs by way of `{:?}`.
#[test]
fn connect_hides_its_credentials() {
    let bytes = packet("10 .. 00 04 'MQTT' 04 c2 00 00 00 01 'a' 00 05 'TOKEN' 00 06 'SECRET'");
    let (packet, _) = codec::decode(&bytes, Stage::First, LIMIT).unwrap().unwrap();
    let text = format!("{packet:?}");
    assert!(!text.contains("TOKEN") && !text.contains("SECRET"), "{text}");
}
