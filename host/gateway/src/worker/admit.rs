//! CONNECT: who it is, and what happens before CONNACK (spec 2.1).

use std::net::SocketAddr;
use std::sync::Arc;

use model::event::Connected;
use model::{Body, Origin};
use mqtt::codec::Connect;
use mqtt::session::Refusal;
use mqtt::{Kind, Version};
use platform::log;

use crate::gateway::Gateway;
use crate::profile::Profile;
use crate::sessions::{Control, Entered, Live};
use crate::{auth, events, gateway};

/// A device that may connect.
pub(super) struct Admitted {
    pub(super) live: Entered,
    pub(super) profile: Arc<Profile>,
    pub(super) generation: u64,
    pub(super) kind: Kind,
    pub(super) is_gateway: bool,
}

/// A CONNECT that is refused.
pub(super) struct Refused {
    pub(super) refusal: Refusal,
    /// For the client and the log; without credentials.
    pub(super) reason: &'static str,
}

/// Decides over a CONNECT. When it says yes, an older session of the device is over, everything that it took in is in the
/// log, and so is the event that this one has begun.
pub(super) async fn admit(
    gateway: Arc<Gateway>,
    connect: Box<Connect>,
    peer: SocketAddr,
    control: Arc<Control>,
) -> Result<Admitted, Refused> {
    let admitted = decide(&gateway, &connect, peer, control).await;
    let (result, profile, refused_for) = match &admitted {
        Ok(admitted) => {
            let Live { origin, client_id, protocol, .. } = &*admitted.live;
            tracing::info!(device = origin.name, %peer, client_id, protocol, "connected");
            ("accepted", origin.profile.clone(), "")
        }
        Err(Refused { reason, .. }) => {
            tracing::info!(%peer, client_id = connect.client_id, "connection refused: {reason}");
            ("refused", String::new(), *reason)
        }
    };
    metrics::counter!("tidegate_connects_total", "result" => result, "profile" => profile, "reason" => refused_for)
        .increment(1);
    admitted
}

async fn decide(
    gateway: &Arc<Gateway>,
    connect: &Connect,
    peer: SocketAddr,
    control: Arc<Control>,
) -> Result<Admitted, Refused> {
    let refuse = |refusal, reason| Refused { refusal, reason };
    let unavailable = |reason| refuse(Refusal::Unavailable, reason);
    let not_authorized = |reason| refuse(Refusal::NotAuthorized { certificate: false }, reason);
    if auth::is_provisioning(connect) {
        return Err(not_authorized("provisioning is not served"));
    }
    // A connection that could not be recorded would only wait here, with its socket.
    if !matches!(*gateway.log.state().borrow(), log::State::Running) {
        return Err(unavailable("the event log does not take events"));
    }
    let authenticate = async || {
        auth::authenticate(&*gateway.registry, connect).await.map_err(|error| {
            tracing::error!("registry: {error}");
            unavailable("the registry cannot be asked")
        })
    };
    let Some(credential) = authenticate().await? else {
        return Err(not_authorized("no device has these credentials"));
    };
    let device = &credential.device;
    let generation = gateway.profiles.generation();
    let Some(profile) = gateway.profiles.get(&device.profile) else {
        tracing::error!(device = device.name, profile = device.profile, "the profile of this device does not exist");
        return Err(unavailable("the profile of this device does not exist"));
    };
    let since = gateway::now();
    let client_id = match connect.client_id.as_str() {
        "" => format!("tidegate-{}-{}", device.id, since),
        client_id => client_id.to_owned(),
    };
    let protocol = match connect.version {
        Version::V31 => "3.1",
        Version::V311 => "3.1.1",
        Version::V5 => "5.0",
    };
    let origin = Arc::new(Origin {
        tenant: device.tenant,
        device: device.id,
        name: device.name.clone(),
        profile: device.profile.clone(),
    });
    let is_gateway = device.gateway;
    let live = Live::new(origin, credential.clone(), client_id, peer, protocol, since, control);
    let live = gateway.sessions.enter(live).await;
    // A change whose notice came before this session was entered is seen by looking once more.
    if authenticate().await?.as_ref() != Some(&credential) {
        return Err(not_authorized("the credentials were changed just now"));
    }
    let connected =
        Connected { client_id: live.client_id.clone(), peer: peer.to_string(), protocol: protocol.to_owned() };
    events::record(&*gateway.log, &live.origin, Body::Connected(connected)).await.map_err(|error| {
        tracing::error!(device = live.origin.name, "connect not recorded: {error}");
        unavailable("the event log does not take events")
    })?;
    let kind = if is_gateway { Kind::Gateway } else { Kind::Device };
    Ok(Admitted { live, profile, generation, kind, is_gateway })
}
