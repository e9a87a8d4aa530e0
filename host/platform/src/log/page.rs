//! What a read returns.

use bytes::Bytes;
use model::Event;

use super::Position;
use super::format::split_record;

/// How much one read may return. At least one record is returned if there is one, however large it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// At most so many records.
    pub records: usize,
    /// At most so many bytes of records.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { records: 1000, bytes: 1024 * 1024 }
    }
}

/// Consecutive records, and the holes between them.
#[derive(Debug, Clone)]
pub struct Page {
    pieces: Vec<Piece>,
    next: Position,
}

impl Page {
    /// Where the next read continues.
    #[must_use]
    pub fn next(&self) -> Position {
        self.next
    }

    /// Whether there was nothing to read (yet).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Everything on the page in order, each event decoded when the iterator comes to it.
    ///
    /// A record that cannot be decoded, because a newer version wrote it, is a [`Gap`] of one position: never silently
    /// skipped, never in the way of what follows.
    pub fn items(&self) -> impl Iterator<Item = Item> {
        self.raw().map(|raw| match raw {
            Raw::Gap(gap) => Item::Gap(gap.clone()),
            Raw::Record { position, bytes } => match proto::event::decode(bytes) {
                Ok(event) => Item::Event { position, event },
                Err(error) => Item::Gap(Gap {
                    from: position,
                    to: Position(position.0 + 1),
                    why: Why::Unreadable(error.to_string()),
                }),
            },
        })
    }

    /// Everything on the page in order, records as the bytes of `event.proto`, without decoding.
    pub fn raw(&self) -> impl Iterator<Item = Raw<'_>> {
        self.pieces.iter().flat_map(|piece| {
            let (gap, mut rest, mut position) = match piece {
                Piece::Gap(gap) => (Some(Raw::Gap(gap)), &[][..], 0),
                Piece::Records { first, bytes } => (None, bytes.as_ref(), *first),
            };
            let records = std::iter::from_fn(move || {
                let (bytes, behind) = split_record(rest)?;
                let record = Raw::Record { position: Position(position), bytes };
                rest = behind;
                position += 1;
                Some(record)
            });
            gap.into_iter().chain(records)
        })
    }

    /// How many positions are missing.
    pub(crate) fn skipped(&self) -> u64 {
        let missing = |piece: &Piece| match piece {
            Piece::Gap(Gap { from, to, .. }) => to.0.saturating_sub(from.0),
            Piece::Records { .. } => 0,
        };
        self.pieces.iter().map(missing).sum()
    }

    /// This page with a hole in front of it.
    pub(crate) fn behind(mut self, gap: Gap) -> Self {
        self.pieces.insert(0, Piece::Gap(gap));
        self
    }
}

#[derive(Debug, Clone)]
enum Piece {
    Records { first: u64, bytes: Bytes },
    Gap(Gap),
}

/// One entry of a page.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// An event.
    Event {
        /// Where it is.
        position: Position,
        /// What it is.
        event: Event,
    },
    /// Something that is not there any more.
    Gap(Gap),
}

/// One entry of a page, not decoded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Raw<'a> {
    /// A record.
    Record {
        /// Where it is.
        position: Position,
        /// An `Event` of `event.proto`.
        bytes: &'a [u8],
    },
    /// Something that is not there any more.
    Gap(&'a Gap),
}

/// A hole: what was stored at these positions cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The first position that is missing.
    pub from: Position,
    /// The first position after it that is not.
    pub to: Position,
    /// What happened.
    pub why: Why,
}

/// Why there is a [`Gap`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// Stored, acknowledged, and damaged on the disk since. The log has counted it and written an error.
    Damaged,
    /// Removed by retention before this reader came.
    Expired,
    /// Undamaged, but not understood by this version.
    Unreadable(String),
}

/// Collects a page until its limits are reached.
pub(crate) struct PageBuilder {
    pieces: Vec<Piece>,
    next: u64,
    records_left: u64,
    bytes_left: usize,
    /// Whether the page has a record.
    any: bool,
    full: bool,
}

impl PageBuilder {
    pub(crate) fn new(from: u64, limits: Limits) -> Self {
        let records_left = (limits.records as u64).max(1);
        Self { pieces: Vec::new(), next: from, records_left, bytes_left: limits.bytes, any: false, full: false }
    }

