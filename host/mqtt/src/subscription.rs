//! Which filters a session may subscribe to, and what for (spec 3.5, 5.1).

use crate::ReasonCode;
use crate::topic::Filter;

/// What kind of session a connection carries, decided at CONNECT (spec 3.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A device.
    Device,
    /// A device with the flag `gateway`.
    Gateway,
    /// A device whose profile has a topic handler, which decides on filters of its own instead of those of a device.
    Handled {
        /// It carries the flag `gateway` as well.
        gateway: bool,
    },
    /// A provision-only session (spec 13.1).
    Provision,
}

impl Kind {
    fn is_gateway(self) -> bool {
        matches!(self, Self::Gateway | Self::Handled { gateway: true })
    }
}

/// What the host does for a subscription, apart from its quality of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Pushes changes of shared attributes.
    Attributes,
    /// Pushes server RPCs.
    Rpc,
    /// Nothing more: answers and pushes that come without a subscription too.
    Answers,
    /// Stands for the chunk filter below it: `v2/fw/response/+` for `v2/fw/response/+/chunk/+`.
    ChunkAlias,
}

/// The sessions that a row is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum For {
    Device,
    Gateway,
    Provision,
}

/// The topic on which changes of shared attributes are published unless the subscription says otherwise (spec 10.4).
pub(crate) const ATTRIBUTES_TOPIC: &str = "v1/devices/me/attributes";

/// Spec 5.1, except the rows that depend on the profile. `+` may also be subscribed as a number.
const FILTERS: &[(&str, For, Purpose)] = &[
    (ATTRIBUTES_TOPIC, For::Device, Purpose::Attributes),
    ("v2/a", For::Device, Purpose::Attributes),
    ("v2/a/j", For::Device, Purpose::Attributes),
    ("v2/a/p", For::Device, Purpose::Attributes),
    ("v1/devices/me/rpc/request/+", For::Device, Purpose::Rpc),
    ("v2/r/req/+", For::Device, Purpose::Rpc),
    ("v2/r/req/j/+", For::Device, Purpose::Rpc),
    ("v2/r/req/p/+", For::Device, Purpose::Rpc),
    ("v1/devices/me/rpc/response/+", For::Device, Purpose::Answers),
    ("v2/r/res/+", For::Device, Purpose::Answers),
    ("v2/r/res/j/+", For::Device, Purpose::Answers),
    ("v2/r/res/p/+", For::Device, Purpose::Answers),
    ("v1/devices/me/attributes/response/+", For::Device, Purpose::Answers),
    ("v2/a/res/+", For::Device, Purpose::Answers),
    ("v2/a/res/j/+", For::Device, Purpose::Answers),
    ("v2/a/res/p/+", For::Device, Purpose::Answers),
    ("v2/fw/response/+/chunk/+", For::Device, Purpose::Answers),
    ("v2/fw/error", For::Device, Purpose::Answers),
    ("v2/sw/response/+/chunk/+", For::Device, Purpose::Answers),
    ("v2/sw/error", For::Device, Purpose::Answers),
    ("v2/fw/response/+", For::Device, Purpose::ChunkAlias),
    ("v2/sw/response/+", For::Device, Purpose::ChunkAlias),
    ("v1/gateway/attributes", For::Gateway, Purpose::Answers),
    ("v1/gateway/rpc", For::Gateway, Purpose::Answers),
    ("v1/gateway/attributes/response", For::Gateway, Purpose::Answers),
    ("v1/gateway/disconnect", For::Gateway, Purpose::Answers),
    ("/provision/response", For::Provision, Purpose::Answers),
];

/// Whether a session may subscribe to a filter, and what it gets: the outcome table of spec 5.1. `attributes_filter` is
/// the profile's `attributes_subscribe_topic`, if it sets one.
pub(crate) fn decide(
    text: &str,
    kind: Kind,
    attributes_filter: Option<&Filter>,
) -> Result<(Filter, Purpose), ReasonCode> {
    if text.starts_with("$share/") {
        return Err(ReasonCode::SHARED_SUBSCRIPTIONS_NOT_SUPPORTED);
    }
    let Ok(filter) = Filter::parse(text) else { return Err(ReasonCode::TOPIC_FILTER_INVALID) };
    if let Some((pattern, session, purpose)) = FILTERS.iter().find(|(pattern, ..)| is_form_of(text, pattern)) {
        let granted = match session {
            For::Device => matches!(kind, Kind::Device | Kind::Gateway),
            For::Gateway => kind.is_gateway(),
            For::Provision => kind == Kind::Provision,
        };
        if granted {
            // A number in place of `+` has its own QoS, but no RPC with another number could be pushed to it.
            let numbered = *purpose == Purpose::Rpc && text != *pattern;
            return Ok((filter, if numbered { Purpose::Answers } else { *purpose }));
        }
        if *session == For::Gateway && kind != Kind::Provision {
            return Err(ReasonCode::NOT_AUTHORIZED);
        }
    }
    if kind != Kind::Provision && is_attributes(text, kind, attributes_filter) {
        return Ok((filter, Purpose::Attributes));
    }
    Err(ReasonCode::TOPIC_FILTER_INVALID)
}

/// Whether the filter is the pattern itself or one with a number in place of a `+`.
fn is_form_of(filter: &str, pattern: &str) -> bool {
    let number = |level: &str| !level.is_empty() && level.bytes().all(|byte| byte.is_ascii_digit());
    let mut levels = filter.split('/');
    pattern
        .split('/')
        .all(|expected| levels.next().is_some_and(|level| level == expected || expected == "+" && number(level)))
        && levels.next().is_none()
}

