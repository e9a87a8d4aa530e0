//! Contract `0.1.0-draft` (`wit/draft`): its types as wasmtime lowers and lifts them, and their translation.
//!
//! - this module: names, functions, and the types of both directions
//! - [`decode`]: what goes in and comes out of `decode`
//! - [`encode`]: what goes into `encode`
//!
//! The functions are called through these types and not through generated bindings, because a lifted string moves from
//! here into the event as it is, and because generated bindings would bring unsafe code into this crate.
#![allow(dead_code)] // the contract is whole: the host does not speak every case of it yet

mod decode;
mod encode;

use bytes::Bytes;
use model::{Entry as ModelEntry, Value as ModelValue};
use wasmtime::component::{ComponentType, Lift, Lower, TypedFunc, flags};

use super::bounds::Size;
use super::{Operations as ModelOperations, json_text};
pub(crate) use decode::{Decoded, Reject, Uplink};
pub(crate) use encode::{Command, encoded_into_model};

/// The interface that a converter exports.
pub(crate) const CONVERSION: &str = "tidegate:plugin/conversion@0.1.0-draft";
/// The interface that every guest may import.
pub(crate) const LOG: &str = "tidegate:plugin/log@0.1.0-draft";
/// An interface of types only, which a component imports by name but nobody has to provide.
pub(crate) const TYPES: &str = "tidegate:plugin/types@0.1.0-draft";

pub(crate) type Configure = TypedFunc<(String,), (Result<Info, Vec<String>>,)>;
pub(crate) type Decode = TypedFunc<(Vec<Uplink>,), (Vec<Decoded>,)>;
pub(crate) type Encode = TypedFunc<(Vec<Command>,), (Vec<Result<Bytes, Reject>>,)>;

flags! {
    Operations {
        #[component(name = "telemetry")]
        const TELEMETRY;
        #[component(name = "attributes")]
        const ATTRIBUTES;
        #[component(name = "attribute-request")]
        const ATTRIBUTE_REQUEST;
        #[component(name = "rpc-request")]
        const RPC_REQUEST;
        #[component(name = "rpc-response")]
        const RPC_RESPONSE;
        #[component(name = "claim")]
        const CLAIM;
        #[component(name = "provision")]
        const PROVISION;
        #[component(name = "gateway-connect")]
        const GATEWAY_CONNECT;
        #[component(name = "gateway-disconnect")]
        const GATEWAY_DISCONNECT;
        #[component(name = "gateway-telemetry")]
        const GATEWAY_TELEMETRY;
        #[component(name = "gateway-attributes")]
        const GATEWAY_ATTRIBUTES;
        #[component(name = "gateway-attribute-request")]
        const GATEWAY_ATTRIBUTE_REQUEST;
        #[component(name = "gateway-rpc-response")]
        const GATEWAY_RPC_RESPONSE;
        #[component(name = "gateway-claim")]
        const GATEWAY_CLAIM;
    }
}

