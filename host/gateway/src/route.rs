//! From a topic to what the message is meant to be: spec 4.1, row by row.

use std::sync::Arc;

use model::Operation;
use mqtt::{Outcome, Situation};
use plugins::contract::MatchedTopic;

use crate::profile::{ProfileTopic, Topics};

/// What to do with a message.
#[derive(Debug, Clone)]
pub enum Route {
    /// Give it to a converter.
    Convert {
        /// Which one.
        slot: Slot,
        /// What it is meant to be.
        operation: Operation,
        /// Where the answer to a request goes.
        answer: Option<Answer>,
    },
    /// It has no meaning here.
    Refuse(Outcome),
}

/// The plugin slots of spec 16.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Slot {
    /// The profile's converter.
    Profile,
    /// The shipped JSON converter with the profile's settings.
    Json,
}

/// The topic families in which a request can be made; its answer stays in the same one (spec 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// `v1/devices/me/rpc/response/{id}`
    V1,
    /// `v2/r/res/{id}`
    V2,
    /// `v2/r/res/j/{id}`
    V2Json,
}

impl Answer {
    /// The topic on which a client-side RPC is answered (spec 12.1).
    pub fn rpc_topic(self, id: i32) -> String {
        match self {
            Self::V1 => format!("v1/devices/me/rpc/response/{id}"),
            Self::V2 => format!("v2/r/res/{id}"),
            Self::V2Json => format!("v2/r/res/j/{id}"),
        }
    }
}

/// What a topic means on a device whose profile has these topics (spec 4.1). First match wins.
pub fn route(topics: &Topics, is_gateway: bool, topic: &str) -> Route {
    use Operation::{Attributes, RpcRequest, Telemetry};
    let convert = |slot, operation| Route::Convert { slot, operation, answer: None };
    let request = |slot, answer, id: &str| match request_id(id) {
        Some(id) => Route::Convert { slot, operation: RpcRequest(id), answer: Some(answer) },
        None => {
            refuse(Situation::InvalidTopic, format!("topic: a request id from 0 to 2147483647 expected, got {id:?}"))
        }
    };
    if topic.starts_with("v1/gateway") {
        return if is_gateway {
            refuse(Situation::InvalidTopic, format!("topic {topic:?}: the gateway API is not served"))
        } else {
            refuse(Situation::NotAGateway, "topic: only a gateway may publish on v1/gateway".to_owned())
        };
    }
    if matches(&topics.attributes, topic) {
        return convert(Slot::Profile, Attributes);
    }
    if matches(&topics.telemetry, topic) {
        return convert(Slot::Profile, Telemetry);
    }
    if let Some(id) = topic.strip_prefix("v1/devices/me/rpc/request/") {
        return request(Slot::Profile, Answer::V1, id);
    }
    match topic {
        "v2/t" => return convert(Slot::Profile, Telemetry),
        "v2/t/j" => return convert(Slot::Json, Telemetry),
        "v2/a" => return convert(Slot::Profile, Attributes),
        "v2/a/j" => return convert(Slot::Json, Attributes),
        // Spec 6, last paragraph: without schemas, nothing on these topics can be decoded.
        "v2/t/p" | "v2/a/p" => {
            return refuse(Situation::InvalidPayload, format!("{topic}: the profile has no Protobuf schemas"));
        }
        _ => {}
    }
    if let Some(id) = topic.strip_prefix("v2/r/req/j/") {
        return request(Slot::Json, Answer::V2Json, id);
    }
    if let Some(id) = topic.strip_prefix("v2/r/req/") {
        return request(Slot::Profile, Answer::V2, id);
    }
    refuse(Situation::InvalidTopic, format!("topic {topic:?}: expected a topic of the device API or of the profile"))
}

/// What the plugin is told of the topic: its levels, where a wildcard of the profile matched it.
pub fn matched_topic(topics: &Topics, operation: Operation, slot: Slot, topic: &str) -> Option<MatchedTopic> {
    let filter = match operation {
        Operation::Telemetry if slot == Slot::Profile => &topics.telemetry,
        Operation::Attributes if slot == Slot::Profile => &topics.attributes,
        _ => return None,
    };
    if filter.literal.is_some() {
        return None;
    }
    let captures = filter.filter.captures(topic)?.map(str::to_owned).collect();
    Some(MatchedTopic { name: topic.to_owned(), captures })
}

/// The topic as events carry it: shared where the profile has it.
pub fn shared_topic(topics: &Topics, topic: &str) -> Arc<str> {
    for known in [&topics.telemetry, &topics.attributes] {
        if let Some(literal) = &known.literal
            && &**literal == topic
        {
            return literal.clone();
        }
    }
    topic.into()
}

fn matches(known: &ProfileTopic, topic: &str) -> bool {
    match &known.literal {
        Some(literal) => &**literal == topic,
        None => known.filter.matches(topic),
    }
}

/// Decimal, signed 32 bits, not negative; leading zeros are allowed (spec 4.1).
fn request_id(text: &str) -> Option<i32> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

