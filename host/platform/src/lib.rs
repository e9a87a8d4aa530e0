//! What stands behind the gateway.
//!
//! - [`log`]: the event log
//! - [`registry`]: tenants, devices, credentials, profiles made at run time, and what is projected from the event log
//! - [`secret`]: text that must not leak
#![forbid(unsafe_code)]

pub mod log;
pub mod registry;
pub mod secret;

pub use secret::Secret;
