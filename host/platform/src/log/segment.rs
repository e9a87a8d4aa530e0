//! Segments in memory: which records are in which file, and where.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use model::Timestamp;

use super::format::SegmentName;
use super::scan::Found;
use super::{Position, locked};

/// The index remembers a frame at least every so many bytes.
const INDEX_STEP: u64 = 256 * 1024;

/// A segment that holds records or is the next to hold some.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) name: SegmentName,
    /// Size of the file in bytes.
    pub(crate) length: u64,
    /// Ordinal of its first record.
    pub(crate) first: u64,
    extent: Mutex<Extent>,
}

#[derive(Debug)]
struct Extent {
    /// How many bytes of frames there are at most.
    written: u64,
    /// When the first frame was committed.
    first_time: Option<Timestamp>,
    /// Ordinal and offset of some frames; grows as the segment is written or read.
    index: BTreeMap<u64, u64>,
    /// Offsets of damaged frames that have been reported.
    damage: BTreeSet<u64>,
}

impl Segment {
    pub(crate) fn new(name: SegmentName, length: u64, first: u64, written: u64, first_time: Option<Timestamp>) -> Self {
        let extent = Extent { written, first_time, index: BTreeMap::new(), damage: BTreeSet::new() };
        Self { name, length, first, extent: Mutex::new(extent) }
    }

    /// A complete segment of an earlier run. Without an undamaged frame it holds no position, and stays in the list so that
    /// retention removes it in its turn.
    pub(crate) fn recovered(name: SegmentName, length: u64, found: Option<Found>, next_first: u64) -> Self {
        let first = found.map_or(next_first, |found| found.first.min(next_first));
        let segment = Self::new(name, length, first, length, found.map(|found| found.time));
        if let Some(found) = found {
            segment.note(found.first, found.offset);
        }
        segment
    }

    /// How far readers may look, in bytes.
    pub(crate) fn written(&self) -> u64 {
        locked(&self.extent).written
    }

    /// When its first frame was committed, if it has one.
    pub(crate) fn first_time(&self) -> Option<Timestamp> {
        locked(&self.extent).first_time
    }

    /// A frame was committed.
    pub(crate) fn committed(&self, first: u64, offset: u64, end: u64, time: Timestamp) {
        let mut extent = locked(&self.extent);
        extent.written = end;
        extent.first_time.get_or_insert(time);
        extent.note(first, offset);
    }

    /// A reader met an undamaged frame.
    pub(crate) fn note(&self, first: u64, offset: u64) {
        locked(&self.extent).note(first, offset);
    }

    /// Where to begin to look for a record: offset of a frame at or before it.
    pub(crate) fn nearest(&self, ordinal: u64) -> u64 {
        locked(&self.extent).index.range(..=ordinal).next_back().map_or(0, |(_, &offset)| offset)
    }

    /// Whether this damage is new.
    pub(crate) fn note_damage(&self, offset: u64) -> bool {
        locked(&self.extent).damage.insert(offset)
    }
}

impl Extent {
    fn note(&mut self, first: u64, offset: u64) {
        let behind = self.index.range(..=first).next_back().is_none_or(|(_, &before)| offset >= before + INDEX_STEP);
        let ahead = self.index.range(first..).next().is_none_or(|(_, &after)| after >= offset + INDEX_STEP);
        if behind && ahead {
            self.index.insert(first, offset);
        }
    }
}

/// All segments with records, oldest first. The last one may be growing, the others are complete.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    list: VecDeque<Arc<Segment>>,
}

impl Segments {
    /// What recovery found: all of them complete.
    pub(crate) fn recovered(list: VecDeque<Arc<Segment>>) -> Self {
        Self { list }
    }

    /// From now on this one is written.
    pub(crate) fn begin(&mut self, segment: Arc<Segment>) {
        self.list.push_back(segment);
    }

    /// The first record that is kept.
    pub(crate) fn oldest(&self) -> Option<Position> {
        self.list.front().map(|segment| Position(segment.first))
    }

    /// The segment that holds this record, and the ordinal with which the next segment begins.
    pub(crate) fn holding(&self, ordinal: u64) -> Option<(Arc<Segment>, Option<u64>)> {
        let behind = self.list.partition_point(|segment| segment.first <= ordinal);
        let segment = self.list.get(behind.checked_sub(1)?)?;
        Some((Arc::clone(segment), self.list.get(behind).map(|next| next.first)))
    }

    /// Size of all files in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.list.iter().map(|segment| segment.length).sum()
    }

    /// Removes the oldest segment from the list if it is complete and `expired` agrees; `expired` is given the segment,
    /// the ordinal behind its last record, and when the first record after it was committed.
    pub(crate) fn pop_if(
        &mut self,
        expired: impl FnOnce(&Segment, Position, Option<Timestamp>) -> bool,
    ) -> Option<Arc<Segment>> {
        // The last one with records stays, complete or not: it says with which ordinal to go on after a restart.
        let (oldest, next) = (self.list.front()?, self.list.get(1)?);
        let known = self.list.iter().skip(1).any(|segment| segment.first_time().is_some());
        let expired = known && expired(oldest, Position(next.first), next.first_time());
        expired.then(|| self.list.pop_front()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(number: u64, first: u64, first_time: Option<i64>) -> Arc<Segment> {
        let name = SegmentName { number, epoch: 0 };
        Arc::new(Segment::new(name, 65_536, first, 65_536, first_time.map(Timestamp)))
    }

    #[test]
    fn records_are_looked_up_by_ordinal() {
        let mut segments = Segments::recovered([segment(1, 10, Some(1)), segment(4, 25, Some(2))].into());
        segments.begin(segment(5, 40, None));
        assert_eq!(segments.oldest(), Some(Position(10)));
        assert!(segments.holding(9).is_none());
        for (ordinal, number, next) in
            [(10, 1, Some(25)), (24, 1, Some(25)), (25, 4, Some(40)), (40, 5, None), (99, 5, None)]
        {
            let (segment, until) = segments.holding(ordinal).unwrap();
            assert_eq!((segment.name.number, until), (number, next), "{ordinal}");
        }
    }

    #[test]
    fn the_last_segment_with_records_is_never_given_up() {
        let mut segments = Segments::recovered([segment(1, 10, Some(1)), segment(4, 25, Some(2))].into());
        assert!(segments.pop_if(|_, _, _| true).is_some());
        assert!(segments.pop_if(|_, _, _| true).is_none(), "the only one");
        let active = segment(5, 40, None);
        segments.begin(Arc::clone(&active));
        assert!(segments.pop_if(|_, _, _| true).is_none(), "the active one has no records yet");
        active.committed(40, 0, 4096, Timestamp(3));
        assert!(segments.pop_if(|_, end, time| end == Position(40) && time == Some(Timestamp(3))).is_some());
        assert!(segments.pop_if(|_, _, _| true).is_none(), "the active one");
    }

    #[test]
    fn the_index_is_sparse_and_finds_the_frame_at_or_before() {
        let segment = segment(1, 0, None);
        for frame in 0..1000 {
            segment.note(frame * 10, frame * 4096);
        }
        assert!(locked(&segment.extent).index.len() <= 16);
        for ordinal in [0, 5, 639, 640, 641, 9999, 1_000_000] {
            let offset = segment.nearest(ordinal);
            assert!(offset <= ordinal / 10 * 4096 && offset + 2 * INDEX_STEP > (ordinal / 10).min(999) * 4096);
        }
    }
}