fn refuse(situation: Situation, reason: String) -> Route {
    Route::Refuse(Outcome::new(situation, reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mqtt::topic::Filter;

    fn topics(telemetry: &str, attributes: &str) -> Topics {
        let topic = |filter| ProfileTopic::new(Filter::parse_profile(filter).unwrap());
        Topics { telemetry: topic(telemetry), attributes: topic(attributes) }
    }

    fn default_topics() -> Topics {
        topics("v1/devices/me/telemetry", "v1/devices/me/attributes")
    }

    /// `slot operation answer`, or the situation.
    fn shown(topics: &Topics, is_gateway: bool, topic: &str) -> String {
        match route(topics, is_gateway, topic) {
            Route::Convert { slot, operation, answer } => {
                let id = if let Operation::RpcRequest(id) = operation { format!(" {id}") } else { String::new() };
                let answer = answer.map_or_else(String::new, |answer| format!(" -> {}", answer.rpc_topic(7)));
                format!("{slot:?} {operation}{id}{answer}")
            }
            Route::Refuse(outcome) => {
                assert!(!outcome.reason.is_empty(), "{topic}");
                format!("{:?}", outcome.situation)
            }
        }
    }

    /// The rows of spec 4.1 that are served, and everything else.
    #[test]
    fn spec_4_1_topics() {
        let rows = [
            (false, "v1/devices/me/attributes", "Profile attributes"),
            (false, "v1/devices/me/telemetry", "Profile telemetry"),
            (false, "v1/devices/me/rpc/request/7", "Profile rpc-request 7 -> v1/devices/me/rpc/response/7"),
            (false, "v1/devices/me/rpc/request/007", "Profile rpc-request 7 -> v1/devices/me/rpc/response/7"),
            (
                false,
                "v1/devices/me/rpc/request/2147483647",
                "Profile rpc-request 2147483647 -> v1/devices/me/rpc/response/7",
            ),
            (false, "v1/devices/me/rpc/request/2147483648", "InvalidTopic"),
            (false, "v1/devices/me/rpc/request/-1", "InvalidTopic"),
            (false, "v1/devices/me/rpc/request/+1", "InvalidTopic"),
            (false, "v1/devices/me/rpc/request/x", "InvalidTopic"),
            (false, "v1/devices/me/rpc/request/", "InvalidTopic"),
            (false, "v2/t", "Profile telemetry"),
            (false, "v2/t/j", "Json telemetry"),
            (false, "v2/t/p", "InvalidPayload"),
            (false, "v2/a", "Profile attributes"),
            (false, "v2/a/j", "Json attributes"),
            (false, "v2/a/p", "InvalidPayload"),
            (false, "v2/r/req/7", "Profile rpc-request 7 -> v2/r/res/7"),
            (false, "v2/r/req/j/7", "Json rpc-request 7 -> v2/r/res/j/7"),
            (false, "v2/r/req/x/7", "InvalidTopic"),
            // Case-sensitive, and a trailing slash makes another topic.
            (false, "v1/devices/me/Telemetry", "InvalidTopic"),
            (false, "v1/devices/me/telemetry/", "InvalidTopic"),
            (false, "/v1/devices/me/telemetry", "InvalidTopic"),
            (false, "anything", "InvalidTopic"),
            (false, "/provision/request", "InvalidTopic"),
            (false, "v1/gateway/telemetry", "NotAGateway"),
            (false, "v1/gatewayx", "NotAGateway"),
            (true, "v1/gateway/other", "InvalidTopic"),
            (true, "v1/devices/me/telemetry", "Profile telemetry"),
        ];
        for (is_gateway, topic, expected) in rows {
            assert_eq!(shown(&default_topics(), is_gateway, topic), expected, "{topic}");
        }
    }

    /// Spec 4.1: a topic of the profile's own replaces the v1 default of that kind; v2 stays.
    #[test]
    fn own_topics_replace_the_v1_defaults() {
        let own = topics("sensor/+/data", "v1/devices/me/attributes");
        let rows = [
            ("sensor/a/data", "Profile telemetry"),
            ("sensor//data", "InvalidTopic"),
            ("v1/devices/me/telemetry", "InvalidTopic"),
            ("v1/devices/me/attributes", "Profile attributes"),
            ("v2/t", "Profile telemetry"),
        ];
        for (topic, expected) in rows {
            assert_eq!(shown(&own, false, topic), expected, "{topic}");
        }
        // Row 3 goes before row 4, and both before the rest.
        let greedy = topics("#", "a/#");
        assert_eq!(shown(&greedy, false, "a/b"), "Profile attributes");
        assert_eq!(shown(&greedy, false, "v2/a"), "Profile telemetry");
        assert_eq!(shown(&greedy, false, "v1/gateway/telemetry"), "NotAGateway");
    }

    #[test]
    fn a_plugin_is_told_what_wildcards_stand_for() {
        let own = topics("sensor/+/data/#", "v1/devices/me/attributes");
        let matched = matched_topic(&own, Operation::Telemetry, Slot::Profile, "sensor/a/data/x/y").unwrap();
        assert_eq!(
            (matched.name.as_str(), matched.captures.as_slice()),
            ("sensor/a/data/x/y", ["a", "x/y"].map(str::to_owned).as_slice())
        );
        assert_eq!(matched_topic(&own, Operation::Telemetry, Slot::Profile, "v2/t"), None);
        assert_eq!(matched_topic(&own, Operation::Attributes, Slot::Profile, "v1/devices/me/attributes"), None);
        assert_eq!(matched_topic(&own, Operation::Telemetry, Slot::Json, "v2/t/j"), None);
    }

    #[test]
    fn messages_on_a_fixed_topic_share_it() {
        let topics = default_topics();
        let [a, b] = [(); 2].map(|()| shared_topic(&topics, "v1/devices/me/telemetry"));
        assert!(Arc::ptr_eq(&a, &b));
        assert_eq!(&*shared_topic(&topics, "v2/t"), "v2/t");
    }
}
