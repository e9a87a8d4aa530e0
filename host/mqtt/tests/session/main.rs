//! A session against a client in memory, under a clock that only moves when it is told to.
//!
//! Each file holds the rules of one part of the spec; the numbers in the names are its sections.

mod close;
#[path = "../common/mod.rs"]
mod common;
mod connect;
mod publish;
mod send;
mod split;
mod subscribe;
mod time;
