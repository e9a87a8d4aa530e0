//! What one connection has sent and nobody has answered yet.

use std::collections::VecDeque;

/// Nanoseconds since the generator began.
pub(crate) type Nanos = u64;

/// Messages in flight. QoS 1 is acknowledged by packet identifier; QoS 0 is not acknowledged at all, so a PINGREQ is sent
/// behind each burst: its PINGRESP says that the server has taken everything before it.
#[derive(Debug, Default)]
pub(crate) struct Window {
    in_flight: VecDeque<(u16, Nanos)>,
    /// Messages before each PINGREQ.
    bursts: VecDeque<usize>,
    last_id: u16,
}

impl Window {
    /// Messages in flight.
    pub(crate) fn len(&self) -> usize {
        self.in_flight.len()
    }

    /// A message goes that was due at `since`; returns its packet identifier.
    pub(crate) fn send(&mut self, since: Nanos) -> u16 {
        // A window is smaller than the space of identifiers, so the oldest one in flight is never met.
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        self.in_flight.push_back((self.last_id, since));
        self.last_id
    }

    /// A PINGREQ goes behind so many messages.
    pub(crate) fn ping(&mut self, messages: usize) {
        self.bursts.push_back(messages);
    }

    /// A message was acknowledged; returns since when it was due, or nothing if it is not in flight.
    pub(crate) fn acknowledge(&mut self, id: u16) -> Option<Nanos> {
        // Servers acknowledge in order, so the first one is looked at first.
        let at = self.in_flight.iter().position(|(in_flight, _)| *in_flight == id)?;
        self.in_flight.remove(at).map(|(_, since)| since)
    }

    /// The oldest PINGREQ was answered; returns since when each message before it was due, or nothing if there is none.
    pub(crate) fn pong(&mut self) -> Option<impl Iterator<Item = Nanos>> {
        let messages = self.bursts.pop_front()?;
        Some(self.in_flight.drain(..messages).map(|(_, since)| since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledgements_may_come_in_any_order_but_only_once() {
        let mut window = Window::default();
        let ids: Vec<u16> = (10..13).map(|since| window.send(since)).collect();
        assert_eq!(ids, [1, 2, 3]);
        assert_eq!([2, 1, 1, 3].map(|id| window.acknowledge(id)), [Some(11), Some(10), None, Some(12)]);
        assert_eq!(window.len(), 0);
    }

    #[test]
    fn identifiers_begin_again_and_are_never_0() {
        let mut window = Window { last_id: u16::MAX - 1, ..Window::default() };
        assert_eq!([window.send(0), window.send(0)], [u16::MAX, 1]);
    }

    #[test]
    fn a_pong_answers_for_the_burst_before_its_ping() {
        let mut window = Window::default();
        window.send(5);
        window.send(6);
        window.ping(2);
        window.send(7);
        window.ping(1);
        assert_eq!(window.pong().unwrap().collect::<Vec<_>>(), [5, 6]);
        assert_eq!(window.pong().unwrap().collect::<Vec<_>>(), [7]);
        assert!(window.pong().is_none());
    }
}
