//! `tidegate serve`

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use indicatif::ProgressBar;
use model::TenantId;
use platform::log::{Item, Limits};
use platform::registry::{Credential, DeviceKey, Error, NewDevice};
use tokio_util::sync::CancellationToken;

use super::{Common, output};
use crate::gateway::{self, Gateway};
use crate::profile::DEFAULT;
use crate::server::Server;
use crate::{json, logging};

/// The device that `--demo` makes.
const DEMO_DEVICE: &str = "demo";

#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Where devices connect by plain TCP
    #[arg(long, value_name = "ADDRESS:PORT")]
    bind: Option<String>,
    /// Folder of the shipped plugins
    #[arg(long, value_name = "DIR")]
    plugins: Option<String>,
    /// Folder of the device profiles
    #[arg(long, value_name = "DIR")]
    profiles: Option<String>,
    /// Make a device to try things with, print how, and show every event as it comes
    #[arg(long)]
    demo: bool,
}

pub(super) fn run(common: &Common, serve: &Serve) -> anyhow::Result<()> {
    let flags = [("bind", &serve.bind), ("plugins", &serve.plugins), ("profiles", &serve.profiles)];
    let given = flags.into_iter().filter_map(|(key, value)| Some(format!("{key}={}", value.as_deref()?)));
    let common = Common {
        config: common.config.clone(),
        data: common.data.clone(),
        set: given.chain(common.set.iter().cloned()).collect(),
        json: common.json,
    };
    let settings = common.settings()?;
    logging::start(&settings.log)?;
    // For the admin API, the registry's readers and the event log's; devices are served by threads of their own.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let stop = CancellationToken::new();
    runtime.block_on(async {
        let spinner = ProgressBar::new_spinner();
        let progress = spinner.clone();
        let server = Server::start(settings, stop.clone(), move |step| {
            progress.set_message(step.to_owned());
            progress.enable_steady_tick(Duration::from_millis(100));
            if !std::io::stderr().is_terminal() {
                tracing::info!("{step}");
            }
        })
        .await;
        spinner.finish_and_clear();
        let server = server?;
        tokio::spawn(stop_on_signal(stop)); // only now: until here a signal ends the process at once
        if serve.demo {
            demo(&server, common.json).await?;
        }
        server.run().await
    })
}

/// The first signal asks for an orderly end, the second does not wait for it.
async fn stop_on_signal(stop: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return tracing::warn!("signals cannot be caught; they end the process at once");
    };
    for orderly in [true, false] {
        tokio::select! { // both only wait
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if orderly {
            stop.cancel();
        } else {
            std::process::exit(130);
        }
    }
}

async fn demo(server: &Server, as_json: bool) -> anyhow::Result<()> {
    let gateway = &server.gateway;
    let token = demo_token(gateway).await.context("demo device")?;
    let port = server.address.port();
    eprintln!(
        "\nTry it from another terminal:\n\n  mosquitto_pub -d -q 1 -h 127.0.0.1 -p {port} -u {token} -t v1/devices/me/telemetry -m '{{\"temperature\":25.5,\"humidity\":60,\"status\":\"active\"}}'\n\nEvery event shows up here. Ctrl-C stops.\n"
    );
    tokio::spawn(show_events(gateway.clone(), as_json));
    Ok(())
}

/// The token of the demo device, which is made the first time.
async fn demo_token(gateway: &Gateway) -> anyhow::Result<String> {
    let tenant = TenantId::DEFAULT;
    let registry = &*gateway.registry;
    let device = NewDevice {
        name: DEMO_DEVICE.to_owned(),
        profile: DEFAULT.to_owned(),
        gateway: false,
        credential: None,
        created: gateway::now(),
    };
    let created = registry.create_devices(tenant, vec![device]).await.into_iter().next();
    let stored = match created.context("the registry did not answer")? {
        Ok(stored) => stored,
        Err(Error::NameTaken { .. }) => {
            let found = registry.devices(tenant, &[DeviceKey::Name(DEMO_DEVICE.to_owned())]).await?;
            let id = found.into_iter().flatten().next().context("it was deleted just now")?.id;
            let stored = registry.device_credentials(tenant, &[id]).await?;
            stored.into_iter().flatten().next().context("it was deleted just now")?
        }
        Err(error) => return Err(error.into()),
    };
    match stored.credential {
        Credential::Token(token) => Ok(token.expose().to_owned()),
        Credential::Basic(_) => anyhow::bail!("the device {DEMO_DEVICE:?} has no access token any more"),
    }
}

async fn show_events(gateway: Arc<Gateway>, as_json: bool) {
    let colours = std::io::stdout().is_terminal();
    let mut committed = gateway.log.committed();
    let mut position = gateway.log.end();
    loop {
        match gateway.log.read(position, Limits::default()).await {
            Ok(page) if page.is_empty() => {
                if committed.changed().await.is_err() {
                    return;
                }
            }
            Ok(page) => {
                position = page.next();
                for item in page.items() {
                    let Item::Event { event, .. } = item else { continue };
                    let object = json::event(&event);
                    let shown = if as_json {
                        output::line(serde_json::Value::Object(object))
                    } else {
                        output::line(output::event(&object, colours))
                    };
                    if shown.is_err() {
                        return;
                    }
                }
            }
            Err(error) => {
                tracing::warn!("events cannot be shown: {error}");
                position = gateway.log.end();
            }
        }
    }
}
