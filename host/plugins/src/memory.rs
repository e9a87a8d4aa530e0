//! How much memory a guest takes.

use wasmtime::ResourceLimiter;

/// Counts what a guest takes, in its memories and in its tables together, and refuses growth over the limit.
pub(crate) struct MemoryLimit {
    /// In bytes.
    limit: usize,
    used: usize,
    refused: bool,
}

impl MemoryLimit {
    /// What an element of a table takes in the host: a pointer.
    const TABLE_ELEMENT: usize = size_of::<usize>();
    /// Core instances of one component. A core module that is wrapped at load makes three; a linker that keeps each
    /// library of a Python program apart makes dozens.
    const INSTANCES: usize = 128;
    /// Tables of all its core instances; each has a handful at most.
    const TABLES: usize = 64;
    /// Memories of all its core instances, each of which reserves up to 4 GiB of address space. One is usual.
    const MEMORIES: usize = 8;

    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, used: 0, refused: false }
    }

    /// Whether growth was refused at any time.
    pub(crate) fn refused(&self) -> bool {
        self.refused
    }

    /// Whether what is taken, which never shrinks, is near to the limit.
    pub(crate) fn is_nearly_used_up(&self) -> bool {
        self.used > self.limit / 4 * 3
    }

    fn grow(&mut self, bytes: usize) -> bool {
        let used = self.used.saturating_add(bytes);
        if used > self.limit {
            self.refused = true;
            return false;
        }
        self.used = used;
        true
    }
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(desired.saturating_sub(current)))
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(desired.saturating_sub(current).saturating_mul(Self::TABLE_ELEMENT)))
    }

    fn instances(&self) -> usize {
        Self::INSTANCES
    }

    fn tables(&self) -> usize {
        Self::TABLES
    }

    fn memories(&self) -> usize {
        Self::MEMORIES
    }
}
