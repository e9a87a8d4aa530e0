//! Spec 4.2, 4.3: messages from the client.

use tidegate_mqtt::{Close, Outcome, ReasonCode, Settings, Situation};

use crate::common::link::Link;

#[test]
fn spec_4_2_qos_0_and_1() {
    let mut link = Link::v311();
    link.send("30 .. 00 01 't' 'x'");
    link.expect("");
    link.send("32 .. 00 01 't' 12 34 'y'");
    link.expect("40 02 12 34");
    // DUP is ignored.
    link.send("3a .. 00 01 't' 12 34 'y'");
    link.expect("40 02 12 34");
    // RETAIN is accepted and ignored (spec 2.8).
    link.send("33 .. 00 01 't' 12 35 'z'");
    link.expect("40 02 12 35");
    link.expect_requests(&["publish t x", "publish t y", "publish t y", "publish t z"]);

    let mut link = Link::v5();
    link.send("32 .. 00 01 't' 12 34 00 'y'");
    link.expect("40 02 12 34");
}

#[test]
fn spec_4_2_qos_2() {
    let mut link = Link::v5();
    link.send("34 .. 00 01 't' 12 34 00 'x'");
    link.expect_closed(0x9b);
    assert_eq!(link.take_out()[2], 0x9b);
    link.expect_requests(&[]);

    // v3: processed once and acknowledged as QoS 1.
    let mut link = Link::v311();
    link.send("34 .. 00 01 't' 12 34 'x'");
    link.expect("40 02 12 34");
    link.expect_requests(&["publish t x"]);

    let mut link = Link::with(Settings { close_v3_qos2: true, ..Settings::default() });
    link = link.connected("10 .. 00 04 'MQTT' 04 02 00 00 00 01 'a'");
    link.send("34 .. 00 01 't' 12 34 'x'");
    link.expect_closed(0x9b);
    link.expect("");
    link.expect_requests(&[]);
}

/// Spec 4.3 on the wire: each row in its four columns. The matrix itself is tested where it stands.
#[test]
fn spec_4_3_on_the_wire() {
    const TEXT: &str = "{ 1f 00 03 'why' }";
    for (situation, v5_qos1, v5_qos0, v3_qos1, v3_qos0) in [
        (Situation::Success, "40 02 00 0a".into(), String::new(), "40 02 00 0a", ""),
        (Situation::InvalidPayload, format!("40 .. 00 0a 99 {TEXT}"), format!("e0 .. 99 {TEXT}"), "closed", "closed"),
        (Situation::InvalidTopic, format!("40 .. 00 0a 90 {TEXT}"), String::new(), "closed", "closed"),
        (
            Situation::RateLimited,
            format!("40 {{ 00 0a 97 {TEXT} }} e0 {{ 96 {TEXT} }}"),
            format!("e0 .. 96 {TEXT}"),
            "closed",
            "closed",
        ),
        (Situation::NotAGateway, format!("40 .. 00 0a 87 {TEXT}"), String::new(), "closed", "closed"),
        (
            Situation::ProcessingFailed,
            format!("40 {{ 00 0a 83 {TEXT} }} e0 {{ 83 {TEXT} }}"),
            format!("e0 .. 83 {TEXT}"),
            "closed",
            "closed",
        ),
        (Situation::ConverterFailed, format!("40 .. 00 0a 83 {TEXT}"), String::new(), "40 02 00 0a", ""),
    ] {
        let outcome = Outcome::new(situation, if situation == Situation::Success { "" } else { "why" });
        for (mut link, publish, expected) in [
            (Link::v5(), "32 .. 00 01 't' 00 0a 00 'x'", v5_qos1.as_str()),
            (Link::v5(), "30 .. 00 01 't' 00 'x'", v5_qos0.as_str()),
            (Link::v311(), "32 .. 00 01 't' 00 0a 'x'", v3_qos1),
            (Link::v311(), "30 .. 00 01 't' 'x'", v3_qos0),
        ] {
            link.outcome = None;
            link.send(publish);
            link.settle(&outcome);
            let closed = expected == "closed" || expected.contains("e0 ");
            assert_eq!(link.closed.is_some(), closed, "{situation:?} {publish}");
            link.expect(if expected == "closed" { "" } else { expected });
        }
    }
}

