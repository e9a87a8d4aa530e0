//! How long a guest computes, and when it makes room for others.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::{StoreContextMut, UpdateDeadline};

use crate::instance::Guest;

/// A call that has computed for so long is a slow one. The clock's tick says nothing about that: it comes up to 1 ms
/// after any call's begin, so a call of 20 µs may well meet one.
const SLOW: Duration = Duration::from_millis(1);

/// How long a guest has computed in a call. Counted in the thread's CPU time between two resumptions, so that neither the
/// other guests that run in between nor a busy machine use up its budget. What precedes the first tick, at most 1 ms, is
/// not counted: asking for the CPU time of a thread costs more than the calls that never see a tick.
pub(crate) struct Meter {
    budget: Duration,
    used: Duration,
    timed_out: bool,
    shared: Arc<Shared>,
}

/// What the pause between two ticks needs for itself.
struct Shared {
    /// Thread CPU time in nanoseconds when the guest was resumed last; 0 before the first tick of a call.
    resumed: AtomicU64,
    /// The place in the slow lane, from when the call proves to be slow to its end.
    permit: Mutex<Option<OwnedSemaphorePermit>>,
    /// `None` off the workers, whose lane it is.
    slow_lane: Option<Arc<Semaphore>>,
}

impl Meter {
    pub(crate) fn new(slow_lane: Option<Arc<Semaphore>>) -> Self {
        Self {
            budget: Duration::ZERO,
            used: Duration::ZERO,
            timed_out: false,
            shared: Arc::new(Shared { resumed: AtomicU64::new(0), permit: Mutex::new(None), slow_lane }),
        }
    }

    /// A call begins that may compute for so long.
    pub(crate) fn begin(&mut self, budget: Duration) {
        self.budget = budget;
        self.used = Duration::ZERO;
        self.timed_out = false;
        self.shared.resumed.store(0, Ordering::Relaxed);
    }

    /// The call has ended: a permit for the slow lane goes back.
    pub(crate) fn end(&mut self) {
        self.shared.permit.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Whether the call was stopped because it computed for too long.
    pub(crate) fn timed_out(&self) -> bool {
        self.timed_out
    }
}

/// A guest is asked at each tick of the clock: stop for good, or make room and go on later.
pub(crate) fn on_tick(mut store: StoreContextMut<'_, Guest>) -> wasmtime::Result<UpdateDeadline> {
    let meter = &mut store.data_mut().meter;
    let resumed = meter.shared.resumed.load(Ordering::Relaxed);
    if resumed != 0 {
        meter.used += Duration::from_nanos(thread_cpu().saturating_sub(resumed));
    }
    if meter.used > meter.budget {
        meter.timed_out = true;
        return Ok(UpdateDeadline::Interrupt);
    }
    let slow = meter.used >= SLOW;
    let shared = meter.shared.clone();
    Ok(UpdateDeadline::YieldCustom(
        1,
        Box::pin(async move {
            if slow {
                shared.enter_slow_lane().await;
            }
            tokio::task::yield_now().await;
            shared.resumed.store(thread_cpu().max(1), Ordering::Relaxed);
        }),
    ))
}

impl Shared {
    async fn enter_slow_lane(&self) {
        let Some(lane) = &self.slow_lane else { return };
        if self.permit.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
            // Fails only when the semaphore is closed, which nobody does.
            let permit = lane.clone().acquire_owned().await.ok();
            *self.permit.lock().unwrap_or_else(PoisonError::into_inner) = permit;
        }
    }
}

fn thread_cpu() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}
