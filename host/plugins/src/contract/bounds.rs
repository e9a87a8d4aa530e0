//! How much one message may become (design §3). Counted for each message by itself, so that its neighbours in a batch
//! decide nothing.

/// Events and rejects of one message. A payload of 64 KiB with the shortest members names fewer than 5,000 children.
const MAX_EVENTS: usize = 10_000;
/// Values of one message, and samples, which may be empty. A payload of 64 KiB with the shortest keys has 11,000 values.
const MAX_VALUES: usize = 50_000;
/// Bytes of all texts of one message, or of one payload to the device. A JSON payload never becomes longer than it was.
const MAX_BYTES: usize = 2 << 20;

/// Bytes that a call may return, as the runtime counts them while it takes them over, whatever the number of messages. A
/// message alone may well be over its own bounds and still within this one, so this one only stops what would fill the
/// host's memory: lists of overlapping texts, which cost the guest nothing.
pub(crate) const CALL_BYTES: usize = 16 << 20;

/// What one message became.
#[derive(Debug, Default)]
pub(crate) struct Size {
    pub(crate) events: usize,
    pub(crate) values: usize,
    pub(crate) bytes: usize,
    /// Whether any of it needs a closer look, which the usual keys and values do not.
    pub(crate) doubtful: bool,
}

impl Size {
    /// Which bound it is over, if it is.
    pub(crate) fn excess(&self) -> Option<String> {
        let bounds = [
            (self.events, MAX_EVENTS, "events"),
            (self.values, MAX_VALUES, "values"),
            (self.bytes, MAX_BYTES, "bytes of text"),
        ];
        let (_, bound, what) = bounds.into_iter().find(|(size, bound, _)| size > bound)?;
        Some(format!("the payload becomes more than {bound} {what}"))
    }

    /// The same for a payload to the device.
    pub(crate) fn payload_excess(bytes: usize) -> Option<String> {
        (bytes > MAX_BYTES).then(|| format!("a payload of at most {MAX_BYTES} bytes expected, the plugin made {bytes}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_that_is_passed_is_named() {
        let at_bounds = || Size { events: MAX_EVENTS, values: MAX_VALUES, bytes: MAX_BYTES, doubtful: false };
        assert_eq!(at_bounds().excess(), None);
        let excess = |size: Size| size.excess().unwrap();
        assert_eq!(
            excess(Size { events: MAX_EVENTS + 1, ..at_bounds() }),
            "the payload becomes more than 10000 events"
        );
        assert_eq!(
            excess(Size { values: MAX_VALUES + 1, ..at_bounds() }),
            "the payload becomes more than 50000 values"
        );
        assert_eq!(
            excess(Size { bytes: MAX_BYTES + 1, ..at_bounds() }),
            "the payload becomes more than 2097152 bytes of text"
        );
        assert_eq!(Size::payload_excess(MAX_BYTES), None);
        assert!(Size::payload_excess(MAX_BYTES + 1).is_some());
    }
}
