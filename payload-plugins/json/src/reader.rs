//! A streaming JSON reader: tokens out of a payload, without a tree.
//!
//! Strict RFC 8259, or lenient as ThingsBoard's parser is in the ways that spec 7.1 names and in no other: unquoted
//! member names, unquoted words as string values, single-quoted strings. Knows nothing about telemetry or values.

use std::borrow::Cow;

/// Nesting deeper than this is an invalid payload (spec 7.1).
const MAX_DEPTH: u8 = 64;

/// What stopped the reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    /// Offset into the payload.
    pub at: usize,
    /// What should have been there, such as `value expected`.
    pub problem: &'static str,
}

/// One token in the place of a value.
#[derive(Debug, Clone, PartialEq)]
pub enum Token<'a> {
    /// `{` was read; go on with [`Reader::member`].
    Object,
    /// `[` was read; go on with [`Reader::element`].
    Array,
    /// A string without its quotes and escapes.
    String(Cow<'a, str>),
    /// The literal text of a number.
    Number(&'a str),
    /// `true` or `false`.
    Boolean(bool),
    /// `null`.
    Null,
}

/// A position in a payload.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    text: &'a str,
    at: usize,
    token: usize,
    depth: u8,
    lenient: bool,
}

impl<'a> Reader<'a> {
    /// Starts at the beginning of a payload; a byte order mark is skipped.
    ///
    /// # Errors
    /// The payload is not UTF-8.
    pub fn new(payload: &'a [u8], lenient: bool) -> Result<Self, SyntaxError> {
        let text = std::str::from_utf8(payload)
            .map_err(|error| SyntaxError { at: error.valid_up_to(), problem: "UTF-8 expected" })?;
        let at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        Ok(Self { text, at, token: at, depth: 0, lenient })
    }

    /// Where the token that was read last begins, as an offset into the payload.
    pub fn position(&self) -> usize {
        self.token
    }