    /// The position that the page needs next.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    /// Adds those of the `count` records from `first` on that lie behind [`next`](Self::next) and within the limits.
    pub(crate) fn records(&mut self, first: u64, count: u64, bytes: &Bytes) {
        let wanted = first.saturating_add(count).saturating_sub(self.next);
        let start = length_of(bytes, self.next.saturating_sub(first));
        let bytes = bytes.slice(start..);
        let (taken, length) = if wanted <= self.records_left && bytes.len() <= self.bytes_left {
            (wanted, bytes.len())
        } else {
            self.fitting(&bytes)
        };
        self.full = taken < wanted || taken == self.records_left || length >= self.bytes_left;
        if taken > 0 {
            self.pieces.push(Piece::Records { first: self.next, bytes: bytes.slice(..length) });
            self.next += taken;
            self.records_left -= taken;
            self.bytes_left = self.bytes_left.saturating_sub(length);
            self.any = true;
        }
    }

    /// How many of these records, and how many bytes, the limits still allow; one in any case if the page has none yet.
    fn fitting(&self, bytes: &[u8]) -> (u64, usize) {
        let (mut taken, mut rest) = (0, bytes);
        while taken < self.records_left {
            let Some((_, behind)) = split_record(rest) else { break };
            let must_take = taken == 0 && !self.any;
            if bytes.len() - behind.len() > self.bytes_left && !must_take {
                break;
            }
            (taken, rest) = (taken + 1, behind);
        }
        (taken, bytes.len() - rest.len())
    }

    pub(crate) fn gap(&mut self, to: u64, why: Why) {
        self.pieces.push(Piece::Gap(Gap { from: Position(self.next), to: Position(to), why }));
        self.next = to;
    }

    pub(crate) fn finish(self) -> Page {
        Page { pieces: self.pieces, next: Position(self.next) }
    }
}

/// How many bytes the first `records` records take.
fn length_of(bytes: &[u8], records: u64) -> usize {
    let mut rest = bytes;
    for _ in 0..records {
        let Some((_, behind)) = split_record(rest) else { break };
        rest = behind;
    }
    bytes.len() - rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(lengths: &[usize]) -> Bytes {
        let mut bytes = Vec::new();
        for (index, &length) in lengths.iter().enumerate() {
            bytes.extend_from_slice(&(length as u32).to_le_bytes());
            bytes.resize(bytes.len() + length, index as u8);
        }
        bytes.into()
    }

    fn positions(page: &Page) -> Vec<u64> {
        page.raw()
            .map(|raw| match raw {
                Raw::Record { position, .. } => position.0,
                Raw::Gap(gap) => panic!("{gap:?}"),
            })
            .collect()
    }

    #[test]
    fn limits_cut_between_records() {
        let bytes = records(&[10, 10, 10, 10]);
        // limits in records and bytes, start, expected positions, whether the page is then full
        for (records, bytes_limit, from, expected, full) in [
            (10, 1000, 5, &[5, 6, 7, 8][..], false),
            (10, 1000, 7, &[7, 8], false),
            (2, 1000, 5, &[5, 6], true),
            (4, 1000, 5, &[5, 6, 7, 8], true),
            (10, 28, 5, &[5, 6], true),
            (10, 27, 5, &[5], true),
            (10, 56, 5, &[5, 6, 7, 8], true),
            (10, 1, 6, &[6], true),
            (0, 0, 5, &[5], true),
        ] {
            let mut page = PageBuilder::new(from, Limits { records, bytes: bytes_limit });
            page.records(5, 4, &bytes);
            assert_eq!(page.is_full(), full, "{records} {bytes_limit} {from}");
            let page = page.finish();
            assert_eq!(positions(&page), expected, "{records} {bytes_limit} {from}");
            assert_eq!(page.next(), Position(from + expected.len() as u64));
        }
    }

    #[test]
    fn one_record_is_always_returned_but_a_second_never_over_the_limit() {
        let mut page = PageBuilder::new(0, Limits { records: 10, bytes: 20 });
        page.records(0, 1, &records(&[10]));
        assert!(!page.is_full());
        page.records(1, 1, &records(&[10]));
        assert!(page.is_full());
        assert_eq!(positions(&page.finish()), [0]);
    }

    #[test]
    fn a_record_nobody_understands_is_an_explicit_gap() {
        let mut page = PageBuilder::new(7, Limits::default());
        page.records(7, 1, &records(&[3]));
        let items: Vec<_> = page.finish().items().collect();
        let [Item::Gap(Gap { from: Position(7), to: Position(8), why: Why::Unreadable(_) })] = items.as_slice() else {
            panic!("{items:?}")
        };
    }
}
