//! Devices, their credentials, and what is known of them.
#![allow(unused_qualifications)] // in what utoipa makes of the query types

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use model::{Stamped, TenantId, Timestamp};
use platform::projection::Values;
use platform::registry::{self, Credential, NewDevice, Update};
use platform::{Secret, registry::Connectivity};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::problem::Problem;
use super::{Api, Body, Params, Path, device_named, done};
use crate::gateway;
use crate::json;
use crate::profile::DEFAULT;

const TENANT: TenantId = TenantId::DEFAULT;

/// A device.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Device {
    /// Its name, unique.
    pub name: String,
    /// Its number, which stays when it is renamed and is never used again.
    pub id: u64,
    /// The name of its profile.
    pub profile: String,
    /// Whether it may use the gateway topics.
    pub gateway: bool,
    /// When it was created, in milliseconds since the Unix epoch.
    pub created: i64,
}

/// A device and its connection.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct DeviceState {
    /// The device.
    #[serde(flatten)]
    pub device: Device,
    /// Its connection; absent if it never connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<Connection>,
}

/// The last connection of a device.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Connection {
    /// Whether it is open.
    pub connected: bool,
    /// The client identifier.
    pub client_id: String,
    /// When it began, in milliseconds since the Unix epoch.
    pub since: i64,
    /// When `connected` changed last.
    pub last_change: i64,
}

/// A device to be created.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceToCreate {
    /// 1 to 255 characters, unique.
    pub name: String,
    /// The name of its profile; `default` if absent.
    pub profile: Option<String>,
    /// Whether it may use the gateway topics.
    #[serde(default)]
    pub gateway: bool,
    /// What it has to present; a generated access token if absent.
    pub credentials: Option<Credentials>,
}

/// A device that was created.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct CreatedDevice {
    /// The device.
    #[serde(flatten)]
    pub device: Device,
    /// What it has to present.
    pub credentials: Credentials,
}

/// What to change of a device; what is absent stays.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceUpdate {
    /// Another name.
    pub name: Option<String>,
    /// Another profile.
    pub profile: Option<String>,
    /// Another gateway flag, read when the device connects the next time.
    pub gateway: Option<bool>,
}

/// What a device presents in CONNECT.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", deny_unknown_fields)]
pub enum Credentials {
    /// A token as the user name.
    #[serde(rename = "ACCESS_TOKEN")]
    AccessToken {
        /// The token.
        token: String,
    },
    /// Client id, user name and password in one of the combinations: user name; user name and password; client id;
    /// client id and user name; all three.
    #[serde(rename = "MQTT_BASIC")]
    MqttBasic {
        /// The client identifier.
        #[serde(skip_serializing_if = "Option::is_none")]
        client_id: Option<String>,
        /// The user name.
        #[serde(skip_serializing_if = "Option::is_none")]
        user_name: Option<String>,
        /// The password.
        #[serde(skip_serializing_if = "Option::is_none")]
        password: Option<String>,
    },
}

/// Which devices to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// Only those of this profile.
    profile: Option<String>,
    /// Only those whose name begins so.
    prefix: Option<String>,
    /// Only those behind this name: `next` of the page before.
    after: Option<String>,
    /// At most so many, 1 to 1000; 100 if absent.
    limit: Option<usize>,
}

/// A page of devices, by name.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct DevicePage {
    /// The devices.
    pub devices: Vec<Device>,
    /// What to give as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Lists devices
#[utoipa::path(get, path = "/api/v1/devices", operation_id = "list_devices", tag = "devices", params(ListQuery),
    responses((status = 200, body = DevicePage), (status = 400, body = Problem)))]
pub async fn list(State(api): State<Api>, Params(query): Params<ListQuery>) -> Result<Json<DevicePage>, Problem> {
    let query = registry::Query {
        profile: query.profile,
        prefix: query.prefix.unwrap_or_default(),
        after: query.after,
        limit: query.limit.unwrap_or(100),
    };
    let page = api.registry().list_devices(TENANT, &query).await?;
    Ok(Json(DevicePage { devices: page.devices.into_iter().map(Device::from).collect(), next: page.next }))
}

