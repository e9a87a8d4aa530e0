//! The admin API: HTTP on loopback behind a bearer token, described by an OpenAPI document made from this code.
//!
//! - [`token`]: the token and where it is kept
//! - [`problem`]: errors, all in one form; [`openapi`]: the document, which says so for every operation
//! - [`devices`], [`events`], [`cursors`], [`profiles`], [`plugins`], [`sessions`], [`config`]: one file for each resource
//! - [`health`], [`metrics`]: for machines that watch

pub mod config;
pub mod cursors;
pub mod devices;
pub mod events;
pub mod health;
pub mod metrics;
mod openapi;
pub mod plugins;
pub mod problem;
pub mod profiles;
pub mod sessions;
pub mod token;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures_util::StreamExt;
use metrics_exporter_prometheus::PrometheusHandle;
use platform::projection::Projection;
use platform::registry::Registry;
use tokio::net::TcpListener;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::gateway::Gateway;
use problem::Problem;
use token::Token;

/// The largest body of a request, in bytes. A device with its credentials takes a few hundred.
const BODY_LIMIT: usize = 1024 * 1024;

/// What every request handler can use.
#[derive(Clone)]
pub struct Api {
    /// The running gateway.
    pub gateway: Arc<Gateway>,
    /// What is projected from its events.
    pub projection: Arc<Projection>,
}

impl Api {
    fn registry(&self) -> &dyn Registry {
        &*self.gateway.registry
    }
}

/// Serves until the task is aborted.
pub async fn serve(
    gateway: Arc<Gateway>,
    projection: Arc<Projection>,
    metrics: PrometheusHandle,
    token: Token,
    listener: TcpListener,
) {
    let router = router(Api { gateway, projection }, metrics, token);
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!("admin API: {error}");
    }
}

fn router(api: Api, metrics: PrometheusHandle, token: Token) -> Router {
    let protected = resources().split_for_parts().0;
    let protected = protected.layer(middleware::from_fn_with_state(token, authorize)).with_state(api.clone());
    let document = document().to_pretty_json().unwrap_or_default();
    let open = Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .with_state(api)
        .route("/metrics", get(async move || ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics::render(&metrics))))
        .route("/api/v1/openapi.json", get(move || async move { ([(CONTENT_TYPE, "application/json")], document) }));
    protected
        .merge(open)
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .fallback(async || Problem::not_found("there is nothing at this path; see /api/v1/openapi.json"))
}

/// The OpenAPI document.
pub fn document() -> utoipa::openapi::OpenApi {
    let mut document = resources().split_for_parts().1;
    openapi::complete(&mut document);
    document
}

fn resources() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(devices::list, devices::create))
        .routes(routes!(devices::show, devices::remove, devices::update))
        .routes(routes!(devices::credentials, devices::set_credentials))
        .routes(routes!(devices::latest_values))
        .routes(routes!(devices::client_attributes))
        .routes(routes!(events::read))
        .routes(routes!(cursors::list))
        .routes(routes!(cursors::register, cursors::advance, cursors::remove))
        .routes(routes!(profiles::list))
        .routes(routes!(plugins::check))
        .routes(routes!(config::show))
        .routes(routes!(sessions::list))
        .routes(routes!(sessions::close))
}

#[derive(OpenApi)]
#[openapi(
    info(title = "tidegate admin API", description = "Devices, events and state of a tidegate gateway."),
    security(("token" = [])),
)]
struct Description;

async fn authorize(State(token): State<Token>, request: Request, next: Next) -> Response {
    let presented = request.headers().get(AUTHORIZATION).and_then(|header| header.to_str().ok());
    let problem = match presented.and_then(|header| header.strip_prefix("Bearer ")) {
        Some(presented) if token.matches(presented) => return next.run(request).await,
        Some(_) => "this is not the admin token",
        None => {
            "expected the header `Authorization: Bearer TOKEN`, with the token in the file admin-token of the data folder"
        }
    };
    // Closed while it still sends its body, the client would see a broken connection instead of the answer.
    drop(read_body(request.into_body(), BODY_LIMIT).await);
    Problem::unauthorized(problem).into_response()
}

