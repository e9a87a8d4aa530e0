//! From a topic to what the message is meant to be: spec 4.1, row by row.

use std::sync::Arc;

use model::Operation;
use mqtt::{Outcome, Situation};
use plugins::contract::MatchedTopic;

use crate::profile::{Profile, ProfileTopic};

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

/// What a topic means on a device of this profile (spec 4.1). First match wins.
pub fn route(profile: &Profile, is_gateway: bool, topic: &str) -> Route {
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
    if matches(&profile.attributes, topic) {
        return convert(Slot::Profile, Attributes);
    }
    if matches(&profile.telemetry, topic) {
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
pub fn matched_topic(profile: &Profile, operation: Operation, slot: Slot, topic: &str) -> Option<MatchedTopic> {
    let filter = match operation {
        Operation::Telemetry if slot == Slot::Profile => &profile.telemetry,
        Operation::Attributes if slot == Slot::Profile => &profile.attributes,
        _ => return None,
    };
    if filter.literal.is_some() {
        return None;
    }
    let captures = filter.filter.captures(topic)?.map(str::to_owned).collect();
    Some(MatchedTopic { name: topic.to_owned(), captures })
}

/// The topic as events carry it: shared where the profile has it.
pub fn shared_topic(profile: &Profile, topic: &str) -> Arc<str> {
    for known in [&profile.telemetry, &profile.attributes] {
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
