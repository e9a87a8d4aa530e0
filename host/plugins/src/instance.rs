//! One running guest with its limits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use model::{Command, Decoded, Reject};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::{ResourceLimiter, Store, StoreContextMut, Trap, UpdateDeadline};

use crate::contract::{Operations, Uplink, draft};
use crate::converter::{ConfigureError, Limits};
use crate::engine::Engine;
use crate::load::Plugin;

/// What a guest failed of; decides nothing but what the operator reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// It stopped by itself: a panic, a wrong access, a stack overflow.
    Trap,
    /// It computed for longer than its profile allows.
    Timeout,
    /// It wanted more memory than its profile allows.
    Memory,
    /// It returned what the contract does not allow here, or more than the bound.
    Contract,
}

impl Cause {
    /// The word in dead letters and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Timeout => "timeout",
            Self::Memory => "memory",
            Self::Contract => "contract",
        }
    }
}

/// A guest failed on a message: the plugin is at fault, the message is dead-lettered (spec 4.3, last row).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What it failed of.
    pub cause: Cause,
    /// What the runtime said, with the guest's backtrace if there is one.
    pub detail: String,
}

/// A guest that was configured and can be called.
pub(crate) struct Instance {
    store: Store<Guest>,
    decode: draft::Decode,
    encode: draft::Encode,
    /// When it was last given back; what is idle for long is dropped.
    pub(crate) last_used: Instant,
}

impl Instance {
    /// Starts a guest and configures it.
    pub(crate) async fn start(
        engine: &Engine,
        plugin: &Plugin,
        config: &str,
        limits: &Limits,
    ) -> Result<(Self, Operations), ConfigureError> {
        let _running = engine.running();
        let mut store = Store::new(engine.wasmtime(), Guest::new(plugin.name(), limits, engine.slow_lane()));
        store.limiter(|guest| &mut guest.memory);
        store.epoch_deadline_callback(on_tick);
        begin(&mut store, limits.configure_time, limits.max_output);
        let broken = |error: wasmtime::Error| ConfigureError::Broken(format!("{error:#}"));
        let instance = match plugin.pre().instantiate_async(&mut store).await {
            Ok(instance) => instance,
            Err(error) => return Err(ConfigureError::Failed(failure(&mut store, &error))),
        };
        let Some(interface) = instance.get_export_index(&mut store, None, draft::CONVERSION) else {
            return Err(ConfigureError::Broken(format!("exports no {}", draft::CONVERSION)));
        };
        let mut function = |name: &str| {
            let index = instance.get_export_index(&mut store, Some(&interface), name);
            index.and_then(|index| instance.get_func(&mut store, index))
        };
        let missing = || ConfigureError::Broken(format!("{} lacks a function", draft::CONVERSION));
        let configure = function("configure").ok_or_else(missing)?;
        let decode = function("decode").ok_or_else(missing)?;
        let encode = function("encode").ok_or_else(missing)?;
        let configure: draft::Configure = configure.typed(&store).map_err(broken)?;
        let decode: draft::Decode = decode.typed(&store).map_err(broken)?;
        let encode: draft::Encode = encode.typed(&store).map_err(broken)?;
        let called = configure.call_async(&mut store, (config.to_owned(),)).await;
        store.data_mut().end();
        match called {
            Ok((Ok(info),)) => {
                let instance = Self { store, decode, encode, last_used: Instant::now() };
                Ok((instance, info.operations.into()))
            }
            Ok((Err(reasons),)) => Err(ConfigureError::Refused(reasons)),
            Err(error) => Err(ConfigureError::Failed(failure(&mut store, &error))),
        }
    }

    /// Decodes a batch: one result per message, in order. After a failure the instance is of no more use.
    pub(crate) async fn decode(
        &mut self,
        engine: &Engine,
        limits: &Limits,
        messages: &[Uplink],
    ) -> Result<Vec<Decoded>, Failure> {
        let _running = engine.running();
        begin(&mut self.store, limits.time(messages.len()), limits.output(messages.len()));
        let batch = messages.iter().map(draft::Uplink::from).collect();
        let result = self.decode.call_async(&mut self.store, (batch,)).await;
        self.store.data_mut().end();
        let (decoded,) = result.map_err(|error| failure(&mut self.store, &error))?;
        check_length("decode", decoded.len(), messages.len())?;
        decoded
            .into_iter()
            .zip(messages)
            .map(|(decoded, message)| decoded.into_model(message).map_err(contract))
            .collect()
    }

    /// Encodes a batch: one result per command, in order. After a failure the instance is of no more use.
    pub(crate) async fn encode(
        &mut self,
        engine: &Engine,
        limits: &Limits,
        commands: &[Command],
    ) -> Result<Vec<Result<Bytes, Reject>>, Failure> {
        let _running = engine.running();
        begin(&mut self.store, limits.time(commands.len()), limits.output(commands.len()));
        let batch = commands.iter().map(draft::Command::from).collect();
        let result = self.encode.call_async(&mut self.store, (batch,)).await;
        self.store.data_mut().end();
        let (encoded,) = result.map_err(|error| failure(&mut self.store, &error))?;
        check_length("encode", encoded.len(), commands.len())?;
        Ok(encoded.into_iter().map(|result| result.map_err(Reject::from)).collect())
    }

    /// Whether its memory, which never shrinks, has come so near to the limit that a new instance should take over.
    pub(crate) fn is_worn(&self) -> bool {
        let memory = &self.store.data().memory;
        memory.used > memory.limit / 4 * 3
    }
}

fn check_length(function: &str, returned: usize, given: usize) -> Result<(), Failure> {
    if returned == given {
        Ok(())
    } else {
        Err(contract(format!("{function} returned {returned} results for {given} messages")))
    }
}

