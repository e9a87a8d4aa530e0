//! What goes into `encode`: commands, and the answers to requests.

use bytes::Bytes;
use model::command::Command as ModelCommand;
use model::{Fault, Reject as ModelReject};
use wasmtime::component::{ComponentType, Lower};

use super::super::bounds::Size;
use super::{Credentials, Entry, Reject};

/// What `encode` made of one command, for the host.
///
/// # Errors
/// Says what the guest did that the contract does not allow here.
pub(crate) fn encoded_into_model(encoded: Result<Bytes, Reject>) -> Result<Result<Bytes, ModelReject>, String> {
    match encoded {
        Ok(payload) => Ok(match Size::payload_excess(payload.len()) {
            Some(reason) => Err(ModelReject { fault: Fault::Malformed, reason }),
            None => Ok(payload),
        }),
        Err(reject) => reject.into_model().map(Err),
    }
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
