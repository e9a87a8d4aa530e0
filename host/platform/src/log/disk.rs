//! What the log needs from a disk, small enough that a test can put a treacherous one in its place.
//!
//! Durability is explicit. Contents are durable when [`SegmentFile::write`], [`SegmentFile::truncate`],
//! [`Disk::create`] or [`Disk::write_small`] return; names are durable when [`Disk::sync_folder`] returns.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

/// Segments are read and written in units of this many bytes, at multiples of it, from memory aligned to it: the
/// strictest that `O_DIRECT` asks for on common devices.
pub const BLOCK: usize = 4096;

/// One folder on one disk. All names are plain file names in it. Errors are not retried by the caller.
pub trait Disk: Send + Sync + 'static {
    /// The file as people know it, for messages.
    fn describe(&self, name: &str) -> String;

    /// Keeps other processes, and other logs of this one, out of the folder until the result is dropped.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when somebody else is in.
    fn lock(&self, name: &str) -> io::Result<Box<dyn Send>>;

    /// Names and lengths in bytes of all files, in any order.
    ///
    /// # Errors
    /// The folder cannot be read.
    fn list(&self) -> io::Result<Vec<(String, u64)>>;

    /// Creates a segment of `length` zero bytes, or replaces a file of that name. Space is allocated and written, so that
    /// later writes need no metadata; contents are durable, the name is not.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`] or [`io::ErrorKind::QuotaExceeded`] when there is no room.
    fn create(&self, name: &str, length: u64) -> io::Result<()>;

    /// Opens a segment.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when it does not exist.
    fn open(&self, name: &str) -> io::Result<Box<dyn SegmentFile>>;

    /// Renames a file, replacing one of the new name. Not durable.
    ///
    /// # Errors
    /// As the operating system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. Not durable.
    ///
    /// # Errors
    /// As the operating system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes all names durable.
    ///
    /// # Errors
    /// Names may or may not be durable.
    fn sync_folder(&self) -> io::Result<()>;

    /// The contents of a small file, `None` if there is none of that name.
    ///
    /// # Errors
    /// As the operating system says.
    fn read_small(&self, name: &str) -> io::Result<Option<Vec<u8>>>;

    /// Writes a small file whole. Contents are durable, the name is not.
    ///
    /// # Errors
    /// The file may have any contents.
    fn write_small(&self, name: &str, contents: &[u8]) -> io::Result<()>;
}

/// An open segment.
pub trait SegmentFile: Send {
    /// Its length in bytes.
    ///
    /// # Errors
    /// As the operating system says.
    fn length(&self) -> io::Result<u64>;

    /// Makes durable whatever an earlier process wrote, and forgets cached copies: what is read afterwards is what the
    /// disk holds, not what a failed write left in memory.
    ///
    /// # Errors
    /// The contents may not be durable.
    fn settle(&self) -> io::Result<()>;

    /// Reads `length` bytes. Offset and length are multiples of [`BLOCK`] and lie within the file.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] past the end.
    fn read(&self, offset: u64, length: usize) -> io::Result<Bytes>;

    /// Overwrites `blocks.len()` bytes; durable when it returns. Offset, length and address are multiples of [`BLOCK`].
    ///
    /// # Errors
    /// Any part of the range may have old or new contents, now or after a crash.
    fn write(&self, offset: u64, blocks: &[u8]) -> io::Result<()>;

    /// Cuts the file; durable when it returns.
    ///
    /// # Errors
    /// The file may have either length.
    fn truncate(&self, length: u64) -> io::Result<()>;
}

/// Replaces a small file so that a crash leaves the old contents or the new ones, durable when it returns.
pub(crate) fn replace(disk: &dyn Disk, name: &str, contents: &[u8]) -> io::Result<()> {
    let temporary = format!("{name}{TEMPORARY}");
    disk.write_small(&temporary, contents)?;
    disk.rename(&temporary, name)?;
    disk.sync_folder()
}

/// What the names of unfinished files end with; recovery removes them.
pub(crate) const TEMPORARY: &str = ".new";

/// Something the disk would not do, with the file it concerns.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{doing} {file}: {source}")]
pub struct DiskError {
    pub(crate) doing: &'static str,
    pub(crate) file: String,
    #[source]
    pub(crate) source: Arc<io::Error>,
}

impl DiskError {
    pub(crate) fn new(disk: &dyn Disk, doing: &'static str, name: &str, source: io::Error) -> Self {
        Self { doing, file: disk.describe(name), source: Arc::new(source) }
    }

    /// Whether the disk, or a quota, is full.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }

    pub(crate) fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }
}

/// Memory for whole blocks, aligned to [`BLOCK`] without unsafe code: a little more than needed, begun a little later.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    memory: Vec<u8>,
    /// Where the aligned part of `memory` begins.
    start: usize,
    length: usize,
}

impl Blocks {
    pub(crate) fn zeroed(length: usize) -> Self {
        let memory = vec![0; length + BLOCK];
        let past = memory.as_ptr().addr() % BLOCK;
        Self { memory, start: (BLOCK - past) % BLOCK, length }
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.length]
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.length]
    }

    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        let old = self.length;
        self.resize(old + bytes.len());
        self.as_mut_slice()[old..].copy_from_slice(bytes);
    }

    /// Grows by bytes of any value, or shrinks; memory is kept.
    pub(crate) fn resize(&mut self, length: usize) {
        if self.start + length > self.memory.len() {
            let mut larger = Self::zeroed(length.next_power_of_two());
            larger.as_mut_slice()[..self.length].copy_from_slice(self.as_slice());
            *self = larger;
        }
        self.length = length;
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        Bytes::from(self.memory).slice(self.start..self.start + self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_stay_aligned_and_keep_their_contents_as_they_grow() {
        let mut blocks = Blocks::default();
        let mut expected = Vec::new();
        for step in 1..200u8 {
            let more = vec![step; 7 * usize::from(step)];
            blocks.extend(&more);
            expected.extend_from_slice(&more);
            assert!(blocks.as_slice().as_ptr().addr().is_multiple_of(BLOCK));
            assert_eq!(blocks.as_slice(), expected);
        }
        assert_eq!(blocks.into_bytes(), expected);
    }
}
