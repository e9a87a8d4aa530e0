//! What an operator sets: for the host, and for a device profile.

use std::sync::Arc;
use std::time::Duration;

use crate::topic::Filter;

/// Settings of the host (spec 21), shared by all sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `max_payload_size`: the largest packet in bytes, without its fixed header.
    pub max_packet: u32,
    /// `max_inflight`: Receive Maximum in both directions, and the number of packets that may wait for CONNACK.
    pub max_inflight: u16,
    /// How many messages to the client may wait for room in the window, and how many answers.
    pub max_waiting: u16,
    /// Subscriptions of one session (spec 18.4).
    pub max_subscriptions: u16,
    /// Time from accept or TLS handshake to CONNECT (spec 2).
    pub connect_timeout: Duration,
    /// Time without any packet.
    pub session_timeout: Duration,
    /// `qos2_v3 = close`: a v3 client that publishes with QoS 2 is closed, instead of being served as with QoS 1.
    pub close_v3_qos2: bool,
    /// `v3_invalid_topic = ack`: see [`Policy::ack_invalid_topic`](crate::outcome::Policy).
    pub ack_v3_invalid_topic: bool,
    /// `auth_failure_codes = detailed`: ThingsBoard's codes for a failed authentication (spec 2.3).
    pub detailed_auth_codes: bool,
}

impl Default for Settings {
    /// The defaults of spec 18.4 and 21.
    fn default() -> Self {
        Self {
            max_packet: 65_536,
            max_inflight: 100,
            max_waiting: 100,
            max_subscriptions: 100,
            connect_timeout: Duration::from_secs(10),
            session_timeout: Duration::from_secs(600),
            close_v3_qos2: false,
            ack_v3_invalid_topic: false,
            detailed_auth_codes: false,
        }
    }
}

/// What a device profile says to the session (spec 20).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProfileRules {
    /// `sendAckOnValidationException`: see [`Policy::ack_on_error`](crate::outcome::Policy).
    pub ack_on_error: bool,
    /// `attributes_subscribe_topic`: one more filter that subscribes to shared attributes (spec 10.4). Not needed for
    /// the default, `v1/devices/me/attributes`.
    pub attributes_filter: Option<Arc<Filter>>,
}
