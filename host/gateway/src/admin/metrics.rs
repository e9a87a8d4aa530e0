//! Prometheus metrics.

use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// How often samples are sorted in.
const UPKEEP: Duration = Duration::from_secs(5);

/// Starts collecting, the first time it is called in a process.
pub fn install() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    let handle = HANDLE.get_or_init(|| {
        let recorder = recorder();
        let handle = recorder.handle();
        // Somebody who embeds the gateway may have a recorder of their own.
        let _ = metrics::set_global_recorder(recorder);
        describe();
        handle
    });
    handle.clone()
}

/// Sorts what was recorded into its buckets, from time to time: until then every sample of a histogram is kept, and nobody
/// may ever ask for the metrics.
pub async fn upkeep(handle: PrometheusHandle) {
    let mut interval = tokio::time::interval(UPKEEP);
    loop {
        interval.tick().await;
        handle.run_upkeep();
    }
}

/// The media type of [`render`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The metrics as text.
pub fn render(handle: &PrometheusHandle) -> String {
    handle.run_upkeep();
    handle.render()
}

fn recorder() -> metrics_exporter_prometheus::PrometheusRecorder {
    const SECONDS: &[f64] = &[0.000_01, 0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];
    const MESSAGES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 1024.0];
    let builder = PrometheusBuilder::new();
    let builder = builder.set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS);
    let builder = builder.and_then(|builder| {
        builder.set_buckets_for_metric(Matcher::Full("tidegate_batch_messages".to_owned()), MESSAGES)
    });
    // Fails for empty buckets only.
    builder.unwrap_or_else(|_| PrometheusBuilder::new()).build_recorder()
}

fn describe() {
    use metrics::{describe_counter, describe_gauge, describe_histogram};
    describe_gauge!("tidegate_connections", "Open connections, authenticated or not");
    describe_counter!(
        "tidegate_connects_total",
        "CONNECT packets by result, profile and reason of refusal, and connections over max_connections"
    );
    describe_counter!("tidegate_disconnects_total", "Connections that ended, by profile and cause");
    describe_counter!("tidegate_messages_total", "Messages from devices, by profile and outcome");
    describe_counter!("tidegate_subscriptions_refused_total", "Filters that were refused, by profile and code");
    describe_counter!("tidegate_downlinks_dropped_total", "Answers that could not be sent to their device");
    describe_counter!("tidegate_plugin_messages_total", "Messages given to a plugin");
    describe_counter!("tidegate_plugin_failures_total", "Plugin calls that failed, by cause");
    describe_counter!("tidegate_profile_reloads_total", "Changed profiles, by result");
    describe_histogram!("tidegate_batch_messages", "Messages processed together");
    describe_histogram!("tidegate_plugin_call_seconds", "Time of a plugin call, which is a batch");
}
