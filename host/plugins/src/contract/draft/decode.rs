//! What goes into `decode` and what comes out of it.

use bytes::Bytes;
use model::{Body, Fault as ModelFault, Operation as ModelOperation, Sample as ModelSample};
use model::{Decoded as ModelDecoded, Reject as ModelReject, Timestamp, event};
use wasmtime::component::{ComponentType, Lift, Lower};

use super::super::Uplink as ModelUplink;
use super::{Credentials, Entry, Operation, entries_into_model};

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
