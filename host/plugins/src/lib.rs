//! Loads, checks and calls plugins. The only crate that knows wasmtime.
//!
//! ```text
//! bytes ─ load ─▶ Plugin ─ configure ─▶ Converter ─┐
//!                                                  ├─ Pool (one per worker) ─ decode, encode ─▶ results, one per message
//!                              Engine (one) ───────┘        instances, reused
//! ```
//!
//! - [`engine`]: settings of the runtime, the clock that interrupts guests, and who may use how much of it
//! - [`load`]: bytes to a checked plugin
//! - [`contract`]: one adapter per version of the WIT contract
//! - [`instance`]: one running guest with its limits
//! - `meter`, `memory`: how long a guest computes and how much memory it takes
//! - [`converter`]: a plugin with a profile's configuration
//! - [`pool`]: a worker's instances; calls, and what happens when a guest fails
//! - `isolate`: which messages of a batch are to blame for that
//! - [`watch`]: when the directories with plugins and profiles have changed
//!
//! Knows nothing of MQTT, devices, or where events go.
#![forbid(unsafe_code)]

pub mod contract;
pub mod converter;
pub mod engine;
mod instance;
mod isolate;
pub mod load;
mod memory;
mod meter;
pub mod pool;
pub mod watch;

pub use contract::{Operations, Uplink};
pub use converter::{ConfigureError, Converter, Limits};
pub use engine::{Engine, EngineError, EngineSettings};
pub use instance::{Cause, Failure};
pub use load::{LoadError, Plugin};
pub use pool::{CallError, Pool};
