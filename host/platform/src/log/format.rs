//! Frames and records: what the bytes of a segment mean.
//!
//! A segment is a sequence of **frames**, each one commit, each beginning on a [`BLOCK`] boundary:
//!
//! ```text
//! 0   u32  magic "TGF1"          24  i64  time of the commit, milliseconds since 1970
//! 4   u16  version (1)           32  u32  number of records
//! 6   u16  0                     36  u32  length of the payload in bytes
//! 8   u64  epoch of the segment  40  u32  crc32c of the payload
//! 16  u64  ordinal of the first  44  u32  crc32c of bytes 0..44
//!          record                48  payload: for each record {u32 length, bytes}; zeros up to the next block
//! ```
//!
//! All numbers are little-endian. The header has a checksum of its own, so that a damaged payload still tells what is
//! missing and where the next frame begins. The epoch is a random number drawn each time a file becomes a segment and
//! part of its name, known to nobody outside: whatever a device sends, and whatever an earlier use of the file left
//! behind, is never taken for a frame.
//!
//! A segment's name is `<number>-<epoch>.seg`, both 16 hexadecimal digits; numbers go up. Recycling a segment is one
//! rename.

use model::Timestamp;

use super::disk::{BLOCK, Blocks};

/// Bytes in front of each record: its length.
pub(crate) const RECORD_PREFIX: usize = 4;
/// Bytes in front of each frame's payload.
pub(crate) const HEADER: usize = 48;
/// The largest frame, where the segment is not smaller: bounds what one commit and one reader hold in memory.
const FRAME_LIMIT: u64 = 4 * 1024 * 1024;

const MAGIC: [u8; 4] = *b"TGF1";
const VERSION: u16 = 1;

/// The most a payload may have, in bytes, in segments of this size.
pub(crate) fn payload_limit(segment_bytes: u64) -> usize {
    segment_bytes.min(FRAME_LIMIT) as usize - HEADER
}

/// The first record and what is behind it; `None` at the end, or when the bytes are no records.
pub(crate) fn split_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<RECORD_PREFIX>()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}

/// How many records the bytes are; `None` when they are not records.
pub(crate) fn count_records(mut bytes: &[u8]) -> Option<u64> {
    let mut count = 0;
    while !bytes.is_empty() {
        bytes = split_record(bytes)?.1;
        count += 1;
    }
    Some(count)
}

/// What a frame says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) epoch: u64,
    /// Ordinal of the first record.
    pub(crate) first: u64,
    pub(crate) time: Timestamp,
    pub(crate) count: u32,
    /// Of the payload, in bytes.
    pub(crate) length: u32,
    /// Of the payload.
    pub(crate) checksum: u32,
}

impl Header {
    /// Reads a header and checks its checksum.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let header = bytes.first_chunk::<HEADER>()?;
        let (covered, checksum) = header.split_last_chunk::<4>()?;
        let (magic, rest) = covered.split_first_chunk::<4>()?;
        if *magic != MAGIC || crc32c::crc32c(covered) != u32::from_le_bytes(*checksum) {
            return None;
        }
        let (version, rest) = rest.split_first_chunk::<2>()?;
        let (_, rest) = rest.split_first_chunk::<2>()?;
        let (epoch, rest) = rest.split_first_chunk::<8>()?;
        let (first, rest) = rest.split_first_chunk::<8>()?;
        let (time, rest) = rest.split_first_chunk::<8>()?;
        let (count, rest) = rest.split_first_chunk::<4>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let checksum = rest.first_chunk::<4>()?;
        (u16::from_le_bytes(*version) == VERSION).then_some(Self {
            epoch: u64::from_le_bytes(*epoch),
            first: u64::from_le_bytes(*first),
            time: Timestamp(i64::from_le_bytes(*time)),
            count: u32::from_le_bytes(*count),
            length: u32::from_le_bytes(*length),
            checksum: u32::from_le_bytes(*checksum),
        })
    }

    fn to_bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[0..4].copy_from_slice(&MAGIC);
        bytes[4..6].copy_from_slice(&VERSION.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.time.0.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.count.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.length.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.checksum.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes[..44]);
        bytes[44..48].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// The ordinal behind the last record.
    pub(crate) fn end(&self) -> u64 {
        self.first.saturating_add(self.count.into())
    }

    /// The whole frame in bytes, to the end of its last block.
    pub(crate) fn frame_bytes(&self) -> u64 {
        (HEADER as u64 + u64::from(self.length)).next_multiple_of(BLOCK as u64)
    }

    /// Whether this is the payload that the header was made for.
    pub(crate) fn fits(&self, payload: &[u8]) -> bool {
        crc32c::crc32c(payload) == self.checksum && count_records(payload) == Some(self.count.into())
    }
}

