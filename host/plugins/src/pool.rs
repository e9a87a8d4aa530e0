//! A worker's instances: taken, called, given back; and what happens when a guest fails.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use model::{Command, Decoded, Reject, TenantId};
use tokio::sync::SemaphorePermit;

use crate::contract::Uplink;
use crate::converter::{ConfigureError, Converter};
use crate::instance::{Failure, Instance};
use crate::isolate::isolate;

/// Why a message has no result.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The guest failed on this very message, alone and in an instance made afresh: dead-letter it (spec 4.3, last row).
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

    /// Runs messages through instances, as many at once as may share a call. A guest that fails may be at fault itself,
    /// its memory used up by what it had before: so only instances made afresh prove a message guilty. A converter is
    /// pure, so running again does no harm.
    async fn run<In, Out>(
        &self,
        converter: &Converter,
        tenant: TenantId,
        inputs: &[In],
        call: impl AsyncFn(&mut Instance, &[In]) -> Result<Vec<Out>, Failure>,
    ) -> Vec<Result<Out, CallError>> {
        let mut results = Vec::with_capacity(inputs.len());
        let mut waited = false;
        for batch in inputs.chunks(converter.limits.batch()) {
            count(converter, batch.len());
            let attempt = self.first(converter, tenant, &mut waited, batch, &call).await;
            match attempt {
                Ok(list) => results.extend(list.into_iter().map(Ok)),
                Err(Trouble::Guilty(failure)) => results.push(Err(CallError::Failed(failure))),
                Err(Trouble::Suspect) => {
                    let rerun = async |part| self.again(converter, tenant, &batch[part], &call).await;
                    results.extend(isolate(batch.len(), rerun).await);
                }
                Err(Trouble::NoInstance(reason)) => {
                    results.extend(batch.iter().map(|_| Err(CallError::Unavailable(reason.clone()))));
                }
            }
        }
        if results.iter().any(Result::is_ok) {
            converter.faults.success();
        } else if !results.is_empty() {
            converter.faults.failure();
        }
        results
    }

    /// Calls an instance that is idle, or a new one if there is none; that may have to wait, but once is enough for all
    /// batches of a run.
    async fn first<In, Out>(
        &self,
        converter: &Converter,
        tenant: TenantId,
        waited: &mut bool,
        batch: &[In],
        call: &impl AsyncFn(&mut Instance, &[In]) -> Result<Vec<Out>, Failure>,
    ) -> Result<Vec<Out>, Trouble> {
        let mut permit = permit(converter).await;
        let mut idle = self.idle_instance(converter, tenant);
        if idle.is_none()
            && !std::mem::replace(waited, true)
            && let Some(backoff) = converter.faults.backoff()
        {
            // Others may have an instance and need only the permit.
            drop(permit);
            tokio::time::sleep(backoff).await;
            permit = self::permit(converter).await;
            idle = self.idle_instance(converter, tenant);
        }
        let is_fresh = idle.is_none();
        let mut instance = match idle {
            Some(instance) => instance,
            None => start(converter).await.map_err(|error| Trouble::NoInstance(error.to_string()))?,
        };
        let result = timed(converter, &mut instance, batch, call).await;
        drop(permit);
        match result {
            Ok(list) => {
                self.give_back(converter, tenant, instance);
                Ok(list)
            }
            Err(failure) if is_fresh && batch.len() == 1 => Err(Trouble::Guilty(failure)),
            Err(_) => Err(Trouble::Suspect),
        }
    }

    /// Calls an instance made afresh with a part of a batch on which a guest failed.
    async fn again<In, Out>(
        &self,
        converter: &Converter,
        tenant: TenantId,
        part: &[In],
        call: &impl AsyncFn(&mut Instance, &[In]) -> Result<Vec<Out>, Failure>,
    ) -> Result<Vec<Out>, CallError> {
        let _permit = permit(converter).await;
        let mut instance = start(converter).await.map_err(|error| CallError::Unavailable(error.to_string()))?;
        let list = timed(converter, &mut instance, part, call).await.map_err(CallError::Failed)?;
        // One of them is enough for what comes next, however many it took to find the guilty.
        if self.idle.borrow().get(&(converter.id, tenant)).is_none_or(Vec::is_empty) {
            self.give_back(converter, tenant, instance);
        }
        Ok(list)
    }

    fn idle_instance(&self, converter: &Converter, tenant: TenantId) -> Option<Instance> {
        self.idle.borrow_mut().get_mut(&(converter.id, tenant)).and_then(Vec::pop)
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

/// Why the first call with a batch gave no results.
enum Trouble {
    /// Its only message is at fault.
    Guilty(Failure),
    /// The instance or any of the messages may be at fault.
    Suspect,
    /// There is nobody to call.
    NoInstance(String),
}

/// At most so many calls of a converter at once (design §5).
async fn permit(converter: &Converter) -> Option<SemaphorePermit<'_>> {
    // Fails only when the semaphore is closed, which nobody does.
    converter.calls.acquire().await.ok()
}

async fn start(converter: &Converter) -> Result<Instance, ConfigureError> {
    let Converter { engine, plugin, config, limits, .. } = converter;
    Instance::start(engine, plugin, config, limits, Some(engine.slow_lane())).await.map(|(instance, _)| instance)
}

async fn timed<In, Out>(
    converter: &Converter,
    instance: &mut Instance,
    batch: &[In],
    call: &impl AsyncFn(&mut Instance, &[In]) -> Result<Vec<Out>, Failure>,
) -> Result<Vec<Out>, Failure> {
    let started = Instant::now();
    let result = call(instance, batch).await;
    record(converter, batch.len(), started.elapsed(), result.as_ref().err());
    result
}

/// Metrics of a batch, counted once however often it is run: nothing here is done per message.
fn count(converter: &Converter, messages: usize) {
    let plugin = converter.plugin.name().to_owned();
    metrics::counter!("tidegate_plugin_messages_total", "plugin" => plugin).increment(messages as u64);
}

/// Metrics of a call.
fn record(converter: &Converter, messages: usize, took: Duration, failure: Option<&Failure>) {
    let plugin = || converter.plugin.name().to_owned();
    metrics::histogram!("tidegate_plugin_call_seconds", "plugin" => plugin()).record(took);
    if let Some(failure) = failure {
        let cause = failure.cause.as_str();
        metrics::counter!("tidegate_plugin_failures_total", "plugin" => plugin(), "cause" => cause).increment(1);
        tracing::debug!(plugin = converter.plugin.name(), cause, messages, "plugin call failed: {}", failure.detail);
    }
}
