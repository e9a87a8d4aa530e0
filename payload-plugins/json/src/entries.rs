//! The members of an object as keys and values (spec 7.3 and 7.4, first table).

use std::borrow::Cow;

use tidegate_plugin::{Entry, Value};

use crate::compact::{repeated, write_value};
use crate::error::PayloadError;
use crate::number::{self, NumberError};
use crate::reader::{Reader, Token};
use crate::settings::Settings;

/// Client attributes: one object, each member an attribute (spec 7.3).
pub fn attributes(reader: &mut Reader<'_>, settings: &Settings) -> Result<Vec<Entry>, PayloadError> {
    match reader.value()? {
        Token::Object => entries(reader, settings),
        token => {
            let at = reader.position();
            reader.skip(&token)?;
            Err(PayloadError::content("an object expected", at))
        }
    }
}

/// The members of an object whose opening brace was read, up to and with the closing one.
pub fn entries(reader: &mut Reader<'_>, settings: &Settings) -> Result<Vec<Entry>, PayloadError> {
    let mut members = Members::default();
    let mut first = true;
    while let Some(key) = reader.member(&mut first)? {
        let token = reader.value()?;
        members.read(key, token, reader, settings)?;
    }
    members.into_entries()
}

/// Members read so far, with null for those to be skipped.
#[derive(Default)]
pub struct Members {
    list: Vec<(String, Option<Value>)>,
    /// Which members of the list have no value, and why; remembered because a later one may show that nobody asks.
    errors: Vec<(usize, PayloadError)>,
}

impl Members {
    /// Takes the member whose value begins with `token`, and reads the rest of it.
    ///
    /// # Errors
    /// Of syntax only; a value that breaks a payload rule is told by [`Self::into_entries`].
    pub fn read<'a>(
        &mut self,
        key: Cow<'a, str>,
        token: Token<'a>,
        reader: &mut Reader<'a>,
        settings: &Settings,
    ) -> Result<(), PayloadError> {
        let at = reader.position();
        let value = match token {
            Token::Object | Token::Array => {
                let mut text = String::new();
                write_value(reader, &token, &mut text).map_err(|error| PayloadError::from(error).of_key(&key))?;
                Ok(Some(Value::Json(text)))
            }
            scalar => scalar_value(scalar, settings).map_err(|problem| PayloadError::content(problem, at)),
        };
        let value = value.and_then(|value| check_key(&key, settings, at).map(|()| value)).unwrap_or_else(|error| {
            self.errors.push((self.list.len(), error.of_key(&key)));
            None
        });
        // The usual object has a handful of members; growing by doubling from one would move them three times.
        if self.list.capacity() == 0 {
            self.list.reserve(8);
        }
        self.list.push((key.into_owned(), value));
        Ok(())
    }

    /// The entries: of equal keys the last wins (spec 7.1), null is skipped (spec 7.4).
    ///
    /// # Errors
    /// The first value that breaks a payload rule and that no later one replaces.
    pub fn into_entries(self) -> Result<Vec<Entry>, PayloadError> {
        let repeated = repeated(&self.list, |(key, _)| key.as_str());
        let stands = |(at, _): &(usize, PayloadError)| !repeated.get(*at).is_some_and(|repeated| *repeated);
        if let Some((_, error)) = self.errors.into_iter().find(stands) {
            return Err(error);
        }
        let entry = |(key, value): (String, Option<Value>)| value.map(|value| Entry { key, value });
        Ok(if repeated.is_empty() {
            self.list.into_iter().filter_map(entry).collect()
        } else {
            let last = self.list.into_iter().zip(repeated).filter(|(_, repeated)| !repeated);
            last.filter_map(|(member, _)| entry(member)).collect()
        })
    }
}

fn scalar_value(token: Token<'_>, settings: &Settings) -> Result<Option<Value>, &'static str> {
    Ok(Some(match token {
        Token::Boolean(boolean) => Value::Boolean(boolean),
        Token::Number(literal) => number::value(literal, settings.type_cast).map_err(|error| match error {
            NumberError::OutOfRange => "a number of 64 bits with at most 16 fraction digits expected",
            NumberError::TooLong => "a number of at most 1024 digits expected",
        })?,
        Token::String(text) => {
            // The limit counts characters; no text has more characters than bytes.
            let limit = settings.max_string_value_length;
            if limit > 0 && text.len() > limit && text.chars().count() > limit {
                return Err("a string of at most max_string_value_length characters expected");
            }
            let cast = if settings.type_cast { number::cast(&text) } else { None };
            cast.unwrap_or_else(|| Value::String(text.into_owned()))
        }
        Token::Null | Token::Object | Token::Array => return Ok(None),
    }))
}

fn check_key(key: &str, settings: &Settings, at: usize) -> Result<(), PayloadError> {
    if key.is_empty() {
        Err(PayloadError::content("a key that is not empty expected", at))
    } else if key.len() > settings.max_key_length {
        Err(PayloadError::content("a key of at most max_key_length bytes expected", at))
    } else {
        Ok(())
    }
}