/// Creates a device
#[utoipa::path(post, path = "/api/v1/devices", operation_id = "create_device", tag = "devices", request_body = DeviceToCreate,
    responses((status = 201, body = CreatedDevice), (status = 400, body = Problem), (status = 409, body = Problem)))]
pub async fn create(
    State(api): State<Api>,
    Body(wanted): Body<DeviceToCreate>,
) -> Result<(StatusCode, Json<CreatedDevice>), Problem> {
    let profile = wanted.profile.unwrap_or_else(|| DEFAULT.to_owned());
    check_profile(&api, &profile)?;
    let credential = wanted.credentials.map(Credential::try_from).transpose()?;
    let device = NewDevice { name: wanted.name, profile, gateway: wanted.gateway, credential, created: gateway::now() };
    let created = one(api.registry().create_devices(TENANT, vec![device]).await)?;
    let credentials = Credentials::from(&created.credential);
    Ok((StatusCode::CREATED, Json(CreatedDevice { device: created.device.into(), credentials })))
}

/// Shows a device
#[utoipa::path(get, path = "/api/v1/devices/{name}", operation_id = "show_device", tag = "devices", params(("name" = String, Path)),
    responses((status = 200, body = DeviceState), (status = 404, body = Problem)))]
pub async fn show(State(api): State<Api>, Path(name): Path<String>) -> Result<Json<DeviceState>, Problem> {
    let device = device_named(&api, name).await?;
    let connection = api.projection.connectivity(TENANT, device.id).await?.map(Connection::from);
    Ok(Json(DeviceState { device: device.into(), connection }))
}

/// Renames a device, or changes its profile or its gateway flag
#[utoipa::path(patch, path = "/api/v1/devices/{name}", operation_id = "update_device", tag = "devices", params(("name" = String, Path)),
    request_body = DeviceUpdate,
    responses((status = 200, body = Device), (status = 400, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub async fn update(
    State(api): State<Api>,
    Path(name): Path<String>,
    Body(wanted): Body<DeviceUpdate>,
) -> Result<Json<Device>, Problem> {
    let device = device_named(&api, name).await?;
    if let Some(profile) = &wanted.profile {
        check_profile(&api, profile)?;
    }
    let update = Update { name: wanted.name, profile: wanted.profile, gateway: wanted.gateway };
    let updated = one(api.registry().update_devices(TENANT, vec![(device.id, update)]).await)?;
    Ok(Json(updated.into()))
}

/// Deletes a device with everything that is known of it
#[utoipa::path(delete, path = "/api/v1/devices/{name}", operation_id = "remove_device", tag = "devices", params(("name" = String, Path)),
    responses((status = 200), (status = 404, body = Problem)))]
pub async fn remove(State(api): State<Api>, Path(name): Path<String>) -> Result<Json<serde_json::Value>, Problem> {
    let device = device_named(&api, name).await?;
    one(api.registry().delete_devices(TENANT, vec![device.id]).await)?;
    Ok(done())
}

/// Shows what a device has to present
#[utoipa::path(get, path = "/api/v1/devices/{name}/credentials", operation_id = "show_credentials", tag = "devices", params(("name" = String, Path)),
    responses((status = 200, body = Credentials), (status = 404, body = Problem)))]
pub async fn credentials(State(api): State<Api>, Path(name): Path<String>) -> Result<Json<Credentials>, Problem> {
    let device = device_named(&api, name).await?;
    let found = api.registry().device_credentials(TENANT, &[device.id]).await?;
    let found = found.into_iter().flatten().next();
    found
        .map(|found| Json(Credentials::from(&found.credential)))
        .ok_or_else(|| Problem::not_found("the device was deleted just now"))
}

