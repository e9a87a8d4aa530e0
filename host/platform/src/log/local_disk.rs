//! A folder of the local file system.

use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use bytes::Bytes;
use rustix::fs::{Advice, FallocateFlags, FlockOperation, Mode, OFlags};
use rustix::io::ReadWriteFlags;

use super::disk::{BLOCK, Blocks, Disk, SegmentFile};

/// A folder of the local file system. Everything in it is for its owner only.
///
/// Segments are written past the page cache (`O_DIRECT` with `RWF_DSYNC`): one system call per commit, on stable storage
/// when it returns, no write amplification. Where the file system refuses that, ordinary writes with `fdatasync` take their
/// place; which of the two is decided once, at open, by trying.
#[derive(Debug)]
pub struct LocalDisk {
    folder: PathBuf,
    direct: bool,
}

impl LocalDisk {
    /// Opens the folder, which is created if it does not exist.
    ///
    /// # Errors
    /// It cannot be created or written.
    pub fn open(folder: impl Into<PathBuf>) -> io::Result<Self> {
        let mut disk = Self::buffered(folder)?;
        match disk.try_direct() {
            Ok(()) => {
                disk.direct = true;
                tracing::info!(folder = %disk.folder.display(), "event log: commits bypass the page cache");
            }
            Err(reason) => tracing::info!(
                folder = %disk.folder.display(),
                %reason,
                "event log: no O_DIRECT here, commits are ordinary writes with fdatasync"
            ),
        }
        Ok(disk)
    }

    /// The same, without trying to bypass the page cache.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn buffered(folder: impl Into<PathBuf>) -> io::Result<Self> {
        let folder = folder.into();
        crate::folder::create(&folder)?;
        Ok(Self { folder, direct: false })
    }

    /// Whether commits bypass the page cache.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        self.direct
    }

    /// Writes and reads back one block: some file systems accept the flag and refuse the write.
    fn try_direct(&self) -> io::Result<()> {
        let name = "direct.probe";
        let outcome = (|| {
            let file =
                self.file(name, OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC | OFlags::DIRECT | OFlags::DSYNC)?;
            file.write_all_at(Blocks::zeroed(BLOCK).as_slice(), 0)?;
            file.read_exact_at(Blocks::zeroed(BLOCK).as_mut_slice(), 0)
        })();
        match self.remove(name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => outcome,
        }
    }

    fn file(&self, name: &str, flags: OFlags) -> io::Result<File> {
        let mode = Mode::RUSR | Mode::WUSR;
        Ok(rustix::fs::open(self.folder.join(name), flags | OFlags::CLOEXEC, mode)?.into())
    }

    /// `flags` where segments bypass the page cache, nothing elsewhere.
    fn if_direct(&self, flags: OFlags) -> OFlags {
        if self.direct { flags } else { OFlags::empty() }
    }
}

impl Disk for LocalDisk {
    fn describe(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn lock(&self, name: &str) -> io::Result<Box<dyn Send>> {
        let file = self.file(name, OFlags::RDWR | OFlags::CREATE)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(file))
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_file() {
                files.push((entry.file_name().to_string_lossy().into_owned(), metadata.len()));
            }
        }
        Ok(files)
    }

    fn create(&self, name: &str, length: u64) -> io::Result<()> {
        // A slice at a time, so that commits to the segment in use find their way between.
        const SLICE: usize = 1024 * 1024;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC | self.if_direct(OFlags::DIRECT);
        let file = self.file(name, flags)?;
        // First, to learn at once that there is no room. Not enough alone: writing to space that was allocated but
        // never written changes metadata.
        match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, length) {
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
        let zeros = Blocks::zeroed(SLICE);
        let mut offset = 0;
        while offset < length {
            let slice = usize::try_from(length - offset).map_or(SLICE, |rest| rest.min(SLICE));
            file.write_all_at(&zeros.as_slice()[..slice], offset)?;
            offset += slice as u64;
        }
        file.sync_all()
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn SegmentFile>> {
        let flags = OFlags::RDWR | self.if_direct(OFlags::DIRECT);
        Ok(Box::new(LocalFile { file: self.file(name, flags)?, direct: self.direct }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.folder.join(from), self.folder.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.folder.join(name))
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }

    fn read_small(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let mut contents = Vec::new();
        match self.file(name, OFlags::RDONLY) {
            Ok(mut file) => file.read_to_end(&mut contents).map(|_| Some(contents)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn write_small(&self, name: &str, contents: &[u8]) -> io::Result<()> {
        let mut file = self.file(name, OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC)?;
        file.write_all(contents)?;
        file.sync_all()
    }
}

struct LocalFile {
    file: File,
    direct: bool,
}

impl SegmentFile for LocalFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn settle(&self) -> io::Result<()> {
        self.file.sync_data()?;
        if !self.direct {
            rustix::fs::fadvise(&self.file, 0, None, Advice::DontNeed)?;
        }
        Ok(())
    }

    fn read(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let mut blocks = Blocks::zeroed(length);
        self.file.read_exact_at(blocks.as_mut_slice(), offset)?;
        Ok(blocks.into_bytes())
    }

    fn write(&self, offset: u64, blocks: &[u8]) -> io::Result<()> {
        if self.direct {
            return write_through(&self.file, blocks, offset);
        }
        self.file.write_all_at(blocks, offset)?;
        self.file.sync_data()
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)?;
        self.file.sync_all()
    }
}

/// One write, durable when it returns. The flag goes with the call because rustix 1.1 opens with `O_SYNC` when asked for
/// `O_DSYNC`, and then each commit would also write the file's times.
fn write_through(file: &File, blocks: &[u8], offset: u64) -> io::Result<()> {
    let write = || rustix::io::pwritev2(file, &[IoSlice::new(blocks)], offset, ReadWriteFlags::DSYNC);
    match rustix::io::retry_on_intr(write)? {
        written if written == blocks.len() => Ok(()),
        written => Err(io::Error::new(
            io::ErrorKind::WriteZero,
            format!("expected to write {} bytes, {written} were written", blocks.len()),
        )),
    }
}
