//! Where something is in the log: as a number inside the host, as an opaque text outside.

use std::fmt;
use std::str::FromStr;

/// The ordinal of a record, counted from 0 over the whole life of a log.
///
/// As an end or a cursor it names the place *before* that record: the next one to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Position(pub u64);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A [`Position`] as it is given to people and programs outside: 32 hexadecimal digits without visible structure.
///
/// It names the log it belongs to, so that a cursor of another log, or a mistyped one, is refused
/// ([`EventLog::position`](super::EventLog::position)) instead of silently starting somewhere else. The text is
/// scrambled, not encrypted: it keeps callers from counting with it, it hides nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cursor {
    pub(super) log: u64,
    pub(super) position: Position,
}

/// The text is not a cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cursor: expected the 32 hexadecimal digits that a read returned, got {0:?}")]
pub struct CursorTextError(String);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", scramble(u128::from(self.log) << 64 | u128::from(self.position.0)))
    }
}

impl FromStr for Cursor {
    type Err = CursorTextError;

    fn from_str(text: &str) -> Result<Self, CursorTextError> {
        // `from_str_radix` alone would also take a sign.
        let well_formed = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let digits = well_formed.then(|| u128::from_str_radix(text, 16).ok()).flatten();
        let plain = unscramble(digits.ok_or_else(|| CursorTextError(text.chars().take(64).collect()))?);
        let [log, position] = [plain >> 64, plain & u128::from(u64::MAX)].map(|half| half as u64);
        Ok(Self { log, position: Position(position) })
    }
}

/// Odd, so that multiplying by it can be undone.
const FACTOR: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
const INVERSE: u128 = inverse(FACTOR);

/// The number that multiplies with `odd` to 1. Newton's step doubles the correct low bits, of which `odd` itself has 3.
const fn inverse(odd: u128) -> u128 {
    let mut inverse = odd;
    let mut bits = 3;
    while bits < u128::BITS {
        inverse = inverse.wrapping_mul(2u128.wrapping_sub(odd.wrapping_mul(inverse)));
        bits *= 2;
    }
    inverse
}

fn scramble(plain: u128) -> u128 {
    let once = fold(plain).wrapping_mul(FACTOR);
    fold(fold(once).wrapping_mul(FACTOR))
}

fn unscramble(scrambled: u128) -> u128 {
    let once = fold(fold(scrambled).wrapping_mul(INVERSE));
    fold(once.wrapping_mul(INVERSE))
}

/// Its own inverse.
fn fold(x: u128) -> u128 {
    x ^ x >> 64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_survive_text() {
        for log in [0, 1, 0x1234_5678_9abc_def0, u64::MAX] {
            for position in [0, 1, 2, 1 << 40, u64::MAX] {
                let cursor = Cursor { log, position: Position(position) };
                assert_eq!(cursor.to_string().parse(), Ok(cursor));
            }
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for bad in ["", "12", "+1234567890123456789012345678901", "zz345678901234567890123456789012", "é"] {
            assert!(bad.parse::<Cursor>().is_err(), "{bad}");
        }
    }

    #[test]
    fn neighbours_look_unrelated_and_one_wrong_digit_names_another_log() {
        let text = |position| Cursor { log: 77, position: Position(position) }.to_string();
        let alike = text(1000).bytes().zip(text(1001).bytes()).filter(|(a, b)| a == b).count();
        assert!(alike < 10, "{} {}", text(1000), text(1001));
        for at in 0..32 {
            let mut digits = text(1000).into_bytes();
            digits[at] = if digits[at] == b'0' { b'1' } else { b'0' };
            let mangled: Cursor = String::from_utf8(digits).unwrap().parse().unwrap();
            assert_ne!(mangled.log, 77, "digit {at}");
        }
    }
}
