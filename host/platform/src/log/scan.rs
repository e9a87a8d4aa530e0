//! Finding frames in a segment.

use std::io;

use bytes::Bytes;
use model::Timestamp;

use super::disk::{BLOCK, SegmentFile};
use super::format::{HEADER, Header};

/// How much is read at a time, in bytes.
const WINDOW: u64 = 256 * 1024;

/// The frames of one segment, read through a window.
pub(crate) struct Frames {
    file: Box<dyn SegmentFile>,
    epoch: u64,
    /// How far to look, in bytes.
    limit: u64,
    /// How much to read at a time, in bytes.
    ahead: u64,
    window: Bytes,
    window_at: u64,
}

impl Frames {
    /// Looks at the first `limit` bytes of the file, or at what there is of them.
    pub(crate) fn new(file: Box<dyn SegmentFile>, epoch: u64, limit: u64) -> io::Result<Self> {
        let limit = limit.min(file.length()?);
        let limit = limit - limit % BLOCK as u64;
        Ok(Self { file, epoch, limit, ahead: WINDOW, window: Bytes::new(), window_at: 0 })
    }

    /// The first frame, if it is there: all that must be known of a complete segment. Reads little.
    pub(crate) fn first(&mut self) -> io::Result<Option<Found>> {
        self.ahead = BLOCK as u64;
        let header = self.header(0)?;
        self.ahead = WINDOW;
        Ok(header.map(|header| Found { offset: 0, first: header.first, time: header.time }))
    }

    /// The header at this offset, if a frame of this segment begins there.
    pub(crate) fn header(&mut self, offset: u64) -> io::Result<Option<Header>> {
        if offset.saturating_add(BLOCK as u64) > self.limit {
            return Ok(None);
        }
        let header = Header::parse(&self.bytes(offset, HEADER)?);
        Ok(header.filter(|header| header.epoch == self.epoch && header.frame_bytes() <= self.limit - offset))
    }

    /// The payload of the frame at this offset, if it is undamaged.
    pub(crate) fn payload(&mut self, offset: u64, header: &Header) -> io::Result<Option<Bytes>> {
        let payload = self.bytes(offset, HEADER + header.length as usize)?.slice(HEADER..);
        Ok(header.fits(&payload).then_some(payload))
    }

    /// The header of the frame at this offset, if the whole frame is undamaged.
    pub(crate) fn undamaged(&mut self, offset: u64) -> io::Result<Option<Header>> {
        let Some(header) = self.header(offset)? else { return Ok(None) };
        Ok(self.payload(offset, &header)?.map(|_| header))
    }

    /// Where the first undamaged frame behind a damaged one at `offset` begins.
    ///
    /// Only a later commit can have put a frame there: the one before was durable when it was written.
    pub(crate) fn resume(&mut self, offset: u64) -> io::Result<Option<u64>> {
        // An undamaged header says where its frame ends; otherwise every block is a candidate.
        let mut offset = offset + self.header(offset)?.map_or(BLOCK as u64, |header| header.frame_bytes());
        while offset < self.limit {
            if self.undamaged(offset)?.is_some() {
                return Ok(Some(offset));
            }
            offset += BLOCK as u64;
        }
        Ok(None)
    }

    /// Whether the block looks like the beginning of a frame of this segment, if a damaged one.
    fn is_trace(&mut self, offset: u64) -> io::Result<bool> {
        if offset.saturating_add(BLOCK as u64) > self.limit {
            return Ok(false);
        }
        Ok(self.bytes(offset, HEADER)?.get(8..16) == Some(&self.epoch.to_le_bytes()))
    }

    /// The first undamaged frame behind a damaged beginning.
    pub(crate) fn first_behind_damage(&mut self) -> io::Result<Option<Found>> {
        let Some(offset) = self.resume(0)? else { return Ok(None) };
        Ok(self.header(offset)?.map(|header| Found { offset, first: header.first, time: header.time }))
    }

    /// Looks at the whole segment.
    pub(crate) fn survey(mut self) -> io::Result<Survey> {
        let mut survey = Survey { records: None, bytes: 0, damage: Vec::new(), torn: false };
        let mut offset = 0;
        while offset < self.limit {
            if let Some(header) = self.undamaged(offset)? {
                let first = Found { offset, first: header.first, time: header.time };
                survey.records.get_or_insert((first, header.end())).1 = header.end();
                offset += header.frame_bytes();
                survey.bytes = offset;
            } else if let Some(resumed) = self.resume(offset)? {
                survey.damage.push((offset, resumed));
                offset = resumed;
            } else {
                survey.torn = self.is_trace(offset)?;
                break;
            }
        }
        Ok(survey)
    }

    /// `length` bytes from a block boundary on, as far as the limit allows.
    fn bytes(&mut self, offset: u64, length: usize) -> io::Result<Bytes> {
        let at_least = (length as u64).next_multiple_of(BLOCK as u64).min(self.limit - offset);
        let inside = offset.checked_sub(self.window_at).filter(|start| start + at_least <= self.window.len() as u64);
        let start = match inside {
            Some(start) => start,
            None => {
                let ahead = at_least.max(self.ahead).min(self.limit - offset);
                self.window = self.file.read(offset, ahead as usize)?;
                self.window_at = offset;
                0
            }
        } as usize;
        Ok(self.window.slice(start..start + length.min(at_least as usize)))
    }
}

/// What is in a segment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Survey {
    /// The first undamaged frame, and the ordinal behind the last one.
    pub(crate) records: Option<(Found, u64)>,
    /// Where the last undamaged frame ends.
    pub(crate) bytes: u64,
    /// Damaged stretches that undamaged frames follow, as offsets.
    pub(crate) damage: Vec<(u64, u64)>,
    /// Whether there is a commit behind the last undamaged frame that was not written to its end.
    pub(crate) torn: bool,
}

/// The first undamaged frame of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// Where it is in the file.
    pub(crate) offset: u64,
    /// Ordinal of its first record.
    pub(crate) first: u64,
    /// When it was committed.
    pub(crate) time: Timestamp,
}
