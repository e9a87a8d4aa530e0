//! Durable cursors: for readers that come back (design §6).

use axum::Json;
use axum::extract::State;
use platform::log::{CursorError, Policy, Start};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::events::position;
use super::problem::Problem;
use super::{Api, Body, Path, done};

/// A registered cursor.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct NamedCursor {
    /// Its name.
    pub name: String,
    /// What happens to events that its reader has not read.
    pub policy: CursorPolicy,
    /// Where its reader goes on.
    pub cursor: String,
    /// How many events were removed before it came.
    pub skipped: u64,
    /// How many positions of the log are before it, about as many as events.
    pub behind: u64,
}

/// What happens to events that a reader has not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CursorPolicy {
    /// They stay; when the disk limit is reached, the gateway takes in nothing more.
    Hold,
    /// They go when retention says so, and the reader sees a gap.
    Gap,
}

/// How to register a cursor.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CursorToRegister {
    /// If absent, that of a registered cursor stays, and a new one gets `gap`.
    pub policy: Option<CursorPolicy>,
    /// Where a new cursor begins; at the oldest event if absent. Without effect on one that is registered.
    pub cursor: Option<String>,
}

/// How far a reader has come.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CursorAdvance {
    /// Everything before this cursor has been dealt with.
    pub cursor: String,
}

/// Lists registered cursors
#[utoipa::path(get, path = "/api/v1/cursors", operation_id = "list_cursors", tag = "events", responses((status = 200, body = Vec<NamedCursor>)))]
pub async fn list(State(api): State<Api>) -> Json<Vec<NamedCursor>> {
    let log = &api.gateway.log;
    let named = log.cursors().await.into_iter().map(|status| NamedCursor {
        cursor: log.cursor(status.position).to_string(),
        policy: match status.policy {
            Policy::Hold => CursorPolicy::Hold,
            Policy::Gap => CursorPolicy::Gap,
        },
        name: status.name,
        skipped: status.skipped,
        behind: log.end().0.saturating_sub(status.position.0),
    });
    Json(named.collect())
}

/// Registers a cursor, or changes its policy
#[utoipa::path(put, path = "/api/v1/cursors/{name}", operation_id = "register_cursor", tag = "events", params(("name" = String, Path)),
    request_body = CursorToRegister,
    responses((status = 200, body = CursorAdvance), (status = 400, body = Problem)))]
pub async fn register(
    State(api): State<Api>,
    Path(name): Path<String>,
    Body(wanted): Body<CursorToRegister>,
) -> Result<Json<CursorAdvance>, Problem> {
    let log = &*api.gateway.log;
    let policy = match wanted.policy {
        Some(CursorPolicy::Hold) => Policy::Hold,
        Some(CursorPolicy::Gap) => Policy::Gap,
        None => {
            let registered = log.cursors().await.into_iter().find(|cursor| cursor.name == name);
            registered.map_or(Policy::Gap, |cursor| cursor.policy)
        }
    };
    let start = match wanted.cursor {
        Some(cursor) => Start::At(position(log, &cursor)?),
        None => Start::Oldest,
    };
    let position = log.register(&name, policy, start).await.map_err(problem)?;
    Ok(Json(CursorAdvance { cursor: log.cursor(position).to_string() }))
}

/// Says how far a reader has come
#[utoipa::path(post, path = "/api/v1/cursors/{name}", operation_id = "advance_cursor", tag = "events", params(("name" = String, Path)),
    request_body = CursorAdvance,
    responses((status = 200), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub async fn advance(
    State(api): State<Api>,
    Path(name): Path<String>,
    Body(to): Body<CursorAdvance>,
) -> Result<Json<serde_json::Value>, Problem> {
    let log = &*api.gateway.log;
    log.advance(&name, position(log, &to.cursor)?).await.map_err(problem)?;
    Ok(done())
}

/// Forgets a cursor
#[utoipa::path(delete, path = "/api/v1/cursors/{name}", operation_id = "remove_cursor", tag = "events", params(("name" = String, Path)),
    responses((status = 200), (status = 404, body = Problem)))]
pub async fn remove(State(api): State<Api>, Path(name): Path<String>) -> Result<Json<serde_json::Value>, Problem> {
    api.gateway.log.unregister(&name).await.map_err(problem)?;
    Ok(done())
}

fn problem(error: CursorError) -> Problem {
    let detail = error.to_string();
    match error {
        CursorError::Unknown(_) => Problem::not_found(detail),
        CursorError::Storage(_) | CursorError::Closed => Problem::unavailable(detail),
        _ => Problem::invalid(detail),
    }
}
