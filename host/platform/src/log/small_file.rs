//! The small files beside the segments: lines of text, the last of which is a checksum of the others.

use std::fmt::Write;

const CHECKSUM: &str = "crc32c ";

/// The contents of a file with these lines.
pub(crate) fn seal(mut lines: String) -> Vec<u8> {
    let checksum = crc32c::crc32c(lines.as_bytes());
    // Writing to a string cannot fail.
    let _ = writeln!(lines, "{CHECKSUM}{checksum:08x}");
    lines.into_bytes()
}

/// The lines of a file; says what was expected when they are not what was written.
pub(crate) fn open(contents: &[u8]) -> Result<&str, String> {
    let text = std::str::from_utf8(contents).map_err(|error| format!("expected text: {error}"))?;
    let without_newline = text.strip_suffix('\n').ok_or("expected a checksum in the last line, the file is cut off")?;
    let start = without_newline.rfind('\n').map_or(0, |newline| newline + 1);
    let (lines, last) = without_newline.split_at(start);
    let stored = last.strip_prefix(CHECKSUM).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    let expected = crc32c::crc32c(lines.as_bytes());
    if stored != Some(expected) {
        return Err(format!(
            "the checksum does not fit: expected {CHECKSUM}{expected:08x} in the last line, got {last:?}"
        ));
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_survive_and_damage_is_noticed() {
        for lines in ["", "one\n", "one\ntwo\n"] {
            let contents = seal(lines.to_owned());
            assert_eq!(open(&contents), Ok(lines));
            for cut in 0..contents.len() {
                assert!(open(&contents[..cut]).is_err(), "{lines:?} cut at {cut}");
            }
            for bit in 0..contents.len() * 8 {
                let mut flipped = contents.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                // A hexadecimal digit in upper case means the same.
                let same = flipped.eq_ignore_ascii_case(&contents) && bit / 8 >= lines.len() + CHECKSUM.len();
                assert!(open(&flipped).is_err() || same, "{lines:?} bit {bit}");
            }
        }
    }
}
