//! A plugin with a profile's configuration.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use model::Operation;
use tokio::sync::Semaphore;

use crate::contract::Operations;
use crate::engine::Engine;
use crate::instance::{Failure, Instance};
use crate::load::Plugin;

/// What a profile allows a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// CPU time for a call: for a message that is alone in it, and for all that share it together. So no message that
    /// comes through among others would have failed alone, and none that fails among others is dead-lettered before it
    /// has failed alone. What remains is that computing time varies from run to run: a message that takes about as long
    /// as this may come through once and fail another time, whether alone or not.
    pub call_time: Duration,
    /// CPU time that an ordinary message takes at most. As many messages share a call as fit into `call_time`, so a batch
    /// of ordinary ones never runs out of time, which would mean to run it again.
    pub message_time: Duration,
    /// CPU time for starting and configuring an instance.
    pub configure_time: Duration,
    /// Bytes of linear memory and tables together.
    pub memory: usize,
    /// A new instance for every message instead of reused ones: slower by tens of microseconds.
    pub fresh_instances: bool,
}

impl Limits {
    /// A call takes at most so many messages; more of them gain nothing (measured) and make others wait.
    const MAX_BATCH: usize = 64;

    /// How many messages share a call.
    pub(crate) fn batch(&self) -> usize {
        if self.fresh_instances {
            return 1;
        }
        let fit = self.call_time.as_nanos() / self.message_time.as_nanos().max(1);
        usize::try_from(fit).unwrap_or(usize::MAX).clamp(1, Self::MAX_BATCH)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            call_time: Duration::from_millis(100),
            message_time: Duration::from_millis(5),
            configure_time: Duration::from_secs(2),
            memory: 64 << 20,
            fresh_instances: false,
        }
    }
}

/// Why a plugin cannot be used with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigureError {
    /// The plugin looked at the configuration and says what is wrong with it.
    #[error("refused its configuration: {}", .0.join("; "))]
    Refused(Vec<String>),
    /// The plugin failed while starting or configuring.
    #[error("failed while starting: {}: {}", .0.cause.as_str(), .0.detail)]
    Failed(Failure),
    /// Its functions have other types than the contract.
    #[error("does not fit the contract: {0}")]
    Broken(String),
}

/// A plugin that accepted a configuration. Instances of it are made and called by a [`crate::Pool`].
pub struct Converter {
    pub(crate) engine: Arc<Engine>,
    pub(crate) plugin: Arc<Plugin>,
    pub(crate) config: String,
    pub(crate) limits: Limits,
    /// At most so many calls at once as there are workers (design §5).
    pub(crate) calls: Semaphore,
    pub(crate) faults: FaultStreak,
    /// What distinguishes it from every other converter of the process.
    pub(crate) id: u64,
    operations: Operations,
}

impl Converter {
    /// Starts one instance to see whether the plugin accepts `config`, which is a JSON object.
    ///
    /// # Errors
    /// See [`ConfigureError`].
    pub async fn new(
        engine: &Arc<Engine>,
        plugin: &Arc<Plugin>,
        config: String,
        limits: Limits,
    ) -> Result<Arc<Self>, ConfigureError> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        // No worker waits for this instance, so it takes no share of theirs: on a thread of low priority, it would keep it
        // for long.
        let (_, operations) = Instance::start(engine, plugin, &config, &limits, None).await?;
        Ok(Arc::new(Self {
            engine: engine.clone(),
            plugin: plugin.clone(),
            config,
            limits,
            calls: Semaphore::new(engine.workers()),
            faults: FaultStreak::default(),
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            operations,
        }))
    }

    /// The plugin behind it.
    pub fn plugin(&self) -> &Plugin {
        &self.plugin
    }

    /// All that it implements.
    pub fn operations(&self) -> Operations {
        self.operations
    }

    /// Whether it implements this.
    pub fn implements(&self, operation: Operation) -> bool {
        self.operations.contains(operation)
    }
}

impl std::fmt::Debug for Converter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Converter").field("plugin", &self.plugin).field("id", &self.id).finish_non_exhaustive()
    }
}

/// Batches in a row, over all workers, of which no message came through. A guest that only fails is not restarted as fast
/// as the machine can; a few messages that no guest can digest slow nobody down.
#[derive(Debug, Default)]
pub(crate) struct FaultStreak(AtomicU32);

impl FaultStreak {
    /// So many are bad luck.
    const TOLERATED: u32 = 16;
    const LONGEST: Duration = Duration::from_secs(1);

    pub(crate) fn success(&self) {
        if self.0.load(Ordering::Relaxed) != 0 {
            self.0.store(0, Ordering::Relaxed);
        }
    }

    pub(crate) fn failure(&self) {
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |streak| streak.checked_add(1));
    }

    /// How long the next instance has to wait: doubled with each failure from 1 ms to 1 s.
    pub(crate) fn backoff(&self) -> Option<Duration> {
        let over = self.0.load(Ordering::Relaxed).checked_sub(Self::TOLERATED + 1)?;
        Some(Duration::from_millis(1_u64 << over.min(10)).min(Self::LONGEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever a profile says, ordinary messages fit into a call together, and at least one is in it.
    #[test]
    fn as_many_messages_share_a_call_as_fit_into_its_time() {
        let batch = |call, message| {
            let (call_time, message_time) = (Duration::from_micros(call), Duration::from_micros(message));
            Limits { call_time, message_time, ..Limits::default() }.batch()
        };
        assert_eq!(Limits::default().batch(), 20);
        for (call, message, expected) in [(20_000, 1000, 20), (1000, 1000, 1), (999, 1000, 1), (0, 1000, 1)] {
            assert_eq!(batch(call, message), expected, "{call} {message}");
        }
        for (call, message) in [(1_000_000, 1000), (1, 0), (u64::MAX, 1)] {
            assert_eq!(batch(call, message), Limits::MAX_BATCH, "{call} {message}");
        }
        assert_eq!(Limits { fresh_instances: true, ..Limits::default() }.batch(), 1);
    }

    #[test]
    fn a_streak_of_failures_slows_down_and_a_success_ends_it() {
        let streak = FaultStreak::default();
        for _ in 0..FaultStreak::TOLERATED {
            streak.failure();
            assert_eq!(streak.backoff(), None);
        }
        streak.failure();
        assert_eq!(streak.backoff(), Some(Duration::from_millis(1)));
        streak.failure();
        assert_eq!(streak.backoff(), Some(Duration::from_millis(2)));
        (0..100).for_each(|_| streak.failure());
        assert_eq!(streak.backoff(), Some(FaultStreak::LONGEST));
        streak.success();
        assert_eq!(streak.backoff(), None);
    }
}
