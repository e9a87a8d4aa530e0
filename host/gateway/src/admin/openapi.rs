//! What the OpenAPI document says of every operation alike: the token, and the errors that any of them may answer with.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, RefOr, ResponseBuilder};

use super::problem;

/// Completes the document that was made from the code of the operations.
pub(super) fn complete(document: &mut OpenApi) {
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("The token in the file `admin-token` of the data folder."))
        .build();
    let components = document.components.get_or_insert_with(Default::default);
    components.add_security_scheme("token", SecurityScheme::Http(scheme));
    for item in document.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
        operations.into_iter().flatten().for_each(|operation| {
            errors(operation);
            describe(operation);
        });
    }
}

/// A description is required; what it says of a success is said by the operation's own text.
fn describe(operation: &mut Operation) {
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else { continue };
        if response.description.is_empty() {
            response.description = reason(status).to_owned();
        }
    }
}

fn reason(status: &str) -> &'static str {
    StatusCode::from_bytes(status.as_bytes()).ok().and_then(|status| status.canonical_reason()).unwrap_or_default()
}

/// All errors have the form of [`problem::Problem`].
fn errors(operation: &mut Operation) {
    let own = operation.responses.responses.keys().filter_map(|status| status.parse().ok());
    let mut statuses: BTreeSet<u16> = own.filter(|status| *status >= 400).collect();
    statuses.extend([401, 503]);
    if operation.parameters.is_some() {
        statuses.insert(400);
    }
    if operation.request_body.is_some() {
        statuses.extend([400, 413]);
    }
    for status in statuses {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        let response = ResponseBuilder::new().content(problem::CONTENT, content).build();
        operation.responses.responses.insert(status.to_string(), response.into());
    }
}
