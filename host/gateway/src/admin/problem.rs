//! Errors of the API, all in one form: `application/problem+json` (RFC 9457).

use axum::http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use platform::projection::Unavailable;
use platform::registry::{Blame, Error};
use serde::Serialize;
use utoipa::ToSchema;

/// The media type of [`Problem`].
pub const CONTENT: &str = "application/problem+json";

/// Why a request was not carried out.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Problem {
    /// The HTTP status once more.
    #[schema(example = 404)]
    status: u16,
    /// The kind of problem, the same for all of a status.
    #[schema(example = "not found")]
    title: &'static str,
    /// What was wrong, where, and what was expected.
    detail: String,
    /// With 410: the oldest cursor from which events can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest: Option<String>,
}

impl Problem {
    fn new(status: StatusCode, title: &'static str, detail: impl Into<String>) -> Self {
        Self { status: status.as_u16(), title, detail: detail.into(), oldest: None }
    }

    /// The request makes no sense: 400.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid request", detail)
    }

    /// Nobody we know: 401.
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "not authorized", detail)
    }

    /// There is no such thing: 404.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not found", detail)
    }

    /// There is such a path, but it cannot be asked for this: 405; the header `Allow` says what can.
    pub fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed", "see /api/v1/openapi.json for what there is")
    }

    /// More than we take: 413.
    pub fn too_large(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too large", detail)
    }

    /// Something is in the way: 409.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", detail)
    }

    /// It was there once: 410.
    pub fn gone(detail: impl Into<String>, oldest: String) -> Self {
        Self { oldest: Some(oldest), ..Self::new(StatusCode::GONE, "gone", detail) }
    }

    /// Our own storage is at fault: 503.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "storage unavailable", detail)
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let detail = error.to_string();
        match error.blame() {
            Blame::Caller => Self::invalid(detail),
            Blame::Conflict => Self::conflict(detail),
            Blame::NotFound => Self::not_found(detail),
            _ => {
                tracing::error!("registry: {detail}");
                Self::unavailable(detail)
            }
        }
    }
}

impl From<Unavailable> for Problem {
    fn from(error: Unavailable) -> Self {
        match error {
            Unavailable::Registry(error) => error.into(),
            // Whoever has the trouble reports it.
            Unavailable::Behind(_) | Unavailable::Ended => Self::unavailable(error.to_string()),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_string(&self).unwrap_or_default();
        let mut response = (status, [(CONTENT_TYPE, CONTENT)], body).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
