//! One running guest with its limits.

use std::fmt::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use model::{Command, Decoded, Reject};
use tokio::sync::Semaphore;
use wasmtime::{Store, Trap};

use crate::contract::{Operations, Uplink, bounds, draft};
use crate::converter::{ConfigureError, Limits};
use crate::engine::Engine;
use crate::load::Plugin;
use crate::memory::MemoryLimit;
use crate::meter::{Meter, on_tick};

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
    /// What the runtime said, with the guest's backtrace if there is one. At most [`Self::MAX_DETAIL`] bytes.
    pub detail: String,
}

impl Failure {
    /// Parts of the detail are the guest's own text, such as the names in its backtrace, and it becomes part of a dead
    /// letter, which must not fail to be stored for its length.
    pub const MAX_DETAIL: usize = 4096;

    pub(crate) fn new(cause: Cause, detail: impl fmt::Display) -> Self {
        let mut text = Cut(String::new());
        // Fails when the text is full.
        let _ = write!(text, "{detail}");
        Self { cause, detail: text.0 }
    }
}

/// Text that takes what fits.
struct Cut(String);

impl Write for Cut {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let fits = text.floor_char_boundary(Failure::MAX_DETAIL.saturating_sub(self.0.len()));
        self.0.push_str(&text[..fits]);
        if fits == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
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
    /// Starts a guest and configures it. `slow_lane` is that of the workers if one of them waits for the guest.
    pub(crate) async fn start(
        engine: &Engine,
        plugin: &Plugin,
        config: &str,
        limits: &Limits,
        slow_lane: Option<Arc<Semaphore>>,
    ) -> Result<(Self, Operations), ConfigureError> {
        let _running = engine.running();
        let mut store = Store::new(engine.wasmtime(), Guest::new(plugin.name(), limits, slow_lane));
        store.limiter(|guest| &mut guest.memory);
        store.epoch_deadline_callback(on_tick);
        begin(&mut store, limits.configure_time);
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
        store.data_mut().meter.end();
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
        begin(&mut self.store, limits.call_time);
        let batch = messages.iter().map(draft::Uplink::from).collect();
        let result = self.decode.call_async(&mut self.store, (batch,)).await;
        self.store.data_mut().meter.end();
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
        begin(&mut self.store, limits.call_time);
        let batch = commands.iter().map(draft::Command::from).collect();
        let result = self.encode.call_async(&mut self.store, (batch,)).await;
        self.store.data_mut().meter.end();
        let (encoded,) = result.map_err(|error| failure(&mut self.store, &error))?;
        check_length("encode", encoded.len(), commands.len())?;
        encoded.into_iter().map(|result| draft::encoded_into_model(result).map_err(contract)).collect()
    }

    /// Whether its memory, which never shrinks, has come so near to the limit that a new instance should take over.
    pub(crate) fn is_worn(&self) -> bool {
        self.store.data().memory.is_nearly_used_up()
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
    Failure::new(Cause::Contract, detail)
}

/// What a store knows of its guest.
pub(crate) struct Guest {
    plugin: String,
    memory: MemoryLimit,
    pub(crate) meter: Meter,
    log: LogLimit,
}

impl Guest {
    fn new(plugin: &str, limits: &Limits, slow_lane: Option<Arc<Semaphore>>) -> Self {
        Self {
            plugin: plugin.to_owned(),
            memory: MemoryLimit::new(limits.memory),
            meter: Meter::new(slow_lane),
            log: LogLimit { window: Instant::now(), lines: 0 },
        }
    }

    /// A line from the guest: cut, and at most so many in a second.
    pub(crate) fn log(&mut self, level: draft::Level, message: &str) {
        if !self.log.admits(Instant::now()) {
            return;
        }
        let message = &message[..message.floor_char_boundary(LogLimit::MAX_LENGTH)];
        let plugin = self.plugin.as_str();
        match level {
            draft::Level::Debug => tracing::debug!(target: "plugin", plugin, "{message}"),
            draft::Level::Info => tracing::info!(target: "plugin", plugin, "{message}"),
            draft::Level::Warn => tracing::warn!(target: "plugin", plugin, "{message}"),
            draft::Level::Error => tracing::error!(target: "plugin", plugin, "{message}"),
        }
    }
}

/// Prepares a call: how long it may compute and how much it may return.
fn begin(store: &mut Store<Guest>, budget: Duration) {
    store.set_hostcall_fuel(bounds::CALL_BYTES);
    store.set_epoch_deadline(1);
    store.data_mut().meter.begin(budget);
}

fn failure(store: &mut Store<Guest>, error: &wasmtime::Error) -> Failure {
    let guest = store.data_mut();
    guest.meter.end();
    let cause = if guest.meter.timed_out() {
        Cause::Timeout
    } else if guest.memory.refused() {
        Cause::Memory
    } else if error.downcast_ref::<Trap>().is_some() {
        Cause::Trap
    } else {
        // The runtime refused to lift what was returned: too much of it, text that is not UTF-8, a list out of bounds.
        Cause::Contract
    };
    Failure::new(cause, format_args!("{error:?}"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_cut_between_characters() {
        assert_eq!(Failure::new(Cause::Trap, "short").detail, "short");
        let long = "ä".repeat(Failure::MAX_DETAIL);
        assert_eq!(Failure::new(Cause::Trap, format_args!("x{long}{long}")).detail.len(), Failure::MAX_DETAIL - 1);
        assert_eq!(Failure::new(Cause::Trap, format_args!("{long:?}")).detail.len(), Failure::MAX_DETAIL - 1);
    }
}
