//! `tidegate device …`

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use serde_json::Value;
use ureq::http::Method;

use super::client::{Client, escape};
use super::output::{json, line, table, time};
use super::{Common, Remote};
use crate::admin::devices::{
    CreatedDevice, Credentials, Device as Shown, DevicePage, DeviceState, DeviceToCreate, DeviceUpdate,
};

#[derive(Debug, Subcommand)]
pub(super) enum Device {
    /// Create a device; prints its credentials
    Add(Add),
    /// List devices
    List(List),
    /// Show a device, its connection and its values
    Show {
        /// Name of the device
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        name: String,
    },
    /// Change name, profile or gateway flag
    Set(Set),
    /// Delete a device with everything that is known of it
    Rm {
        /// Name of the device
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        name: String,
    },
    /// Show what a device has to present, or replace it
    Credentials(CredentialsCommand),
}

#[derive(Debug, Args)]
pub(super) struct Add {
    /// Name of the device, 1 to 255 characters
    name: String,
    /// Name of its profile
    #[arg(long, default_value = crate::profile::DEFAULT)]
    profile: String,
    /// Let it use the gateway topics
    #[arg(long)]
    gateway: bool,
    #[command(flatten)]
    credentials: CredentialArgs,
}

#[derive(Debug, Args)]
pub(super) struct Set {
    /// Name of the device
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    name: String,
    /// Another name
    #[arg(long)]
    rename: Option<String>,
    /// Another profile
    #[arg(long)]
    profile: Option<String>,
    /// Whether it may use the gateway topics, from its next connection on
    #[arg(long, value_name = "true|false")]
    gateway: Option<bool>,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only devices of this profile
    #[arg(long)]
    profile: Option<String>,
    /// Only devices whose name begins so
    #[arg(long)]
    prefix: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct CredentialsCommand {
    /// Name of the device
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    name: String,
    #[command(flatten)]
    replacement: CredentialArgs,
}

/// What a device has to present: a token, or a combination of the others.
#[derive(Debug, Args)]
pub(super) struct CredentialArgs {
    /// Access token, which the device sends as its user name
    #[arg(long, conflicts_with_all = ["client_id", "user_name", "password"])]
    token: Option<String>,
    /// MQTT client identifier
    #[arg(long)]
    client_id: Option<String>,
    /// MQTT user name
    #[arg(long)]
    user_name: Option<String>,
    /// MQTT password
    #[arg(long)]
    password: Option<String>,
}

impl CredentialArgs {
    fn credentials(self) -> Option<Credentials> {
        match self {
            Self { token: Some(token), .. } => Some(Credentials::AccessToken { token }),
            Self { client_id: None, user_name: None, password: None, .. } => None,
            Self { client_id, user_name, password, .. } => {
                Some(Credentials::MqttBasic { client_id, user_name, password })
            }
        }
    }
}

pub(super) fn run(common: &Common, remote: &Remote, command: Device) -> anyhow::Result<()> {
    let client = common.client(remote)?;
    match command {
        Device::Add(add) => {
            let Add { name, profile, gateway, credentials } = add;
            let wanted =
                DeviceToCreate { name, profile: Some(profile), gateway, credentials: credentials.credentials() };
            let created: CreatedDevice = client.send(Method::POST, "/api/v1/devices", &wanted)?;
            if common.json {
                return json(&created);
            }
            line(format_args!("created {}", created.device.name))?;
            show_credentials(&created.credentials)
        }
        Device::List(list) => {
            let devices = all(&client, &list)?;
            if common.json {
                return json(&devices);
            }
            let row = |device: Shown| {
                let gateway = if device.gateway { "yes" } else { "" };
                [device.name, device.profile, gateway.to_owned(), time(device.created)]
            };
            table(["name", "profile", "gateway", "created"], devices.into_iter().map(row))
        }
        Device::Show { name } => show(common, &client, &name),
        Device::Set(set) => {
            let update = DeviceUpdate { name: set.rename, profile: set.profile, gateway: set.gateway };
            let updated: Shown = client.send(Method::PATCH, &path(&set.name, ""), &update)?;
            if common.json {
                return json(&updated);
            }
            line(format_args!("{}: profile {}, gateway {}", updated.name, updated.profile, updated.gateway))
        }
        Device::Rm { name } => {
            client.delete(&path(&name, ""))?;
            if common.json { json(&serde_json::json!({})) } else { line(format_args!("deleted {name}")) }
        }
        Device::Credentials(command) => {
            let place = path(&command.name, "/credentials");
            let credentials: Credentials = match command.replacement.credentials() {
                Some(replacement) => client.send(Method::PUT, &place, &replacement)?,
                None => client.get(&place)?,
            };
            if common.json { json(&credentials) } else { show_credentials(&credentials) }
        }
    }
}

fn path(name: &str, rest: &str) -> String {
    format!("/api/v1/devices/{}{rest}", escape(name))
}

fn all(client: &Client, list: &List) -> anyhow::Result<Vec<Shown>> {
    let mut devices = Vec::new();
    let mut after = None;
    loop {
        let mut query = vec!["limit=1000".to_owned()];
        let given = [("profile", &list.profile), ("prefix", &list.prefix), ("after", &after)];
        let given = given.into_iter().filter_map(|(key, value)| Some(format!("{key}={}", escape(value.as_deref()?))));
        query.extend(given);
        let page: DevicePage = client.get(&format!("/api/v1/devices?{}", query.join("&")))?;
        devices.extend(page.devices);
        after = page.next;
        if after.is_none() {
            return Ok(devices);
        }
    }
}

fn show(common: &Common, client: &Client, name: &str) -> anyhow::Result<()> {
    let state: DeviceState = client.get(&path(name, ""))?;
    let telemetry: Value = client.get(&path(name, "/telemetry"))?;
    let attributes: Value = client.get(&path(name, "/attributes/client"))?;
    if common.json {
        let mut state = serde_json::to_value(&state)?;
        state["telemetry"] = telemetry;
        state["client_attributes"] = attributes;
        return json(&state);
    }
    let connection = state.connection.as_ref().map_or_else(
        || "never connected".to_owned(),
        |connection| {
            let word = if connection.connected { "connected" } else { "disconnected" };
            format!("{word} since {}", time(connection.last_change))
        },
    );
    let Shown { name, id, profile, gateway, created } = state.device;
    line(format_args!(
        "{name} (id {id}): profile {profile}, gateway {gateway}, created {}, {connection}",
        time(created)
    ))?;
    values("telemetry", &telemetry)?;
    values("client attribute", &attributes)
}

fn values(what: &str, values: &Value) -> anyhow::Result<()> {
    let Some(values) = values.as_object().filter(|values| !values.is_empty()) else { return Ok(()) };
    let row = |(key, stamped): (&String, &Value)| {
        let at = stamped.get("time").and_then(Value::as_i64).map(time).unwrap_or_default();
        [key.clone(), stamped.get("value").unwrap_or(&Value::Null).to_string(), at]
    };
    table([what, "value", "time"], values.iter().map(row))
}

fn show_credentials(credentials: &Credentials) -> anyhow::Result<()> {
    match credentials {
        Credentials::AccessToken { token } => line(format_args!("access token: {token}")),
        Credentials::MqttBasic { client_id, user_name, password } => {
            let parts = [("client id", client_id), ("user name", user_name), ("password", password)];
            for (name, value) in parts {
                if let Some(value) = value {
                    line(format_args!("{name}: {value}"))?;
                }
            }
            Ok(())
        }
    }
}
