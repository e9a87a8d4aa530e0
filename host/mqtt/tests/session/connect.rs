//! Spec 2.1 to 2.3: CONNECT and CONNACK.

use tidegate_mqtt::session::{ProfileRules, Refusal};
use tidegate_mqtt::{Kind, Settings, Version};

use crate::common::bytes::packet;
use crate::common::link::Link;

const CONNECT_V311: &str = "10 .. 00 04 'MQTT' 04 02 00 00 00 01 'a'";
const CONNECT_V5: &str = "10 .. 00 04 'MQTT' 05 02 00 00 00 00 01 'a'";
/// What every v5 CONNACK carries (spec 2.2): Maximum QoS, Maximum Packet Size, Receive Maximum, Topic Alias Maximum,
/// Shared Subscription Available.
const PROPERTIES: &str = "24 01 27 00 01 00 00 21 00 64 22 00 10 2a 00";

/// A session that waits for the platform's answer.
fn asked(connect: &str, settings: Settings) -> Link {
    let mut link = Link::with(settings);
    link.accept = None;
    link.send(connect);
    link.expect_open();
    link.expect("");
    link
}

#[test]
fn spec_2_2_connack() {
    let mut link = Link::new();
    link.send(CONNECT_V311);
    link.expect("20 02 00 00");

    link = Link::new();
    link.send("10 .. 00 06 'MQIsdp' 03 02 00 00 00 01 'a'");
    link.expect("20 02 00 00");

    link = Link::new();
    link.send(CONNECT_V5);
    link.expect(&format!("20 .. 00 00 {{ {PROPERTIES} }}"));
}

#[test]
fn spec_2_2_connack_announces_the_hosts_limits() {
    let mut link = Link::with(Settings { max_packet: 1000, max_inflight: 7, ..Settings::default() });
    link.send(CONNECT_V5);
    link.expect("20 .. 00 00 { 24 01 27 00 00 03 e8 21 00 07 22 00 10 2a 00 }");
}

#[test]
fn spec_2_2_an_assigned_client_identifier_is_told() {
    let mut link = Link::new();
    link.send("10 .. 00 04 'MQTT' 05 02 00 00 00 00 00");
    link.expect(&format!("20 .. 00 00 {{ {PROPERTIES} 12 00 08 'assigned' }}"));
    // 3.1.1 has no place for it.
    link = Link::new();
    link.send("10 .. 00 04 'MQTT' 04 02 00 00 00 00");
    link.expect("20 02 00 00");
}

#[test]
fn spec_2_2_a_session_that_ends_with_its_connection_is_told() {
    let mut link = Link::new();
    link.send("10 .. 00 04 'MQTT' 05 02 00 00 { 11 00 00 00 3c } 00 01 'a'");
    link.expect(&format!("20 .. 00 00 {{ {PROPERTIES} 11 00 00 00 00 }}"));
    // A client that asked for nothing more is told nothing.
    link = Link::new();
    link.send("10 .. 00 04 'MQTT' 05 02 00 00 { 11 00 00 00 00 } 00 01 'a'");
    link.expect(&format!("20 .. 00 00 {{ {PROPERTIES} }}"));
}

/// [MQTT-3.1.2-24]: CONNACK cannot be left out, and its properties cannot either.
#[test]
fn a_client_too_small_for_connack_is_refused() {
    let mut link = Link::new();
    link.send("10 .. 00 04 'MQTT' 05 02 00 00 { 27 00 00 00 0f } 00 01 'a'");
    link.expect_closed(0x95);
    link.expect("20 03 00 95 00");
}

#[test]
fn spec_2_3_refusals() {
    let refusals = [
        (Refusal::NotAuthorized { certificate: false }, "87", "05"),
        (Refusal::NotAuthorized { certificate: true }, "87", "05"),
        (Refusal::Unavailable, "88", "03"),
        (Refusal::RateLimited, "9f", "03"),
    ];
    for (refusal, v5, v3) in refusals {
        let mut link = asked(CONNECT_V5, Settings::default());
        link.session.refuse(refusal, "", &mut link.out);
        link.expect(&format!("20 03 00 {v5} 00"));

        link = asked(CONNECT_V5, Settings::default());
        link.session.refuse(refusal, "because", &mut link.out);
        link.expect(&format!("20 .. 00 {v5} {{ 1f 00 07 'because' }}"));

        link = asked(CONNECT_V311, Settings::default());
        link.session.refuse(refusal, "because", &mut link.out);
        link.expect(&format!("20 02 00 {v3}"));
    }
}

