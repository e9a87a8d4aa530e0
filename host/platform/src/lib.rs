//! What stands behind the gateway.
//!
//! - [`folder`]: folders that survive a power cut
//! - [`log`]: the event log
//! - [`projection`]: what the registry knows from devices, made from the log
//! - [`registry`]: tenants, devices, credentials, profiles made at run time, and the rows of the projection
//! - [`secret`]: text that must not leak
#![forbid(unsafe_code)]

pub mod folder;
pub mod log;
pub mod projection;
pub mod registry;
pub mod secret;

pub use secret::Secret;
