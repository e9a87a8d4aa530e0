//! The keeper: everything about the log that is not a commit. Prepares the next segment before it is needed, stores the
//! cursors, removes what is too old.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use model::Timestamp;

use super::cursors;
use super::disk::{DiskError, TEMPORARY, replace};
use super::format::SegmentName;
use super::segment::{Segment, Segments};
use super::shared::{Look, Shared, Spare, Stage};
use super::{OpenError, Position, locked, random};

/// How long advanced cursors may wait to be stored together.
const COALESCE: Duration = Duration::from_secs(1);
/// How soon to look again for space.
const RETRY: Duration = Duration::from_secs(1);
/// How soon to look again for segments that have grown too old.
const AGE_CHECK: Duration = Duration::from_secs(60);

/// The one who keeps house. Runs on a thread of its own, or step by step in a test.
pub struct Keeper {
    /// Keeps others out of the folder. First, so that it is free by the time everything else of the log is gone.
    _lock: Box<dyn Send>,
    shared: Arc<Shared>,
    /// A file of full size that holds nothing: the next segment, but for its name.
    reusable: Option<String>,
    next_number: u64,
    /// Whether the last attempt to store the cursors failed, which is reported once.
    cursors_failed: bool,
}

/// Why there is no next segment.
enum Unprepared {
    /// There will be one when there is space.
    NoSpace(String),
    /// The disk did what it must not, and whatever it did is in doubt.
    Failed(String),
}

impl From<DiskError> for Unprepared {
    fn from(error: DiskError) -> Self {
        if error.is_full() { Self::NoSpace(error.to_string()) } else { Self::Failed(error.to_string()) }
    }
}

