//! The thread that keeps the profiles in force the same as the folders say. Everything slow happens here.

use std::sync::Arc;
use std::thread;

use plugins::watch::Watch;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::build::{Builder, Progress};
use super::{DEFAULT, ProfileSet, Profiles};

/// Why the gateway cannot start for want of profiles.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Without the profile `default` no device can be served.
    #[error("profile {DEFAULT:?}: {0}")]
    Default(String),
    /// The thread could not be started.
    #[error("reload thread: {0}")]
    Thread(#[from] std::io::Error),
    /// The thread ended before it was ready; its panic is in the log.
    #[error("reload thread ended while starting")]
    Ended,
}

/// Builds the profiles once, puts them in force, and then follows the folders until `stop`.
///
/// # Errors
/// The profile `default` cannot be built. What is wrong with others is told by [`ProfileSet::problems`].
pub async fn start(
    builder: Builder,
    stop: CancellationToken,
    progress: impl Fn(&str) + Send + Sync + 'static,
) -> Result<Arc<Profiles>, StartError> {
    let (ready, started) = oneshot::channel();
    thread::Builder::new().name("reload".to_owned()).spawn(move || {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return drop(ready.send(Err(StartError::Thread(error)))),
        };
        runtime.block_on(run(builder, stop, &progress, ready));
    })?;
    started.await.map_err(|_| StartError::Ended)?
}

async fn run(
    mut builder: Builder,
    stop: CancellationToken,
    progress: Progress<'_>,
    ready: oneshot::Sender<Result<Arc<Profiles>, StartError>>,
) {
    let profiles = Arc::new(Profiles::default());
    // First, so that a change during the first build is not missed.
    let mut watch = watch(&builder);
    let set = builder.build(&ProfileSet::default(), progress).await.unwrap_or_default();
    for (name, problem) in &set.problems {
        tracing::error!(profile = name, "{problem}");
    }
    if !set.profiles.contains_key(DEFAULT) {
        let problem = set.problems.get(DEFAULT).cloned().unwrap_or_default();
        return drop(ready.send(Err(StartError::Default(problem))));
    }
    profiles.replace(set);
    if ready.send(Ok(profiles.clone())).is_err() {
        return;
    }
    // From here on nobody waits for this thread, and everybody else has work to do.
    if let Err(error) = rustix::process::nice(10) {
        tracing::debug!("the reload thread keeps its priority: {error}");
    }
    loop {
        tokio::select! { // both branches only wait
            () = stop.cancelled() => return,
            () = settled(watch.as_ref()) => {}
        }
        // A folder that was not there before may be now.
        if watch.as_ref().is_none_or(|watch| !watch.is_current()) {
            watch = self::watch(&builder);
        }
        let current = profiles.all();
        if let Some(set) = builder.build(&current, &|_| {}).await {
            report(&current, &set);
            profiles.replace(set);
        }
    }
}

fn watch(builder: &Builder) -> Option<Watch> {
    Watch::new(builder.folders()).inspect_err(|error| tracing::warn!("{error}; looking every 15 s instead")).ok()
}

async fn settled(watch: Option<&Watch>) {
    match watch {
        Some(watch) => watch.settled().await,
        None => tokio::time::sleep(std::time::Duration::from_secs(15)).await,
    }
}

fn report(old: &ProfileSet, new: &ProfileSet) {
    for (name, profile) in &new.profiles {
        let before = old.profiles.get(name).map(|profile| profile.revision.as_str());
        if before != Some(&profile.revision) {
            metrics::counter!("tidegate_profile_reloads_total", "profile" => name.clone(), "result" => "activated")
                .increment(1);
            tracing::info!(
                profile = name,
                revision = profile.revision,
                plugin = profile.converter.plugin().version(),
                "profile activated"
            );
        }
    }
    for (name, problem) in &new.problems {
        if old.problems.get(name) != Some(problem) {
            metrics::counter!("tidegate_profile_reloads_total", "profile" => name.clone(), "result" => "refused")
                .increment(1);
            tracing::error!(profile = name, "not activated, the old version stays: {problem}");
        }
    }
}
