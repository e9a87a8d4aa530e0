//! The settings in force.

use axum::Json;
use axum::extract::State;

use super::Api;
use crate::config::Settings;

/// Shows the settings in force
///
/// They come from file, environment and command line, and are changed there. None of them is a secret.
#[utoipa::path(get, path = "/api/v1/config", operation_id = "show_config", tag = "config", responses((status = 200, body = Object)))]
pub async fn show(State(api): State<Api>) -> Json<Settings> {
    Json(api.gateway.settings.clone())
}
