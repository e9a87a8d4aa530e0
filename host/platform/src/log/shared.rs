//! What the handle, the writer, the keeper and the readers of one log have in common.

use std::sync::{Arc, Condvar, Mutex};

use tokio::sync::watch;

use super::batch::Ids;
use super::cursors::Cursors;
use super::disk::{Disk, SegmentFile};
use super::format::SegmentName;
use super::meters::Meters;
use super::segment::Segments;
use super::tail::Tail;
use super::{Position, Settings, State, locked};

pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) disk: Arc<dyn Disk>,
    /// Names this log in cursors.
    pub(crate) log: u64,
    pub(crate) ids: Arc<Ids>,
    pub(crate) segments: Mutex<Segments>,
    pub(crate) tail: Mutex<Tail>,
    pub(crate) cursors: Mutex<Cursors>,
    pub(crate) committed: watch::Sender<Position>,
    pub(crate) state: watch::Sender<State>,
    pub(crate) handover: Handover,
    pub(crate) meters: Meters,
}

impl Shared {
    pub(crate) fn end(&self) -> Position {
        *self.committed.borrow()
    }

    pub(crate) fn oldest(&self) -> Position {
        // The end first: a log without segments begins where it ends.
        let end = self.end();
        locked(&self.segments).oldest().unwrap_or(end)
    }

    pub(crate) fn has_failed(&self) -> bool {
        matches!(*self.state.borrow(), State::Failed(_))
    }

    /// Storage has failed. The first reason stays.
    pub(crate) fn fail(&self, reason: &str) {
        let failed = self.enter(State::Failed(reason.into()));
        if failed {
            tracing::error!(reason, "event log failed: nothing more is acknowledged until the gateway is restarted");
        }
        self.handover.change(|_| ());
    }

    /// Changes the state, except that failed is final.
    pub(crate) fn enter(&self, next: State) -> bool {
        let changed = self.state.send_if_modified(|state| {
            let change = !matches!(*state, State::Failed(_)) && *state != next;
            if change {
                *state = next;
            }
            change
        });
        self.meters.state(&self.state.borrow());
        changed
    }
}

/// Where writer and keeper meet: the one leaves word that a segment is needed, the other leaves the segment.
///
/// Locks are taken in the order cursors, handover, segments.
#[derive(Default)]
pub(crate) struct Handover {
    stage: Mutex<Stage>,
    changed: Condvar,
}

#[derive(Default)]
pub(crate) struct Stage {
    /// The segment that is to be written next.
    pub(crate) spare: Option<Spare>,
    /// Why there cannot be one now.
    pub(crate) blocked: Option<Arc<str>>,
    /// Something for the keeper to do at once.
    pub(crate) urgent: bool,
    /// Something for the keeper to do soon.
    pub(crate) dirty: bool,
    /// The handle is closing or gone.
    pub(crate) closing: bool,
    /// The writer will ask for nothing more.
    pub(crate) writer_ended: bool,
}

/// A prepared segment: of full size, its name durable, without a frame of its epoch.
pub(crate) struct Spare {
    pub(crate) name: SegmentName,
    pub(crate) file: Box<dyn SegmentFile>,
}

impl Handover {
    /// Changes something and wakes whoever waits for it.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Stage) -> T) -> T {
        let result = change(&mut locked(&self.stage));
        self.changed.notify_all();
        result
    }

    /// Looks without waking anybody.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Stage) -> T) -> T {
        look(&locked(&self.stage))
    }

    /// Waits until `look` finds something. `look` may ask to be called again after a while even if nothing changes.
    pub(crate) fn wait<T>(&self, mut look: impl FnMut(&mut Stage) -> Look<T>) -> T {
        let mut stage = locked(&self.stage);
        loop {
            stage = match look(&mut stage) {
                Look::Found(found) => return found,
                Look::Again => self.changed.wait(stage).unwrap_or_else(std::sync::PoisonError::into_inner),
                Look::Within(duration) => {
                    self.changed.wait_timeout(stage, duration).unwrap_or_else(std::sync::PoisonError::into_inner).0
                }
            };
        }
    }
}

/// What [`Handover::wait`] should do.
pub(crate) enum Look<T> {
    Found(T),
    Again,
    Within(std::time::Duration),
}
