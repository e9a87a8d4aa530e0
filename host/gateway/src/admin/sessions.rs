//! Who is connected.

use axum::Json;
use axum::extract::State;
use model::TenantId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problem::Problem;
use super::{Api, Path, device_named, done};
use crate::sessions::Order;

/// A device that is connected.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Session {
    /// The device's name.
    pub device: String,
    /// The client identifier.
    pub client_id: String,
    /// Where it connects from.
    pub peer: String,
    /// `3.1`, `3.1.1` or `5.0`.
    pub protocol: String,
    /// Since when, in milliseconds since the Unix epoch.
    pub since: i64,
}

/// Lists sessions, by device
#[utoipa::path(get, path = "/api/v1/sessions", operation_id = "list_sessions", tag = "sessions", responses((status = 200, body = Vec<Session>)))]
pub async fn list(State(api): State<Api>) -> Json<Vec<Session>> {
    let sessions = api.gateway.sessions.all().into_iter().filter(|live| live.origin.tenant == TenantId::DEFAULT);
    let mut sessions: Vec<Session> = sessions
        .map(|live| Session {
            device: live.origin.name.clone(),
            client_id: live.client_id.clone(),
            peer: live.peer.to_string(),
            protocol: live.protocol.to_owned(),
            since: live.since.0,
        })
        .collect();
    sessions.sort_by(|a, b| a.device.cmp(&b.device));
    Json(sessions)
}

/// Closes the session of a device
#[utoipa::path(delete, path = "/api/v1/sessions/{device}", operation_id = "close_session", tag = "sessions", params(("device" = String, Path)),
    responses((status = 200), (status = 404, body = Problem)))]
pub async fn close(State(api): State<Api>, Path(name): Path<String>) -> Result<Json<serde_json::Value>, Problem> {
    let device = device_named(&api, name.clone()).await?;
    let Some(live) = api.gateway.sessions.get(device.tenant, device.id) else {
        return Err(Problem::not_found(format!("device {name:?} is not connected")));
    };
    live.control.order(Order::Administrative("closed by an administrator"));
    Ok(done())
}
