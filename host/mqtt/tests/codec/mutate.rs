//! Changes packets into almost packets, the same for the same seed.

/// A generator of numbers that are random enough (xorshift64*).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit.max(1)
    }
}

/// Up to four changes, with the remaining length put right in three of four cases, so that they get past it.
pub(crate) fn mutate(random: &mut Random, packet: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = packet.to_vec();
    for _ in 0..random.below(5) {
        let at = random.below(bytes.len() + 1);
        match random.below(6) {
            0 => bytes.insert(at, random.below(256) as u8),
            1 if at < bytes.len() => drop(bytes.remove(at)),
            2 => bytes.truncate(at),
            3 => {
                let from = random.below(other.len() + 1);
                let to = from + random.below(other.len() + 1 - from);
                drop(bytes.splice(at..at, other[from..to].iter().copied()));
            }
            _ if at < bytes.len() => {
                // Values at the borders more often than others.
                let byte = [0x00, 0x01, 0x02, 0x03, 0x7f, 0x80, 0xff, random.below(256) as u8][random.below(8)];
                bytes[at] = byte;
            }
            _ => {}
        }
    }
    if random.below(4) > 0 && bytes.len() >= 2 {
        // Packets in the tables are short, so one byte of length is the rule.
        let remaining = bytes.len() - 2;
        bytes[1] = remaining.min(0x7f) as u8;
        bytes.truncate(2 + 0x7f);
    }
    bytes
}
