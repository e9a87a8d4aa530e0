//! When the directories with plugins and profiles have changed, and have settled.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::timeout;

/// A burst of events, such as a file being copied, has ended when nothing happens for so long.
const SETTLE: Duration = Duration::from_millis(300);
/// Not every file system tells of its changes, and some change all the time, so the directories are looked at again after
/// so long.
const RESCAN: Duration = Duration::from_secs(15);

/// Watches directories and everything in them. The directories and not the files: whoever replaces a file by renaming
/// another one over it, as Kubernetes does, changes the directory.
#[derive(Debug)]
pub struct Watch {
    _watcher: RecommendedWatcher,
    changed: Arc<Notify>,
}

/// A directory cannot be watched.
#[derive(Debug, thiserror::Error)]
#[error("cannot watch {path}: {source}")]
pub struct WatchError {
    path: PathBuf,
    source: notify::Error,
}

impl Watch {
    /// Starts to watch.
    ///
    /// # Errors
    /// A directory does not exist, or the system has no more watches.
    pub fn new<'a>(directories: impl IntoIterator<Item = &'a Path>) -> Result<Self, WatchError> {
        let changed = Arc::new(Notify::new());
        let notify = changed.clone();
        let error = |path: &Path| {
            let path = path.to_owned();
            move |source| WatchError { path, source }
        };
        // Whatever it says, errors included, is a reason to look.
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if !event.is_ok_and(|event| event.kind.is_access()) {
                notify.notify_one();
            }
        })
        .map_err(error(Path::new(".")))?;
        for directory in directories {
            watcher.watch(directory, RecursiveMode::Recursive).map_err(error(directory))?;
        }
        Ok(Self { _watcher: watcher, changed })
    }

    /// Returns when something has changed and then nothing more for a moment, or when it is time to look again anyway.
    /// May return without a change; compare contents.
    pub async fn settled(&self) {
        settled(&self.changed, SETTLE, RESCAN).await;
    }
}

async fn settled(changed: &Notify, settle: Duration, rescan: Duration) {
    if timeout(rescan, changed.notified()).await.is_ok() {
        let quiet = async { while timeout(settle, changed.notified()).await.is_ok() {} };
        // Whoever writes without end into the directory must not keep everybody else's changes from being seen.
        let _ = timeout(rescan, quiet).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[tokio::test]
    async fn a_burst_of_changes_is_told_once_it_is_over() {
        let directory = std::env::temp_dir().join(format!("tidegate-watch-{}", std::process::id()));
        fs::create_dir_all(directory.join("deep")).unwrap();
        let watch = Watch::new([directory.as_path()]).unwrap();
        let writer = tokio::spawn({
            let file = directory.join("deep/file");
            async move {
                for part in 0..5 {
                    fs::write(&file, "x".repeat(part)).unwrap();
                    tokio::time::sleep(SETTLE / 3).await;
                }
            }
        });
        watch.settled().await;
        assert!(writer.is_finished(), "told while the file was still being written");
        fs::remove_dir_all(directory).unwrap();
    }

    #[tokio::test]
    async fn changes_without_end_are_told_all_the_same() {
        let changed = Notify::new();
        let (settle, rescan) = (Duration::from_millis(200), Duration::from_millis(400));
        let writer = async {
            loop {
                changed.notify_one();
                tokio::time::sleep(settle / 40).await;
            }
        };
        tokio::select! {
            () = settled(&changed, settle, rescan) => {}
            () = writer => unreachable!(),
            () = tokio::time::sleep(Duration::from_secs(20)) => panic!("never told"),
        }
    }

    #[test]
    fn a_missing_directory_is_named() {
        let error = Watch::new([Path::new("/nowhere/at/all")]).unwrap_err();
        assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
    }
}
