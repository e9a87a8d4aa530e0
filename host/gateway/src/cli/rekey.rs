//! `tidegate rekey`

use anyhow::ensure;
use platform::registry::{Registry, Settings, Sqlite};

use super::Common;
use super::output::{json, line};

/// Replaces the key of the registry (design §6: "replaceable"). Offline, since it is rare and holds all writes up.
pub(super) fn run(common: &Common) -> anyhow::Result<()> {
    let data = common.settings()?.data;
    let file = data.join("registry.db");
    ensure!(file.is_file(), "{}: there is no registry", file.display());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let registry = Sqlite::open(&data, &Settings::default()).await?;
        let replaced = registry.rekey().await;
        registry.close().await;
        replaced
    })?;
    let key = data.join("registry.key");
    if common.json {
        return json(&serde_json::json!({ "key": key }));
    }
    line(format_args!("{} is a new key, and every credential is encrypted with it", key.display()))
}