impl From<Operations> for ModelOperations {
    fn from(operations: Operations) -> Self {
        let all = [
            Operations::TELEMETRY,
            Operations::ATTRIBUTES,
            Operations::ATTRIBUTE_REQUEST,
            Operations::RPC_REQUEST,
            Operations::RPC_RESPONSE,
            Operations::CLAIM,
            Operations::PROVISION,
            Operations::GATEWAY_CONNECT,
            Operations::GATEWAY_DISCONNECT,
            Operations::GATEWAY_TELEMETRY,
            Operations::GATEWAY_ATTRIBUTES,
            Operations::GATEWAY_ATTRIBUTE_REQUEST,
            Operations::GATEWAY_RPC_RESPONSE,
            Operations::GATEWAY_CLAIM,
        ];
        let set = |(bit, flag): (usize, &Operations)| u32::from(operations & *flag == *flag) << bit;
        Self(all.iter().enumerate().map(set).sum())
    }
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Info {
    pub(crate) operations: Operations,
}

#[derive(ComponentType, Lower)]
#[component(variant)]
pub(crate) enum Operation {
    #[component(name = "telemetry")]
    Telemetry,
    #[component(name = "attributes")]
    Attributes,
    #[component(name = "attribute-request")]
    AttributeRequest(i32),
    #[component(name = "rpc-request")]
    RpcRequest(i32),
    #[component(name = "rpc-response")]
    RpcResponse(i32),
    #[component(name = "claim")]
    Claim,
    #[component(name = "provision")]
    Provision,
    #[component(name = "gateway-connect")]
    GatewayConnect,
    #[component(name = "gateway-disconnect")]
    GatewayDisconnect,
    #[component(name = "gateway-telemetry")]
    GatewayTelemetry,
    #[component(name = "gateway-attributes")]
    GatewayAttributes,
    #[component(name = "gateway-attribute-request")]
    GatewayAttributeRequest,
    #[component(name = "gateway-rpc-response")]
    GatewayRpcResponse,
    #[component(name = "gateway-claim")]
    GatewayClaim,
}

#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
pub(crate) enum Value {
    #[component(name = "boolean")]
    Boolean(bool),
    #[component(name = "long")]
    Long(i64),
    #[component(name = "double")]
    Double(f64),
    #[component(name = "string")]
    String(String),
    #[component(name = "json")]
    Json(String),
}

#[derive(ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct Entry {
    key: String,
    value: Value,
}

impl Entry {
    /// In bytes, far above what any profile sets as `max_key_length` (spec 7.4).
    const MAX_KEY: usize = 65_535;

    #[inline]
    fn count(&self, size: &mut Size) {
        size.values += 1;
        size.bytes += self.key.len();
        size.doubtful |= self.key.is_empty() || self.key.len() > Self::MAX_KEY;
        match &self.value {
            Value::Boolean(_) | Value::Long(_) => {}
            Value::Double(double) => size.doubtful |= !double.is_finite(),
            Value::String(text) => size.bytes += text.len(),
            Value::Json(text) => {
                size.bytes += text.len();
                size.doubtful = true;
            }
        }
    }

    /// # Errors
    /// Says what the contract does not allow.
    fn check(&self) -> Result<(), String> {
        let length = self.key.len();
        if length == 0 {
            return Err("returned an empty key".to_owned());
        }
        if length > Self::MAX_KEY {
            return Err(format!("returned a key of {length} bytes: at most {} expected", Self::MAX_KEY));
        }
        match &self.value {
            Value::Double(double) if !double.is_finite() => {
                Err(format!("returned the double {double}: a finite number expected"))
            }
            Value::Json(text) => json_text::document(text, "a value"),
            _ => Ok(()),
        }
    }
}

impl From<Entry> for ModelEntry {
    fn from(entry: Entry) -> Self {
        let value = match entry.value {
            Value::Boolean(value) => ModelValue::Boolean(value),
            Value::Long(value) => ModelValue::Long(value),
            Value::Double(value) => ModelValue::Double(value),
            Value::String(value) => ModelValue::String(value),
            Value::Json(value) => ModelValue::Json(value),
        };
        Self { key: entry.key, value }
    }
}

#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
pub(crate) enum Credentials {
    #[component(name = "access-token")]
    AccessToken(String),
    #[component(name = "mqtt-basic")]
    MqttBasic(MqttBasic),
    #[component(name = "x509-certificate")]
    X509Certificate(String),
}

#[derive(ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct MqttBasic {
    #[component(name = "client-id")]
    client_id: Option<String>,
    #[component(name = "user-name")]
    user_name: Option<String>,
    password: Option<String>,
}

/// The levels of the plugin log.
#[derive(ComponentType, Lift, Clone, Copy, Debug)]
#[component(enum)]
#[repr(u8)]
pub(crate) enum Level {
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
}