/// Spec 4.3, row "wildcard in topic name".
#[test]
fn spec_4_3_wildcard_in_topic_name() {
    for (mut link, publish, disconnect) in [
        (Link::v5(), "32 .. 00 03 't/+' 00 0a 00 'x'", true),
        (Link::v5(), "30 .. 00 03 't/#' 00 'x'", true),
        (Link::v311(), "32 .. 00 03 't/+' 00 0a 'x'", false),
        (Link::v311(), "30 .. 00 03 't/#' 'x'", false),
    ] {
        link.send(publish);
        link.expect_closed(0x90);
        let sent = link.take_out();
        assert_eq!(sent.get(2).copied(), disconnect.then_some(0x90), "{publish}: {sent:02x?}");
    }
}

#[test]
fn spec_4_3_options() {
    let mut link = Link::v311();
    link.rules.ack_on_error = true;
    link.session.set_rules(link.rules.clone());
    link.outcome = Some(|_| Outcome::new(Situation::InvalidPayload, "why"));
    link.send("32 .. 00 01 't' 00 0a 'x'");
    link.expect("40 02 00 0a");
    link.send("30 .. 00 01 't' 'x'");
    link.expect_closed(0x99);

    let link = Link::with(Settings { ack_v3_invalid_topic: true, ..Settings::default() });
    let mut link = link.connected("10 .. 00 04 'MQTT' 04 02 00 00 00 01 'a'");
    link.outcome = Some(|_| Outcome::new(Situation::InvalidTopic, "why"));
    link.send("32 { 00 01 't' 00 0a 'x' } 30 { 00 01 't' 'x' }");
    link.expect("40 02 00 0a");
    link.expect_open();
}

/// Spec 4.2: in the order of the publishes, whatever they are.
#[test]
fn spec_4_2_pubacks_keep_the_order() {
    let mut link = Link::v5();
    link.outcome = None;
    for id in 1..=5 {
        link.send(&format!("32 .. 00 01 't' 00 0{id} 00 'x'"));
    }
    let outcomes = [Situation::Success, Situation::InvalidPayload, Situation::Success, Situation::InvalidTopic];
    for situation in outcomes {
        link.settle(&Outcome::new(situation, ""));
    }
    link.settle(&Outcome::SUCCESS);
    link.expect("40 02 00 01 40 03 00 02 99 40 02 00 03 40 03 00 04 90 40 02 00 05");
}

/// Spec 4.3: no reason string for who does not want one (Request Problem Information 0).
#[test]
fn spec_4_3_reason_strings_are_optional() {
    let mut link = Link::established("10 .. 00 04 'MQTT' 05 02 00 00 { 17 00 } 00 01 'a'");
    link.outcome = Some(|_| Outcome::new(Situation::RateLimited, "why"));
    link.send("32 .. 00 01 't' 00 0a 00 'x'");
    link.expect("40 03 00 0a 97 e0 01 96");
}

/// [MQTT-3.1.2-24]: rather no reason string than a packet that the client does not take.
#[test]
fn reason_strings_yield_to_the_clients_maximum_packet_size() {
    // A client that takes 30 bytes, of which 9 in PUBACK and 7 in DISCONNECT are not text.
    for (text, puback, disconnect) in [
        (21, "40 { 00 0a 97 { 1f 00 15 'w'*21 } }", "e0 { 96 { 1f 00 15 'w'*21 } }"),
        (22, "40 03 00 0a 97", "e0 { 96 { 1f 00 16 'w'*22 } }"),
        (23, "40 03 00 0a 97", "e0 { 96 { 1f 00 17 'w'*23 } }"),
        (24, "40 03 00 0a 97", "e0 01 96"),
    ] {
        let mut link = Link::established("10 .. 00 04 'MQTT' 05 02 00 00 { 27 00 00 00 1e } 00 01 'a'");
        link.outcome = None;
        link.send("32 .. 00 01 't' 00 0a 00 'x'");
        link.settle(&Outcome::new(Situation::RateLimited, "w".repeat(text)));
        link.expect(&format!("{puback} {disconnect}"));
    }
}

/// A plugin may write a novel.
#[test]
fn long_reason_strings_are_cut() {
    let mut link = Link::v5();
    link.outcome = None;
    link.send("32 .. 00 01 't' 00 0a 00 'x'");
    // 1,024 is not a border between characters here.
    link.settle(&Outcome::new(Situation::InvalidPayload, format!("x{}", "ä".repeat(40_000))));
    link.expect(&format!("40 .. 00 0a 99 {{ 1f 03 ff 'x' {} }}", "c3 a4 ".repeat(511)));
    // U+0000 cannot stand in a string.
    link.send("32 .. 00 01 't' 00 0a 00 'x'");
    link.settle(&Outcome::new(Situation::InvalidPayload, "a\0b"));
    link.expect("40 03 00 0a 99");
}

