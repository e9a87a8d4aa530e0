//! What is projected from the event log: one packed row per device and kind, and the state of its connection.
//!
//! The registry stores the rows together with the position up to which the log is in them, and knows nothing about
//! their content (design §6, "From devices: log first").

use model::{DeviceId, TenantId, Timestamp};

/// What a packed row holds. A device has at most one row of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RowKind {
    /// The latest value of every telemetry key.
    LatestValues,
    /// The client attributes (spec 10.2).
    ClientAttributes,
}

/// One row, opaque to the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedRow {
    /// Whose device it is.
    pub tenant: TenantId,
    /// The device.
    pub device: DeviceId,
    /// What the row holds.
    pub kind: RowKind,
    /// Everything of that kind, as bytes that only the projection understands.
    pub packed: Vec<u8>,
}

/// Whether a device is connected, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connectivity {
    /// Whose device it is.
    pub tenant: TenantId,
    /// The device.
    pub device: DeviceId,
    /// Whether it is connected now, or was when the process of `boot` died.
    pub connected: bool,
    /// The run that saw the last change, as the event log counts them ([`boot`](crate::log::EventLog::boot)).
    pub boot: u32,
    /// The client identifier of the last connection.
    pub client_id: String,
    /// When the last connection began.
    pub since: Timestamp,
    /// When `connected` last changed: equal to `since` while connected.
    pub last_change: Timestamp,
}

/// Rows to store, and how far in the log they are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Flush {
    /// Packed rows, each replacing the one before. Of several for one device and kind the last one stays.
    pub rows: Vec<PackedRow>,
    /// Connection states, each replacing the one before.
    pub connectivity: Vec<Connectivity>,
    /// The position in the log up to which these rows and all stored before hold everything.
    pub applied_position: String,
}
