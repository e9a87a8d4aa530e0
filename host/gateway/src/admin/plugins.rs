//! Checking a plugin before a profile names it.
#![allow(unused_qualifications)] // in what utoipa makes of the query types

use axum::Json;
use axum::extract::{Request, State};
use serde::Deserialize;
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use utoipa::IntoParams;

use super::problem::Problem;
use super::{Api, Params, read_body};
use crate::profile::check::{self, PluginReport};

/// The largest plugin that is taken, in bytes.
const LIMIT: usize = 64 << 20;

/// One plugin is compiled at a time: that takes a core for a while.
static COMPILING: Mutex<()> = Mutex::const_new(());

/// What to check it with.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CheckParams {
    /// How a profile would name it.
    #[serde(default = "unnamed")]
    name: String,
    /// The table `[converter.config]` of a profile as JSON.
    config: Option<String>,
}

fn unnamed() -> String {
    "plugin".to_owned()
}

/// Checks a plugin
///
/// Loads and configures it as for a profile. Nothing is kept.
#[utoipa::path(post, path = "/api/v1/plugins/check", operation_id = "check_plugin", tag = "plugins", params(CheckParams),
    request_body(content = Vec<u8>, content_type = "application/wasm",
        description = "A component, or a core module built with the SDK"),
    responses((status = 200, body = PluginReport),
        (status = 400, description = "It cannot be used, and why", body = Problem)))]
pub async fn check(
    State(api): State<Api>,
    Params(CheckParams { name, config }): Params<CheckParams>,
    request: Request,
) -> Result<Json<PluginReport>, Problem> {
    let bytes = read_body(request.into_body(), LIMIT).await?;
    let config = serde_json::from_str(config.as_deref().unwrap_or("{}"))
        .map_err(|error| Problem::invalid(format!("config: a JSON object expected: {error}")))?;
    let _one = COMPILING.lock().await;
    let checked = tokio::task::spawn_blocking(move || {
        Handle::current().block_on(check::check(&api.gateway.settings, &name, &bytes, &config))
    });
    match checked.await {
        Ok(report) => report.map(Json).map_err(Problem::invalid),
        Err(error) => Err(Problem::invalid(format!("the check itself failed: {error}"))),
    }
}
