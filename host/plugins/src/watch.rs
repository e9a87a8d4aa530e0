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
    /// Each with whether it existed.
    directories: Vec<(PathBuf, bool)>,
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
    /// Starts to watch. A directory that does not exist yet is waited for.
    ///
    /// # Errors
    /// The system has no more watches, or does not let us look.
    pub fn new<'a>(directories: impl IntoIterator<Item = &'a Path>) -> Result<Self, WatchError> {
        let directories: Vec<(PathBuf, bool)> =
            directories.into_iter().map(|path| (path.to_owned(), path.is_dir())).collect();
        let awaited: Vec<PathBuf> =
            directories.iter().filter(|(_, exists)| !exists).map(|(path, _)| below_its_parent(path)).collect();
        let parents: Vec<PathBuf> = awaited.iter().filter_map(|path| path.parent().map(Path::to_owned)).collect();
        let changed = Arc::new(Notify::new());
        let notify = changed.clone();
        let error = |path: &Path| {
            let path = path.to_owned();
            move |source| WatchError { path, source }
        };
        // What else happens beside a directory that is awaited is nobody's concern.
        let concerns = move |path: &PathBuf| {
            awaited.contains(path)
                || path.parent().is_none_or(|parent| awaited.iter().all(|it| it.parent() != Some(parent)))
        };
        // Whatever it says, errors included, is a reason to look.
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.map_or(true, |event| !event.kind.is_access() && event.paths.iter().any(&concerns)) {
                notify.notify_one();
            }
        })
        .map_err(error(Path::new(".")))?;
        for (directory, _) in directories.iter().filter(|(_, exists)| *exists) {
            watcher.watch(directory, RecursiveMode::Recursive).map_err(error(directory))?;
        }
        for parent in parents.iter().filter(|parent| parent.is_dir()) {
            watcher.watch(parent, RecursiveMode::NonRecursive).map_err(error(parent))?;
        }
        Ok(Self { _watcher: watcher, directories, changed })
    }

    /// Whether the same directories exist as when this was made; if not, it is time to make another one.
    pub fn is_current(&self) -> bool {
        self.directories.iter().all(|(path, existed)| path.is_dir() == *existed)
    }

    /// Returns when something has changed and then nothing more for a moment, or when it is time to look again anyway.
    /// May return without a change; compare contents.
    pub async fn settled(&self) {
        settled(&self.changed, SETTLE, RESCAN).await;
    }
}

/// `./profiles` for `profiles`: as the events of its parent name it.
fn below_its_parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new(".").join(path),
        _ => path.to_owned(),
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

    #[tokio::test]
    async fn a_directory_that_is_made_later_is_seen() {
        let parent = tempfile::tempdir().unwrap();
        let later = parent.path().join("later");
        let watch = Watch::new([later.as_path()]).unwrap();
        fs::write(parent.path().join("beside"), "x").unwrap();
        let nothing = timeout(SETTLE, watch.changed.notified()).await;
        assert!(nothing.is_err(), "told of what nobody asked for");
        assert!(watch.is_current());
        fs::create_dir(&later).unwrap();
        timeout(RESCAN, watch.changed.notified()).await.expect("told of the directory");
        assert!(!watch.is_current());
        // The next one watches what is in it.
        let watch = Watch::new([later.as_path()]).unwrap();
        fs::write(later.join("file"), "x").unwrap();
        timeout(RESCAN, watch.changed.notified()).await.expect("told of the file");
    }
}