/// Spec 2.3, last paragraph, for user name, password and client id.
#[test]
fn spec_2_3_detailed_codes() {
    for (v5, v3, flags, client_id, strings) in [
        ("86", "05", "c2", "00 01 'a'", "00 01 'u' 00 01 'p'"),
        ("86", "05", "82", "00 01 'a'", "00 01 'u'"),
        ("86", "05", "82", "00 00", "00 01 'u'"),
        ("86", "05", "c2", "00 00", "00 01 'u' 00 00"),
        ("86", "05", "c2", "00 01 'a'", "00 00 00 01 'p'"),
        ("87", "05", "c2", "00 00", "00 01 'u' 00 01 'p'"),
        ("85", "02", "02", "00 01 'a'", ""),
        ("85", "02", "c2", "00 01 'a'", "00 00 00 00"),
        ("87", "05", "02", "00 00", ""),
        ("87", "05", "02", "00 01 20", ""),
    ] {
        let settings = Settings { detailed_auth_codes: true, ..Settings::default() };
        let refusal = Refusal::NotAuthorized { certificate: false };
        let connect = format!("10 .. 00 04 'MQTT' 05 {flags} 00 00 00 {client_id} {strings}");
        let mut link = asked(&connect, settings.clone());
        link.session.refuse(refusal, "", &mut link.out);
        link.expect(&format!("20 03 00 {v5} 00"));

        let mut link = asked(&connect, settings.clone());
        link.session.refuse(Refusal::NotAuthorized { certificate: true }, "", &mut link.out);
        link.expect("20 03 00 87 00");

        let connect = format!("10 .. 00 04 'MQTT' 04 {flags} 00 00 {client_id} {strings}");
        let mut link = asked(&connect, settings);
        link.session.refuse(refusal, "", &mut link.out);
        link.expect(&format!("20 02 00 {v3}"));
    }
}

#[test]
fn nothing_follows_a_refusal() {
    let mut link = asked(CONNECT_V5, Settings::default());
    link.session.refuse(Refusal::Unavailable, "", &mut link.out);
    link.expect("20 03 00 88 00");
    assert_eq!(link.session.buffer_limit(), 0);
    assert_eq!(link.session.deadline(), None);
    link.send("c0 00");
    // A late yes of the platform has no effect either.
    link.accept(Kind::Device).unwrap();
    link.close(tidegate_mqtt::Close::new(tidegate_mqtt::ReasonCode::SERVER_SHUTTING_DOWN, ""));
    link.expect("");
    link.expect_requests(&["authenticate a"]);
}

#[test]
fn spec_2_1_a_malformed_connect() {
    // The reserved flag: v5 is told, v3 is closed.
    let mut link = Link::new();
    link.send("10 .. 00 04 'MQTT' 05 03 00 00 00 00 01 'a'");
    link.expect_closed(0x81);
    let sent = link.take_out();
    assert_eq!(&sent[2..4], &[0x00, 0x81], "CONNACK 0x81: {sent:02x?}");
    assert!(String::from_utf8_lossy(&sent).contains("CONNECT packet: connect flags: the reserved bit is set"));

    link = Link::new();
    link.send("10 .. 00 04 'MQTT' 04 03 00 00 00 01 'a'");
    link.expect_closed(0x81);
    link.expect("");
}

#[test]
fn spec_2_an_unknown_protocol_level() {
    for (connect, answer) in [
        ("10 .. 00 04 'MQTT' 06 02 00 00 00 01 'a'", "20 .. 00 84"),
        ("10 .. 00 04 'MQTT' 7f 02 00 00 00 01 'a'", "20 .. 00 84"),
        ("10 .. 00 04 'MQTT' 03 02 00 00 00 01 'a'", "20 02 00 01"),
        ("10 .. 00 04 'MQTT' 83 02 00 00 00 01 'a'", "20 02 00 01"),
        ("10 .. 00 06 'MQIsdp' 05 02 00 00 00 01 'a'", "20 02 00 01"),
    ] {
        let mut link = Link::new();
        link.send(connect);
        link.expect_closed(0x84);
        let sent = link.take_out();
        let expected = packet(answer);
        assert_eq!(sent[2..4], expected[2..4], "{connect}: {sent:02x?}");
    }
}

/// Spec 2, "first packet": close, without a word, since no version is known.
#[test]
fn spec_2_the_first_packet_must_be_connect() {
    for first in ["c0 00", "30 .. 00 01 'a'", "e0 00", "f0 00", "00", "16 03 01 02 00"] {
        let mut link = Link::new();
        link.send(first);
        assert!(link.closed.is_some(), "{first}");
        link.expect("");
    }
}

#[test]
fn spec_2_1_a_second_connect() {
    let mut link = Link::v5();
    link.send(CONNECT_V5);
    link.expect_closed(0x82);
    let sent = link.take_out();
    assert_eq!((sent[0], sent[2]), (0xe0, 0x82), "{sent:02x?}");
    let mut link = Link::v311();
    link.send(CONNECT_V311);
    link.expect_closed(0x82);
    link.expect("");
}

/// Spec 2, row "packet limit", seen by the header; for strangers also where devices may send more.
#[test]
fn spec_2_limit_of_a_connect() {
    let connect = |bytes: usize| format!("10 .. 00 04 'MQTT' 05 c2 00 00 00 00 01 'a' 00 01 'u' f0 00 'p'*{bytes}");
    let mut link = Link::new();
    link.send(&connect(0xf000));
    link.expect_requests(&["authenticate a"]);

    link = Link::new();
    link.send("10 81 80 04 00 04 'MQTT' 05");
    link.expect_closed(0x95);
    assert_eq!(link.take_out()[2..4], [0x00, 0x95]);
    // Who does not even say its version gets no answer.
    link = Link::new();
    link.send("10 81 80 04");
    link.expect_closed(0x95);
    link.expect("");
}

