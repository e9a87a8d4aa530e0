//! Devices with tokens, made through the admin API.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::json;

/// The gateway commits what is asked for at once together, so it is asked by several.
const AT_ONCE: u32 = 16;

/// The admin API of a gateway.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    agent: ureq::Agent,
    url: String,
    token: String,
}

impl Api {
    /// That of the gateway with this data folder.
    ///
    /// # Errors
    /// It has not been started yet.
    pub(crate) fn find(data: &Path) -> anyhow::Result<Self> {
        let note = |name: &str| -> anyhow::Result<String> {
            let file = data.join(name);
            let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
            ensure!(text.ends_with('\n'), "{}: not written yet", file.display());
            Ok(text.trim().to_owned())
        };
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(30)))
            .build();
        Ok(Self {
            agent: config.into(),
            url: format!("http://{}", note("admin-address")?),
            token: note("admin-token")?,
        })
    }

    /// Whether the gateway serves devices.
    pub(crate) fn is_ready(&self) -> bool {
        self.agent.get(format!("{}/readyz", self.url)).call().is_ok_and(|answer| answer.status().is_success())
    }

    /// Makes devices, and a file with their tokens: one on a line. A device that is there already stays.
    pub(crate) fn create_devices(&self, count: u32, file: PathBuf) -> anyhow::Result<PathBuf> {
        let next = AtomicU32::new(0);
        let create = || {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= count {
                    return anyhow::Ok(());
                }
                self.create_device(index)?;
            }
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(create)).collect();
            threads
                .into_iter()
                .try_for_each(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })?;
        let tokens: String = (0..count).map(|index| token(index) + "\n").collect();
        fs::write(&file, tokens).with_context(|| file.display().to_string())?;
        Ok(file)
    }

    fn create_device(&self, index: u32) -> anyhow::Result<()> {
        const CONFLICT: u16 = 409;
        let device = json!({
            "name": format!("bench {index}"),
            "credentials": { "type": "ACCESS_TOKEN", "token": token(index) },
        });
        let mut answer = self
            .agent
            .post(format!("{}/api/v1/devices", self.url))
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json")
            .send(device.to_string())?;
        let status = answer.status();
        let text = answer.body_mut().read_to_string()?;
        ensure!(status.is_success() || status == CONFLICT, "device {index}: {status}: {text}");
        Ok(())
    }
}

/// As long as those that the gateway makes.
fn token(index: u32) -> String {
    format!("benchdevice{index:09}")
}
