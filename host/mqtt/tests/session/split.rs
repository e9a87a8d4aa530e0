//! However the network cuts a stream, the session does the same.

use proptest::prelude::*;
use tidegate_mqtt::{Outcome, Situation};

use crate::common::bytes::packet;
use crate::common::link::Link;

/// Packets of a client, some of them wrong. At most 40 at once, so that no Receive Maximum is exceeded.
fn packets() -> impl Strategy<Value = Vec<&'static str>> {
    let packet = prop_oneof![
        10 => prop::sample::select(vec![
            "30 .. 00 02 'ok' PROPS '0'",
            "32 .. 00 02 'ok' 00 01 PROPS '1'",
            "3a .. 00 02 'ok' 00 02 PROPS 'x'*200",
            "32 .. 00 03 'bad' 00 03 PROPS '3'",
            "82 .. 00 04 PROPS 00 04 'v2/a' 01 00 01 '#' 00",
            "a2 .. 00 05 PROPS 00 04 'v2/a'",
            "c0 00",
            "40 02 00 01",
            "62 02 00 01",
        ]),
        1 => prop::sample::select(vec![
            "34 .. 00 02 'ok' 00 06 PROPS 'x'",
            "32 .. 00 05 'fatal' 00 07 PROPS 'x'",
            "30 .. 00 03 'a/+' PROPS 'x'",
            "e0 00",
            "c1 00",
            "10 00",
        ]),
    ];
    prop::collection::vec(packet, 0..40)
}

fn outcome(topic: &str) -> Outcome {
    match topic {
        "bad" => Outcome::new(Situation::InvalidTopic, "bad"),
        "fatal" => Outcome::new(Situation::ProcessingFailed, "fatal"),
        _ => Outcome::SUCCESS,
    }
}

/// The stream of a connection, from CONNECT on.
fn stream(is_v5: bool, packets: &[&str]) -> Vec<u8> {
    let (level, properties) = if is_v5 { ("05", "00") } else { ("04", "") };
    let mut stream = packet(&format!("10 .. 00 04 'MQTT' {level} 02 00 00 {properties} 00 01 'a'"));
    for notation in packets {
        stream.extend(packet(&notation.replace("PROPS", properties)));
    }
    stream
}

/// The stream in pieces.
fn pieces<'a>(stream: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    cuts.sort_unstable();
    let starts = [0].into_iter().chain(cuts.iter().copied());
    let ends = cuts.iter().copied().chain([stream.len()]);
    starts.zip(ends).map(|(start, end)| &stream[start..end]).collect()
}

/// Requests, bytes sent, and the end of a connection whose client's stream arrives in these pieces.
fn run<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<String>, Vec<u8>, Option<String>) {
    let mut link = Link::new();
    link.outcome = Some(outcome);
    for piece in pieces {
        link.feed(piece);
    }
    let out = link.take_out();
    (link.requests, out, link.closed.map(|close| close.to_string()))
}

/// PUBACKs and the last word to a client whose messages are settled only when nothing is left to be read, in pieces.
fn run_batched<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, Option<String>) {
    let mut link = Link::new();
    link.outcome = None;
    for piece in pieces {
        let before = link.requests.len();
        link.feed_until_fault(piece);
        let fault = link.fault.take();
        let topics: Vec<String> = link.requests[before..]
            .iter()
            .filter_map(|request| request.strip_prefix("publish ")?.split(' ').next().map(str::to_owned))
            .collect();
        for topic in topics {
            if link.closed.is_none() {
                link.settle(&outcome(&topic));
            }
        }
        if let (None, Some(fault)) = (&link.closed, fault) {
            link.close(fault);
        }
    }
    let out = link.take_out();
    (acknowledgements(&out), link.closed.map(|close| close.to_string()))
}

/// The PUBACK and DISCONNECT packets in what a session sent.
fn acknowledgements(mut sent: &[u8]) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    while let Some((packet, rest)) = split_packet(sent) {
        if matches!(packet[0] >> 4, 4 | 14) {
            packets.push(packet.to_vec());
        }
        sent = rest;
    }
    assert_eq!(sent, b"", "only whole packets are sent");
    packets
}

/// The sessions here send nothing longer than 127 bytes.
fn split_packet(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = usize::from(*bytes.get(1)?);
    assert!(length < 0x80);
    bytes.split_at_checked(2 + length)
}

proptest! {
    #[test]
    fn any_split_gives_the_same(
        is_v5: bool,
        packets in packets(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let stream = stream(is_v5, &packets);
        let whole = run([&stream[..]].into_iter());
        prop_assert_eq!(&run(pieces(&stream, &cuts).into_iter()), &whole);
        prop_assert_eq!(&run(stream.chunks(1)), &whole);
    }

    /// One by one or in batches: the client is told the same about its messages, in the same order (design §1).
    #[test]
    fn any_batch_gives_the_same_acknowledgements(
        is_v5: bool,
        packets in packets(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let stream = stream(is_v5, &packets);
        let (_, out, closed) = run(stream.chunks(1));
        let one_by_one = (acknowledgements(&out), closed);
        prop_assert_eq!(&run_batched([&stream[..]].into_iter()), &one_by_one);
        prop_assert_eq!(&run_batched(pieces(&stream, &cuts).into_iter()), &one_by_one);
    }
}
