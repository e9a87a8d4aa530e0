//! The runtime that all guests share: its settings, the clock that interrupts guests, and who may use how much of it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{self, Thread};
use std::time::Duration;

use tokio::sync::Semaphore;
use wasmtime::component::{Component, Linker};
use wasmtime::{Cache, CacheConfig, Config, Instance, Module, Store};

use crate::contract::draft;
use crate::instance::Guest;

/// How often a running guest is asked to make room for others (design §5).
const TICK: Duration = Duration::from_millis(1);
/// How many ticks the clock goes on after the last call, so that it is not woken for every single one.
const IDLE_TICKS: usize = 100;

/// What an engine is made with.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// Worker threads that call guests; bounds how many of them may be kept busy by slow ones.
    pub workers: usize,
    /// A directory of our own for compiled code, which spares the compilation at the next start. Whoever can write
    /// there can run code in this process.
    pub cache: Option<PathBuf>,
}

/// The runtime is unusable on this machine, or the cache directory is.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The cache directory cannot be used.
    #[error("compile cache {0}: {1}")]
    Cache(PathBuf, String),
    /// Not even a guest of one page can run.
    #[error("WebAssembly cannot run on this machine: {0}")]
    Unsupported(String),
}

/// The runtime. One per process; cheap to share.
pub struct Engine {
    wasmtime: wasmtime::Engine,
    linker: Linker<Guest>,
    clock: Arc<Clock>,
    slow_lane: Arc<Semaphore>,
    workers: usize,
}

impl Engine {
    /// Starts the runtime and its clock.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub fn new(settings: &EngineSettings) -> Result<Arc<Self>, EngineError> {
        let cache = match &settings.cache {
            Some(directory) => Some(open_cache(directory)?),
            None => None,
        };
        let wasmtime = with_largest_reservation(cache.as_ref())?;
        let mut linker: Linker<Guest> = Linker::new(&wasmtime);
        let unsupported = |error: wasmtime::Error| EngineError::Unsupported(format!("{error:#}"));
        linker
            .instance(draft::LOG)
            .and_then(|mut log| {
                log.func_wrap("log", |mut store, (level, message): (draft::Level, wasmtime::component::WasmStr)| {
                    let message = message.to_str(&store)?.into_owned();
                    store.data_mut().log(level, &message);
                    Ok(())
                })
            })
            .map_err(unsupported)?;
        let clock = Clock::start(&wasmtime).map_err(|error| EngineError::Unsupported(error.to_string()))?;
        // At most half of the workers serve slow calls (design §5).
        let slow_lane = Arc::new(Semaphore::new((settings.workers / 2).max(1)));
        Ok(Arc::new(Self { wasmtime, linker, clock, slow_lane, workers: settings.workers.max(1) }))
    }

    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.wasmtime
    }

    pub(crate) fn linker(&self) -> &Linker<Guest> {
        &self.linker
    }

    pub(crate) fn slow_lane(&self) -> Arc<Semaphore> {
        self.slow_lane.clone()
    }

    /// How many calls of one profile may run at once.
    pub(crate) fn workers(&self) -> usize {
        self.workers
    }

    /// Keeps the clock ticking as long as the guard lives.
    pub(crate) fn running(&self) -> Running {
        self.clock.enter();
        Running(self.clock.clone())
    }

    pub(crate) fn compile(&self, component: &[u8]) -> wasmtime::Result<Component> {
        let component = Component::from_binary(&self.wasmtime, component)?;
        component.initialize_copy_on_write_image()?;
        Ok(component)
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("workers", &self.workers).finish_non_exhaustive()
    }
}

/// Advances the epoch while calls are in flight, and sleeps when there are none.
struct Clock {
    in_flight: AtomicUsize,
    asleep: AtomicBool,
    thread: std::sync::OnceLock<Thread>,
}

