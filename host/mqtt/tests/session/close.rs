//! Spec 2.5, 2.7: how connections end.

use tidegate_mqtt::{Close, ReasonCode};

use crate::common::link::Link;

const CONNECT_V311: &str = "10 .. 00 04 'MQTT' 04 02 00 00 00 01 'a'";
const CONNECT_V5: &str = "10 .. 00 04 'MQTT' 05 02 00 00 00 00 01 'a'";

/// Every code of spec 2.7 that the host chooses by itself.
const CODES: [ReasonCode; 8] = [
    ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR,
    ReasonCode::NOT_AUTHORIZED,
    ReasonCode::SERVER_SHUTTING_DOWN,
    ReasonCode::SESSION_TAKEN_OVER,
    ReasonCode::TOPIC_NAME_INVALID,
    ReasonCode::MESSAGE_RATE_TOO_HIGH,
    ReasonCode::ADMINISTRATIVE_ACTION,
    ReasonCode::MAXIMUM_CONNECT_TIME,
];

/// Spec 2.5, 2.7: v5 is told, v3 just closes.
#[test]
fn spec_2_7_disconnect() {
    for code in CODES {
        let mut link = Link::v5();
        link.close(Close::new(code, ""));
        link.expect(&format!("e0 01 {:02x}", code.value()));
        // Only once, and nothing after it.
        link.close(Close::new(code, ""));
        link.expect("");

        let mut link = Link::v5();
        link.close(Close::new(code, "why"));
        link.expect(&format!("e0 .. {:02x} {{ 1f 00 03 'why' }}", code.value()));

        let mut link = Link::v311();
        link.close(Close::new(code, "why"));
        link.expect("");
    }
}

/// [MQTT-3.14.0-1]: no DISCONNECT before CONNACK, and CONNACK has fewer codes.
#[test]
fn the_host_ends_a_connection_that_is_not_answered() {
    for (code, v5, v3) in [
        (ReasonCode::SERVER_SHUTTING_DOWN, "20 03 00 88 00", "20 02 00 03"),
        (ReasonCode::ADMINISTRATIVE_ACTION, "20 03 00 88 00", "20 02 00 03"),
        (ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR, "20 03 00 83 00", ""),
        (ReasonCode::QUOTA_EXCEEDED, "20 03 00 97 00", ""),
    ] {
        for (connect, expected) in [(CONNECT_V5, v5), (CONNECT_V311, v3)] {
            let mut link = Link::new();
            link.accept = None;
            link.send(connect);
            link.close(Close::new(code, ""));
            link.expect(expected);
        }
    }
    let mut link = Link::new();
    link.close(Close::new(ReasonCode::SERVER_SHUTTING_DOWN, ""));
    link.expect("");
}

/// MQTT5 §3.14: the client leaves.
#[test]
fn the_client_disconnects() {
    for (mut link, disconnect, request) in [
        (Link::v311(), "e0 00", "disconnect 00 - will=false"),
        (Link::v5(), "e0 00", "disconnect 00 - will=false"),
        (Link::v5(), "e0 01 00", "disconnect 00 - will=false"),
        (Link::v5(), "e0 01 04", "disconnect 04 - will=true"),
        (Link::v5(), "e0 .. 81 { 1f 00 03 'bye' }", "disconnect 81 bye will=true"),
        (Link::v5(), "e0 .. 00 { 11 00 00 00 00 }", "disconnect 00 - will=false"),
    ] {
        link.send(disconnect);
        // What comes behind is not read.
        link.send("c0 00");
        link.close(Close::new(ReasonCode::SERVER_SHUTTING_DOWN, ""));
        link.expect("");
        link.expect_requests(&[request]);
        assert_eq!(link.session.deadline(), None);
    }
}

/// MQTT5 §3.14.2.2.2: who asked for no session at CONNECT cannot ask for one now.
#[test]
fn session_expiry_at_disconnect() {
    let mut link = Link::v5();
    link.send("e0 .. 00 { 11 00 00 00 3c }");
    link.expect_closed(0x82);
    assert_eq!(link.take_out()[2], 0x82);

    let mut link = Link::established("10 .. 00 04 'MQTT' 05 02 00 00 { 11 00 00 00 05 } 00 01 'a'");
    link.send("e0 .. 00 { 11 00 00 00 3c }");
    link.expect_requests(&["disconnect 00 - will=false"]);
}

/// Spec 2: a larger packet is 0x95, and its bytes need not arrive for that.
#[test]
fn spec_2_packet_too_large() {
    let mut link = Link::v5();
    link.send("30 80 80 04");
    link.expect_open();
    let mut link = Link::v5();
    link.send("30 81 80 04");
    link.expect_closed(0x95);
    assert_eq!(link.take_out()[2], 0x95);
    let mut link = Link::v311();
    link.send("30 81 80 04");
    link.expect_closed(0x95);
    link.expect("");
}

/// Spec 2.7: undecodable packets, with what was wrong.
#[test]
fn spec_2_7_malformed() {
    let mut link = Link::v5();
    link.send("32 .. 00 01 't' 00 00 00");
    link.expect_closed(0x82);
    let sent = link.take_out();
    assert_eq!(sent[2], 0x82);
    assert!(
        String::from_utf8_lossy(&sent).ends_with("PUBLISH packet: packet identifier: 0 is not a packet identifier")
    );
    assert_eq!(
        link.closed.unwrap().to_string(),
        "0x82 protocol error: PUBLISH packet: packet identifier: 0 is not a packet identifier"
    );
}
