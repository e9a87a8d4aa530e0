//! What a converter made of one message.

use crate::Body;

/// The meaning of one message: events, rejects, or both, since a gateway's publish may be accepted for one child and
/// refused for another (spec 15.8).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Decoded {
    /// What happened, in the order of the payload.
    pub events: Vec<Body>,
    /// What could not be accepted, and whose fault that is.
    pub rejects: Vec<Reject>,
}

/// A refusal by a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// Who is to blame, which decides what the device sees.
    pub fault: Fault,
    /// For the device and the operator, such as `telemetry: key "t": value expected at byte 5`. Becomes the v5 reason
    /// string (spec 4.3).
    pub reason: String,
}

/// Who is to blame for a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The payload breaks the payload rules (spec 4.4): the device is at fault.
    Malformed,
    /// The plugin does not implement this: the profile is at fault.
    Unsupported,
    /// The payload is fine, but the device may not do this.
    Denied,
}
