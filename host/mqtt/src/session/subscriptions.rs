//! What the client subscribed to (spec 5).

use std::num::NonZeroU32;

use bytes::BytesMut;

use super::Session;
use crate::codec::{Peer, Subscribe, Unsubscribe};
use crate::subscription::{ATTRIBUTES_TOPIC, Purpose, decide};
use crate::topic::Filter;
use crate::{Qos, ReasonCode};

/// What the host sends without being asked, but only to who subscribed (spec 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Push {
    /// Changes of shared attributes.
    Attributes,
    /// Server RPCs.
    Rpc,
}

/// Subscriptions in the order in which they were last subscribed, because the last one of a [`Push`] receives it.
#[derive(Debug, Default)]
pub(super) struct Subscriptions(Vec<Subscription>);

#[derive(Debug)]
struct Subscription {
    filter: Filter,
    identifier: Option<NonZeroU32>,
    qos: Qos,
    purpose: Purpose,
}

impl Subscription {
    /// Whether a message on this topic is sent for this subscription.
    fn covers(&self, topic: &str) -> bool {
        match self.purpose {
            Purpose::ChunkAlias => chunk_prefix(topic).is_some_and(|prefix| self.filter.matches(prefix)),
            // A filter of the profile with wildcards gets its pushes on the default topic (spec 10.4).
            Purpose::Attributes if self.filter.has_wildcard() => {
                topic == ATTRIBUTES_TOPIC || self.filter.matches(topic)
            }
            Purpose::Attributes | Purpose::Rpc | Purpose::Answers => self.filter.matches(topic),
        }
    }
}

/// `v2/fw/response/3` of `v2/fw/response/3/chunk/7`.
fn chunk_prefix(topic: &str) -> Option<&str> {
    topic.rsplit_once('/')?.0.strip_suffix("/chunk")
}

impl Subscriptions {
    /// Subscribing again replaces the QoS and counts as the latest.
    fn insert(&mut self, subscription: Subscription, limit: usize) -> ReasonCode {
        let qos = subscription.qos;
        if !self.remove(subscription.filter.as_str()) && self.0.len() >= limit {
            return ReasonCode::QUOTA_EXCEEDED; // spec 18.4
        }
        self.0.push(subscription);
        match qos {
            Qos::AtMostOnce => ReasonCode::SUCCESS,
            Qos::AtLeastOnce | Qos::ExactlyOnce => ReasonCode::GRANTED_QOS_1,
        }
    }

    fn remove(&mut self, filter: &str) -> bool {
        match self.0.iter().position(|subscription| subscription.filter.as_str() == filter) {
            Some(index) => {
                self.0.remove(index);
                true
            }
            None => false,
        }
    }

    /// The Subscription Identifiers that a message on this topic carries [MQTT-3.3.4-3].
    pub(super) fn identifiers(&self, topic: &str) -> impl Iterator<Item = NonZeroU32> {
        let with_identifier = self.0.iter().filter_map(|s| Some((s, s.identifier?)));
        with_identifier.filter(move |(subscription, _)| subscription.covers(topic)).map(|(_, id)| id)
    }
}

impl Session {
    /// SUBSCRIBE (spec 5.1): one code per filter, in order; a refused one spoils nothing. Returns those.
    pub(super) fn subscribe(
        &mut self,
        peer: Peer,
        subscribe: &Subscribe,
        out: &mut BytesMut,
    ) -> Vec<(String, ReasonCode)> {
        let mut codes = Vec::with_capacity(subscribe.filters.len());
        for (filter, requested) in &subscribe.filters {
            let attributes_filter = self.rules.attributes_filter.as_deref();
            codes.push(match decide(filter, self.kind, attributes_filter) {
                Err(refused) => refused,
                Ok((filter, purpose)) => {
                    let qos = (*requested).min(Qos::AtLeastOnce);
                    let subscription = Subscription { filter, identifier: subscribe.identifier, qos, purpose };
                    self.subscriptions.insert(subscription, self.settings.max_subscriptions.into())
                }
            });
        }
        // A SUBACK that the client cannot take is discarded [MQTT-3.1.2-25].
        _ = peer.suback(subscribe.packet_id, &codes, &[], out);
        let refused = subscribe.filters.iter().zip(codes).filter(|(_, code)| code.is_error());
        refused.map(|((filter, _), code)| (filter.to_string(), code)).collect()
    }

    /// UNSUBSCRIBE (spec 5.2).
    pub(super) fn unsubscribe(&mut self, peer: Peer, unsubscribe: &Unsubscribe, out: &mut BytesMut) {
        let mut codes = Vec::with_capacity(unsubscribe.filters.len());
        for filter in &unsubscribe.filters {
            codes.push(if self.subscriptions.remove(filter) {
                ReasonCode::SUCCESS
            } else if decide(filter, self.kind, self.rules.attributes_filter.as_deref()).is_ok() {
                ReasonCode::NO_SUBSCRIPTION_EXISTED
            } else {
                ReasonCode::TOPIC_FILTER_INVALID
            });
        }
        // An UNSUBACK that the client cannot take is discarded [MQTT-3.1.2-25].
        _ = peer.unsuback(unsubscribe.packet_id, &codes, &[], out);
    }

    /// The quality of service for a message on this topic: the highest of the subscriptions that cover it, and QoS 1
    /// without one (spec 6).
    pub fn qos_for(&self, topic: &str) -> Qos {
        let covering = self.subscriptions.0.iter().filter(|subscription| subscription.covers(topic));
        covering.map(|subscription| subscription.qos).max().unwrap_or(Qos::AtLeastOnce)
    }

    /// Where a push goes: the filter of this kind that was subscribed last among those still subscribed (spec 5.1).
    /// `None`: the client did not subscribe, and gets none.
    ///
    /// For attributes this is the topic. For RPC it ends in `+`, which the request id replaces.
    pub fn push_topic(&self, push: Push) -> Option<&str> {
        let purpose = match push {
            Push::Attributes => Purpose::Attributes,
            Push::Rpc => Purpose::Rpc,
        };
        let last = self.subscriptions.0.iter().rev().find(|subscription| subscription.purpose == purpose)?;
        match push {
            Push::Attributes if last.filter.has_wildcard() => Some(ATTRIBUTES_TOPIC),
            Push::Attributes | Push::Rpc => Some(last.filter.as_str()),
        }
    }
}
