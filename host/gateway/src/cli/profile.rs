//! `tidegate profile …`

use clap::Subcommand;

use super::output::{json, table};
use super::{Common, Remote};
use crate::admin::profiles::ProfileStatus;

#[derive(Debug, Subcommand)]
pub(super) enum Profile {
    /// List profiles, with what is wrong with them
    List,
}

pub(super) fn run(common: &Common, remote: &Remote, command: &Profile) -> anyhow::Result<()> {
    let Profile::List = command;
    let profiles: Vec<ProfileStatus> = common.client(remote)?.get("/api/v1/profiles")?;
    if common.json {
        return json(&profiles);
    }
    let row = |profile: ProfileStatus| {
        let plugin = match (profile.plugin, profile.plugin_version) {
            (Some(plugin), Some(version)) => format!("{plugin} {version}"),
            _ => String::new(),
        };
        [profile.name, profile.revision.unwrap_or_default(), plugin, profile.problem.unwrap_or_default()]
    };
    table(["profile", "revision", "plugin", "problem"], profiles.into_iter().map(row))
}
