//! Spec 5: SUBSCRIBE and UNSUBSCRIBE. Which filter is granted to whom is tested where the table stands.

use std::sync::Arc;

use tidegate_mqtt::session::{ProfileRules, Push};
use tidegate_mqtt::topic::Filter;
use tidegate_mqtt::{Kind, Qos, Settings};

use crate::common::link::Link;

/// A v5 session of this kind.
fn session(kind: Kind) -> Link {
    let mut link = Link::new();
    link.accept = Some(kind);
    link.connected("10 .. 00 04 'MQTT' 05 02 00 00 00 00 01 'a'")
}

fn subscribe(link: &mut Link, filter: &str, qos: u8) -> u8 {
    let length = filter.len();
    link.send(&format!("82 .. 00 01 00 {:02x} {:02x} '{filter}' {qos:02x}", length >> 8, length & 0xff));
    *link.take_out().last().expect("SUBACK")
}

fn unsubscribe(link: &mut Link, filter: &str) -> u8 {
    let length = filter.len();
    link.send(&format!("a2 .. 00 01 00 00 {length:02x} '{filter}'"));
    *link.take_out().last().expect("UNSUBACK")
}

/// Spec 5.1: one code per filter, in order, and a refused one spoils nothing.
#[test]
fn spec_5_1_suback() {
    const FILTERS: &str = "00 04 'v2/a' 00 00 01 '#' 01 00 06 'v2/a/j' 02 00 0e 'v1/gateway/rpc' 01 00 08 '$share/x' 00 \
                           00 03 'a/#' 01 00 02 'a+' 01";
    let mut link = Link::v5();
    link.send(&format!("82 .. 12 34 00 {FILTERS}"));
    link.expect("90 .. 12 34 00 00 8f 01 87 9e 8f 8f");
    assert_eq!(link.session.push_topic(Push::Attributes), Some("v2/a/j"));

    let mut link = Link::v311();
    link.send(&format!("82 .. 12 34 {FILTERS}"));
    link.expect("90 .. 12 34 00 80 01 80 80 80 80");
    link.expect_open();
}

/// Spec 3.5: the four kinds of session.
#[test]
fn spec_3_5_rights_to_subscribe() {
    let kinds = [
        Kind::Device,
        Kind::Gateway,
        Kind::Handled { gateway: false },
        Kind::Handled { gateway: true },
        Kind::Provision,
    ];
    for (filter, expected) in [
        ("v1/devices/me/attributes", [0x01, 0x01, 0x01, 0x01, 0x8f]),
        ("v1/devices/me/rpc/request/+", [0x01, 0x01, 0x8f, 0x8f, 0x8f]),
        ("v1/gateway/attributes", [0x87, 0x01, 0x87, 0x01, 0x8f]),
        ("/provision/response", [0x8f, 0x8f, 0x8f, 0x8f, 0x01]),
    ] {
        for (kind, expected) in kinds.into_iter().zip(expected) {
            assert_eq!(subscribe(&mut session(kind), filter, 1), expected, "{filter} by {kind:?}");
        }
    }
}

/// Spec 5.1: granted is min(requested, 1); subscribing again replaces it. Spec 6: without a subscription QoS 1.
#[test]
fn spec_5_1_granted_qos() {
    let mut link = Link::v5();
    assert_eq!(link.session.qos_for("v2/a/res/7"), Qos::AtLeastOnce);
    for (qos, granted, expected) in
        [(0, 0, Qos::AtMostOnce), (2, 1, Qos::AtLeastOnce), (1, 1, Qos::AtLeastOnce), (0, 0, Qos::AtMostOnce)]
    {
        assert_eq!(subscribe(&mut link, "v2/a/res/+", qos), granted);
        assert_eq!(link.session.qos_for("v2/a/res/7"), expected);
    }
    assert_eq!(link.session.qos_for("v2/a/res/j/7"), Qos::AtLeastOnce, "another filter's topic");
    assert_eq!(unsubscribe(&mut link, "v2/a/res/+"), 0x00);
    assert_eq!(link.session.qos_for("v2/a/res/7"), Qos::AtLeastOnce);
}

