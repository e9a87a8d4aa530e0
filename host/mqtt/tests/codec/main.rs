//! Bytes ↔ packets.
//!
//! - `cases`: packets and what the specifications ask for
//! - `table`: each of them, decoded
//! - `round_trip`: what is written can be read
//! - `reference`: the same packets, read by two other implementations, in the words of `theirs`
//! - `smoke`: the fuzz target on stable, for a moment; `mutate` changes packets for it

mod cases;
#[path = "../common/mod.rs"]
mod common;
#[path = "../fuzz/mod.rs"]
mod fuzz;
mod mutate;
mod reference;
mod round_trip;
mod smoke;
mod table;
mod theirs;
