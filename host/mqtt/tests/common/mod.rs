//! What several test files need.
#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod bytes;
pub(crate) mod describe;
pub(crate) mod link;
