//! What a converter implements, and how it is exported.

use crate::{Command, Decoded, Event, EventBody, Fault, Level, Operations, Reject, Sample, Uplink};

/// Pure conversion between payload bytes and typed events.
///
/// The value is made once per instance by [`Converter::configure`]. There is no `&mut self`: the same message gives the
/// same result on every instance and in every order, so the host may run it again after a fault.
pub trait Converter: Sized + Sync + Send + 'static {
    /// What [`Self::decode`] and [`Self::encode`] handle. The host gives the rest to the shipped JSON converter.
    const OPERATIONS: Operations;

    /// Makes the converter from the profile's settings, which are a JSON object: the payload settings of the device
    /// profile (`type_cast_enabled`, `json_lenient`, `max_string_value_length`, `max_key_length`), and under `config`
    /// the table `[converter.config]` of the profile file.
    ///
    /// # Errors
    /// One reason for each thing that is wrong, naming the key and what was expected.
    fn configure(config: &str) -> Result<Self, Vec<String>>;

    /// What one message says.
    fn decode(&self, message: &Uplink) -> Decoded;

    /// The payload of one message to the device.
    ///
    /// # Errors
    /// The command cannot be put into this format.
    fn encode(&self, command: &Command) -> Result<Vec<u8>, Reject> {
        let _ = command;
        Err(Reject { child: None, fault: Fault::Unsupported, reason: "this converter encodes nothing".to_owned() })
    }
}

/// Writes a line to the plugin log of the host, which limits their rate and length.
pub fn log(level: Level, message: &str) {
    crate::bindings::tidegate::plugin::log::log(level, message);
}

impl Event {
    /// Telemetry of the session's own device.
    pub fn telemetry(samples: Vec<Sample>) -> Self {
        Self { child: None, body: EventBody::Telemetry(samples) }
    }

    /// Something about the session's own device.
    pub fn own(body: EventBody) -> Self {
        Self { child: None, body }
    }
}

impl Reject {
    /// The payload breaks the rules: the device is at fault. `reason` says what was expected, and where.
    pub fn malformed(reason: impl Into<String>) -> Self {
        Self { child: None, fault: Fault::Malformed, reason: reason.into() }
    }

    /// The plugin does not do this: the profile is at fault.
    pub fn unsupported(reason: impl Into<String>) -> Self {
        Self { child: None, fault: Fault::Unsupported, reason: reason.into() }
    }
}

impl From<Event> for Decoded {
    fn from(event: Event) -> Self {
        Self { events: vec![event], rejects: Vec::new() }
    }
}

impl From<Vec<Event>> for Decoded {
    fn from(events: Vec<Event>) -> Self {
        Self { events, rejects: Vec::new() }
    }
}

impl From<Reject> for Decoded {
    fn from(reject: Reject) -> Self {
        Self { events: Vec::new(), rejects: vec![reject] }
    }
}

impl<T: Into<Self>> From<Result<T, Reject>> for Decoded {
    fn from(result: Result<T, Reject>) -> Self {
        result.map_or_else(Self::from, Into::into)
    }
}

/// Exports a [`Converter`] as the plugin that this crate is built into. Once per crate.
#[macro_export]
macro_rules! export_converter {
    ($converter:ty) => {
        #[allow(unsafe_code)]
        const _: () = {
            static CONVERTER: ::std::sync::OnceLock<$converter> = ::std::sync::OnceLock::new();

            struct Plugin;

            impl $crate::bindings::exports::tidegate::plugin::conversion::Guest for Plugin {
                fn configure(
                    config: ::std::string::String,
                ) -> ::std::result::Result<
                    $crate::bindings::exports::tidegate::plugin::conversion::Info,
                    ::std::vec::Vec<::std::string::String>,
                > {
                    let converter = <$converter as $crate::Converter>::configure(&config)?;
                    if CONVERTER.set(converter).is_err() {
                        return Err(::std::vec!["configure is called once per instance".into()]);
                    }
                    Ok($crate::bindings::exports::tidegate::plugin::conversion::Info {
                        operations: <$converter as $crate::Converter>::OPERATIONS,
                    })
                }

                fn decode(messages: ::std::vec::Vec<$crate::Uplink>) -> ::std::vec::Vec<$crate::Decoded> {
                    let converter = CONVERTER.get().expect("configure is called first");
                    messages.iter().map(|message| $crate::Converter::decode(converter, message)).collect()
                }

                fn encode(
                    commands: ::std::vec::Vec<$crate::Command>,
                ) -> ::std::vec::Vec<::std::result::Result<::std::vec::Vec<u8>, $crate::Reject>> {
                    let converter = CONVERTER.get().expect("configure is called first");
                    commands.iter().map(|command| $crate::Converter::encode(converter, command)).collect()
                }
            }

    $crate::bindings::export_world!(Plugin with_types_in $crate::bindings);
        };
    };
}
