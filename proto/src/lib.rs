//! Protobuf messages of tidegate, and their translation to and from [`model`].
//!
//! - [`event`]: the record of the event log (`event.proto`)
//! - [`row`]: packed rows of the registry (`row.proto`)
//!
//! Nobody outside this crate sees a generated type.
#![forbid(unsafe_code)]

pub mod event;
pub mod row;