/// Replaces what a device has to present; closes its session
#[utoipa::path(put, path = "/api/v1/devices/{name}/credentials", operation_id = "replace_credentials", tag = "devices", params(("name" = String, Path)),
    request_body = Credentials,
    responses((status = 200, body = Credentials), (status = 400, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub async fn set_credentials(
    State(api): State<Api>,
    Path(name): Path<String>,
    Body(wanted): Body<Credentials>,
) -> Result<Json<Credentials>, Problem> {
    let device = device_named(&api, name).await?;
    let credential = Credential::try_from(wanted.clone())?;
    one(api.registry().set_credentials(TENANT, vec![(device.id, credential)]).await)?;
    Ok(Json(wanted))
}

/// The latest value of every telemetry key
#[utoipa::path(get, path = "/api/v1/devices/{name}/telemetry", operation_id = "latest_values", tag = "devices", params(("name" = String, Path)),
    responses((status = 200, description = "An object: key to `{\"time\":…,\"value\":…}`", body = Object), (status = 404, body = Problem)))]
pub async fn latest_values(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Json<serde_json::Value>, Problem> {
    let device = device_named(&api, name).await?;
    Ok(Json(stamped(api.projection.latest_values(TENANT, device.id).await?)))
}

/// The attributes that a device wrote about itself
#[utoipa::path(get, path = "/api/v1/devices/{name}/attributes/client", operation_id = "client_attributes", tag = "devices", params(("name" = String, Path)),
    responses((status = 200, description = "An object: key to `{\"time\":…,\"value\":…}`", body = Object), (status = 404, body = Problem)))]
pub async fn client_attributes(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Json<serde_json::Value>, Problem> {
    let device = device_named(&api, name).await?;
    Ok(Json(stamped(api.projection.client_attributes(TENANT, device.id).await?)))
}

fn stamped(values: Values) -> serde_json::Value {
    let member = |(key, stamped): (String, Stamped)| {
        (key, serde_json::json!({ "time": stamped.time.0, "value": json::value(&stamped.value) }))
    };
    serde_json::Value::Object(values.into_iter().map(member).collect())
}

fn check_profile(api: &Api, profile: &str) -> Result<(), Problem> {
    match api.gateway.profiles.get(profile) {
        Some(_) => Ok(()),
        None => Err(Problem::invalid(format!("profile: there is none named {profile:?}"))),
    }
}

/// The answer for the one item of a batch of one.
fn one<T>(results: Vec<Result<T, registry::Error>>) -> Result<T, Problem> {
    match results.into_iter().next() {
        Some(result) => Ok(result?),
        None => Err(Problem::unavailable("the registry did not answer")),
    }
}

impl From<registry::Device> for Device {
    fn from(device: registry::Device) -> Self {
        let registry::Device { id, name, profile, gateway, created: Timestamp(created), .. } = device;
        Self { name, id: id.0, profile, gateway, created }
    }
}

impl From<Connectivity> for Connection {
    fn from(row: Connectivity) -> Self {
        let Connectivity { connected, client_id, since, last_change, .. } = row;
        Self { connected, client_id, since: since.0, last_change: last_change.0 }
    }
}

impl From<&Credential> for Credentials {
    fn from(credential: &Credential) -> Self {
        let text = |part: Option<&Secret>| part.map(|part| part.expose().to_owned());
        match credential {
            Credential::Token(token) => Self::AccessToken { token: token.expose().to_owned() },
            Credential::Basic(basic) => Self::MqttBasic {
                client_id: text(basic.client_id()),
                user_name: text(basic.user_name()),
                password: text(basic.password()),
            },
        }
    }
}

impl TryFrom<Credentials> for Credential {
    type Error = Problem;

    fn try_from(credentials: Credentials) -> Result<Self, Problem> {
        let secret = |part: Option<String>| part.map(Secret::new);
        match credentials {
            Credentials::AccessToken { token } => Self::token(Secret::new(token)),
            Credentials::MqttBasic { client_id, user_name, password } => {
                Self::basic(secret(client_id), secret(user_name), secret(password))
            }
        }
        .map_err(|error| Problem::invalid(format!("credentials: {error}")))
    }
}
