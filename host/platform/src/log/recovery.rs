//! What a start finds in the folder, and what it makes of it.
//!
//! Only the last segment with records can have been written when the process or the machine stopped, and in it only
//! the last commit can be incomplete: the one before was durable when it was begun. So what is not whole at its end is
//! cut, and what is not whole anywhere else is damage, which is reported and never cut. A run never writes to a segment
//! of an earlier run: what a failed write left behind is not touched again.

use std::collections::VecDeque;
use std::sync::Arc;

use super::cursors::{self, Cursors};
use super::disk::{Disk, DiskError, TEMPORARY};
use super::format::SegmentName;
use super::identity::{self, Identity};
use super::meters::Meters;
use super::scan::{Frames, Survey};
use super::segment::Segment;
use super::{OpenError, Settings};

/// The log as it was left.
pub(crate) struct Recovered {
    pub(crate) identity: Option<Identity>,
    pub(crate) cursors: Cursors,
    /// Complete segments, oldest first.
    pub(crate) segments: VecDeque<Arc<Segment>>,
    /// Ordinal of the next record.
    pub(crate) next: u64,
    /// A file of full size without records.
    pub(crate) reusable: Option<String>,
    /// The number of the next segment.
    pub(crate) next_number: u64,
}

struct Recovery<'a> {
    disk: &'a dyn Disk,
    settings: &'a Settings,
    meters: &'a Meters,
}

/// Looks at everything in the folder; cuts a torn commit, removes files without records.
pub(crate) fn recover(disk: &dyn Disk, settings: &Settings, meters: &Meters) -> Result<Recovered, OpenError> {
    Recovery { disk, settings, meters }.run()
}

impl Recovery<'_> {
    fn run(&self) -> Result<Recovered, OpenError> {
        let identity = Identity::load(self.disk)?;
        let mut names = self.list_segments()?;
        if identity.is_none() && !names.is_empty() {
            return Err(OpenError::Damaged {
                file: self.disk.describe(identity::FILE),
                reason: "expected the file that belongs to the segments beside it, found none".to_owned(),
            });
        }
        let cursors = self.load_cursors()?;
        let next_number = names.last().map_or(0, |(name, _)| name.number + 1);

        // From the end to the last segment that has records.
        let mut empty = Vec::new();
        let mut segments = VecDeque::new();
        let mut next = 0;
        while let Some((name, length)) = names.pop() {
            let survey = self.survey(name)?;
            self.report(name, &survey);
            if let Some((found, end)) = survey.records {
                next = end;
                self.cut(name, length, survey.bytes)?;
                let segment = Segment::recovered(name, survey.bytes, Some(found), end);
                // Reported already, not to be counted again when it is read.
                for (from, _) in survey.damage {
                    segment.note_damage(from);
                }
                segments.push_front(Arc::new(segment));
                break;
            }
            empty.push((name, length));
        }
        // Those before are complete: where they begin is enough.
        while let Some((name, length)) = names.pop() {
            let next_first = segments.front().map_or(next, |segment| segment.first);
            segments.push_front(Arc::new(self.complete(name, length, next_first)?));
        }
        let reusable = self.clear(empty)?;
        Ok(Recovered { identity, next: self.check_end(next, &cursors), cursors, segments, reusable, next_number })
    }

    /// All segments in order. Unfinished files are removed.
    fn list_segments(&self) -> Result<Vec<(SegmentName, u64)>, DiskError> {
        let mut segments = Vec::new();
        let files = self.disk.list().map_err(|error| DiskError::new(self.disk, "listing", "", error))?;
        for (file, length) in files {
            if let Some(name) = SegmentName::parse(&file) {
                segments.push((name, length));
            } else if file.ends_with(TEMPORARY) {
                self.disk.remove(&file).map_err(|error| DiskError::new(self.disk, "removing", &file, error))?;
            }
        }
        segments.sort_unstable();
        Ok(segments)
    }

    fn load_cursors(&self) -> Result<Cursors, OpenError> {
        let file = cursors::FILE;
        let contents = self.disk.read_small(file).map_err(|error| DiskError::new(self.disk, "reading", file, error))?;
        let damaged = |reason| OpenError::Damaged { file: self.disk.describe(file), reason };
        contents.map_or_else(|| Ok(Cursors::default()), |contents| Cursors::parse(&contents).map_err(damaged))
    }

    /// Looks at a whole segment, as the disk holds it.
    fn survey(&self, name: SegmentName) -> Result<Survey, DiskError> {
        let file_name = name.to_string();
        let look = || {
            let file = self.disk.open(&file_name)?;
            file.settle()?;
            Frames::new(file, name.epoch, u64::MAX)?.survey()
        };
        look().map_err(|error| DiskError::new(self.disk, "reading", &file_name, error))
    }

    fn report(&self, name: SegmentName, survey: &Survey) {
        let file = self.disk.describe(&name.to_string());
        for (from, to) in &survey.damage {
            self.meters.damage.increment(1);
            tracing::error!(file, from, to, "event log: committed records are damaged; readers get a gap");
        }
        if survey.torn {
            tracing::warn!(file, offset = survey.bytes, "event log: cut a commit that was interrupted");
        }
    }

    /// Cuts the file behind its last commit and gives the space back.
    fn cut(&self, name: SegmentName, length: u64, bytes: u64) -> Result<(), DiskError> {
        if length > bytes {
            let name = name.to_string();
            self.disk
                .open(&name)
                .and_then(|file| file.truncate(bytes))
                .map_err(|error| DiskError::new(self.disk, "cutting", &name, error))?;
        }
        Ok(())
    }

    /// A segment before the last one with records.
    fn complete(&self, name: SegmentName, length: u64, next_first: u64) -> Result<Segment, DiskError> {
        let file_name = name.to_string();
        let look = || {
            let mut frames = Frames::new(self.disk.open(&file_name)?, name.epoch, u64::MAX)?;
            if let Some(found) = frames.first()? {
                return Ok(Some(found));
            }
            self.meters.damage.increment(1);
            let file = self.disk.describe(&file_name);
            tracing::error!(file, "event log: the beginning of a segment is damaged; readers get a gap");
            frames.first_behind_damage()
        };
        let found = look().map_err(|error| DiskError::new(self.disk, "reading", &file_name, error))?;
        Ok(Segment::recovered(name, length, found, next_first))
    }

    /// Removes all but one of the files without records.
    fn clear(&self, empty: Vec<(SegmentName, u64)>) -> Result<Option<String>, DiskError> {
        let mut reusable = None;
        for (name, length) in empty {
            let name = name.to_string();
            if reusable.is_none() && length == self.settings.segment_bytes {
                reusable = Some(name);
            } else {
                self.disk.remove(&name).map_err(|error| DiskError::new(self.disk, "removing", &name, error))?;
            }
        }
        Ok(reusable)
    }

    /// The ordinal of the next record. Never one that somebody has already read past: the newest commit of all can be
    /// damaged so that it looks interrupted, and then the cursors still tell.
    fn check_end(&self, end: u64, cursors: &Cursors) -> u64 {
        let read = cursors.highest();
        if read > end {
            self.meters.damage.increment(1);
            tracing::error!(
                end,
                read,
                "event log: the newest records are lost, a cursor had read past what is left; readers get a gap"
            );
        }
        end.max(read)
    }
}
