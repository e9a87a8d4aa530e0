//! The shapes of telemetry (spec 7.2).

use std::borrow::Cow;

use tidegate_plugin::{Entry, Sample, Timestamp};

use crate::entries::{Members, entries};
use crate::error::{Cause, PayloadError};
use crate::number;
use crate::reader::{Reader, Token};
use crate::settings::Settings;

/// The samples of a payload: one object, or an array of them. A sample without entries is left out, since it stores
/// nothing.
pub fn samples(reader: &mut Reader<'_>, settings: &Settings) -> Result<Vec<Sample>, PayloadError> {
    let mut samples = Vec::new();
    match reader.value()? {
        Token::Object => samples.extend(sample(reader, settings)?),
        Token::Array => {
            let mut first = true;
            while reader.element(&mut first)? {
                match reader.value()? {
                    Token::Object => samples.extend(sample(reader, settings)?),
                    token => return Err(not_an_object(reader, &token)),
                }
            }
        }
        token => return Err(not_an_object(reader, &token)),
    }
    Ok(samples)
}

/// An object whose opening brace was read: `{"ts":…,"values":{…}}` if it has both members, wherever they stand, else
/// plain keys. Of equal names the last wins.
fn sample<'a>(reader: &mut Reader<'a>, settings: &Settings) -> Result<Option<Sample>, PayloadError> {
    let mut members = Members::default();
    let mut time = None;
    let mut values = None;
    let mut first = true;
    while let Some(key) = reader.member(&mut first)? {
        let begin = reader.clone();
        let token = reader.value()?;
        match key.as_ref() {
            "ts" => {
                reader.skip(&token)?;
                time = Some(begin);
            }
            // The usual order: what follows a time is the timed entries, read once.
            "values" if time.is_some() && token == Token::Object => {
                values = Some(Values::Read(match entries(reader, settings) {
                    Err(error) if error.cause == Cause::Syntax => return Err(error),
                    entries => entries,
                }));
            }
            "values" => {
                reader.skip(&token)?;
                values = Some(Values::At(begin));
            }
            _ => members.read(key, token, reader, settings)?,
        }
    }
    let (time, entries) = match (time, values) {
        (Some(time), Some(values)) => (Some(timestamp(time)?), values.entries(settings)?),
        (time, values) => {
            if let Some(begin) = time {
                plain("ts", begin, &mut members, settings)?;
            }
            if let Some(Values::At(begin)) = values {
                plain("values", begin, &mut members, settings)?;
            }
            (None, members.into_entries()?)
        }
    };
    Ok((!entries.is_empty()).then_some(Sample { time, entries }))
}

/// The member `values`.
enum Values<'a> {
    /// Already taken as entries.
    Read(Result<Vec<Entry>, PayloadError>),
    /// Begins here; whether it is timed entries or a plain key is not known before the object ends.
    At(Reader<'a>),
}

impl Values<'_> {
    fn entries(self, settings: &Settings) -> Result<Vec<Entry>, PayloadError> {
        match self {
            Values::Read(entries) => entries,
            Values::At(mut reader) => match reader.value()? {
                Token::Object => entries(&mut reader, settings),
                _ => Err(PayloadError::content("an object expected", reader.position()).of_key("values")),
            },
        }
    }
}

/// `ts` without `values`, or `values` without `ts`, is a plain key.
fn plain(
    key: &'static str,
    mut begin: Reader<'_>,
    members: &mut Members,
    settings: &Settings,
) -> Result<(), PayloadError> {
    let token = begin.value()?;
    members.read(Cow::Borrowed(key), token, &mut begin, settings)
}

fn timestamp(mut begin: Reader<'_>) -> Result<Timestamp, PayloadError> {
    let time = match begin.value()? {
        Token::Number(literal) => number::timestamp(literal),
        // A numeric string is a time, too: digits only, as there is no fraction to cut off.
        Token::String(text) => {
            let digits = text.strip_prefix('-').unwrap_or(&text);
            let numeric = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            if numeric { number::timestamp(&text) } else { None }
        }
        _ => None,
    };
    time.ok_or_else(|| PayloadError::content("a time in milliseconds expected", begin.position()).of_key("ts"))
}

/// The rest is still read, since a payload that is not even JSON deserves to be told that.
fn not_an_object<'a>(reader: &mut Reader<'a>, token: &Token<'a>) -> PayloadError {
    let at = reader.position();
    match reader.skip(token) {
        Ok(()) => PayloadError::content("an object expected", at),
        Err(error) => error.into(),
    }
}
