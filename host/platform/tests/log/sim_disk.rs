//! A disk that keeps what was synced apart from what was not, and at a power cut drops, reorders and tears (per sector of
//! 512 bytes, per name) whatever was not. It also flips bits, fails writes, fills up, and makes writers wait.

mod interface;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use crate::random::Random;

const SECTOR: usize = 512;

#[derive(Clone, Default)]
pub(crate) struct SimDisk {
    state: Arc<Mutex<State>>,
    changed: Arc<Condvar>,
}

/// What happened on the disk so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) operations: u64,
    pub(crate) writes: u64,
    pub(crate) created: u64,
    pub(crate) recycled: u64,
    pub(crate) removed: u64,
    pub(crate) truncated: u64,
    pub(crate) small_files: u64,
    pub(crate) full_folders: u64,
}

#[derive(Default)]
struct State {
    files: BTreeMap<u64, File>,
    next_file: u64,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    unsynced_names: Vec<NameChange>,
    locked: bool,
    counts: Counts,
    /// The power goes in the middle of the operation with this number.
    cut_at: Option<u64>,
    off: bool,
    without_sync: bool,
    without_folder_sync: bool,
    /// The next operation of this kind fails.
    failing: Option<Failing>,
    /// Bytes that all files together may have.
    space: Option<u64>,
    /// Writes wait.
    held: bool,
    /// Reads wait.
    reads_held: bool,
    /// The next one to open a segment waits.
    hold_next_open: bool,
    open_held: bool,
    /// Operations that wait.
    waiting: u64,
}

#[derive(Default)]
struct File {
    durable: Vec<u8>,
    current: Vec<u8>,
    /// Sectors in which the two may differ.
    unsynced: BTreeSet<usize>,
}

/// Kinds of operations that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failing {
    Write,
    Create,
    SyncFolder,
    /// The folder has no room for the name.
    SyncFolderForSpace,
    WriteSmall,
}

enum NameChange {
    Link(String, u64),
    Unlink(String),
    Rename(String, String),
}

impl SimDisk {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A disk on which writing to a segment does not sync it.
    pub(crate) fn without_sync() -> Self {
        let disk = Self::default();
        disk.state().without_sync = true;
        disk
    }

    /// A disk on which syncing a folder does nothing.
    pub(crate) fn without_folder_sync() -> Self {
        let disk = Self::default();
        disk.state().without_folder_sync = true;
        disk
    }

    /// Lets the power go in the middle of the `operations`th operation from now on.
    pub(crate) fn cut_power_in(&self, operations: u64) {
        let mut state = self.state();
        state.cut_at = Some(state.counts.operations + operations);
    }

    pub(crate) fn is_off(&self) -> bool {
        self.state().off
    }

    /// The power goes now, if it has not gone yet, and comes back.
    pub(crate) fn restart(&self, random: &mut Random) {
        self.state().restart(random);
    }

    /// The process ends without a power cut: everything stays, somebody else may have the lock.
    pub(crate) fn unlock(&self) {
        self.state().locked = false;
    }

    pub(crate) fn counts(&self) -> Counts {
        self.state().counts
    }

    /// Lets the next operation of a kind fail, half done.
    pub(crate) fn fail_next(&self, kind: Failing) {
        self.state().failing = Some(kind);
    }

    /// Another disk with the same contents.
    pub(crate) fn copy(&self) -> Self {
        let copy = Self::default();
        let state = self.state();
        for (name, file) in &state.names {
            copy.state().link(name, state.files[file].current.clone());
        }
        copy
    }

    pub(crate) fn set_space(&self, bytes: Option<u64>) {
        self.state().space = bytes;
    }

    pub(crate) fn used(&self) -> u64 {
        self.state().used()
    }

    /// Writes wait until [`release_writes`](Self::release_writes).
    pub(crate) fn hold_writes(&self) {
        self.state().held = true;
    }

    pub(crate) fn release_writes(&self) {
        self.state().held = false;
        self.changed.notify_all();
    }

    /// Reads wait until [`release_reads`](Self::release_reads).
    pub(crate) fn hold_reads(&self) {
        self.state().reads_held = true;
    }

    pub(crate) fn release_reads(&self) {
        self.state().reads_held = false;
        self.changed.notify_all();
    }

    /// Lets the next one to open a segment wait until [`release_open`](Self::release_open).
    pub(crate) fn hold_next_open(&self) {
        let mut state = self.state();
        (state.hold_next_open, state.open_held) = (true, true);
    }

    pub(crate) fn release_open(&self) {
        self.state().open_held = false;
        self.changed.notify_all();
    }

    /// Waits until somebody waits.
    pub(crate) fn wait_for_held(&self) {
        let mut state = self.state();
        while state.waiting == 0 {
            state = self.changed.wait(state).unwrap();
        }
    }

