//! The admin API: HTTP on loopback behind a bearer token, described by an OpenAPI document made from this code.
//!
//! - [`token`]: the token and where it is kept
//! - [`problem`]: errors, all in one form
//! - [`devices`], [`events`], [`cursors`], [`profiles`], [`plugins`], [`sessions`], [`config`]: one file for each resource
//! - [`health`], [`metrics`]: for machines that watch

pub mod config;
pub mod cursors;
pub mod devices;
pub mod events;
pub mod health;
pub mod metrics;
pub mod plugins;
pub mod problem;
pub mod profiles;
pub mod sessions;
pub mod token;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use metrics_exporter_prometheus::PrometheusHandle;
use platform::projection::Projection;
use platform::registry::Registry;
use tokio::net::TcpListener;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::gateway::Gateway;
use problem::Problem;
use token::Token;

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
    let (protected, document) = resources().split_for_parts();
    let protected = protected.layer(middleware::from_fn_with_state(token, authorize)).with_state(api.clone());
    let document = document.to_pretty_json().unwrap_or_default();
    let open = Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .with_state(api)
        .route("/metrics", get(move || metrics::render(metrics.clone())))
        .route(
            "/api/v1/openapi.json",
            get(move || async move { ([(axum::http::header::CONTENT_TYPE, "application/json")], document) }),
        );
    protected
        .merge(open)
        .fallback(async || Problem::not_found("there is nothing at this path; see /api/v1/openapi.json"))
}

/// The OpenAPI document.
pub fn document() -> utoipa::openapi::OpenApi {
    resources().split_for_parts().1
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
        .merge(plugins::routes())
        .routes(routes!(config::show))
        .routes(routes!(sessions::list))
        .routes(routes!(sessions::close))
}

#[derive(OpenApi)]
#[openapi(
    info(title = "tidegate admin API", description = "Devices, events and state of a tidegate gateway."),
    modifiers(&BearerToken),
    security(("token" = [])),
)]
struct Description;

struct BearerToken;

impl Modify for BearerToken {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("The token in the file `admin-token` of the data folder."))
            .build();
        document
            .components
            .get_or_insert_with(Default::default)
            .add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

async fn authorize(State(token): State<Token>, request: Request, next: Next) -> Response {
    let presented = request.headers().get(AUTHORIZATION).and_then(|header| header.to_str().ok());
    match presented.and_then(|header| header.strip_prefix("Bearer ")) {
        Some(presented) if token.matches(presented) => next.run(request).await,
        Some(_) => Problem::unauthorized("this is not the admin token").into_response(),
        None => Problem::unauthorized("expected the header `Authorization: Bearer TOKEN`, with the token in the file admin-token of the data folder").into_response(),
    }
}

/// A JSON body, with errors in our own form.
pub struct Body<T>(pub T);

impl<T: serde::de::DeserializeOwned, S: Send + Sync> axum::extract::FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = axum::body::Bytes::from_request(request, state)
            .await
            .map_err(|error| Problem::invalid(format!("body: {error}")))?;
        let mut body = serde_json::Deserializer::from_slice(&bytes);
        let value = serde_path_to_error::deserialize(&mut body).map_err(|error| {
            let path = error.path().to_string();
            let place = if path == "." { "body".to_owned() } else { format!("body: {path}") };
            Problem::invalid(format!("{place}: {}", error.inner()))
        })?;
        body.end().map_err(|error| Problem::invalid(format!("body: {error}")))?;
        Ok(Self(value))
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
