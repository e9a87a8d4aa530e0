//! How a connection ends.

use mqtt::{Close, ReasonCode};

use crate::sessions::Order;

/// How a connection ends.
pub(super) struct End {
    /// A word for the event, such as `client`.
    pub(super) cause: &'static str,
    /// What the client is told, if there is somebody to tell.
    pub(super) close: Option<Close>,
    /// For the event and the log.
    pub(super) detail: String,
}

impl End {
    pub(super) fn lost(detail: impl ToString) -> Self {
        Self { cause: "connection-lost", close: None, detail: detail.to_string() }
    }

    /// The client said goodbye, in v5 perhaps with a reason.
    pub(super) fn client(code: ReasonCode, reason: Option<&str>) -> Self {
        let reason = reason.unwrap_or_default();
        match code {
            ReasonCode::SUCCESS => Self { cause: "client", close: None, detail: reason.to_owned() },
            code => {
                Self { cause: "client-error", close: None, detail: format!("{code} {reason}").trim_end().to_owned() }
            }
        }
    }

    pub(super) fn order(order: Order) -> Self {
        let (cause, code, detail) = match order {
            Order::Expire => ("expired", ReasonCode::MAXIMUM_CONNECT_TIME, ""),
            Order::TakenOver => ("taken-over", ReasonCode::SESSION_TAKEN_OVER, "another connection of this device"),
            Order::Administrative(reason) => ("administrative", ReasonCode::ADMINISTRATIVE_ACTION, reason),
            Order::Shutdown => ("shutdown", ReasonCode::SERVER_SHUTTING_DOWN, "the gateway stops"),
        };
        Self { cause, close: Some(Close::new(code, detail)), detail: detail.to_owned() }
    }
}

impl From<Close> for End {
    fn from(close: Close) -> Self {
        let cause = match close.code {
            ReasonCode::KEEP_ALIVE_TIMEOUT => "keep-alive",
            ReasonCode::MAXIMUM_CONNECT_TIME => "inactivity",
            _ => "refused",
        };
        Self { cause, detail: close.to_string(), close: Some(close) }
    }
}
