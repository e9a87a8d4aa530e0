//! Numbers: from the literal text to LONG, DOUBLE or STRING (spec 7.4, second table).
//!
//! Decimal arithmetic on the digits as written; a double is only made once it is known to be wanted.

use tidegate_plugin::Value;

/// A DOUBLE keeps at most this many fraction digits, as written (spec 7.4).
const MAX_FRACTION_DIGITS: i64 = 16;
/// Plain decimal text is never longer than this (spec 7.4, row `1e400`).
const MAX_PLAIN_DIGITS: i64 = 1024;

/// Why a number has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberError {
    /// It would be text, and `type_cast_enabled` is off.
    OutOfRange,
    /// Its plain decimal text would be longer than 1,024 digits.
    TooLong,
}

/// The value of a number literal that follows the JSON grammar.
pub fn value(literal: &str, type_cast: bool) -> Result<Value, NumberError> {
    // Nearly every number: an integer that cannot overflow.
    if literal.len() <= 18
        && let Some(integer) = small_integer(literal)
    {
        return Ok(Value::Long(integer));
    }
    let decimal = Decimal::parse(literal);
    let has_exponent = literal.bytes().any(|byte| byte == b'e' || byte == b'E');
    let double = literal.bytes().any(|byte| byte == b'.') && !has_exponent;
    if !double && decimal.is_integral() {
        if let Some(integer) = decimal.to_i64() {
            return Ok(Value::Long(integer));
        }
    } else if decimal.scale <= MAX_FRACTION_DIGITS
        && let Some(finite) = literal.parse::<f64>().ok().filter(|double| double.is_finite())
    {
        return Ok(Value::Double(finite));
    }
    if type_cast { decimal.to_plain().map(Value::String) } else { Err(NumberError::OutOfRange) }
}

/// The value of a string that looks like a number, if it does and is in range: the cast of spec 7.4, first table.
pub fn cast(text: &str) -> Option<Value> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let mut points = 0;
    for byte in unsigned.bytes() {
        match byte {
            b'0'..=b'9' => {}
            b'.' if points == 0 => points = 1,
            _ => return None,
        }
    }
    if !unsigned.ends_with(|last: char| last.is_ascii_digit()) {
        return None;
    }
    // What does not fit stays the string it was.
    value(text, false).ok()
}

/// A time as an integer of milliseconds; a fraction is cut off (spec 7.2). `None` outside signed 64 bits.
pub fn timestamp(literal: &str) -> Option<i64> {
    small_integer(literal).or_else(|| Decimal::parse(literal).truncated().to_i64())
}

fn small_integer(literal: &str) -> Option<i64> {
    let (negative, digits) = match literal.as_bytes() {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let mut magnitude = 0;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        magnitude = magnitude * 10 + i64::from(digit);
    }
    Some(if negative { -magnitude } else { magnitude })
}

/// `digits` × 10^−`scale`, as written: `1.50e1` is 150 with scale 1.
struct Decimal {
    negative: bool,
    /// ASCII digits without leading zeros; empty for zero.
    digits: Vec<u8>,
    /// Saturated far outside of what can be printed.
    scale: i64,
}

impl Decimal {
    fn parse(literal: &str) -> Self {
        let (mantissa, exponent) = match literal.find(['e', 'E']) {
            Some(at) => (&literal[..at], exponent(&literal[at + 1..])),
            None => (literal, 0),
        };
        let fraction = mantissa.find('.').map_or(0, |point| mantissa.len() - point - 1);
        let digits = mantissa.bytes().filter(u8::is_ascii_digit).skip_while(|digit| *digit == b'0').collect();
        Self {
            negative: mantissa.starts_with('-'),
            digits,
            scale: i64::try_from(fraction).unwrap_or(i64::MAX).saturating_sub(exponent),
        }
    }

    fn is_integral(&self) -> bool {
        let zeros = self.digits.iter().rev().take_while(|digit| **digit == b'0').count();
        self.digits.is_empty() || self.scale <= 0 || usize::try_from(self.scale).is_ok_and(|scale| scale <= zeros)
    }

    /// The same without fraction.
    fn truncated(mut self) -> Self {
        if self.scale > 0 {
            let keep = usize::try_from(self.scale).map_or(0, |scale| self.digits.len().saturating_sub(scale));
            self.digits.truncate(keep);
            self.scale = 0;
        }
        self
    }

    /// The integer, if it is one and fits.
    fn to_i64(&self) -> Option<i64> {
        if self.digits.is_empty() {
            return Some(0);
        }
        let whole = i64::try_from(self.digits.len()).ok()?.checked_sub(self.scale)?;
        if whole > 19 {
            return None;
        }
        let mut magnitude: i128 = 0;
        for place in 0..usize::try_from(whole).ok()? {
            let digit = self.digits.get(place).map_or(0, |digit| digit - b'0');
            magnitude = magnitude * 10 + i128::from(digit);
        }
        i64::try_from(if self.negative { -magnitude } else { magnitude }).ok()
    }