fn contract(detail: String) -> Failure {
    Failure { cause: Cause::Contract, detail }
}

/// What a store knows of its guest.
pub(crate) struct Guest {
    plugin: String,
    memory: MemoryLimit,
    meter: Meter,
    log: LogLimit,
}

impl Guest {
    fn new(plugin: &str, limits: &Limits, slow_lane: Arc<Semaphore>) -> Self {
        Self {
            plugin: plugin.to_owned(),
            memory: MemoryLimit { limit: limits.memory, used: 0, refused: false },
            meter: Meter {
                budget: Duration::ZERO,
                used: Duration::ZERO,
                timed_out: false,
                shared: Arc::new(Shared { resumed: AtomicU64::new(0), permit: Mutex::new(None), slow_lane }),
            },
            log: LogLimit { window: Instant::now(), lines: 0 },
        }
    }

    /// A line from the guest: cut, and at most so many in a second.
    pub(crate) fn log(&mut self, level: draft::Level, message: &str) {
        if !self.log.admits(Instant::now()) {
            return;
        }
        let end = (0..=message.len().min(LogLimit::MAX_LENGTH)).rev().find(|end| message.is_char_boundary(*end));
        let message = &message[..end.unwrap_or(0)];
        let plugin = self.plugin.as_str();
        match level {
            draft::Level::Debug => tracing::debug!(target: "plugin", plugin, "{message}"),
            draft::Level::Info => tracing::info!(target: "plugin", plugin, "{message}"),
            draft::Level::Warn => tracing::warn!(target: "plugin", plugin, "{message}"),
            draft::Level::Error => tracing::error!(target: "plugin", plugin, "{message}"),
        }
    }

    /// A call has ended: a permit for the slow lane goes back.
    fn end(&mut self) {
        self.meter.shared.permit.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Prepares a call: how long it may compute and how much it may return.
fn begin(store: &mut Store<Guest>, budget: Duration, max_output: usize) {
    store.set_hostcall_fuel(max_output);
    store.set_epoch_deadline(1);
    let meter = &mut store.data_mut().meter;
    meter.budget = budget;
    meter.used = Duration::ZERO;
    meter.timed_out = false;
    meter.shared.resumed.store(0, Ordering::Relaxed);
}

/// How long a guest has computed. Counted in the thread's CPU time between two resumptions, so that neither the other
/// guests that run in between nor a busy machine use up its budget.
struct Meter {
    budget: Duration,
    used: Duration,
    timed_out: bool,
    shared: Arc<Shared>,
}

/// What the pause between two ticks needs for itself.
struct Shared {
    /// Thread CPU time in nanoseconds when the guest was resumed last; 0 before the first tick of a call.
    resumed: AtomicU64,
    /// The place in the slow lane, from the first tick to the end of the call.
    permit: Mutex<Option<OwnedSemaphorePermit>>,
    slow_lane: Arc<Semaphore>,
}

/// A guest is asked at each tick of the clock: stop for good, or make room and go on later.
fn on_tick(mut store: StoreContextMut<'_, Guest>) -> wasmtime::Result<UpdateDeadline> {
    let meter = &mut store.data_mut().meter;
    let resumed = meter.shared.resumed.load(Ordering::Relaxed);
    let first = resumed == 0;
    if !first {
        meter.used += Duration::from_nanos(thread_cpu().saturating_sub(resumed));
    }
    if meter.used > meter.budget {
        meter.timed_out = true;
        return Ok(UpdateDeadline::Interrupt);
    }
    let shared = meter.shared.clone();
    Ok(UpdateDeadline::YieldCustom(
        1,
        Box::pin(async move {
            if first {
                // Fails only when the semaphore is closed, which nobody does.
                let permit = shared.slow_lane.clone().acquire_owned().await.ok();
                *shared.permit.lock().unwrap_or_else(PoisonError::into_inner) = permit;
            }
            tokio::task::yield_now().await;
            shared.resumed.store(thread_cpu().max(1), Ordering::Relaxed);
        }),
    ))
}

fn thread_cpu() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

fn failure(store: &mut Store<Guest>, error: &wasmtime::Error) -> Failure {
    let guest = store.data_mut();
    guest.end();
    let cause = if guest.meter.timed_out {
        Cause::Timeout
    } else if guest.memory.refused {
        Cause::Memory
    } else if error.downcast_ref::<Trap>().is_some() {
        Cause::Trap
    } else {
        // The runtime refused to lift what was returned: too much of it, text that is not UTF-8, a list out of bounds.
        Cause::Contract
    };
    Failure { cause, detail: format!("{error:?}") }
}

/// Counts and refuses growth over the limit.
struct MemoryLimit {
    limit: usize,
    used: usize,
    refused: bool,
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let used = self.used.saturating_add(desired.saturating_sub(current));
        if used > self.limit {
            self.refused = true;
            return Ok(false);
        }
        self.used = used;
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let allowed = desired <= Limits::MAX_TABLE_ELEMENTS;
        self.refused |= !allowed;
        Ok(allowed)
    }
}

/// So many lines a second, each of so many bytes.
struct LogLimit {
    window: Instant,
    lines: u32,
}

impl LogLimit {
    const MAX_LINES_PER_SECOND: u32 = 10;
    const MAX_LENGTH: usize = 1024;

    fn admits(&mut self, now: Instant) -> bool {
        if now.duration_since(self.window) >= Duration::from_secs(1) {
            self.window = now;
            self.lines = 0;
        }
        self.lines += 1;
        self.lines <= Self::MAX_LINES_PER_SECOND
    }
}
