//! Tests of the event log: its contract, what it does on a treacherous disk, and kill -9 on a real one.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test says no by panicking")]

mod commits;
mod contract;
mod damage;
mod events;
mod failures;
mod kill;
mod power_cut;
mod random;
mod reports;
mod retention;
mod sim_disk;
