//! The device at the other end of a connection.

use std::sync::Arc;

use mqtt::session::Inbound;
use mqtt::{ReasonCode, Session, Situation};

use super::Local;
use super::drain::{Message, Settled};
use crate::profile::Profile;
use crate::route::{self, Route};
use crate::sessions::Entered;

/// The device that authenticated.
pub(super) struct Device {
    pub(super) live: Entered,
    pub(super) profile: Arc<Profile>,
    /// [`Profiles::generation`](crate::profile::Profiles::generation) when `profile` was looked up.
    pub(super) generation: u64,
    pub(super) is_gateway: bool,
    pub(super) version: mqtt::Version,
    /// Messages in a row on which a plugin failed.
    pub(super) failures: u32,
    /// The topic of the last message and what it means: most devices publish on one.
    pub(super) last: Option<(Arc<str>, Route)>,
}

impl Device {
    /// A changed profile applies to the next message (spec 20).
    pub(super) fn refresh(&mut self, local: &Local, session: &mut Session) {
        let profiles = &local.gateway.profiles;
        let generation = profiles.generation();
        if generation == self.generation {
            return;
        }
        self.generation = generation;
        if let Some(profile) = profiles.get(&self.live.origin.profile) {
            session.set_rules(profile.rules.clone());
            self.profile = profile;
            self.last = None;
        }
    }

    pub(super) fn message(&mut self, inbound: &Inbound<'_>) -> Message {
        let topic: &str = &inbound.topic;
        if self.last.as_ref().is_none_or(|(last, _)| &**last != topic) {
            let route = route::route(&self.profile.topics, self.is_gateway, topic);
            self.last = Some((route::shared_topic(&self.profile.topics, topic), route));
        }
        let (topic, route) = match &self.last {
            Some((topic, route)) => (topic.clone(), route.clone()),
            None => ("".into(), route::route(&self.profile.topics, self.is_gateway, topic)),
        };
        Message { ticket: inbound.ticket, topic, route, payload: bytes::Bytes::new() }
    }

    /// Spec 19: every refusal is logged with device, topic and reason, never with payload or credential.
    pub(super) fn report(&self, settled: &Settled) {
        if settled.outcome.situation != Situation::Success {
            let situation = settled.outcome.situation;
            let Settled { topic, outcome, .. } = settled;
            tracing::info!(device = self.live.origin.name, %topic, ?situation, "message refused: {}", outcome.reason);
        }
    }

    /// The same for subscriptions.
    pub(super) fn report_subscriptions(&self, refused: &[(String, ReasonCode)]) {
        for (filter, code) in refused {
            metrics::counter!("tidegate_subscriptions_refused_total",
                "profile" => self.profile.name.clone(), "code" => code.to_string())
            .increment(1);
            tracing::info!(device = self.live.origin.name, filter, %code, "subscription refused");
        }
    }
}
