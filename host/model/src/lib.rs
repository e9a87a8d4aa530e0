//! Plain data that every tidegate crate shares: identities, values, events, commands, rejects.
//!
//! - [`id`]: tenants, devices, events
//! - [`time`]: milliseconds since the Unix epoch
//! - [`value`]: the five kinds of value, entries and samples
//! - [`event`]: what happened, as stored in the event log
//! - [`operation`]: what a message is meant to be
//! - [`command`]: what a converter is asked to encode for a device
//! - [`decoded`]: what a converter made of a message: events and rejects
//!
//! Nothing here performs I/O, reads a clock, or knows a wire format.
#![forbid(unsafe_code)]

pub mod command;
pub mod decoded;
pub mod event;
pub mod id;
pub mod operation;
pub mod time;
pub mod value;

pub use command::Command;
pub use decoded::{Decoded, Fault, Reject};
pub use event::{Body, Event, Origin};
pub use id::{DeviceId, EventId, TenantId};
pub use operation::Operation;
pub use time::Timestamp;
pub use value::{Entry, Sample, Stamped, Value};