    /// Reads the beginning of a value, or the whole of it unless it is an object or an array.
    pub fn value(&mut self) -> Result<Token<'a>, SyntaxError> {
        self.skip_white_space();
        self.token = self.at;
        match self.peek() {
            Some(b'{') => {
                self.descend()?;
                Ok(Token::Object)
            }
            Some(b'[') => {
                self.descend()?;
                Ok(Token::Array)
            }
            Some(b'"') => self.string(b'"').map(Token::String),
            Some(b'-' | b'0'..=b'9') => self.number().map(Token::Number),
            Some(b'\'') if self.lenient => self.string(b'\'').map(Token::String),
            _ => self.word(),
        }
    }

    /// Reads the next member name of an object and the colon behind it, or the closing brace (`None`). `first` is true
    /// before the first member and kept by this function.
    pub fn member(&mut self, first: &mut bool) -> Result<Option<Cow<'a, str>>, SyntaxError> {
        if self.end_or_comma(b'}', first, "',' or '}' expected")? {
            return Ok(None);
        }
        self.skip_white_space();
        let name = match self.peek() {
            Some(b'"') => self.string(b'"')?,
            Some(b'\'') if self.lenient => self.string(b'\'')?,
            Some(_) if self.lenient => {
                let name = self.bare();
                if name.is_empty() {
                    return self.fail("member name expected");
                }
                Cow::Borrowed(name)
            }
            _ => return self.fail("member name in double quotes expected"),
        };
        self.skip_white_space();
        if self.peek() != Some(b':') {
            return self.fail("':' expected");
        }
        self.at += 1;
        Ok(Some(name))
    }

    /// True before the next element of an array, false when the closing bracket was read. `first` as in [`Self::member`].
    pub fn element(&mut self, first: &mut bool) -> Result<bool, SyntaxError> {
        Ok(!self.end_or_comma(b']', first, "',' or ']' expected")?)
    }

    /// Checks that nothing but white space follows.
    pub fn end(&mut self) -> Result<(), SyntaxError> {
        self.skip_white_space();
        if self.at == self.text.len() { Ok(()) } else { self.fail("end of payload expected") }
    }

    /// Reads over what is left of a value whose first token was read.
    pub fn skip(&mut self, token: &Token<'a>) -> Result<(), SyntaxError> {
        let mut first = true;
        match token {
            Token::Object => {
                while self.member(&mut first)?.is_some() {
                    let token = self.value()?;
                    self.skip(&token)?;
                }
            }
            Token::Array => {
                while self.element(&mut first)? {
                    let token = self.value()?;
                    self.skip(&token)?;
                }
            }
            Token::String(_) | Token::Number(_) | Token::Boolean(_) | Token::Null => {}
        }
        Ok(())
    }

    fn descend(&mut self) -> Result<(), SyntaxError> {
        if self.depth == MAX_DEPTH {
            return self.fail("at most 64 levels of nesting expected");
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    fn end_or_comma(&mut self, end: u8, first: &mut bool, problem: &'static str) -> Result<bool, SyntaxError> {
        self.skip_white_space();
        match self.peek() {
            Some(byte) if byte == end => {
                self.at += 1;
                self.depth -= 1;
                return Ok(true);
            }
            Some(b',') if !*first => self.at += 1,
            _ if *first => {}
            _ => return self.fail(problem),
        }
        *first = false;
        Ok(false)
    }

    /// Reads a string; the opening quote is at the current position.
    fn string(&mut self, quote: u8) -> Result<Cow<'a, str>, SyntaxError> {
        self.at += 1;
        let start = self.at;
        loop {
            match self.peek() {
                Some(byte) if byte == quote => {
                    let text = &self.text[start..self.at];
                    self.at += 1;
                    return Ok(Cow::Borrowed(text));
                }
                Some(b'\\') => break,
                Some(0..0x20) => return self.fail("no control character inside a string expected"),
                Some(_) => self.at += 1,
                None => return self.fail("closing quote expected"),
            }
        }
        self.escaped_string(quote, start).map(Cow::Owned)
    }

    /// Goes on from the first backslash of a string that began at `start`.
    fn escaped_string(&mut self, quote: u8, start: usize) -> Result<String, SyntaxError> {
        let mut text = self.text[start..self.at].to_owned();
        loop {
            let run = self.at;
            while self.peek().is_some_and(|byte| byte != quote && byte != b'\\' && byte >= 0x20) {
                self.at += 1;
            }
            text.push_str(&self.text[run..self.at]);
            match self.peek() {
                Some(byte) if byte == quote => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => text.push(self.escape(quote)?),
                Some(_) => return self.fail("no control character inside a string expected"),
                None => return self.fail("closing quote expected"),
            }
        }
    }

    fn escape(&mut self, quote: u8) -> Result<char, SyntaxError> {
        let begin = self.at;
        self.at += 1;
        let escaped = match self.peek() {
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            // What ends a single-quoted string can be in one; strict JSON has no such escape.
            Some(b'\'') if quote == b'\'' => '\'',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.unicode_escape(begin);
            }
            _ => return self.fail("escape character expected"),
        };
        self.at += 1;
        Ok(escaped)
    }

    /// Reads four hex digits, and the second half of a surrogate pair if they are the first.
    fn unicode_escape(&mut self, begin: usize) -> Result<char, SyntaxError> {
        let lone = SyntaxError { at: begin, problem: "a pair of surrogates expected" };
        let unit = self.hex4()?;
        if !(0xd800..0xe000).contains(&unit) {
            return char::from_u32(unit).ok_or(lone);
        }
        if unit >= 0xdc00 || !self.text.as_bytes()[self.at..].starts_with(b"\\u") {
            return Err(lone);
        }
        self.at += 2;
        let low = self.hex4()?;
        if !(0xdc00..0xe000).contains(&low) {
            return Err(lone);
        }
        char::from_u32(0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00)).ok_or(lone)
    }

    fn hex4(&mut self) -> Result<u32, SyntaxError> {
        let mut unit = 0;
        for _ in 0..4 {
            let Some(digit) = self.peek().and_then(|byte| char::from(byte).to_digit(16)) else {
                return self.fail("four hexadecimal digits expected");
            };
            unit = unit << 4 | digit;
            self.at += 1;
        }
        Ok(unit)
    }

    fn number(&mut self) -> Result<&'a str, SyntaxError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(&self.text[start..self.at])
    }

    fn digits(&mut self) -> Result<(), SyntaxError> {
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return self.fail("digit expected");
        }
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        Ok(())
    }

    /// `true`, `false`, `null` or, when lenient, any other word as a string.
    fn word(&mut self) -> Result<Token<'a>, SyntaxError> {
        let start = self.at;
        let word = self.bare();
        match word {
            "true" => Ok(Token::Boolean(true)),
            "false" => Ok(Token::Boolean(false)),
            "null" => Ok(Token::Null),
            // Not numbers and not words either (spec 7.1).
            "" | "NaN" | "Infinity" => Err(SyntaxError { at: start, problem: "value expected" }),
            // A number without its first digit is no word, whatever a cast would make of it.
            _ if self.lenient && !word.starts_with('.') => Ok(Token::String(Cow::Borrowed(word))),
            _ => Err(SyntaxError { at: start, problem: "value expected" }),
        }
    }

    /// A run of letters, digits and the few signs that occur in names.
    fn bare(&mut self) -> &'a str {
        let start = self.at;
        while self
            .peek()
            .is_some_and(|byte| byte.is_ascii_alphanumeric() || !byte.is_ascii() || b"_-.$".contains(&byte))
        {
            self.at += 1;
        }
        &self.text[start..self.at]
    }

    fn skip_white_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn fail<T>(&self, problem: &'static str) -> Result<T, SyntaxError> {
        Err(SyntaxError { at: self.at, problem })
    }
}
