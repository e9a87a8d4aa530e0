//! Write tidegate plugins in Rust.
//!
//! A **converter** turns payload bytes into typed events and commands into bytes. Implement [`Converter`], export it,
//! and build the crate as a `cdylib` for `wasm32-unknown-unknown`; the gateway takes the module as it is.
//!
//! ```
//! use tidegate_plugin::{Converter, Decoded, Entry, Event, Operations, Reject, Sample, Uplink, Value};
//!
//! /// Two bytes, big endian: tenths of a degree.
//! struct Thermometer;
//!
//! impl Converter for Thermometer {
//!     const OPERATIONS: Operations = Operations::TELEMETRY;
//!
//!     fn configure(_config: &str) -> Result<Self, Vec<String>> {
//!         Ok(Self)
//!     }
//!
//!     fn decode(&self, message: &Uplink) -> Decoded {
//!         let Ok(bytes) = <[u8; 2]>::try_from(message.payload.as_slice()) else {
//!             return Reject::malformed("2 bytes expected").into();
//!         };
//!         let entry = Entry { key: "temperature".into(), value: Value::Double(f64::from(i16::from_be_bytes(bytes)) / 10.0) };
//!         Event::telemetry(vec![Sample { time: None, entries: vec![entry] }]).into()
//!     }
//! }
//!
//! tidegate_plugin::export_converter!(Thermometer);
//! ```
//!
//! - [`Converter`] and [`export_converter!`]: what a plugin implements, and how it is exported
//! - the types of the contract, re-exported from the generated bindings: [`Uplink`], [`Event`], [`Value`] …
//! - `testing`: messages to decode, and a check of what comes out, for a plugin's own tests
//!
//! The types are plain Rust; so a plugin's own tests run natively with `cargo test`. What this crate does not do: no
//! clock, no randomness, no network. A converter that needs them is not one.
#![deny(unsafe_code)]

extern crate self as tidegate_plugin; // the generated bindings name this crate by its name

#[allow(unsafe_code, missing_docs, clippy::all, unreachable_pub, unused_qualifications)]
#[doc(hidden)]
pub mod bindings {
    //! Generated from `wit/`; the one module with unsafe code.
    wit_bindgen::generate!({
        path: "../wit/draft",
        world: "converter",
        pub_export_macro: true,
        export_macro_name: "export_world",
        default_bindings_module: "tidegate_plugin::bindings",
        runtime_path: "tidegate_plugin::wit_bindgen_rt",
        additional_derives: [PartialEq, Clone],
    });
}

mod converter;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

pub use bindings::exports::tidegate::plugin::conversion::{Decoded, MatchedTopic, Operation, Operations, Uplink};
pub use bindings::tidegate::plugin::log::Level;
pub use bindings::tidegate::plugin::types::{
    AttributeRequest, AttributeResponse, AttributeUpdate, ChildConnect, Claim, Command, CommandBody, Credentials,
    Entry, Event, EventBody, Fault, GatewayLatency, MqttBasic, PersistentCall, Provision, ProvisionOutcome,
    ProvisionResponse, Reject, RpcAnswer, RpcCall, RpcRequest, RpcResponse, Sample, Selection, StampedEntry, Timestamp,
    Value,
};
pub use converter::{Converter, log};

#[doc(hidden)]
pub use wit_bindgen::rt as wit_bindgen_rt;