/// Spec 5.1: a number in place of `+`.
#[test]
fn spec_5_1_only_messages_for_that_number() {
    let mut link = Link::v5();
    subscribe(&mut link, "v1/devices/me/rpc/request/5", 0);
    assert_eq!(link.session.qos_for("v1/devices/me/rpc/request/5"), Qos::AtMostOnce);
    assert_eq!(link.session.qos_for("v1/devices/me/rpc/request/6"), Qos::AtLeastOnce);
    assert_eq!(link.session.push_topic(Push::Rpc), None, "RPCs have other numbers as well");
    // Overlapping subscriptions: the higher one [MQTT-3.3.4-2].
    subscribe(&mut link, "v1/devices/me/rpc/request/+", 1);
    assert_eq!(link.session.qos_for("v1/devices/me/rpc/request/5"), Qos::AtLeastOnce);
}

/// Spec 5.1: `v2/fw/response/+` is an alias of the chunk filter.
#[test]
fn spec_5_1_the_chunk_filters_alias() {
    let mut link = Link::v5();
    subscribe(&mut link, "v2/fw/response/+", 0);
    assert_eq!(link.session.qos_for("v2/fw/response/3/chunk/7"), Qos::AtMostOnce);
    assert_eq!(link.session.qos_for("v2/sw/response/3/chunk/7"), Qos::AtLeastOnce);
    assert_eq!(link.session.qos_for("v2/fw/error"), Qos::AtLeastOnce);
    subscribe(&mut link, "v2/sw/response/3", 0);
    assert_eq!(link.session.qos_for("v2/sw/response/3/chunk/7"), Qos::AtMostOnce);
    assert_eq!(link.session.qos_for("v2/sw/response/4/chunk/7"), Qos::AtLeastOnce);
}

/// Spec 5.1: the last one subscribed receives pushes; when it is gone, the most recent remaining one.
#[test]
fn spec_5_1_pushes_follow_the_last_subscription() {
    let mut link = Link::v5();
    assert_eq!(link.session.push_topic(Push::Attributes), None);
    assert_eq!(link.session.push_topic(Push::Rpc), None);
    for filter in ["v1/devices/me/attributes", "v2/a/j", "v2/a/p"] {
        subscribe(&mut link, filter, 1);
        assert_eq!(link.session.push_topic(Push::Attributes), Some(filter));
    }
    // Again is the latest again.
    subscribe(&mut link, "v1/devices/me/attributes", 0);
    assert_eq!(link.session.push_topic(Push::Attributes), Some("v1/devices/me/attributes"));
    assert_eq!(link.session.qos_for("v2/a/j"), Qos::AtLeastOnce, "both are kept for QoS");
    for (gone, next) in [("v1/devices/me/attributes", Some("v2/a/p")), ("v2/a/j", Some("v2/a/p")), ("v2/a/p", None)] {
        assert_eq!(unsubscribe(&mut link, gone), 0x00);
        assert_eq!(link.session.push_topic(Push::Attributes), next);
    }

    subscribe(&mut link, "v1/devices/me/rpc/request/+", 1);
    subscribe(&mut link, "v2/r/req/j/+", 1);
    assert_eq!(link.session.push_topic(Push::Rpc), Some("v2/r/req/j/+"));
    unsubscribe(&mut link, "v2/r/req/j/+");
    assert_eq!(link.session.push_topic(Push::Rpc), Some("v1/devices/me/rpc/request/+"));
}