    /// Plain decimal text: no exponent, and all fraction digits as written.
    fn to_plain(&self) -> Result<String, NumberError> {
        let digits = self.digits.len() as i64;
        let fraction = self.scale.max(0);
        // The digits in front of the point: at least one, and zeros at the end where the exponent was positive.
        let whole = digits.saturating_sub(self.scale).max(1);
        if whole.saturating_add(fraction) > MAX_PLAIN_DIGITS {
            return Err(NumberError::TooLong);
        }
        let mut text = String::with_capacity((whole + fraction + 2) as usize);
        if self.negative {
            text.push('-');
        }
        // Place values from the highest to the lowest; where there is no digit stands a zero.
        for place in (-fraction..whole).rev() {
            if place == -1 {
                text.push('.');
            }
            let index = digits - self.scale - 1 - place;
            let digit = usize::try_from(index).ok().and_then(|index| self.digits.get(index));
            text.push(char::from(digit.copied().unwrap_or(b'0')));
        }
        Ok(text)
    }
}

/// An exponent, saturated: nobody can tell 10^1000000 from more.
fn exponent(text: &str) -> i64 {
    let (negative, digits) = match text.as_bytes() {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] | digits => (false, digits),
    };
    let magnitude = digits.iter().fold(0_i64, |sum, digit| (sum * 10 + i64::from(digit - b'0')).min(1_000_000));
    if negative { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(text: &str) -> Result<Value, NumberError> {
        Ok(Value::String(text.to_owned()))
    }

    /// Spec 7.4, second table, row by row, with cast on and off.
    #[test]
    fn numbers() {
        let digits_1024 = format!("1{}", "0".repeat(1023));
        let long = Value::Long;
        let double = Value::Double;
        let rows: &[(&str, Result<Value, NumberError>)] = &[
            ("11", Ok(long(11))),
            ("-0", Ok(long(0))),
            ("9223372036854775807", Ok(long(i64::MAX))),
            ("-9223372036854775808", Ok(long(i64::MIN))),
            ("1E+1", Ok(long(10))),
            ("1E1", Ok(long(10))),
            ("1.5e3", Ok(long(1500))),
            ("1.50e1", Ok(long(15))),
            ("0e5", Ok(long(0))),
            ("42.0", Ok(double(42.0))),
            ("1.1", Ok(double(1.1))),
            ("3.0", Ok(double(3.0))),
            ("25.5", Ok(double(25.5))),
            ("101E-1", Ok(double(10.1))),
            ("0.1234567890123456", Ok(double(0.123_456_789_012_345_6))),
        ];
        for (literal, expected) in rows {
            assert_eq!(value(literal, true), *expected, "{literal} with cast");
            assert_eq!(value(literal, false), *expected, "{literal} without cast");
        }
        let texts: &[(&str, &str)] = &[
            ("1E19", "10000000000000000000"),
            ("9223372036854775808", "9223372036854775808"),
            ("-9223372036854775809", "-9223372036854775809"),
            ("9.9701010061400066E19", "99701010061400066000"),
            ("99701010061400066001", "99701010061400066001"),
            ("0.12345678901234567", "0.12345678901234567"),
            ("0.30000000000000004", "0.30000000000000004"),
            ("0.10000000000000000", "0.10000000000000000"),
            ("1.5E-20", "0.000000000000000000015"),
            ("-1.5E-20", "-0.000000000000000000015"),
            ("1e1023", &digits_1024),
        ];
        for (literal, text) in texts {
            assert_eq!(value(literal, true), string(text), "{literal} with cast");
            assert_eq!(value(literal, false), Err(NumberError::OutOfRange), "{literal} without cast");
        }
        assert_eq!(value("1e400", true), string(&format!("1{}", "0".repeat(400))));
        for literal in ["1e1024", "1e-1024", "1e99999999999999999999", "-1e-99999999999999999999"] {
            assert_eq!(value(literal, true), Err(NumberError::TooLong), "{literal}");
        }
        assert_eq!(value(&"9".repeat(1025), true), Err(NumberError::TooLong));
        assert_eq!(value(&format!("{}.5", "9".repeat(400)), true), string(&format!("{}.5", "9".repeat(400))));
    }

    /// Spec 7.4, first table.
    #[test]
    fn strings_that_look_like_numbers() {
        let rows: &[(&str, Option<Value>)] = &[
            ("42", Some(Value::Long(42))),
            ("007", Some(Value::Long(7))),
            ("-3", Some(Value::Long(-3))),
            ("1.50", Some(Value::Double(1.5))),
            (".5", Some(Value::Double(0.5))),
            ("5.", None),
            ("1e5", None),
            ("+1", None),
            (" 1", None),
            ("", None),
            ("-", None),
            (".", None),
            ("1.2.3", None),
            ("0x10", None),
            ("NaN", None),
            ("٣", None),
            ("99701010061400066001", None),
            ("000000000000000000000000000000042", Some(Value::Long(42))),
        ];
        for (text, expected) in rows {
            assert_eq!(cast(text), *expected, "{text:?}");
        }
    }

    /// Spec 7.2: a fraction of a time is cut off, and it must fit signed 64 bits.
    #[test]
    fn times() {
        for (literal, expected) in [
            ("1634567890123", Some(1_634_567_890_123)),
            ("-5", Some(-5)),
            ("1.9", Some(1)),
            ("-1.9", Some(-1)),
            ("0.9", Some(0)),
            ("1.5e3", Some(1500)),
            ("9223372036854775807", Some(i64::MAX)),
            ("9223372036854775808", None),
            ("1e400", None),
            ("1e-400", Some(0)),
        ] {
            assert_eq!(timestamp(literal), expected, "{literal}");
        }
    }
}
