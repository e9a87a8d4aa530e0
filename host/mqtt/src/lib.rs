//! MQTT 3.1, 3.1.1 and 5.0 for a server, as a pure state machine.
//!
//! Bytes, the platform's answers and the time go in; requests, bytes and deadlines come out. The crate opens no socket,
//! reads no clock, knows no runtime, and does not know what a topic or a payload means.
//!
//! - [`codec`]: bytes ↔ packets
//! - [`topic`]: topic names, topic filters, captures
//! - `subscription`: which filters a session may subscribe to (spec 5)
//! - [`outcome`]: what a client sees of what became of its message (spec 4.3)
//! - [`session`]: one connection from CONNECT to the end
//! - [`reason`]: reason codes and where each is used
//! - `protocol`: protocol version, quality of service
//!
//! Not here: authentication, routing of topics, rate limits, retained messages, QoS 2 delivery, sessions that outlive
//! their connection. "Spec" in comments is the device API specification; `[MQTT-3.1.2-3]` and `MQTT5 §3.1` point into
//! MQTT 5.0.
#![forbid(unsafe_code)]

pub mod codec;
pub mod outcome;
mod protocol;
pub mod reason;
pub mod session;
mod subscription;
pub mod topic;

pub use outcome::{Outcome, Situation};
pub use protocol::{Qos, Version};
pub use reason::ReasonCode;
pub use session::{Close, Request, Session, Settings};
pub use subscription::Kind;
