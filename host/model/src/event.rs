//! Events: what the host hands to the application (spec §1), one record of the event log each.

use std::sync::Arc;

use crate::{DeviceId, Entry, EventId, Sample, TenantId, Timestamp};

/// Something that happened on a device, stamped by the host.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Unique for ever; a repetition carries the same one.
    pub id: EventId,
    /// Whose event it is.
    pub origin: Arc<Origin>,
    /// When the host received it.
    pub received: Timestamp,
    /// The topic it came on, for events that came as a publish (ThingsBoard metadata key `mqttTopic`, spec 4.1).
    pub topic: Option<Arc<str>>,
    /// What happened.
    pub body: Body,
}

/// The device that an event belongs to, as it was called when the event was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The tenant that owns the device.
    pub tenant: TenantId,
    /// The device.
    pub device: DeviceId,
    /// Its name at that time, unique within the tenant.
    pub name: String,
    /// The name of its profile at that time.
    pub profile: String,
}

/// What happened. The first three are what a converter makes of a payload, the others the host's own words.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// Time series points (spec 7.2).
    Telemetry(Vec<Sample>),
    /// Attributes that the device wrote about itself (spec 7.3).
    ClientAttributes(Vec<Entry>),
    /// The device calls a method of the application (client-side RPC, spec 12.1).
    RpcRequest(RpcRequest),
    /// A connection of the device was accepted.
    Connected(Connected),
    /// The device's connection ended.
    Disconnected(Disconnected),
    /// A message that no plugin could be made to digest; kept so that nothing is lost (spec 4.3, last row).
    DeadLetter(Box<DeadLetter>),
}

/// A client-side RPC request (spec 12.1).
#[derive(Debug, Clone, PartialEq)]
pub struct RpcRequest {
    /// Chosen by the device; its answer carries the same.
    pub id: i32,
    /// Name of the method.
    pub method: String,
    /// Parameters as JSON text; `null` when the device gave none.
    pub params: String,
    /// Opaque bytes that the converter wants back when the answer is encoded (design §3).
    pub context: Vec<u8>,
}

/// How a device connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connected {
    /// The client identifier, assigned by the host when the client sent none.
    pub client_id: String,
    /// Address and port of the peer.
    pub peer: String,
    /// `3.1`, `3.1.1` or `5.0`.
    pub protocol: String,
}

/// Why a device is no longer connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disconnected {
    /// A short machine-readable word such as `client`, `keep-alive`, `taken-over`, `gateway-restarted`.
    pub cause: String,
    /// The same for people, possibly empty.
    pub detail: String,
}

/// A message that could not be decoded because the plugin failed, with all it takes to try again by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The plugin's name as the profile calls it.
    pub plugin: String,
    /// Hash of the plugin's bytes.
    pub version: String,
    /// `trap`, `timeout`, `memory` or `contract`.
    pub cause: String,
    /// What the runtime said, with the guest's backtrace if there is one.
    pub detail: String,
    /// What the plugin was asked to do, such as `telemetry`.
    pub operation: String,
    /// The payload, untouched.
    pub payload: Vec<u8>,
}
