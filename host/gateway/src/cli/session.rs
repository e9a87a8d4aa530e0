//! `tidegate session …`

use clap::Subcommand;
use clap::builder::NonEmptyStringValueParser;

use super::client::escape;
use super::output::{json, line, table, time};
use super::{Common, Remote};
use crate::admin::sessions::Session as Shown;

#[derive(Debug, Subcommand)]
pub(super) enum Session {
    /// List sessions
    List,
    /// Close the session of a device
    Close {
        /// Name of the device
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        device: String,
    },
}

pub(super) fn run(common: &Common, remote: &Remote, command: &Session) -> anyhow::Result<()> {
    let client = common.client(remote)?;
    match command {
        Session::List => {
            let sessions: Vec<Shown> = client.get("/api/v1/sessions")?;
            if common.json {
                return json(&sessions);
            }
            let row = |session: Shown| {
                [session.device, session.client_id, session.peer, session.protocol, time(session.since)]
            };
            table(["device", "client id", "peer", "MQTT", "since"], sessions.into_iter().map(row))
        }
        Session::Close { device } => {
            client.delete(&format!("/api/v1/sessions/{}", escape(device)))?;
            if common.json {
                json(&serde_json::json!({}))
            } else {
                line(format_args!("closed the session of {device}"))
            }
        }
    }
}
