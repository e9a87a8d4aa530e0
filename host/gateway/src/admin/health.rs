//! For machines that watch: is it alive, and does it take in events.

use axum::extract::State;
use axum::http::StatusCode;
use platform::log;

use super::Api;

/// The process answers.
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// The gateway takes in events: 200, else 503 with the reason.
pub async fn readyz(State(api): State<Api>) -> (StatusCode, String) {
    if api.gateway.stop.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n".to_owned());
    }
    let state = api.gateway.log.state().borrow().clone();
    match state {
        log::State::Running => (StatusCode::OK, "ready\n".to_owned()),
        log::State::Waiting(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("event log waits: {reason}\n")),
        log::State::Failed(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("event log failed: {reason}\n")),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "event log closed\n".to_owned()),
    }
}
