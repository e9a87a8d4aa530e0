//! Guests that misbehave, each in its own way: the host says what was wrong, and everybody else goes on.
//!
//! - `faults`: the ways to fail, and what the operator reads of them
//! - `blame`: which messages are dead-lettered for it, and which are not
//! - `bounds`: how much a message may become, and what of it the contract allows
//! - `fairness`: who computes when
//! - `loading`: files that never become a plugin
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

mod blame;
mod bounds;
mod fairness;
mod faults;
mod loading;
