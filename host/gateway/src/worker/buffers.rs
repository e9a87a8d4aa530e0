//! Read and write buffers, lent to those who need them now: an idle connection holds none.

use std::cell::RefCell;

use bytes::BytesMut;

/// Room for a read. What is complete in it is one drain.
pub(super) const SIZE: usize = 16 * 1024;
/// So many are kept; more are only needed in a rush.
const KEPT: usize = 64;
/// What grew beyond this for a long packet is not kept.
const LARGE: usize = 8 * SIZE;

/// The buffers of one worker that nobody uses.
#[derive(Debug, Default)]
pub(super) struct Buffers(RefCell<Vec<BytesMut>>);

impl Buffers {
    /// An empty buffer with room for [`SIZE`] bytes.
    pub(super) fn take(&self) -> BytesMut {
        let mut buffer = self.0.borrow_mut().pop().unwrap_or_default();
        // Takes back the room that earlier contents had, if nobody refers to them any more.
        buffer.reserve(SIZE);
        buffer
    }

    /// Takes a buffer back, whatever is in it.
    pub(super) fn give_back(&self, mut buffer: BytesMut) {
        let mut buffers = self.0.borrow_mut();
        if buffers.len() < KEPT && (1..=LARGE).contains(&buffer.capacity()) {
            buffer.clear();
            buffers.push(buffer);
        }
    }
}
