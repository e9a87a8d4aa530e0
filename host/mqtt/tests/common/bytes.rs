//! A notation for packets: hex bytes, `'text'`, `..` for the length of everything behind it, and `{ … }` for something
//! with its length in front.

/// `"c0 .."` is `[0xc0, 0x00]`, and `"30 .. 00 01 'a' { 01 00 }"` is `[0x30, 6, 0, 1, 0x61, 2, 1, 0]`. Text contains no
/// blanks, and `'x'*200` repeats it.
pub(crate) fn packet(notation: &str) -> Vec<u8> {
    group(&mut notation.split_whitespace())
}

fn group<'a>(tokens: &mut impl Iterator<Item = &'a str>) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(token) = tokens.next() {
        match token {
            "}" => break,
            ".." | "{" => {
                let counted = group(tokens);
                bytes.extend(variable(counted.len()));
                bytes.extend(counted);
            }
            text if text.starts_with('\'') => bytes.extend(quoted(text)),
            hex => bytes.push(u8::from_str_radix(hex, 16).expect(hex)),
        }
    }
    bytes
}

fn quoted(token: &str) -> Vec<u8> {
    let (text, times) = token.rsplit_once('*').unwrap_or((token, "1"));
    let text = text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')).expect(token);
    text.repeat(times.parse().expect(token)).into_bytes()
}

fn variable(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}
