//! What is measured, and what is to be reached.

use std::time::Duration;

/// A load that both servers are put under.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// How the tables name it.
    pub(crate) name: &'static str,
    pub(crate) connections: u32,
    /// Messages of one connection in flight.
    pub(crate) window: u16,
    pub(crate) qos: u8,
    pub(crate) version: &'static str,
    pub(crate) payload: Payload,
    /// How long one run measures.
    pub(crate) duration: Duration,
    /// Server CPU for each acknowledged message, as a multiple of what mosquitto needs, at most.
    pub(crate) target: Option<f64>,
}

/// What is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Payload {
    /// The generator's own: 52 bytes.
    Small,
    /// [`kilobyte`].
    Kilobyte,
}

const BASE: Load = Load {
    name: "",
    connections: 100,
    window: 16,
    qos: 1,
    version: "3.1.1",
    payload: Payload::Small,
    duration: Duration::from_secs(3),
    target: None,
};

/// The loads, the one with the target first.
pub(crate) const LOADS: [Load; 7] = [
    Load { name: "100 × 16, QoS 1, 3.1.1", duration: Duration::from_secs(5), target: Some(1.5), ..BASE },
    Load { name: "100 × 16, QoS 1, 5.0", version: "5.0", ..BASE },
    Load { name: "1 × 1, QoS 1", connections: 1, window: 1, ..BASE },
    Load { name: "100 × 1, QoS 1", window: 1, ..BASE },
    Load { name: "1,000 × 1, QoS 1", connections: 1000, window: 1, ..BASE },
    Load { name: "100 × 16, QoS 0", qos: 0, ..BASE },
    Load { name: "100 × 16, QoS 1, 1 KB", payload: Payload::Kilobyte, ..BASE },
];

/// Idle connections that are opened, if so many files may be open.
pub(crate) const IDLE: u32 = 10_000;
/// Resident memory of the server for each of them, in bytes, at most.
pub(crate) const IDLE_TARGET: f64 = 8.0 * 1024.0;

/// A step of a message's way by itself: a case of the program `instructions`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    /// How `instructions` names it.
    pub(crate) case: &'static str,
    /// How the tables name it.
    pub(crate) name: &'static str,
    /// Iterations when instructions are counted; the second run has twice as many.
    pub(crate) iterations: u64,
    /// CPU nanoseconds for a message, at most.
    pub(crate) target: Option<f64>,
}

const fn step(case: &'static str, name: &'static str, iterations: u64) -> Step {
    Step { case, name, iterations, target: None }
}

/// All of them.
pub(crate) const STEPS: [Step; 14] = [
    step("publish-3.1.1", "decode PUBLISH, 3.1.1", 20_000),
    step("publish-5.0", "decode PUBLISH, 5.0", 20_000),
    step("json-1", "JSON in Wasm, 52 bytes, batch 1", 4_000),
    Step { target: Some(1500.0), ..step("json-16", "JSON in Wasm, 52 bytes, batch 16", 500) },
    step("json-64", "JSON in Wasm, 52 bytes, batch 64", 125),
    step("json-array-16", "JSON in Wasm, 2 samples with ts, batch 16", 500),
    step("json-12-keys-16", "JSON in Wasm, 12 keys, batch 16", 250),
    step("json-attributes-16", "JSON in Wasm, attributes, batch 16", 500),
    step("json-mixed-16", "JSON in Wasm, all of these mixed, batch 16", 250),
    step("json-fresh", "JSON in Wasm, 52 bytes, a new instance each", 100),
    step("log-encode", "event to a record of 250 bytes", 2_000),
    step("log-append-1", "log append, 250 bytes, batch 1", 400),
    step("log-append-16", "log append, 250 bytes, batch 16", 400),
    step("log-append-1000", "log append, 250 bytes, batch 1,000", 200),
];

/// A JSON object of 1,024 bytes: numbers under 46 keys, and a text that fills it up.
pub(crate) fn kilobyte() -> String {
    let numbers: String = (0..46).map(|index| format!("\"reading_{index:02}\":{}.25,", 20 + index)).collect();
    let empty = format!("{{{numbers}\"note\":\"\"}}");
    format!("{{{numbers}\"note\":\"{}\"}}", "x".repeat(1024 - empty.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kilobyte_of_json() {
        let text = kilobyte();
        let object: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((text.len(), object.as_object().unwrap().len()), (1024, 47));
    }
}
