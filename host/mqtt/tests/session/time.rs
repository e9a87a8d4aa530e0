//! Spec 2, 2.6: time limits.

use std::time::Duration;

use tidegate_mqtt::{Kind, Settings};

use crate::common::link::Link;

const SECOND: Duration = Duration::from_secs(1);
const MOMENT: Duration = Duration::from_millis(1);

fn connect(version: u8, keep_alive: u16) -> String {
    let properties = if version == 5 { "00" } else { "" };
    let [high, low] = keep_alive.to_be_bytes();
    format!("10 .. 00 04 'MQTT' 0{version} 02 {high:02x} {low:02x} {properties} 00 01 'a'")
}

/// Spec 2: 10 s to CONNECT.
#[test]
fn spec_2_time_to_connect() {
    let mut link = Link::new();
    link.wait(10 * SECOND - MOMENT);
    link.expect_open();
    link.wait(MOMENT);
    link.expect_closed(0xa0);
    link.expect("");

    // A CONNECT that trickles in does not gain time.
    let mut link = Link::new();
    link.send("10 0d 00 04");
    link.wait(10 * SECOND);
    link.expect_closed(0xa0);
}

/// The platform may take its time; it has limits of its own.
#[test]
fn nothing_ends_while_the_platform_is_asked() {
    let mut link = Link::new();
    link.accept = None;
    link.wait(9 * SECOND);
    link.send(&connect(5, 1));
    assert_eq!(link.session.deadline(), None);
    link.wait(3600 * SECOND);
    link.expect_open();
    link.accept(Kind::Device).unwrap();
    assert_eq!(link.session.deadline(), Some(link.now + Duration::from_millis(1500)));
}

/// Spec 2.6: 1.5 × keep alive.
#[test]
fn spec_2_6_keep_alive() {
    for version in [4, 5] {
        let mut link = Link::established(&connect(version, 60));
        link.wait(90 * SECOND - MOMENT);
        link.expect_open();
        // Any packet counts.
        for packet in ["c0 00", "40 02 00 01", "62 02 00 01"] {
            link.send(packet);
            link.wait(90 * SECOND - MOMENT);
            link.expect_open();
        }
        link.take_out();
        link.wait(MOMENT);
        link.expect_closed(0x8d);
        let sent = link.take_out();
        assert_eq!(sent.get(2).copied(), (version == 5).then_some(0x8d), "{sent:02x?}");
    }
}

/// Half a packet is no packet.
#[test]
fn spec_2_6_bytes_without_a_packet_do_not_count() {
    let mut link = Link::established(&connect(5, 60));
    link.wait(80 * SECOND);
    link.send("30 ff 03 00");
    link.wait(10 * SECOND);
    link.expect_closed(0x8d);
}

/// Spec 2.6: 600 s without keep alive; a longer keep alive is not cut.
#[test]
fn spec_2_6_inactivity() {
    let mut link = Link::established(&connect(5, 0));
    link.wait(600 * SECOND - MOMENT);
    link.expect_open();
    link.wait(MOMENT);
    link.expect_closed(0xa0);
    assert_eq!(link.take_out()[2], 0xa0);

    // A keep alive of up to 600 s is not longer than the limit; whichever comes first ends it.
    for (keep_alive, seconds, code) in
        [(400, 600, 0x8d), (401, 600, 0xa0), (600, 600, 0xa0), (602, 903, 0x8d), (1000, 1500, 0x8d)]
    {
        let mut link = Link::established(&connect(5, keep_alive));
        link.wait(seconds * SECOND - SECOND);
        link.expect_open();
        link.wait(SECOND);
        link.expect_closed(code);
    }
}

/// PINGRESP always, also in provision-only sessions.
#[test]
fn spec_2_6_ping() {
    for kind in [Kind::Device, Kind::Gateway, Kind::Handled { gateway: false }, Kind::Provision] {
        let mut link = Link::new();
        link.accept = Some(kind);
        let mut link = link.connected(&connect(4, 0));
        link.send("c0 00");
        link.expect("d0 00");
    }
}

/// Design §1: while the host itself does not read, the clocks stand still.
#[test]
fn clocks_stand_still_while_the_host_does_not_read() {
    let mut link = Link::established(&connect(5, 60));
    link.wait(50 * SECOND);
    link.session.pause(link.now);
    assert_eq!(link.session.deadline(), None);
    link.wait(1000 * SECOND);
    // Twice is once.
    link.session.pause(link.now);
    link.wait(1000 * SECOND);
    link.expect_open();
    link.session.resume(link.now);
    link.session.resume(link.now);
    assert_eq!(link.session.deadline(), Some(link.now + 40 * SECOND));
    link.wait(40 * SECOND - MOMENT);
    link.expect_open();
    link.wait(MOMENT);
    link.expect_closed(0x8d);
}

/// The pause begins anew with a packet that was taken from the buffer meanwhile.
#[test]
fn a_packet_during_a_pause_counts() {
    let mut link = Link::established(&connect(5, 60));
    link.wait(50 * SECOND);
    link.session.pause(link.now);
    link.wait(20 * SECOND);
    link.send("c0 00");
    link.wait(20 * SECOND);
    link.session.resume(link.now);
    assert_eq!(link.session.deadline(), Some(link.now + 90 * SECOND));
}

/// The time to CONNECT stands still as well.
#[test]
fn a_pause_before_connect() {
    let mut link = Link::new();
    link.wait(4 * SECOND);
    link.session.pause(link.now);
    link.wait(100 * SECOND);
    link.session.resume(link.now);
    assert_eq!(link.session.deadline(), Some(link.now + 6 * SECOND));
}

/// Limits that an operator may have meant as "never".
#[test]
fn endless_limits_do_not_overflow() {
    let never = Settings { session_timeout: Duration::MAX, connect_timeout: Duration::MAX, ..Settings::default() };
    let mut link = Link::with(never);
    assert_eq!(link.session.deadline(), None);
    link.wait(1000 * SECOND);
    link.send(&connect(5, 0));
    assert_eq!(link.session.deadline(), None);
    link.wait(1000 * SECOND);
    link.expect_open();
}
