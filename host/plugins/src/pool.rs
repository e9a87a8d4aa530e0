//! A worker's instances: taken, called, given back; and what happens when a guest fails.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::Bytes;
use model::{Command, Decoded, Reject, TenantId};

use crate::contract::Uplink;
use crate::converter::{ConfigureError, Converter};
use crate::instance::{Failure, Instance};

/// Why a message has no result.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The guest failed on this very message: dead-letter it (spec 4.3, last row).
    #[error("plugin failed: {}: {}", .0.cause.as_str(), .0.detail)]
    Failed(Failure),
    /// No instance can be started; no message is at fault.
    #[error("plugin cannot be started: {0}")]
    Unavailable(String),
}

/// Idle instances of one worker thread, kept for the next call.
///
/// Instances are shared neither between converters nor between tenants (design §6).
#[derive(Default)]
pub struct Pool {
    idle: RefCell<HashMap<(u64, TenantId), Vec<Instance>>>,
}

impl Pool {
    /// A pool without instances.
    pub fn new() -> Self {
        Self::default()
    }

    /// Decodes messages of one tenant: one result per message, in order.
    pub async fn decode(
        &self,
        converter: &Converter,
        tenant: TenantId,
        messages: &[Uplink],
    ) -> Vec<Result<Decoded, CallError>> {
        self.run(converter, tenant, messages, async |instance: &mut Instance, batch: &[Uplink]| {
            instance.decode(&converter.engine, &converter.limits, batch).await
        })
        .await
    }

    /// Encodes commands to devices of one tenant: one result per command, in order.
    pub async fn encode(
        &self,
        converter: &Converter,
        tenant: TenantId,
        commands: &[Command],
    ) -> Vec<Result<Result<Bytes, Reject>, CallError>> {
        self.run(converter, tenant, commands, async |instance: &mut Instance, batch: &[Command]| {
            instance.encode(&converter.engine, &converter.limits, batch).await
        })
        .await
    }

    /// Drops what has been idle for longer than `limit`, such as instances of plugins that were replaced.
    pub fn sweep(&self, now: Instant, limit: Duration) {
        self.idle.borrow_mut().retain(|_, instances| {
            instances.retain(|instance| now.duration_since(instance.last_used) <= limit);
            !instances.is_empty()
        });
    }

    /// How many instances are idle.
    pub fn idle(&self) -> usize {
        self.idle.borrow().values().map(Vec::len).sum()
    }

    /// Runs a batch through instances. When a guest fails, its batch is run again in halves on new instances until the
    /// guilty message stands alone; the rest goes on. A converter is pure, so running again does no harm.
    async fn run<In, Out>(
        &self,
        converter: &Converter,
        tenant: TenantId,
        inputs: &[In],
        call: impl AsyncFn(&mut Instance, &[In]) -> Result<Vec<Out>, Failure>,
    ) -> Vec<Result<Out, CallError>> {
        let most = converter.limits.batch();
        let mut results = Vec::with_capacity(inputs.len());
        // The ranges still to be run, the first one on top.
        let starts = (0..inputs.len()).step_by(most).rev();
        let mut ranges: Vec<Range<usize>> = starts.map(|start| start..inputs.len().min(start + most)).collect();
        while let Some(range) = ranges.pop() {
            let _call = converter.calls.acquire().await;
            let mut instance = match self.take(converter, tenant).await {
                Ok(instance) => instance,
                Err(error) => {
                    let unavailable = || Err(CallError::Unavailable(error.to_string()));
                    results.extend(range.map(|_| unavailable()));
                    continue;
                }
            };
            let started = Instant::now();
            let result = call(&mut instance, &inputs[range.clone()]).await;
            record(converter, range.len(), started.elapsed(), result.as_ref().err());
            match result {
                Ok(list) => {
                    converter.faults.success();
                    results.extend(list.into_iter().map(Ok));
                    self.give_back(converter, tenant, instance);
                }
                Err(failure) => {
                    converter.faults.failure();
                    drop(instance);
                    if range.len() == 1 {
                        results.push(Err(CallError::Failed(failure)));
                    } else {
                        let middle = range.start + range.len() / 2;
                        ranges.push(middle..range.end);
                        ranges.push(range.start..middle);
                    }
                }
            }
        }
        results
    }

    async fn take(&self, converter: &Converter, tenant: TenantId) -> Result<Instance, ConfigureError> {
        let idle = self.idle.borrow_mut().get_mut(&(converter.id, tenant)).and_then(Vec::pop);
        if let Some(instance) = idle {
            return Ok(instance);
        }
        if let Some(backoff) = converter.faults.backoff() {
            tokio::time::sleep(backoff).await;
        }
        let Converter { engine, plugin, config, limits, .. } = converter;
        let started = Instance::start(engine, plugin, config, limits, Some(engine.slow_lane())).await;
        if started.is_err() {
            converter.faults.failure();
        }
        started.map(|(instance, _)| instance)
    }

    fn give_back(&self, converter: &Converter, tenant: TenantId, mut instance: Instance) {
        if converter.limits.fresh_instances || instance.is_worn() {
            return;
        }
        instance.last_used = Instant::now();
        self.idle.borrow_mut().entry((converter.id, tenant)).or_default().push(instance);
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("idle", &self.idle()).finish()
    }
}

/// Metrics of a call, which is a batch: nothing here is done per message.
fn record(converter: &Converter, messages: usize, took: Duration, failure: Option<&Failure>) {
    let plugin = || converter.plugin.name().to_owned();
    metrics::histogram!("tidegate_plugin_call_seconds", "plugin" => plugin()).record(took);
    metrics::counter!("tidegate_plugin_messages_total", "plugin" => plugin()).increment(messages as u64);
    if let Some(failure) = failure {
        let cause = failure.cause.as_str();
        metrics::counter!("tidegate_plugin_failures_total", "plugin" => plugin(), "cause" => cause).increment(1);
        tracing::debug!(plugin = converter.plugin.name(), cause, messages, "plugin call failed: {}", failure.detail);
    }
}