/// Spec 10.4: the profile's own filter.
#[test]
fn spec_10_4_pushes_on_the_profiles_topic() {
    let filter = |text| Some(Arc::new(Filter::parse_profile(text).unwrap()));
    let mut link = Link::v5();
    link.session.set_rules(ProfileRules { ack_on_error: false, attributes_filter: filter("my/attributes") });
    assert_eq!(subscribe(&mut link, "my/attributes", 0), 0x00);
    assert_eq!(link.session.push_topic(Push::Attributes), Some("my/attributes"));
    assert_eq!(link.session.qos_for("my/attributes"), Qos::AtMostOnce);

    let mut link = Link::v5();
    link.session.set_rules(ProfileRules { ack_on_error: false, attributes_filter: filter("my/+/attributes") });
    assert_eq!(subscribe(&mut link, "my/7/attributes", 0), 0x00);
    assert_eq!(link.session.push_topic(Push::Attributes), Some("my/7/attributes"));
    // A filter with wildcards is no topic; pushes for it come on the default one, with its QoS.
    assert_eq!(subscribe(&mut link, "my/+/attributes", 0), 0x00);
    assert_eq!(link.session.push_topic(Push::Attributes), Some("v1/devices/me/attributes"));
    assert_eq!(link.session.qos_for("v1/devices/me/attributes"), Qos::AtMostOnce);
    // What was subscribed can be given back even when the profile has changed.
    link.session.set_rules(ProfileRules::default());
    assert_eq!(unsubscribe(&mut link, "my/7/attributes"), 0x00);
    assert_eq!(unsubscribe(&mut link, "my/7/attributes"), 0x8f);
}

/// Spec 18.4: 100 subscriptions.
#[test]
fn spec_18_4_subscription_limit() {
    let mut link = Link::v5();
    for number in 0..100 {
        assert_eq!(subscribe(&mut link, &format!("v2/a/res/{number}"), 1), 0x01);
    }
    assert_eq!(subscribe(&mut link, "v2/a", 1), 0x97);
    assert_eq!(subscribe(&mut link, "v2/a/res/7", 0), 0x00, "one that is there already");
    assert_eq!(unsubscribe(&mut link, "v2/a/res/7"), 0x00);
    assert_eq!(subscribe(&mut link, "v2/a", 1), 0x01);
    link.expect_open();

    let link = Link::with(Settings { max_subscriptions: 1, ..Settings::default() });
    let mut link = link.connected("10 .. 00 04 'MQTT' 04 02 00 00 00 01 'a'");
    link.send("82 .. 00 01 00 04 'v2/a' 01 00 06 'v2/a/j' 01");
    link.expect("90 .. 00 01 01 80");
}

/// Spec 5.2.
#[test]
fn spec_5_2_unsuback() {
    let mut link = Link::v5();
    subscribe(&mut link, "v2/a", 1);
    link.send("a2 .. 00 07 00 00 04 'v2/a' 00 04 'v2/a' 00 06 'v2/a/j' 00 01 '#' 00 03 'a+b' 00 0e 'v1/gateway/rpc'");
    link.expect("b0 .. 00 07 00 00 11 11 8f 8f 8f");

    let mut link = Link::v311();
    link.send("a2 .. 00 07 00 04 'v2/a' 00 01 '#'");
    link.expect("b0 02 00 07");
    link.expect_open();
}

/// Spec 2.2: subscription identifiers are echoed.
#[test]
fn spec_2_2_subscription_identifiers() {
    use tidegate_mqtt::session::Downlink;

    let downlink = |topic| Downlink { topic, payload: b"x", qos: Qos::AtMostOnce, retain: false };
    let mut link = Link::v5();
    link.send("82 .. 00 01 { 0b 85 01 } 00 0a 'v2/a/res/+' 00");
    link.send("82 .. 00 02 { 0b 07 } 00 0a 'v2/a/res/5' 00 00 04 'v2/a' 00");
    link.send("82 .. 00 03 00 00 06 'v2/a/j' 00");
    link.take_out();
    for (topic, properties) in [
        ("v2/a/res/5", "{ 0b 85 01 0b 07 }"),
        ("v2/a/res/6", "{ 0b 85 01 }"),
        ("v2/a", "{ 0b 07 }"),
        ("v2/a/j", "00"),
        ("v2/r/res/1", "00"),
    ] {
        link.session.send(downlink(topic), &mut link.out).unwrap();
        link.expect(&format!("30 .. 00 {:02x} '{topic}' {properties} 'x'", topic.len()));
    }
    // Subscribing without one takes it away.
    link.send("82 .. 00 04 00 00 04 'v2/a' 00");
    link.take_out();
    link.session.send(downlink("v2/a"), &mut link.out).unwrap();
    link.expect("30 .. 00 04 'v2/a' 00 'x'");
}
