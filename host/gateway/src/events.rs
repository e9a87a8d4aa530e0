//! Events that the host makes itself.

use std::sync::Arc;

use model::{Body, Origin};
use platform::log::{AppendError, EventLog};

use crate::gateway;

/// Why an event of the host is not in the log.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The log takes no events.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The log did not take this one.
    #[error("{0}")]
    Refused(String),
}

/// Puts one event into the log; returns when it is on stable storage.
///
/// # Errors
/// It is not, or may not be.
pub async fn record(log: &dyn EventLog, origin: &Arc<Origin>, body: Body) -> Result<(), RecordError> {
    let mut batch = log.batch();
    batch.message().event(origin, gateway::now(), None, body);
    let appended = log.append(batch.finish()).await?;
    appended.result(0).map_err(|refusal| RecordError::Refused(refusal.to_string()))
}