    /// Names of segments, in order.
    pub(crate) fn segments(&self) -> Vec<String> {
        self.state().names.keys().filter(|name| name.ends_with(".seg")).cloned().collect()
    }

    pub(crate) fn contents(&self, name: &str) -> Vec<u8> {
        let state = self.state();
        state.files[&state.names[name]].current.clone()
    }

    /// Changes a file behind everybody's back.
    pub(crate) fn alter(&self, name: &str, alter: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let file = state.names[name];
        let file = state.files.get_mut(&file).unwrap();
        alter(&mut file.current);
        file.durable = file.current.clone();
        file.unsynced.clear();
    }

    pub(crate) fn delete(&self, name: &str) {
        let mut state = self.state();
        state.names.remove(name);
        state.durable_names.remove(name);
    }

    fn wait_while<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        held: impl Fn(&State) -> bool,
    ) -> MutexGuard<'a, State> {
        state.waiting += 1;
        self.changed.notify_all();
        while held(&state) {
            state = self.changed.wait(state).unwrap();
        }
        state.waiting -= 1;
        state
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl State {
    fn restart(&mut self, random: &mut Random) {
        for change in self.unsynced_names.drain(..) {
            if random.one_in(2) {
                continue;
            }
            match change {
                NameChange::Link(name, file) => {
                    self.durable_names.insert(name, file);
                }
                NameChange::Unlink(name) => {
                    self.durable_names.remove(&name);
                }
                NameChange::Rename(from, to) => {
                    if let Some(file) = self.durable_names.remove(&from) {
                        self.durable_names.insert(to, file);
                    }
                }
            }
        }
        self.names = self.durable_names.clone();
        let named: BTreeSet<u64> = self.names.values().copied().collect();
        self.files.retain(|file, _| named.contains(file));
        for file in self.files.values_mut() {
            file.lose(random);
        }
        (self.off, self.cut_at, self.locked) = (false, None, false);
    }

    /// An operation begins. `true` when the power goes in its middle.
    fn begin(&mut self) -> io::Result<bool> {
        if self.off {
            return Err(io::Error::other("the power is off"));
        }
        self.counts.operations += 1;
        self.off = self.cut_at == Some(self.counts.operations);
        Ok(self.off)
    }

    fn end(&self) -> io::Result<()> {
        if self.off { Err(io::Error::other("the power went")) } else { Ok(()) }
    }

    fn fail(&mut self, kind: Failing) -> io::Result<()> {
        if self.failing == Some(kind) {
            self.failing = None;
            return Err(match kind {
                Failing::SyncFolderForSpace => io::ErrorKind::StorageFull.into(),
                _ => io::Error::other("input/output error"),
            });
        }
        Ok(())
    }

    fn file(&mut self, file: u64) -> io::Result<&mut File> {
        self.files.get_mut(&file).ok_or_else(|| io::Error::other("a file from before the power cut"))
    }

    fn sync(&mut self, file: u64) -> io::Result<()> {
        if !self.off {
            self.file(file)?.sync();
        }
        self.end()
    }

    fn used(&self) -> u64 {
        self.names.values().map(|file| self.files[file].current.len() as u64).sum()
    }

    fn link(&mut self, name: &str, current: Vec<u8>) -> u64 {
        let file = self.next_file;
        self.next_file += 1;
        let unsynced = (0..current.len().div_ceil(SECTOR)).collect();
        self.files.insert(file, File { durable: Vec::new(), current, unsynced });
        self.names.insert(name.to_owned(), file);
        self.unsynced_names.push(NameChange::Link(name.to_owned(), file));
        file
    }
}

impl File {
    fn sync(&mut self) {
        self.durable.resize(self.current.len(), 0);
        for sector in std::mem::take(&mut self.unsynced) {
            self.copy(sector);
        }
    }

    /// Makes one sector durable.
    fn copy(&mut self, sector: usize) {
        let range = sector * SECTOR..((sector + 1) * SECTOR).min(self.current.len());
        if !range.is_empty() {
            self.durable[range.clone()].copy_from_slice(&self.current[range]);
        }
    }

    /// The power cut: of what was not synced any part is there.
    fn lose(&mut self, random: &mut Random) {
        if self.durable.len() != self.current.len() && random.one_in(2) {
            self.durable.resize(self.current.len(), 0);
        }
        // Mostly some of it, now and then nothing or everything.
        let odds = [0, 1, 2, 4][random.below(4) as usize];
        for sector in std::mem::take(&mut self.unsynced) {
            let end = ((sector + 1) * SECTOR).min(self.current.len());
            if end <= self.durable.len() && (odds == 1 || (odds > 1 && random.one_in(odds))) {
                self.copy(sector);
            }
        }
        self.current = self.durable.clone();
    }
}