impl From<OpenError> for Unprepared {
    fn from(error: OpenError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl Keeper {
    pub(crate) fn new(shared: Arc<Shared>, reusable: Option<String>, next_number: u64, lock: Box<dyn Send>) -> Self {
        Self { _lock: lock, shared, reusable, next_number, cursors_failed: false }
    }

    /// Works until the log is closed.
    pub fn run(mut self) {
        let mut last = Instant::now();
        let shared = Arc::clone(&self.shared);
        loop {
            let more = shared.handover.wait(|stage| {
                let needs_segment = stage.spare.is_none() && !stage.writer_ended && !shared.has_failed();
                let due = if stage.urgent || (needs_segment && stage.blocked.is_none()) {
                    Duration::ZERO
                } else if stage.blocked.is_some() {
                    RETRY.saturating_sub(last.elapsed())
                } else if stage.dirty {
                    COALESCE.saturating_sub(last.elapsed())
                } else {
                    AGE_CHECK.saturating_sub(last.elapsed())
                };
                match (stage.closing && stage.writer_ended, due) {
                    (true, _) => Look::Found(false),
                    (false, Duration::ZERO) => Look::Found(true),
                    (false, later) => Look::Within(later),
                }
            });
            last = Instant::now();
            self.step(SystemTime::now().into());
            if !more {
                return;
            }
        }
    }

    /// Does everything there is to do now.
    pub fn step(&mut self, now: Timestamp) {
        let needs_segment = self.shared.handover.change(|stage| {
            stage.urgent = false;
            stage.dirty = false;
            stage.spare.is_none() && !stage.writer_ended
        });
        // First, because what the cursors let go makes room.
        self.store_cursors();
        if self.shared.has_failed() {
            return;
        }
        if needs_segment {
            let prepared = self.prepare(now);
            self.hand_over(prepared);
        }
        // Afterwards, so that an expired segment is used again rather than removed.
        if let Err(error) = self.retire(now, 0) {
            self.shared.fail(&error.to_string());
        }
        let used = self.shared.handover.look(|stage| self.used(stage, &locked(&self.shared.segments)));
        self.shared.meters.disk_bytes.set(used as f64);
    }

    /// Writes the file `cursors` if it is behind. A failure costs nothing but patience: retention goes by what is stored.
    fn store_cursors(&mut self) {
        let Some(snapshot) = locked(&self.shared.cursors).snapshot() else { return };
        let disk = &*self.shared.disk;
        let outcome = replace(disk, cursors::FILE, &snapshot.contents)
            .map_err(|error| DiskError::new(disk, "writing", cursors::FILE, error).to_string());
        let mut cursors = locked(&self.shared.cursors);
        match &outcome {
            Ok(()) => {
                cursors.stored(&snapshot);
                self.cursors_failed = false;
            }
            Err(error) => {
                if !std::mem::replace(&mut self.cursors_failed, true) {
                    tracing::error!(error, "event log: cursors are not stored, retention waits for them");
                }
                cursors.not_stored();
                self.shared.handover.change(|stage| stage.dirty = true);
            }
        }
        drop(cursors);
        for waiting in snapshot.waiting {
            // Whoever dropped the future does not want to know.
            let _ = waiting.send(outcome.clone());
        }
    }

    /// Removes segments that are too old, or too many together with `more` bytes; returns the name of one of full size
    /// to be used again if `more` is asked for.
    fn retire(&mut self, now: Timestamp, more: u64) -> Result<Option<String>, DiskError> {
        let mut reusable = None;
        while let Some(segment) = self.pop_expired(now, more) {
            let name = segment.name.to_string();
            let full_size = segment.length == self.shared.settings.segment_bytes;
            // Nobody may be reading a file that is written again.
            let unread = Arc::into_inner(segment).is_some();
            if more > 0 && reusable.is_none() && full_size && unread {
                reusable = Some(name);
                break;
            }
            self.remove(&name)?;
        }
        Ok(reusable)
    }

    /// Takes the oldest segment off the list if it is not needed any more.
    fn pop_expired(&self, now: Timestamp, more: u64) -> Option<Arc<Segment>> {
        let settings = &self.shared.settings;
        // Held throughout: a cursor that is being registered at the oldest record either holds it or misses it.
        let cursors = locked(&self.shared.cursors);
        let held = cursors.held();
        self.shared.handover.look(|stage| {
            let mut segments = locked(&self.shared.segments);
            let too_much = self.used(stage, &segments) + more > settings.retention_bytes;
            segments.pop_if(|_, end, next_time| {
                let age = next_time.and_then(|time| u128::try_from(now.0.saturating_sub(time.0)).ok());
                let too_old = age.is_some_and(|age| age > settings.retention_age.as_millis());
                (too_much || too_old) && held.is_none_or(|(position, _)| end <= position)
            })
        })
    }

    /// Size of all segments in bytes, the prepared one and the one to be prepared included.
    fn used(&self, stage: &Stage, segments: &Segments) -> u64 {
        let empty = u64::from(stage.spare.is_some()) + u64::from(self.reusable.is_some());
        segments.bytes() + empty * self.shared.settings.segment_bytes
    }

    /// Removes a file, durably: older segments never come back after younger ones are gone.
    fn remove(&self, name: &str) -> Result<(), DiskError> {
        let disk = &*self.shared.disk;
        disk.remove(name)
            .and_then(|()| disk.sync_folder())
            .map_err(|error| DiskError::new(disk, "removing", name, error))
    }

    /// Makes the next segment.
    fn prepare(&mut self, now: Timestamp) -> Result<Spare, Unprepared> {
        let file = self.find_file(now)?;
        // The new epoch makes everything in the file meaningless. Its name must be durable before the first frame.
        let name = SegmentName { number: self.next_number, epoch: random()? };
        self.next_number += 1;
        let disk = &*self.shared.disk;
        let new_name = name.to_string();
        let mut lies_as = file;
        let opened = disk
            .rename(&lies_as, &new_name)
            .and_then(|()| {
                lies_as.clone_from(&new_name);
                disk.sync_folder()
            })
            .and_then(|()| disk.open(&new_name));
        match opened {
            Ok(file) => Ok(Spare { name, file }),
            Err(error) => {
                let error = DiskError::new(disk, "preparing", &new_name, error);
                // It still takes its space, and is what the next attempt needs.
                self.reusable = Some(lies_as);
                Err(error.into())
            }
        }
    }

    /// A file of full size for the next segment: one that lies about, the oldest segment, or a new one.
    fn find_file(&mut self, now: Timestamp) -> Result<String, Unprepared> {
        let segment_bytes = self.shared.settings.segment_bytes;
        if let Some(file) = self.reusable.take() {
            return Ok(file);
        }
        if let Some(file) = self.retire(now, segment_bytes)? {
            return Ok(file);
        }
        self.check_disk_limit(segment_bytes).map_err(Unprepared::NoSpace)?;
        let disk = &*self.shared.disk;
        let file = format!("segment{TEMPORARY}");
        let Err(error) = disk.create(&file, segment_bytes) else { return Ok(file) };
        let error = DiskError::new(disk, "preparing", &file, error);
        if error.is_full() {
            // What was written of it is space that others, and the next attempt, can use.
            match disk.remove(&file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(DiskError::new(disk, "removing", &file, error).into());
                }
                _ => {}
            }
        }
        Err(error.into())
    }

    /// Says whose fault it is if the log may not grow by so much.
    fn check_disk_limit(&self, more: u64) -> Result<(), String> {
        let limit = self.shared.settings.disk_limit;
        let used = locked(&self.shared.segments).bytes();
        if used + more <= limit {
            return Ok(());
        }
        let oldest = self.shared.oldest();
        Err(match locked(&self.shared.cursors).held() {
            Some((position, who)) => format!(
                "the disk limit of {limit} bytes is reached and {who} still needs everything from position {position} on \
                 (the oldest is {oldest}); let it catch up, remove it, or raise disk_limit"
            ),
            None => format!("the disk limit of {limit} bytes is reached; raise disk_limit"),
        })
    }

    fn hand_over(&self, prepared: Result<Spare, Unprepared>) {
        let shared = &self.shared;
        match prepared {
            Ok(spare) => shared.handover.change(|stage| {
                stage.spare = Some(spare);
                stage.blocked = None;
            }),
            Err(Unprepared::NoSpace(reason)) => {
                let first = shared.handover.change(|stage| stage.blocked.replace(reason.as_str().into()).is_none());
                if first {
                    let end: Position = shared.end();
                    tracing::error!(
                        reason,
                        %end,
                        "event log: no space for another segment; when the present one is full, intake stops until there is"
                    );
                }
            }
            Err(Unprepared::Failed(reason)) => shared.fail(&reason),
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.shared.fail("the keeper panicked");
        }
        locked(&self.shared.cursors).close();
    }
}
