//! The log's numbers for the operator. Counted per commit, never per record.

use metrics::Unit;
use metrics::{
    Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use super::State;

/// Handles to the metrics of one log; they report to the recorder that is installed when the log is opened.
pub(crate) struct Meters {
    pub(crate) commits: Counter,
    pub(crate) records: Counter,
    pub(crate) bytes: Counter,
    pub(crate) commit_seconds: Histogram,
    pub(crate) queue_seconds: Histogram,
    pub(crate) damage: Counter,
    pub(crate) skipped: Counter,
    pub(crate) disk_bytes: Gauge,
    state: Gauge,
}

impl Meters {
    pub(crate) fn new() -> Self {
        describe_counter!("tidegate_log_commits_total", "Commits of the event log");
        describe_counter!("tidegate_log_records_total", "Events committed");
        describe_counter!("tidegate_log_bytes_total", Unit::Bytes, "Bytes written by commits, padding included");
        describe_histogram!("tidegate_log_commit_seconds", Unit::Seconds, "Duration of a commit");
        describe_histogram!("tidegate_log_queue_seconds", Unit::Seconds, "Longest wait for a commit to begin");
        describe_counter!("tidegate_log_damage_total", "Damaged places found in segments");
        describe_counter!("tidegate_log_skipped_total", "Positions that registered readers missed");
        describe_gauge!("tidegate_log_disk_bytes", Unit::Bytes, "Size of all segments");
        describe_gauge!("tidegate_log_state", "0 running, 1 waiting for space, 2 failed, 3 closed");
        Self {
            commits: counter!("tidegate_log_commits_total"),
            records: counter!("tidegate_log_records_total"),
            bytes: counter!("tidegate_log_bytes_total"),
            commit_seconds: histogram!("tidegate_log_commit_seconds"),
            queue_seconds: histogram!("tidegate_log_queue_seconds"),
            damage: counter!("tidegate_log_damage_total"),
            skipped: counter!("tidegate_log_skipped_total"),
            disk_bytes: gauge!("tidegate_log_disk_bytes"),
            state: gauge!("tidegate_log_state"),
        }
    }

    pub(crate) fn state(&self, state: &State) {
        self.state.set(match state {
            State::Running => 0.0,
            State::Waiting(_) => 1.0,
            State::Failed(_) => 2.0,
            State::Closed => 3.0,
        });
    }
}
