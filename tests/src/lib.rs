//! End-to-end tests of tidegate: what they share. The tests themselves are in `tests/`, one file for each theme.
//!
//! - [`gateway`]: the real binary as a child process, with folders of its own; [`options`]: how it is started
//! - [`api`], [`cli`]: its two faces to people
//! - [`events`]: what its event log holds
//! - [`raw`]: an MQTT client that sends and shows every byte
//! - [`steady`]: a device that publishes numbers all the time, and knows which were acknowledged
//! - [`guests`]: hostile plugins
//! - [`foreign`]: programs that are not ours: mosquitto clients, Python, strace
//! - [`trace`]: what the system calls of a gateway prove
//! - [`wait`]: waiting for another process
//!
//! Nothing here knows the code of the gateway: only its command line, its files, its API and MQTT.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "in a test, whatever goes wrong is to be seen at once")]

pub mod api;
pub mod cli;
pub mod events;
pub mod foreign;
pub mod gateway;
pub mod guests;
pub mod options;
pub mod raw;
pub mod steady;
pub mod trace;
pub mod wait;

pub use gateway::Gateway;
pub use options::Options;
pub use raw::{Client, Version};
