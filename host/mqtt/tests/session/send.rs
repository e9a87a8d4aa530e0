//! Spec 6: messages to the client.

use tidegate_mqtt::codec::TooLarge;
use tidegate_mqtt::session::{Downlink, Sent, Undeliverable};
use tidegate_mqtt::{Close, Qos, ReasonCode, Settings};

use crate::common::link::Link;

fn send(link: &mut Link, payload: &str, qos: Qos) -> Result<Sent, Undeliverable> {
    link.session.send(Downlink { topic: "t", payload: payload.as_bytes(), qos, retain: false }, &mut link.out)
}

fn written(id: u16) -> Result<Sent, Undeliverable> {
    Ok(Sent { packet_id: Some(id), waiting: false })
}

fn waiting(id: u16) -> Result<Sent, Undeliverable> {
    Ok(Sent { packet_id: Some(id), waiting: true })
}

#[test]
fn publish_in_every_version() {
    let mut link = Link::v311();
    assert_eq!(send(&mut link, "x", Qos::AtMostOnce), Ok(Sent { packet_id: None, waiting: false }));
    assert_eq!(send(&mut link, "y", Qos::AtLeastOnce), written(1));
    // Nobody was granted QoS 2.
    assert_eq!(send(&mut link, "z", Qos::ExactlyOnce), written(2));
    link.expect("30 04 00 01 't' 'x' 32 06 00 01 't' 00 01 'y' 32 06 00 01 't' 00 02 'z'");

    let mut link = Link::v5();
    send(&mut link, "x", Qos::AtMostOnce).unwrap();
    send(&mut link, "y", Qos::AtLeastOnce).unwrap();
    link.expect("30 05 00 01 't' 00 'x' 32 07 00 01 't' 00 01 00 'y'");
    link.session
        .send(Downlink { topic: "STATE/h", payload: b"", qos: Qos::AtMostOnce, retain: true }, &mut link.out)
        .unwrap();
    link.expect("31 .. 00 07 'STATE/h' 00");
}

/// Spec 6: at most min(client's Receive Maximum, 100) on their way, the rest waits in order.
#[test]
fn spec_6_window() {
    let mut link = Link::established("10 .. 00 04 'MQTT' 05 02 00 00 { 21 00 02 } 00 01 'a'");
    assert_eq!(send(&mut link, "1", Qos::AtLeastOnce), written(1));
    assert_eq!(send(&mut link, "2", Qos::AtLeastOnce), written(2));
    assert_eq!(send(&mut link, "3", Qos::AtLeastOnce), waiting(3));
    // QoS 0 takes no room, but must not overtake.
    assert_eq!(send(&mut link, "4", Qos::AtMostOnce), Ok(Sent { packet_id: None, waiting: true }));
    assert_eq!(send(&mut link, "5", Qos::AtLeastOnce), waiting(4));
    link.expect("32 07 00 01 't' 00 01 00 '1' 32 07 00 01 't' 00 02 00 '2'");

    link.send("40 02 00 02");
    link.expect("32 07 00 01 't' 00 03 00 '3' 30 05 00 01 't' 00 '4'");
    link.send("40 02 00 01");
    link.expect("32 07 00 01 't' 00 04 00 '5'");
    link.send("40 03 00 03 87");
    link.send("40 02 00 04");
    link.expect("");
    link.expect_requests(&["acknowledged 2 00", "acknowledged 1 00", "acknowledged 3 87", "acknowledged 4 00"]);
    assert_eq!(send(&mut link, "6", Qos::AtLeastOnce), written(5));
}

#[test]
fn spec_6_window_of_the_host() {
    for mut link in [Link::v311(), Link::v5()] {
        for id in 1..=100 {
            assert_eq!(send(&mut link, "x", Qos::AtLeastOnce), written(id));
        }
        for id in 101..=200 {
            assert_eq!(send(&mut link, "x", Qos::AtLeastOnce), waiting(id));
        }
        assert_eq!(send(&mut link, "x", Qos::AtLeastOnce), Err(Undeliverable::QueueFull { waiting: 100 }));
        assert_eq!(send(&mut link, "x", Qos::AtMostOnce), Err(Undeliverable::QueueFull { waiting: 100 }));
        link.send("40 02 00 01");
        assert_eq!(send(&mut link, "x", Qos::AtLeastOnce), waiting(201));
    }
}