/// A JSON body, with errors in our own form.
pub struct Body<T>(pub T);

impl<T: serde::de::DeserializeOwned, S: Send + Sync> axum::extract::FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let bytes = read_body(request.into_body(), BODY_LIMIT).await?;
        let mut body = serde_json::Deserializer::from_slice(&bytes);
        let value = serde_path_to_error::deserialize(&mut body).map_err(|error| {
            let path = error.path().to_string();
            let place = if matches!(path.as_str(), "." | "?") { "body".to_owned() } else { format!("body: {path}") };
            Problem::invalid(format!("{place}: {}", without_value(&error.inner().to_string())))
        })?;
        body.end().map_err(|error| Problem::invalid(format!("body: {error}")))?;
        Ok(Self(value))
    }
}

/// A body, which must not be larger than `limit`. A larger one is read to its end, within reason, so that the client
/// gets to the answer.
async fn read_body(body: axum::body::Body, limit: usize) -> Result<Vec<u8>, Problem> {
    const PATIENCE: usize = 16 * BODY_LIMIT;
    let mut body = body.into_data_stream();
    let mut bytes = Vec::new();
    let mut size = 0;
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| Problem::invalid(format!("body: {error}")))?;
        size += chunk.len();
        if size <= limit {
            bytes.extend_from_slice(&chunk);
        } else if size > limit.saturating_add(PATIENCE) {
            break;
        }
    }
    if size > limit {
        return Err(Problem::too_large(format!("body: at most {limit} bytes expected")));
    }
    Ok(bytes)
}

/// serde quotes a value that does not fit, which may be a password: an error says what was expected instead of what it got.
fn without_value(message: &str) -> String {
    let Some((got, expected)) = message.rsplit_once(", expected ") else { return message.to_owned() };
    match got.split_once(['`', '"']) {
        Some((got, _)) if got.starts_with("invalid ") => format!("{}, expected {expected}", got.trim_end()),
        _ => message.to_owned(),
    }
}

/// Part of the path, with errors in our own form.
pub struct Path<T>(pub T);

impl<T: serde::de::DeserializeOwned + Send, S: Send + Sync> axum::extract::FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, state: &S) -> Result<Self, Problem> {
        axum::extract::Path::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Path(value)| Self(value))
            .map_err(|error| Problem::invalid(format!("path: {}", error.body_text())))
    }
}

/// Query parameters, with errors in our own form.
pub struct Params<T>(pub T);

impl<T: serde::de::DeserializeOwned, S: Send + Sync> axum::extract::FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, _: &S) -> Result<Self, Problem> {
        axum::extract::Query::try_from_uri(&parts.uri)
            .map(|axum::extract::Query(value)| Self(value))
            .map_err(|error| Problem::invalid(error.body_text()))
    }
}

/// A device of the default tenant, by name.
async fn device_named(api: &Api, name: String) -> Result<platform::registry::Device, Problem> {
    let key = platform::registry::DeviceKey::Name(name.clone());
    let found = api.registry().devices(model::TenantId::DEFAULT, &[key]).await?;
    found.into_iter().flatten().next().ok_or_else(|| Problem::not_found(format!("there is no device named {name:?}")))
}

/// Answer to what changed something and has nothing to say.
fn done() -> Json<serde_json::Value> {
    Json(serde_json::json!({}))
}

#[cfg(test)]
mod tests {
    use super::without_value;

    /// Spec 19: no credential in an error.
    #[test]
    fn errors_say_what_was_expected_and_not_what_came() {
        let rows = [
            (
                "invalid type: string \"secret\", expected a map at line 1",
                "invalid type: string, expected a map at line 1",
            ),
            ("invalid type: integer `12345`, expected a string", "invalid type: integer, expected a string"),
            ("invalid value: string \"a, expected b\", expected c", "invalid value: string, expected c"),
            ("invalid type: sequence, expected a string", "invalid type: sequence, expected a string"),
            ("unknown field `a`, expected `b`", "unknown field `a`, expected `b`"),
            ("missing field `name`", "missing field `name`"),
        ];
        for (message, expected) in rows {
            assert_eq!(without_value(message), expected);
        }
    }
}