impl Clock {
    fn start(wasmtime: &wasmtime::Engine) -> std::io::Result<Arc<Self>> {
        let clock = Arc::new(Self {
            in_flight: AtomicUsize::new(0),
            asleep: AtomicBool::new(false),
            thread: std::sync::OnceLock::new(),
        });
        let weak = Arc::downgrade(&clock);
        let wasmtime = wasmtime.weak();
        let ticker = thread::Builder::new().name("guest-clock".to_owned()).spawn(move || {
            let mut idle = 0;
            loop {
                thread::park_timeout(TICK);
                let (Some(engine), Some(clock)) = (wasmtime.upgrade(), weak.upgrade()) else { return };
                engine.increment_epoch();
                idle = if clock.in_flight.load(Ordering::Relaxed) == 0 { idle + 1 } else { 0 };
                if idle >= IDLE_TICKS {
                    idle = 0;
                    drop(engine);
                    Self::sleep(clock, &weak);
                }
            }
        })?;
        let _ = clock.thread.set(ticker.thread().clone());
        Ok(clock)
    }

    fn enter(&self) {
        self.in_flight.fetch_add(1, Ordering::SeqCst);
        if self.asleep.swap(false, Ordering::SeqCst)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    /// Parks the ticker until a call enters or the engine is gone.
    fn sleep(clock: Arc<Self>, weak: &Weak<Self>) {
        clock.asleep.store(true, Ordering::SeqCst);
        // A call that entered before it could see `asleep` is seen here.
        if clock.in_flight.load(Ordering::SeqCst) > 0 {
            clock.asleep.store(false, Ordering::SeqCst);
            return;
        }
        drop(clock);
        // The timeout only lets the thread notice that the engine is gone.
        while weak.upgrade().is_some_and(|clock| clock.asleep.load(Ordering::SeqCst)) {
            thread::park_timeout(Duration::from_secs(1));
        }
    }
}

/// A call in flight.
pub(crate) struct Running(Arc<Clock>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

fn open_cache(directory: &std::path::Path) -> Result<Cache, EngineError> {
    let error = |error: &dyn std::fmt::Display| EngineError::Cache(directory.to_owned(), format!("{error:#}"));
    let mut config = CacheConfig::new();
    config.with_directory(std::path::absolute(directory).map_err(|failed| error(&failed))?);
    Cache::new(config).map_err(|failed| error(&failed))
}

/// 4 GiB of address space for each guest spare its bounds checks; small boards refuse that, so step down.
fn with_largest_reservation(cache: Option<&Cache>) -> Result<wasmtime::Engine, EngineError> {
    let mut refusal = String::new();
    for reservation in [4 << 30, 1 << 30, 256 << 20, 64 << 20_u64] {
        let attempt = engine(reservation, cache).and_then(|engine| probe(&engine).map(|()| engine));
        match attempt {
            Ok(engine) => {
                tracing::debug!(reservation_bytes = reservation, "WebAssembly runtime ready");
                return Ok(engine);
            }
            Err(error) => refusal = format!("{error:#}"),
        }
    }
    Err(EngineError::Unsupported(refusal))
}

fn engine(reservation: u64, cache: Option<&Cache>) -> wasmtime::Result<wasmtime::Engine> {
    let mut config = Config::new();
    config
        .concurrency_support(false) // 500 ns for every call
        .epoch_interruption(true) // the only brake on a running guest
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .memory_reservation(reservation)
        .cache(cache.cloned());
    wasmtime::Engine::new(&config)
}

/// Runs the smallest module that has a memory.
fn probe(engine: &wasmtime::Engine) -> wasmtime::Result<()> {
    const ONE_PAGE: &[u8] = b"\0asm\x01\0\0\0\x05\x03\x01\0\x01"; // (module (memory 1))
    let mut store = Store::new(engine, ());
    Instance::new(&mut store, &Module::new(engine, ONE_PAGE)?, &[]).map(|_| ())
}
