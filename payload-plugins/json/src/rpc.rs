//! Client-side RPC (spec 12.1).

use tidegate_plugin::{RpcAnswer, RpcRequest};

use crate::compact::{write_string, write_value};
use crate::error::PayloadError;
use crate::reader::{Reader, Token};

/// `{"method":"getTime","params":{}}`: the method is a required string, the parameters any JSON, null when missing.
pub fn request(reader: &mut Reader<'_>, id: i32) -> Result<RpcRequest, PayloadError> {
    let token = reader.value()?;
    let at = reader.position();
    if token != Token::Object {
        reader.skip(&token)?;
        return Err(PayloadError::content("an object expected", at));
    }
    let mut method = Err(PayloadError::content("a string expected", at).of_key("method"));
    let mut params = "null".to_owned();
    let mut first = true;
    while let Some(name) = reader.member(&mut first)? {
        let token = reader.value()?;
        let at = reader.position();
        match (name.as_ref(), token) {
            ("method", Token::String(text)) => method = Ok(text.into_owned()),
            ("method", token) => {
                reader.skip(&token)?;
                method = Err(PayloadError::content("a string expected", at).of_key("method"));
            }
            ("params", token) => {
                params.clear();
                write_value(reader, &token, &mut params)?;
            }
            (_, token) => reader.skip(&token)?,
        }
    }
    Ok(RpcRequest { id, method: method?, params, context: Vec::new() })
}

/// The application's payload as it is, or `{"error":"timeout"}`.
pub fn response(answer: &RpcAnswer) -> Vec<u8> {
    match &answer.body {
        Ok(json) => json.clone().into_bytes(),
        Err(error) => {
            let mut text = "{\"error\":".to_owned();
            write_string(error, &mut text);
            text.push('}');
            text.into_bytes()
        }
    }
}