/// Spec 2.7, 18.4: Receive Maximum.
#[test]
fn spec_18_4_receive_maximum() {
    let mut link = Link::v5();
    link.outcome = None;
    for id in 0..100 {
        link.send(&format!("32 .. 00 01 't' 01 {id:02x} 00 'x'"));
    }
    // QoS 0 does not count.
    link.send("30 .. 00 01 't' 00 'x'");
    link.expect_open();
    // Each PUBACK makes room for one.
    link.settle(&Outcome::SUCCESS);
    link.send("32 .. 00 01 't' 01 64 00 'x'");
    link.expect_open();
    assert_eq!(link.tickets.len(), 101);
    link.send("32 .. 00 01 't' 01 65 00 'x'");
    link.expect_closed(0x93);
    assert_eq!(link.tickets.len(), 101, "the message too many was not handed on");

    // v3 has no such limit here; the caller bounds its drain.
    let mut link = Link::v311();
    link.outcome = None;
    for id in 1..=150 {
        link.send(&format!("32 .. 00 01 't' 00 {id:02x} 'x'"));
    }
    link.expect_open();
}

/// What came before the end is settled before the end is told.
#[test]
fn messages_before_a_fault_are_acknowledged_first() {
    let mut link = Link::v5();
    link.outcome = None;
    link.send("32 .. 00 01 't' 00 01 00 'x'");
    let fault = link.session.decode(&[0xc1, 0x00]).expect_err("flags");
    link.expect("");
    link.settle(&Outcome::SUCCESS);
    link.close(fault);
    let sent = link.take_out();
    assert_eq!(sent[..5], [0x40, 0x02, 0x00, 0x01, 0xe0], "{sent:02x?}");
    assert_eq!(sent[6], 0x81, "{sent:02x?}");
}

/// A client may publish and leave: its messages are acknowledged all the same, and nothing else is said.
#[test]
fn messages_before_a_disconnect_are_acknowledged() {
    let mut link = Link::v5();
    link.outcome = None;
    link.send("32 .. 00 01 't' 00 01 00 'x'");
    link.send("32 .. 00 01 't' 00 02 00 'x'");
    link.send("e0 00");
    link.send("c0 00");
    link.settle(&Outcome::SUCCESS);
    link.settle(&Outcome::new(Situation::InvalidPayload, ""));
    link.close(Close::new(ReasonCode::SERVER_SHUTTING_DOWN, ""));
    link.expect("40 02 00 01 40 03 00 02 99");
    link.expect_requests(&["publish t x", "publish t x", "disconnect 00 - will=false"]);
}

/// Design §1: what follows a message that closes the connection is without effect, even if it is already decoded.
#[test]
fn a_disconnect_behind_a_fatal_message_does_not_count() {
    let mut link = Link::v5();
    link.outcome = None;
    link.send("32 .. 00 01 't' 00 01 00 'x'");
    link.send("e0 00");
    link.settle(&Outcome::new(Situation::ProcessingFailed, ""));
    link.expect("40 03 00 01 83 e0 01 83");
}

/// MQTT5 §3.3.2.3.4 and spec 4.1.
#[test]
fn spec_4_1_topic_aliases() {
    let mut link = Link::v5();
    link.send("30 .. 00 03 't/1' { 23 00 01 } '1'");
    link.send("30 .. 00 03 't/2' { 23 00 10 } '2'");
    link.send("30 .. 00 00 { 23 00 01 } '3'");
    link.send("30 .. 00 00 { 23 00 10 } '4'");
    // An alias may be given a new meaning, or the same again.
    link.send("30 .. 00 03 't/3' { 23 00 01 } '5'");
    link.send("30 .. 00 03 't/3' { 23 00 01 } '6'");
    link.send("30 .. 00 00 { 23 00 01 } '7'");
    link.expect_requests(&[
        "publish t/1 1",
        "publish t/2 2",
        "publish t/1 3",
        "publish t/2 4",
        "publish t/3 5",
        "publish t/3 6",
        "publish t/3 7",
    ]);
    link.send("30 .. 00 00 { 23 00 02 } 'x'");
    link.expect_closed(0x82);

    for (alias, code) in [("00 00", 0x94), ("00 11", 0x94), ("ff ff", 0x94)] {
        let mut link = Link::v5();
        link.send(&format!("30 .. 00 01 't' {{ 23 {alias} }} 'x'"));
        link.expect_closed(code);
    }
}
