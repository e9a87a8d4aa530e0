//! Protobuf messages of tidegate, and their translation to and from [`model`].
//!
//! - [`event`]: the record of the event log (`event.proto`)
//!
//! Nobody outside this crate sees a generated type.
#![forbid(unsafe_code)]

pub mod event;
