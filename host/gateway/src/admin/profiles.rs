//! The profiles in force, and what is wrong with those that are not.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;

/// A device profile.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ProfileStatus {
    /// Its name.
    pub name: String,
    /// The revision in force: a hash of its text, its plugins and every file it names. Absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The plugin that decodes its payloads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin: Option<String>,
    /// The version of that plugin: a hash of its bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin_version: Option<String>,
    /// What is wrong with the newest version of its files; then an older one is in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Lists profiles
#[utoipa::path(get, path = "/api/v1/profiles", operation_id = "list_profiles", tag = "profiles", responses((status = 200, body = Vec<ProfileStatus>)))]
pub async fn list(State(api): State<Api>) -> Json<Vec<ProfileStatus>> {
    let set = api.gateway.profiles.all();
    let mut names: Vec<&String> = set.profiles.keys().chain(set.problems.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let status = |name: &String| {
        let profile = set.profiles.get(name);
        ProfileStatus {
            name: name.clone(),
            revision: profile.map(|profile| profile.revision.clone()),
            plugin: profile.map(|profile| profile.converter.plugin().name().to_owned()),
            plugin_version: profile.map(|profile| profile.converter.plugin().version().to_owned()),
            problem: set.problems.get(name).cloned(),
        }
    };
    Json(names.into_iter().map(status).collect())
}
