//! The simulated disk as the log sees it.

use std::io;

use bytes::Bytes;
use tidegate_platform::log::{BLOCK, Disk, SegmentFile};

use super::{Failing, NameChange, SECTOR, SimDisk};

impl Disk for SimDisk {
    fn describe(&self, name: &str) -> String {
        format!("sim/{name}")
    }

    fn lock(&self, _: &str) -> io::Result<Box<dyn Send>> {
        let mut state = self.state();
        if state.locked {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        state.locked = true;
        Ok(Box::new(Lock(self.clone())))
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let mut state = self.state();
        state.begin()?;
        state.end()?;
        Ok(state.names.iter().map(|(name, file)| (name.clone(), state.files[file].current.len() as u64)).collect())
    }

    fn create(&self, name: &str, length: u64) -> io::Result<()> {
        let mut state = self.state();
        state.begin()?;
        state.counts.created += 1;
        state.fail(Failing::Create)?;
        let full = state.space.is_some_and(|space| state.used() + length > space);
        // A full disk leaves half a file behind.
        let file = state.link(name, vec![0; if full { length / 2 } else { length } as usize]);
        if full { Err(io::ErrorKind::StorageFull.into()) } else { state.sync(file) }
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn SegmentFile>> {
        let mut state = self.state();
        state.begin()?;
        state.end()?;
        if std::mem::take(&mut state.hold_next_open) {
            state = self.wait_while(state, |state| state.open_held);
        }
        let file = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(SimFile { disk: self.clone(), file }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.begin()?;
        let file = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.counts.recycled += u64::from(from.ends_with(".seg"));
        state.names.insert(to.to_owned(), file);
        state.unsynced_names.push(NameChange::Rename(from.to_owned(), to.to_owned()));
        state.end()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.begin()?;
        state.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        state.counts.removed += u64::from(name.ends_with(".seg"));
        state.unsynced_names.push(NameChange::Unlink(name.to_owned()));
        state.end()
    }

    fn sync_folder(&self) -> io::Result<()> {
        let mut state = self.state();
        state.begin()?;
        state.fail(Failing::SyncFolder)?;
        state.fail(Failing::SyncFolderForSpace).inspect_err(|_| state.counts.full_folders += 1)?;
        if !state.off && !state.without_folder_sync {
            state.durable_names = state.names.clone();
            state.unsynced_names.clear();
        }
        state.end()
    }

    fn read_small(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let mut state = self.state();
        state.begin()?;
        state.end()?;
        Ok(state.names.get(name).map(|file| state.files[file].current.clone()))
    }

    fn write_small(&self, name: &str, contents: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        state.begin()?;
        state.counts.small_files += 1;
        state.fail(Failing::WriteSmall)?;
        let file = state.link(name, contents.to_vec());
        state.sync(file)
    }
}

struct Lock(SimDisk);

impl Drop for Lock {
    fn drop(&mut self) {
        self.0.unlock();
    }
}

struct SimFile {
    disk: SimDisk,
    file: u64,
}

impl SegmentFile for SimFile {
    fn length(&self) -> io::Result<u64> {
        let mut state = self.disk.state();
        state.begin()?;
        state.end()?;
        Ok(state.file(self.file)?.current.len() as u64)
    }

    fn settle(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.begin()?;
        state.sync(self.file)
    }

    fn read(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        assert!(offset.is_multiple_of(BLOCK as u64) && length.is_multiple_of(BLOCK), "read {length} at {offset}");
        let mut state = self.disk.state();
        state.begin()?;
        state.end()?;
        if state.reads_held {
            state = self.disk.wait_while(state, |state| state.reads_held);
        }
        let contents = &state.file(self.file)?.current;
        let bytes = contents.get(offset as usize..offset as usize + length).ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(Bytes::copy_from_slice(bytes))
    }

    fn write(&self, offset: u64, blocks: &[u8]) -> io::Result<()> {
        assert!(offset.is_multiple_of(BLOCK as u64) && blocks.len().is_multiple_of(BLOCK) && !blocks.is_empty());
        assert!(blocks.as_ptr().addr().is_multiple_of(BLOCK), "not aligned");
        let mut state = self.disk.state();
        state.begin()?;
        state.counts.writes += 1;
        if state.held {
            state = self.disk.wait_while(state, |state| state.held);
        }
        let file = state.file(self.file)?;
        let range = offset as usize..offset as usize + blocks.len();
        assert!(range.end <= file.current.len(), "a write past the end changes metadata");
        file.current[range.clone()].copy_from_slice(blocks);
        file.unsynced.extend(range.start / SECTOR..range.end / SECTOR);
        state.fail(Failing::Write)?;
        if state.without_sync { state.end() } else { state.sync(self.file) }
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.begin()?;
        state.counts.truncated += 1;
        state.file(self.file)?.current.truncate(length as usize);
        state.sync(self.file)
    }
}
