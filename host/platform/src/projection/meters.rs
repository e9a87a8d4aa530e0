//! The projection's numbers for the operator.

use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};

/// Handles to the metrics of one projection; they report to the recorder that is installed when it starts.
#[derive(Clone)]
pub(super) struct Meters {
    /// Keys that devices had too many of.
    pub(super) dropped_keys: Counter,
    /// Whether the projection cannot go on.
    pub(super) stuck: Gauge,
}

impl Meters {
    pub(super) fn new() -> Self {
        describe_counter!("tidegate_projection_dropped_keys_total", "Keys dropped from devices that have too many");
        describe_gauge!("tidegate_projection_stuck", "1 while the projection cannot read the log or use the registry");
        Self {
            dropped_keys: counter!("tidegate_projection_dropped_keys_total"),
            stuck: gauge!("tidegate_projection_stuck"),
        }
    }
}
