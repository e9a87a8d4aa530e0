//! When messages are due.

use crate::window::Nanos;

const SECOND: f64 = 1e9;

/// A schedule that does not care how the server is doing (open loop): message `n` is due `n / rate` seconds after the
/// first. What is sent late was due all the same, so a server that stalls is charged for everything that had to wait
/// behind the stall ("coordinated omission" would hide it).
#[derive(Debug)]
pub(crate) struct Schedule {
    /// When the first message was due.
    start: Nanos,
    /// Messages a second.
    rate: f64,
    /// How many messages have been due so far.
    next: u64,
}

impl Schedule {
    /// The first message is due at `start`.
    pub(crate) fn new(start: Nanos, rate: f64) -> Self {
        Self { start, rate, next: 0 }
    }

    /// The next message, counted from 0, and when it was due; nothing if it is not due before `now`.
    pub(crate) fn due(&mut self, now: Nanos) -> Option<(u64, Nanos)> {
        let due = self.next_due();
        (due <= now).then(|| {
            let number = self.next;
            self.next += 1;
            (number, due)
        })
    }

    /// When the next message will be due.
    pub(crate) fn next_due(&self) -> Nanos {
        self.start + (self.next as f64 / self.rate * SECOND) as Nanos
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_look_finds_everything_that_was_due_at_its_time() {
        let mut schedule = Schedule::new(1_000, 1e6); // one each microsecond
        assert_eq!(schedule.due(999), None);
        assert_eq!(schedule.due(1_000), Some((0, 1_000)));
        assert_eq!(schedule.due(1_500), None);
        let late: Vec<_> = std::iter::from_fn(|| schedule.due(4_200)).collect();
        assert_eq!(late, [(1, 2_000), (2, 3_000), (3, 4_000)]);
        assert_eq!(schedule.next_due(), 5_000);
    }

    #[test]
    fn no_message_is_lost_to_rounding() {
        let mut schedule = Schedule::new(0, 3.0);
        let hour: u64 = 3600 * 1_000_000_000;
        assert_eq!(std::iter::from_fn(|| schedule.due(hour - 1)).count(), 3 * 3600);
    }
}