/// A frame in the making, in memory fit for direct I/O.
#[derive(Debug, Default)]
pub(crate) struct FrameBuffer {
    blocks: Blocks,
}

impl FrameBuffer {
    /// Bytes of records so far.
    pub(crate) fn payload_bytes(&self) -> usize {
        self.blocks.len().saturating_sub(HEADER)
    }

    /// Size of the frame, were it sealed now.
    pub(crate) fn frame_bytes(&self) -> u64 {
        (self.blocks.len() as u64).next_multiple_of(BLOCK as u64)
    }

    /// Appends encoded records.
    pub(crate) fn push(&mut self, records: &[u8]) {
        if self.blocks.len() < HEADER {
            self.blocks.resize(HEADER);
        }
        self.blocks.extend(records);
    }

    /// Completes the frame; the result is what to write.
    pub(crate) fn seal(&mut self, epoch: u64, first: u64, count: u64, time: Timestamp) -> &[u8] {
        let used = self.blocks.len();
        self.blocks.resize(used.next_multiple_of(BLOCK));
        let bytes = self.blocks.as_mut_slice();
        bytes[used..].fill(0);
        let payload = &bytes[HEADER..used];
        let header = Header {
            epoch,
            first,
            time,
            // Both are bounded by the frame limit, which fits.
            count: count as u32,
            length: payload.len() as u32,
            checksum: crc32c::crc32c(payload),
        };
        bytes[..HEADER].copy_from_slice(&header.to_bytes());
        bytes
    }

    /// Empties the buffer and keeps its memory.
    pub(crate) fn clear(&mut self) {
        self.blocks.resize(0);
    }
}

/// The name of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SegmentName {
    pub(crate) number: u64,
    pub(crate) epoch: u64,
}

impl std::fmt::Display for SegmentName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}-{:016x}.seg", self.number, self.epoch)
    }
}

impl SegmentName {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (number, epoch) = name.strip_suffix(".seg")?.split_once('-')?;
        let parsed =
            Self { number: u64::from_str_radix(number, 16).ok()?, epoch: u64::from_str_radix(epoch, 16).ok()? };
        (parsed.to_string() == name).then_some(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_frame_reads_back_and_every_flipped_bit_is_noticed() {
        let mut buffer = FrameBuffer::default();
        buffer.push(&[9; 9000]);
        buffer.clear();
        buffer.push(&[3, 0, 0, 0, b'a', b'b', b'c']);
        buffer.push(&[0, 0, 0, 0]);
        let mut frame = buffer.seal(77, 1000, 2, Timestamp(5)).to_vec();
        assert_eq!(frame.len(), BLOCK);
        assert!(frame[HEADER + 11..].iter().all(|&byte| byte == 0), "nothing of the former frame is left");

        let whole = |frame: &[u8]| {
            Header::parse(frame).filter(|header| {
                frame.get(HEADER..HEADER + header.length as usize).is_some_and(|payload| header.fits(payload))
            })
        };
        let header = whole(&frame).unwrap();
        assert_eq!((header.epoch, header.first, header.end(), header.time), (77, 1000, 1002, Timestamp(5)));
        assert_eq!(header.frame_bytes(), BLOCK as u64);
        for bit in 0..(HEADER + 11) * 8 {
            frame[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(whole(&frame), None, "bit {bit}");
            frame[bit / 8] ^= 1 << (bit % 8);
        }
        assert_eq!(whole(&frame), Some(header));
    }

    #[test]
    fn segment_names_survive_and_others_are_refused() {
        let name = SegmentName { number: 31, epoch: u64::MAX };
        assert_eq!(name.to_string(), "000000000000001f-ffffffffffffffff.seg");
        assert_eq!(SegmentName::parse(&name.to_string()), Some(name));
        for bad in ["", "1-2.seg", "000000000000001f-ffffffffffffffff", "000000000000001F-ffffffffffffffff.seg"] {
            assert_eq!(SegmentName::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn records_are_split_and_never_past_the_end() {
        assert_eq!(split_record(&[1, 0, 0, 0, 7, 8]), Some((&[7][..], &[8][..])));
        for bad in [&[][..], &[1, 0, 0], &[1, 0, 0, 0], &[255, 255, 255, 255, 0]] {
            assert_eq!(split_record(bad), None);
        }
        assert_eq!(count_records(&[0, 0, 0, 0, 1, 0, 0, 0, 7]), Some(2));
        assert_eq!(count_records(&[0, 0, 0, 0, 1]), None);
    }
}
