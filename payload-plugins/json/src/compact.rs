//! Objects and arrays as compact JSON text: no white space, member order kept, of equal names the last wins
//! (spec 7.1, 7.4). Also the writer for everything this plugin sends (spec 7.5).

use std::fmt::Write;

use crate::reader::{Reader, SyntaxError, Token};

/// Appends the value whose first token was read, and reads the rest of it.
pub fn write_value<'a>(reader: &mut Reader<'a>, token: &Token<'a>, out: &mut String) -> Result<(), SyntaxError> {
    match token {
        Token::Object => write_object(reader, out),
        Token::Array => {
            out.push('[');
            let mut first = true;
            let start = out.len();
            while reader.element(&mut first)? {
                if out.len() > start {
                    out.push(',');
                }
                let token = reader.value()?;
                write_value(reader, &token, out)?;
            }
            out.push(']');
            Ok(())
        }
        Token::String(text) => {
            write_string(text, out);
            Ok(())
        }
        Token::Number(literal) => {
            out.push_str(literal);
            Ok(())
        }
        Token::Boolean(boolean) => {
            out.push_str(if *boolean { "true" } else { "false" });
            Ok(())
        }
        Token::Null => {
            out.push_str("null");
            Ok(())
        }
    }
}

/// Appends a JSON string, escaped minimally (spec 7.5).
pub fn write_string(text: &str, out: &mut String) {
    out.push('"');
    let mut clean = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..0x20 => "",
            _ => continue,
        };
        out.push_str(&text[clean..at]);
        clean = at + 1;
        if escape.is_empty() {
            // Writing to a string cannot fail.
            let _ = write!(out, "\\u{byte:04x}");
        } else {
            out.push_str(escape);
        }
    }
    out.push_str(&text[clean..]);
    out.push('"');
}

/// A member in the text written so far: where it and its value begin, and where it ends.
struct Member {
    start: usize,
    colon: usize,
    end: usize,
}

fn write_object(reader: &mut Reader<'_>, out: &mut String) -> Result<(), SyntaxError> {
    out.push('{');
    let mut members: Vec<Member> = Vec::new();
    let mut first = true;
    while let Some(name) = reader.member(&mut first)? {
        if !members.is_empty() {
            out.push(',');
        }
        let start = out.len();
        write_string(&name, out);
        let colon = out.len();
        out.push(':');
        let token = reader.value()?;
        write_value(reader, &token, out)?;
        members.push(Member { start, colon, end: out.len() });
    }
    let repeated = repeated(&members, |member| &out[member.start..member.colon]);
    if repeated.contains(&true)
        && let Some(start) = members.first().map(|member| member.start)
    {
        let written = out[start..].to_owned();
        out.truncate(start);
        for (member, repeated) in members.iter().zip(&repeated) {
            if !repeated {
                if out.len() > start {
                    out.push(',');
                }
                out.push_str(&written[member.start - start..member.end - start]);
            }
        }
    }
    out.push('}');
    Ok(())
}

/// For each item, whether a later one has the same key. Empty when there is none at all.
pub fn repeated<'t, T, K: Ord>(items: &'t [T], key: impl Fn(&'t T) -> K) -> Vec<bool> {
    // Usual objects are small enough for looking at each pair; large ones are sorted.
    if items.len() <= 16 {
        let is_repeated = |at: usize| items[at + 1..].iter().any(|later| key(later) == key(&items[at]));
        if !(0..items.len()).any(is_repeated) {
            return Vec::new();
        }
        return (0..items.len()).map(is_repeated).collect();
    }
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_by(|a, b| key(&items[*a]).cmp(&key(&items[*b]))); // stable: equal keys stay in their order
    let mut repeated = vec![false; items.len()];
    for pair in order.windows(2) {
        if let [earlier, later] = pair {
            repeated[*earlier] = key(&items[*earlier]) == key(&items[*later]);
        }
    }
    repeated
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compact(text: &str) -> String {
        let mut reader = Reader::new(text.as_bytes(), false).unwrap();
        let token = reader.value().unwrap();
        let mut out = String::new();
        write_value(&mut reader, &token, &mut out).unwrap();
        reader.end().unwrap();
        out
    }

    #[test]
    fn white_space_goes_and_order_stays() {
        assert_eq!(compact(r#"{"someNumber": 42}"#), r#"{"someNumber":42}"#);
        assert_eq!(compact("{ \"b\" : [ 1 , 2.50 , { } , [ ] ] ,\n\"a\":null }"), r#"{"b":[1,2.50,{},[]],"a":null}"#);
    }

    #[test]
    fn strings_are_escaped_minimally() {
        assert_eq!(compact(r#"["\u0041\/\"\\\n\u0001ä\ud83d\ude00"]"#), "[\"A/\\\"\\\\\\n\\u0001ä😀\"]");
    }

    /// Spec 7.1: duplicate keys, last wins; also deep inside, also when the names are escaped differently.
    #[test]
    fn of_equal_names_the_last_wins() {
        assert_eq!(compact(r#"{"x":{"a":1,"b":2,"\u0061":3}}"#), r#"{"x":{"b":2,"a":3}}"#);
        let many: Vec<String> = (0..100).map(|number| format!("\"k{}\":{number}", number % 50)).collect();
        let last: Vec<String> = (50..100).map(|number| format!("\"k{}\":{number}", number % 50)).collect();
        assert_eq!(compact(&format!("{{{}}}", many.join(","))), format!("{{{}}}", last.join(",")));
    }
}
