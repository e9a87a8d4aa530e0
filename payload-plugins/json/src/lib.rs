//! The JSON payload format of the device API (spec 7), as a tidegate plugin.
//!
//! - [`reader`]: tokens out of a payload, strict or lenient (7.1)
//! - [`number`]: literals and strings that look like numbers (7.4)
//! - [`compact`]: objects and arrays as compact text (7.4)
//! - [`entries`]: the members of an object as keys and values (7.3, 7.4)
//! - [`telemetry`]: the shapes of telemetry (7.2)
//! - [`rpc`]: client-side RPC (12.1)
//! - [`settings`]: what a profile may set (7.4, 20)
//! - [`error`]: what is wrong with a payload, and where
//!
//! Runs as a component in the gateway and natively in tests, with the same results.
#![deny(unsafe_code)]

pub mod compact;
pub mod entries;
pub mod error;
pub mod number;
pub mod reader;
pub mod rpc;
pub mod settings;
pub mod telemetry;

use tidegate_plugin::{
    Command, CommandBody, Converter, Decoded, Event, EventBody, Operation, Operations, Reject, Uplink,
};

use error::{Cause, PayloadError};
use reader::Reader;
use settings::Settings;

/// The converter: a profile's settings and nothing else.
#[derive(Debug, Clone, Default)]
pub struct Json {
    settings: Settings,
}

impl Converter for Json {
    const OPERATIONS: Operations = Operations::TELEMETRY.union(Operations::ATTRIBUTES).union(Operations::RPC_REQUEST);

    fn configure(config: &str) -> Result<Self, Vec<String>> {
        Settings::parse(config).map(|settings| Self { settings })
    }

    fn decode(&self, message: &Uplink) -> Decoded {
        match message.operation {
            Operation::Telemetry => self.read("telemetry", &message.payload, |reader| {
                let samples = telemetry::samples(reader, &self.settings)?;
                Ok((!samples.is_empty()).then(|| Event::telemetry(samples)))
            }),
            Operation::Attributes => self.read("attributes", &message.payload, |reader| {
                let entries = entries::attributes(reader, &self.settings)?;
                Ok((!entries.is_empty()).then(|| Event::own(EventBody::ClientAttributes(entries))))
            }),
            Operation::RpcRequest(id) => self.read("RPC request", &message.payload, |reader| {
                rpc::request(reader, id).map(|request| Some(Event::own(EventBody::RpcRequest(request))))
            }),
            _ => Reject::unsupported("the JSON converter does not decode this operation").into(),
        }
    }

    fn encode(&self, command: &Command) -> Result<Vec<u8>, Reject> {
        match &command.body {
            CommandBody::RpcResponse(answer) => Ok(rpc::response(answer)),
            _ => Err(Reject::unsupported("the JSON converter does not encode this command")),
        }
    }
}

impl Json {
    /// Reads the whole payload with `read`: strictly and, if only its syntax is at fault, leniently where the settings
    /// allow it (spec 7.1).
    fn read(
        &self,
        what: &'static str,
        payload: &[u8],
        read: impl for<'a> Fn(&mut Reader<'a>) -> Result<Option<Event>, PayloadError>,
    ) -> Decoded {
        let attempt = |lenient| {
            let mut reader = Reader::new(payload, lenient).map_err(PayloadError::not_text)?;
            let event = read(&mut reader)?;
            reader.end()?;
            Ok(event)
        };
        let result = match attempt(false) {
            Err(strict @ PayloadError { cause: Cause::Syntax, .. }) if self.settings.lenient => {
                // What is wrong in strict JSON is what a person wants to read about.
                attempt(true).map_err(|error| if error.cause == Cause::Syntax { strict } else { error })
            }
            result => result,
        };
        match result {
            Ok(Some(event)) => event.into(),
            Ok(None) => Decoded { events: Vec::new(), rejects: Vec::new() },
            Err(error) => Reject::malformed(format!("{what}: {error}")).into(),
        }
    }
}

#[cfg(target_arch = "wasm32")]
tidegate_plugin::export_converter!(Json);