#[test]
fn enhanced_authentication_is_refused() {
    let mut link = Link::new();
    link.send("10 .. 00 04 'MQTT' 05 02 00 00 { 15 00 01 'm' } 00 01 'a'");
    link.expect_closed(0x8c);
    assert_eq!(link.take_out()[2..4], [0x00, 0x8c]);
    link.expect_requests(&[]);
    // [MQTT-4.12.0-7]
    let mut link = Link::v5();
    link.send("f0 .. 18 { 15 00 01 'm' }");
    link.expect_closed(0x82);
}

#[test]
fn spec_2_1_packets_before_connack_wait_in_order() {
    for (connect, connack) in [(CONNECT_V5, 20), (CONNECT_V311, 4)] {
        let properties = if connect == CONNECT_V5 { "00" } else { "" };
        let mut link = asked(connect, Settings::default());
        link.send(&format!("82 {{ 00 01 {properties} 00 04 'v2/a' 01 }} c0 00"));
        // The end of the last one is still on its way.
        link.send(&format!("32 .. 00 01 't' 00 02 {properties} '1'"));
        link.send("30");
        link.expect("");
        link.expect_requests(&["authenticate a"]);

        link.accept(Kind::Device).unwrap();
        link.drain();
        let sent = link.take_out();
        let expected = packet(&format!("90 {{ 00 01 {properties} 01 }} d0 00 40 02 00 02"));
        assert_eq!(sent[connack..], expected);
        link.expect_requests(&["publish t 1"]);
        link.send(&format!(".. 00 01 't' {properties} '2'"));
        link.expect_requests(&["publish t 2"]);
    }
}

/// Spec 2.1: at most 100 packets. The code travels in CONNACK, because a DISCONNECT must not precede it [MQTT-3.14.0-1].
#[test]
fn spec_2_1_too_many_packets_before_connack() {
    let mut link = asked(CONNECT_V5, Settings::default());
    link.feed(&[0xc0, 0x00].repeat(100));
    link.expect_open();
    link.send("c0");
    link.expect_open();
    link.send("00");
    link.expect_closed(0x97);
    assert_eq!(link.take_out()[2..4], [0x00, 0x97]);
    link.accept(Kind::Device).unwrap();
    link.expect("");

    link = asked(CONNECT_V311, Settings::default());
    link.feed(&[0xc0, 0x00].repeat(101));
    link.expect_closed(0x97);
    link.expect("");
}

#[test]
fn spec_2_1_a_refused_connect_drops_the_queue() {
    let mut link = asked(CONNECT_V311, Settings::default());
    link.send("30 .. 00 01 't' 'x'");
    link.session.refuse(Refusal::NotAuthorized { certificate: false }, "", &mut link.out);
    link.drain();
    link.expect("20 02 00 05");
    link.expect_requests(&["authenticate a"]);
}

/// A fault in the queue is found in its turn, after CONNACK.
#[test]
fn a_malformed_packet_before_connack_is_found_in_order() {
    let mut link = asked(CONNECT_V311, Settings::default());
    link.send("c0 00 c1 00");
    link.expect_open();
    link.accept(Kind::Device).unwrap();
    link.drain();
    link.expect("20 02 00 00 d0 00");
    link.expect_closed(0x81);
}

#[test]
fn the_buffer_is_bounded_in_every_phase() {
    let mut link = Link::new();
    link.accept = None;
    assert_eq!(link.session.buffer_limit(), 65_536 + 5);
    link.send(CONNECT_V5);
    assert_eq!(link.session.buffer_limit(), 65_536 + 5);
    link.accept(Kind::Device).unwrap();
    assert_eq!(link.session.buffer_limit(), 65_536 + 5);
    link.send("e0 00");
    assert_eq!(link.session.buffer_limit(), 0);
}

/// What the gateway needs to know of a client is all there.
#[test]
fn the_will_is_handed_over() {
    let mut link = Link::new();
    link.send("10 .. 00 04 'MQTT' 04 2e 00 00 00 01 'a' 00 03 'w/t' 00 02 'hi'");
    let connect = link.connect.take().unwrap();
    let will = connect.will.as_ref().unwrap();
    assert_eq!((will.topic.as_str(), &will.payload[..], will.retain), ("w/t", &b"hi"[..], true));
    assert_eq!(connect.version, Version::V311);
}

/// Rules of the profile come with the yes, and may change while the session lives (spec 20).
#[test]
fn spec_20_a_changed_profile_applies_to_the_next_message() {
    let mut link = Link::v311();
    link.outcome = Some(|_| tidegate_mqtt::Outcome::new(tidegate_mqtt::Situation::InvalidPayload, "bad"));
    link.session.set_rules(ProfileRules { ack_on_error: true, attributes_filter: None });
    link.send("32 .. 00 01 't' 00 01 'x'");
    link.expect("40 02 00 01");
    link.session.set_rules(ProfileRules::default());
    link.send("32 .. 00 01 't' 00 02 'x'");
    link.expect_closed(0x99);
}
