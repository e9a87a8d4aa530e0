//! Contract `0.1.0-draft` (`wit/draft`): its types as wasmtime lowers and lifts them, and their translation.
//!
//! The functions are called through these types and not through generated bindings, because a lifted string moves from
//! here into the event as it is, and because generated bindings would bring unsafe code into this crate.
#![allow(dead_code)] // the contract is whole: the host does not speak every case of it yet

use bytes::Bytes;
use model::command::Command as ModelCommand;
use model::{Body, Entry as ModelEntry, Fault as ModelFault, Operation as ModelOperation, Sample as ModelSample};
use model::{Decoded as ModelDecoded, Reject as ModelReject, Timestamp, Value as ModelValue, event};
use wasmtime::component::{ComponentType, Lift, Lower, TypedFunc, flags};

use super::{Operations as ModelOperations, Uplink as ModelUplink};

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

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Uplink {
    operation: Operation,
    topic: Option<MatchedTopic>,
    payload: Bytes,
    received: i64,
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct MatchedTopic {
    name: String,
    captures: Vec<String>,
}

impl From<&ModelUplink> for Uplink {
    fn from(uplink: &ModelUplink) -> Self {
        Self {
            operation: match uplink.operation {
                ModelOperation::Telemetry => Operation::Telemetry,
                ModelOperation::Attributes => Operation::Attributes,
                ModelOperation::RpcRequest(id) => Operation::RpcRequest(id),
            },
            topic: uplink
                .topic
                .as_ref()
                .map(|topic| MatchedTopic { name: topic.name.clone(), captures: topic.captures.clone() }),
            payload: uplink.payload.clone(),
            received: uplink.received.0,
        }
    }
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Decoded {
    events: Vec<Event>,
    rejects: Vec<Reject>,
}

impl Decoded {
    /// The same for the host, if it is within the rights of the session and within what `uplink` may mean.
    ///
    /// # Errors
    /// Says what the guest did that the contract does not allow here.
    pub(crate) fn into_model(self, uplink: &ModelUplink) -> Result<ModelDecoded, String> {
        let events = self.events.into_iter().map(|event| event.into_model(uplink)).collect::<Result<_, _>>()?;
        let rejects = self.rejects.into_iter().map(ModelReject::from).collect();
        Ok(ModelDecoded { events, rejects })
    }
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Event {
    child: Option<String>,
    body: EventBody,
}

impl Event {
    fn into_model(self, uplink: &ModelUplink) -> Result<Body, String> {
        if let Some(child) = self.child {
            return Err(format!("named the child {child:?} in a session that is no gateway"));
        }
        match (self.body, uplink.operation) {
            (EventBody::Telemetry(samples), ModelOperation::Telemetry) => {
                let sample = |sample: Sample| sample.into_model(uplink.received);
                samples.into_iter().map(sample).collect::<Result<_, _>>().map(Body::Telemetry)
            }
            (EventBody::ClientAttributes(entries), ModelOperation::Attributes) => {
                entries_into_model(entries).map(Body::ClientAttributes)
            }
            (EventBody::RpcRequest(request), ModelOperation::RpcRequest(id)) if request.id == id => {
                let RpcRequest { id, method, params, context } = request;
                Ok(Body::RpcRequest(event::RpcRequest { id, method, params, context: context.into() }))
            }
            (_, operation) => Err(format!("returned an event that {operation} cannot mean")),
        }
    }
}

#[derive(ComponentType, Lift)]
#[component(variant)]
pub(crate) enum EventBody {
    #[component(name = "telemetry")]
    Telemetry(Vec<Sample>),
    #[component(name = "client-attributes")]
    ClientAttributes(Vec<Entry>),
    #[component(name = "shared-attributes")]
    SharedAttributes(Vec<Entry>),
    #[component(name = "attribute-request")]
    AttributeRequest(AttributeRequest),
    #[component(name = "rpc-request")]
    RpcRequest(RpcRequest),
    #[component(name = "rpc-response")]
    RpcResponse(RpcResponse),
    #[component(name = "claim")]
    Claim(Claim),
    #[component(name = "provision")]
    Provision(Provision),
    #[component(name = "child-connect")]
    ChildConnect(ChildConnect),
    #[component(name = "child-disconnect")]
    ChildDisconnect,
    #[component(name = "gateway-latency")]
    GatewayLatency(GatewayLatency),
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

fn entries_into_model(entries: Vec<Entry>) -> Result<Vec<ModelEntry>, String> {
    entries.into_iter().map(Entry::into_model).collect()
}

impl Entry {
    fn into_model(self) -> Result<ModelEntry, String> {
        let Self { key, value } = self;
        if key.is_empty() {
            return Err("returned an empty key".to_owned());
        }
        let value = match value {
            Value::Boolean(value) => ModelValue::Boolean(value),
            Value::Long(value) => ModelValue::Long(value),
            Value::Double(value) => ModelValue::Double(value),
            Value::String(value) => ModelValue::String(value),
            Value::Json(value) => ModelValue::Json(value),
        };
        Ok(ModelEntry { key, value })
    }
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Sample {
    time: Option<i64>,
    entries: Vec<Entry>,
}

impl Sample {
    fn into_model(self, received: Timestamp) -> Result<ModelSample, String> {
        Ok(ModelSample { time: self.time.map_or(received, Timestamp), entries: entries_into_model(self.entries)? })
    }
}

#[derive(ComponentType, Lift)]
#[component(variant)]
pub(crate) enum Selection {
    #[component(name = "none")]
    None,
    #[component(name = "all")]
    All,
    #[component(name = "keys")]
    Keys(Vec<String>),
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct AttributeRequest {
    id: i32,
    client: Selection,
    shared: Selection,
    context: Bytes,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct RpcRequest {
    id: i32,
    method: String,
    params: String,
    context: Bytes,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct RpcResponse {
    id: i32,
    body: String,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Claim {
    #[component(name = "secret-key")]
    secret_key: String,
    duration: Option<u64>,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Provision {
    key: String,
    secret: String,
    #[component(name = "device-name")]
    device_name: Option<String>,
    gateway: bool,
    credentials: Option<Credentials>,
    context: Bytes,
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

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct ChildConnect {
    #[component(name = "device-type")]
    device_type: Option<String>,
    label: Option<String>,
    #[component(name = "former-name")]
    former_name: Option<String>,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct GatewayLatency {
    connector: String,
    received: i64,
    published: i64,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Reject {
    child: Option<String>,
    fault: Fault,
    reason: String,
}

impl From<Reject> for ModelReject {
    fn from(reject: Reject) -> Self {
        let fault = match reject.fault {
            Fault::Malformed => ModelFault::Malformed,
            Fault::Unsupported => ModelFault::Unsupported,
            Fault::Denied => ModelFault::Denied,
        };
        Self { fault, reason: reject.reason }
    }
}

#[derive(ComponentType, Lift, Clone, Copy)]
#[component(enum)]
#[repr(u8)]
pub(crate) enum Fault {
    #[component(name = "malformed")]
    Malformed,
    #[component(name = "unsupported")]
    Unsupported,
    #[component(name = "denied")]
    Denied,
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Command {
    child: Option<String>,
    body: CommandBody,
}

impl From<&ModelCommand> for Command {
    fn from(command: &ModelCommand) -> Self {
        let body = match command {
            ModelCommand::RpcResponse { id, body, context } => CommandBody::RpcResponse(RpcAnswer {
                id: *id,
                body: body.clone(),
                context: Bytes::copy_from_slice(context),
            }),
        };
        Self { child: None, body }
    }
}

#[derive(ComponentType, Lower)]
#[component(variant)]
pub(crate) enum CommandBody {
    #[component(name = "attribute-response")]
    AttributeResponse(AttributeResponse),
    #[component(name = "attribute-update")]
    AttributeUpdate(AttributeUpdate),
    #[component(name = "rpc-request")]
    RpcRequest(RpcCall),
    #[component(name = "rpc-response")]
    RpcResponse(RpcAnswer),
    #[component(name = "provision-response")]
    ProvisionResponse(ProvisionResponse),
    #[component(name = "child-disconnect")]
    ChildDisconnect(u8),
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct StampedEntry {
    time: i64,
    entry: Entry,
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct AttributeResponse {
    id: i32,
    client: Vec<StampedEntry>,
    shared: Vec<StampedEntry>,
    context: Bytes,
}

#[derive(ComponentType, Lower)]
#[component(variant)]
pub(crate) enum AttributeUpdate {
    #[component(name = "set")]
    Set(Vec<StampedEntry>),
    #[component(name = "deleted")]
    Deleted(Vec<String>),
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct RpcCall {
    id: i32,
    method: String,
    params: String,
    oneway: bool,
    persistent: Option<PersistentCall>,
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct PersistentCall {
    uuid: (u64, u64),
    expires: i64,
    retries: Option<u32>,
    #[component(name = "additional-info")]
    additional_info: Option<String>,
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct RpcAnswer {
    id: i32,
    body: Result<String, String>,
    context: Bytes,
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct ProvisionResponse {
    outcome: ProvisionOutcome,
    context: Bytes,
}

#[derive(ComponentType, Lower)]
#[component(variant)]
pub(crate) enum ProvisionOutcome {
    #[component(name = "success")]
    Success(Credentials),
    #[component(name = "not-found")]
    NotFound,
    #[component(name = "failure")]
    Failure,
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