/// Late, doubled or made up.
#[test]
fn an_unknown_puback_is_ignored() {
    let mut link = Link::v5();
    send(&mut link, "x", Qos::AtLeastOnce).unwrap();
    link.send("40 02 00 02");
    link.send("40 02 00 01");
    link.send("40 02 00 01");
    link.expect_requests(&["acknowledged 1 00"]);
    link.expect_open();

    // Also for one that was not even written.
    let mut link = Link::established("10 .. 00 04 'MQTT' 05 02 00 00 { 21 00 01 } 00 01 'a'");
    send(&mut link, "1", Qos::AtLeastOnce).unwrap();
    assert_eq!(send(&mut link, "2", Qos::AtLeastOnce), waiting(2));
    link.take_out();
    link.send("40 02 00 02");
    link.expect_requests(&[]);
    link.send("40 02 00 01");
    link.expect("32 07 00 01 't' 00 02 00 '2'");
}

/// Spec 6: unused, not 0, wraps.
#[test]
fn spec_6_packet_ids() {
    let mut link = Link::with(Settings { max_inflight: 2, max_waiting: 1, ..Settings::default() });
    link = link.connected("10 .. 00 04 'MQTT' 04 02 00 00 00 01 'a'");
    // The first one stays on its way all the time.
    assert_eq!(send(&mut link, "x", Qos::AtLeastOnce), written(1));
    for id in 2..=u16::MAX {
        assert_eq!(send(&mut link, "x", Qos::AtLeastOnce), written(id));
        link.send(&format!("40 02 {:02x} {:02x}", id >> 8, id & 0xff));
        link.out.clear();
    }
    assert_eq!(send(&mut link, "x", Qos::AtLeastOnce), written(2), "0 is no packet id, and 1 is in use");
    assert_eq!(send(&mut link, "x", Qos::AtLeastOnce), waiting(3));
}

/// Every packet id in use is an error, not a search without end.
#[test]
fn packet_ids_run_out() {
    let mut link = Link::with(Settings { max_inflight: u16::MAX, max_waiting: u16::MAX, ..Settings::default() });
    link = link.connected("10 .. 00 04 'MQTT' 04 02 00 00 00 01 'a'");
    for id in 1..=u16::MAX {
        assert_eq!(send(&mut link, "", Qos::AtLeastOnce), written(id));
    }
    assert_eq!(send(&mut link, "", Qos::AtLeastOnce), Err(Undeliverable::QueueFull { waiting: 0 }));
}

/// Spec 6: the client's Maximum Packet Size counts the whole packet.
#[test]
fn spec_6_maximum_packet_size() {
    let mut link = Link::established("10 .. 00 04 'MQTT' 05 02 00 00 { 27 00 00 00 28 } 00 01 'a'");
    let fits = "x".repeat(40 - 2 - 3 - 2 - 1);
    assert_eq!(send(&mut link, &fits, Qos::AtLeastOnce), written(1));
    assert_eq!(link.take_out().len(), 40);
    let error = send(&mut link, &format!("{fits}x"), Qos::AtLeastOnce);
    assert_eq!(error, Err(Undeliverable::TooLarge(TooLarge { size: 41, limit: 40 })));
    assert_eq!(error.unwrap_err().to_string(), "packet of 41 bytes, at most 40 are possible");
    link.expect("");
    // Nothing is lost by it but the message.
    assert!(!send(&mut link, &fits, Qos::AtLeastOnce).unwrap().waiting);
}

/// What a plugin made of the topic is checked.
#[test]
fn topics_are_checked() {
    let mut link = Link::v5();
    for topic in ["", "a/+", "a/#", "a\0b", &"x".repeat(65_536)] {
        let downlink = Downlink { topic, payload: b"", qos: Qos::AtMostOnce, retain: false };
        assert_eq!(link.session.send(downlink, &mut link.out), Err(Undeliverable::InvalidTopic));
    }
    link.expect("");
}

#[test]
fn nothing_is_sent_outside_of_a_connection() {
    let mut link = Link::new();
    link.accept = None;
    assert_eq!(send(&mut link, "x", Qos::AtMostOnce), Err(Undeliverable::NotConnected));
    link.send("10 .. 00 04 'MQTT' 05 02 00 00 00 00 01 'a'");
    assert_eq!(send(&mut link, "x", Qos::AtMostOnce), Err(Undeliverable::NotConnected));
    let mut link = Link::v5();
    link.close(Close::new(ReasonCode::SERVER_SHUTTING_DOWN, ""));
    assert_eq!(send(&mut link, "x", Qos::AtMostOnce), Err(Undeliverable::NotConnected));
}

/// Design §1: what a message causes does not depend on whether the DISCONNECT behind it came in the same segment.
#[test]
fn a_client_that_left_is_still_told_what_it_asked_for_before() {
    let mut link = Link::v5();
    link.send("e0 00");
    assert_eq!(send(&mut link, "x", Qos::AtLeastOnce), written(1));
    link.expect("32 07 00 01 't' 00 01 00 'x'");
}