/// Whether the filter subscribes to shared attributes by the profile's own filter (spec 10.4): the same text, or one
/// that it matches.
fn is_attributes(text: &str, kind: Kind, attributes_filter: Option<&Filter>) -> bool {
    match attributes_filter {
        Some(filter) => filter.as_str() == text || filter.matches(text),
        // For devices the default is a row of the table.
        None => matches!(kind, Kind::Handled { .. }) && text == ATTRIBUTES_TOPIC,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: Kind = Kind::Device;
    const GATEWAY: Kind = Kind::Gateway;
    const HANDLED: Kind = Kind::Handled { gateway: false };
    const HANDLED_GATEWAY: Kind = Kind::Handled { gateway: true };
    const PROVISION: Kind = Kind::Provision;

    fn code(text: &str, kind: Kind, attributes_filter: Option<&Filter>) -> u8 {
        decide(text, kind, attributes_filter).map_or_else(ReasonCode::value, |_| 0)
    }

    /// Every row of the table, subscribed by every kind of session.
    #[test]
    fn spec_5_1_accepted_filters() {
        for (filter, session, purpose) in FILTERS {
            let (device, gateway, provision) = match session {
                For::Device => (0, 0, 0x8f),
                For::Gateway => (0x87, 0, 0x8f),
                For::Provision => (0x8f, 0x8f, 0),
            };
            assert_eq!(code(filter, DEVICE, None), device, "device: {filter}");
            assert_eq!(code(filter, GATEWAY, None), gateway, "gateway: {filter}");
            assert_eq!(code(filter, PROVISION, None), provision, "provision: {filter}");
            let handled = if *filter == ATTRIBUTES_TOPIC { 0 } else { device.max(0x87) };
            let handled = if *session == For::Device && handled != 0 { 0x8f } else { handled };
            assert_eq!(code(filter, HANDLED, None), handled, "with a handler: {filter}");

            let kind = match session {
                For::Device => DEVICE,
                For::Gateway => GATEWAY,
                For::Provision => PROVISION,
            };
            assert_eq!(decide(filter, kind, None).unwrap().1, *purpose, "{filter}");
        }
        assert_eq!(code("v1/gateway/rpc", HANDLED_GATEWAY, None), 0);
    }

    #[test]
    fn spec_5_1_a_number_in_place_of_plus() {
        for (filter, expected) in [
            ("v1/devices/me/rpc/request/17", Ok(Purpose::Answers)),
            ("v2/r/req/j/0", Ok(Purpose::Answers)),
            ("v2/a/res/7", Ok(Purpose::Answers)),
            ("v2/fw/response/3/chunk/+", Ok(Purpose::Answers)),
            ("v2/fw/response/+/chunk/7", Ok(Purpose::Answers)),
            ("v2/sw/response/3", Ok(Purpose::ChunkAlias)),
            ("v1/devices/me/rpc/request/", Err(ReasonCode::TOPIC_FILTER_INVALID)),
            ("v1/devices/me/rpc/request/x", Err(ReasonCode::TOPIC_FILTER_INVALID)),
            ("v1/devices/me/rpc/request/-1", Err(ReasonCode::TOPIC_FILTER_INVALID)),
            ("v1/devices/me/rpc/request/+/x", Err(ReasonCode::TOPIC_FILTER_INVALID)),
        ] {
            assert_eq!(decide(filter, DEVICE, None).map(|(_, purpose)| purpose), expected, "{filter}");
        }
    }

    /// The outcome table of spec 5.1, refusals.
    #[test]
    fn spec_5_1_refused_filters() {
        for (filter, kind, expected) in [
            ("#", DEVICE, 0x8f),
            ("+/devices/me/attributes", DEVICE, 0x8f),
            ("v1/devices/me/#", DEVICE, 0x8f),
            ("v1/devices/+/attributes", DEVICE, 0x8f),
            ("v1/devices/me/telemetry", DEVICE, 0x8f),
            ("V2/a", DEVICE, 0x8f),
            ("v2/a/", DEVICE, 0x8f),
            ("spBv1.0/g/NCMD/n", DEVICE, 0x8f),
            ("v1/gateway/rpc", DEVICE, 0x87),
            ("v1/gateway/+", GATEWAY, 0x8f),
            ("$share/group/v2/a", DEVICE, 0x9e),
            ("a/#/b", DEVICE, 0x8f),
            ("a+", DEVICE, 0x8f),
            ("", DEVICE, 0x8f),
            ("v2/a", PROVISION, 0x8f),
        ] {
            assert_eq!(code(filter, kind, None), expected, "{filter:?}");
        }
    }

    #[test]
    fn spec_10_4_the_profiles_attribute_filter() {
        let plain = Filter::parse_profile("sensor/attributes").unwrap();
        let wild = Filter::parse_profile("sensor/+/attributes").unwrap();
        for (filter, setting, expected) in [
            ("sensor/attributes", &plain, 0),
            ("sensor/other", &plain, 0x8f),
            ("sensor/+", &plain, 0x8f),
            ("sensor/+/attributes", &wild, 0),
            ("sensor/7/attributes", &wild, 0),
            ("sensor//attributes", &wild, 0x8f),
            // The others stay usable.
            ("v1/devices/me/attributes", &plain, 0),
            ("v2/a/j", &plain, 0),
        ] {
            assert_eq!(code(filter, DEVICE, Some(setting)), expected, "{filter}");
        }
        assert_eq!(code("sensor/attributes", HANDLED, Some(&plain)), 0);
        assert_eq!(code("v1/devices/me/attributes", HANDLED, Some(&plain)), 0x8f);
        assert_eq!(code("sensor/attributes", PROVISION, Some(&plain)), 0x8f);
    }
}
