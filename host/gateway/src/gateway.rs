//! What all parts of a running gateway share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use model::Timestamp;
use platform::log::EventLog;
use platform::registry::Registry;
use tokio_util::sync::CancellationToken;

use crate::config::Settings;
use crate::config::settings::{AuthFailureCodes, InvalidTopic, Qos2};
use crate::profile::Profiles;
use crate::sessions::Sessions;

/// A running gateway.
pub struct Gateway {
    /// Its settings.
    pub settings: Settings,
    /// Those that an MQTT session needs.
    pub mqtt: Arc<mqtt::Settings>,
    /// Tenants, devices, credentials.
    pub registry: Arc<dyn Registry>,
    /// Where events go.
    pub log: Arc<dyn EventLog>,
    /// The profiles in force.
    pub profiles: Arc<Profiles>,
    /// Who is connected.
    pub sessions: Arc<Sessions>,
    /// Cancelled when the gateway is to stop.
    pub stop: CancellationToken,
    /// Connections, authenticated or not.
    pub connections: AtomicUsize,
}

impl Gateway {
    /// From its parts.
    pub fn new(
        settings: Settings,
        registry: Arc<dyn Registry>,
        log: Arc<dyn EventLog>,
        profiles: Arc<Profiles>,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let mqtt = Arc::new(mqtt_settings(&settings));
        let connections = AtomicUsize::new(0);
        Arc::new(Self { settings, mqtt, registry, log, profiles, sessions: Arc::default(), stop, connections })
    }

    /// Counts a connection, if there may be one more. It is counted as long as the guard lives.
    pub fn admit(self: &Arc<Self>) -> Option<ConnectionGuard> {
        let limit = self.settings.max_connections;
        let one_more = |count| (count < limit).then_some(count + 1);
        let admitted = self.connections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok();
        admitted.then(|| {
            metrics::gauge!("tidegate_connections").increment(1);
            ConnectionGuard(self.clone())
        })
    }
}

/// A connection that counts.
pub struct ConnectionGuard(Arc<Gateway>);

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
        metrics::gauge!("tidegate_connections").decrement(1);
    }
}

/// The time, as events are stamped with it.
pub fn now() -> Timestamp {
    std::time::SystemTime::now().into()
}

fn mqtt_settings(settings: &Settings) -> mqtt::Settings {
    mqtt::Settings {
        max_packet: settings.max_payload_size,
        max_inflight: settings.max_inflight,
        connect_timeout: settings.connect_timeout.0,
        session_timeout: settings.session_timeout.0,
        close_v3_qos2: settings.qos2_v3 == Qos2::Close,
        ack_v3_invalid_topic: settings.v3_invalid_topic == InvalidTopic::Ack,
        detailed_auth_codes: settings.auth_failure_codes == AuthFailureCodes::Detailed,
        ..mqtt::Settings::default()
    }
}
