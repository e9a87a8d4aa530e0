//! Requests that the host answers itself (spec 12.1, 12.2).

use model::Command;
use model::event::RpcRequest;
use serde_json::{Value, json};

use crate::config::Settings;

/// The built-in method that SDKs size their messages by, and without which a Python gateway does not count as connected.
const GET_SESSION_LIMITS: &str = "getSessionLimits";

/// The answer to a client-side RPC while no application is attached: built-in methods, and for all others that nobody
/// handles them.
pub(super) fn to_rpc(request: RpcRequest, settings: &Settings, is_gateway: bool) -> Command {
    let body = match request.method.as_str() {
        GET_SESSION_LIMITS => Ok(session_limits(settings, is_gateway).to_string()),
        _ => Err("no handler".to_owned()),
    };
    Command::RpcResponse { id: request.id, body, context: request.context }
}

/// Spec 12.2. A limit that is not set is null; the objects must be there.
fn session_limits(settings: &Settings, is_gateway: bool) -> Value {
    let unlimited = json!({ "messages": null, "telemetryMessages": null, "telemetryDataPoints": null });
    let mut limits = json!({
        "maxPayloadSize": settings.max_payload_size,
        "maxInflightMessages": settings.max_inflight,
        "rateLimits": unlimited,
    });
    if is_gateway {
        limits["gatewayRateLimits"] = unlimited;
    }
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(method: &str, is_gateway: bool) -> Result<String, String> {
        let request =
            RpcRequest { id: 7, method: method.to_owned(), params: "{\"timeout\":5000}".to_owned(), context: vec![1] };
        let Command::RpcResponse { id, body, context } = to_rpc(request, &Settings::default(), is_gateway);
        assert_eq!((id, context), (7, vec![1]));
        body
    }

    /// Spec 12.2, both shapes.
    #[test]
    fn session_limits_have_the_shape_that_sdks_expect() {
        let device = r#"{"maxPayloadSize":65536,"maxInflightMessages":100,"rateLimits":{"messages":null,"telemetryMessages":null,"telemetryDataPoints":null}}"#;
        assert_eq!(answer(GET_SESSION_LIMITS, false).as_deref(), Ok(device));
        let gateway = answer(GET_SESSION_LIMITS, true).unwrap();
        assert!(gateway.contains(r#""gatewayRateLimits":{"messages":null,"#), "{gateway}");
    }

    /// Spec 12.1: no handler and no application.
    #[test]
    fn unknown_methods_are_answered_at_once() {
        assert_eq!(answer("getTime", false), Err("no handler".to_owned()));
    }
}
