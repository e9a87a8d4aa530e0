//! What goes into `decode` and what comes out of it.

use bytes::Bytes;
use model::{Body, Fault as ModelFault, Operation as ModelOperation, Sample as ModelSample};
use model::{Decoded as ModelDecoded, Reject as ModelReject, Timestamp, event};
use wasmtime::component::{ComponentType, Lift, Lower};

use super::super::Uplink as ModelUplink;
use super::super::bounds::Size;
use super::super::json_text;
use super::{Credentials, Entry, Operation};

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
    /// The same for the host, if it is within the rights of the session and within what `uplink` may mean. A message
    /// that became too much is an invalid payload (design §3), whatever it became.
    ///
    /// # Errors
    /// Says what the guest did that the contract does not allow here.
    pub(crate) fn into_model(self, uplink: &ModelUplink) -> Result<ModelDecoded, String> {
        let size = self.size();
        if let Some(reason) = size.excess() {
            let reject =
                ModelReject { fault: ModelFault::Malformed, reason: format!("{}: {reason}", uplink.operation) };
            return Ok(ModelDecoded { events: Vec::new(), rejects: vec![reject] });
        }
        if size.doubtful {
            self.events.iter().try_for_each(|event| event.body.check())?;
        }
        let events = self.events.into_iter().map(|event| event.into_model(uplink)).collect::<Result<_, _>>()?;
        let rejects = self.rejects.into_iter().map(Reject::into_model).collect::<Result<_, _>>()?;
        Ok(ModelDecoded { events, rejects })
    }

    fn size(&self) -> Size {
        let mut size = Size { events: self.events.len() + self.rejects.len(), ..Size::default() };
        self.events.iter().for_each(|event| event.body.count(&mut size));
        size.bytes += self.rejects.iter().map(|reject| reject.reason.len()).sum::<usize>();
        size
    }
}

/// Nothing grants a session the right to speak for a child yet.
fn no_child(child: Option<&String>) -> Result<(), String> {
    child.map_or(Ok(()), |child| {
        let child = &child[..child.floor_char_boundary(256)]; // an operator reads this
        Err(format!("named the child {child:?} in a session that is no gateway"))
    })
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Event {
    child: Option<String>,
    body: EventBody,
}

impl Event {
    fn into_model(self, uplink: &ModelUplink) -> Result<Body, String> {
        no_child(self.child.as_ref())?;
        match (self.body, uplink.operation) {
            (EventBody::Telemetry(samples), ModelOperation::Telemetry) => {
                Ok(Body::Telemetry(samples.into_iter().map(|sample| sample.into_model(uplink.received)).collect()))
            }
            (EventBody::ClientAttributes(entries), ModelOperation::Attributes) => {
                Ok(Body::ClientAttributes(entries.into_iter().map(Into::into).collect()))
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

impl EventBody {
    /// What no operation may become yet is refused for that and not for its size.
    fn count(&self, size: &mut Size) {
        match self {
            Self::Telemetry(samples) => {
                size.values += samples.len();
                samples.iter().flat_map(|sample| &sample.entries).for_each(|entry| entry.count(size));
            }
            Self::ClientAttributes(entries) | Self::SharedAttributes(entries) => {
                entries.iter().for_each(|entry| entry.count(size));
            }
            Self::RpcRequest(request) => {
                size.bytes += request.method.len() + request.params.len() + request.context.len();
                size.doubtful = true;
            }
            _ => {}
        }
    }

    /// # Errors
    /// Says what the contract does not allow.
    fn check(&self) -> Result<(), String> {
        match self {
            Self::Telemetry(samples) => samples.iter().flat_map(|sample| &sample.entries).try_for_each(Entry::check),
            Self::ClientAttributes(entries) | Self::SharedAttributes(entries) => {
                entries.iter().try_for_each(Entry::check)
            }
            Self::RpcRequest(request) => json_text::value(&request.params, "params"),
            _ => Ok(()),
        }
    }
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Sample {
    time: Option<i64>,
    entries: Vec<Entry>,
}

impl Sample {
    fn into_model(self, received: Timestamp) -> ModelSample {
        ModelSample {
            time: self.time.map_or(received, Timestamp),
            entries: self.entries.into_iter().map(Into::into).collect(),
        }
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

impl Reject {
    /// The same for the host. A refusal for a child only, where there is none, would refuse nothing.
    ///
    /// # Errors
    /// Names the child.
    pub(crate) fn into_model(self) -> Result<ModelReject, String> {
        no_child(self.child.as_ref())?;
        let fault = match self.fault {
            Fault::Malformed => ModelFault::Malformed,
            Fault::Unsupported => ModelFault::Unsupported,
            Fault::Denied => ModelFault::Denied,
        };
        Ok(ModelReject { fault, reason: self.reason })
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
