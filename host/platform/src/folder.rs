//! Folders whose names are durable: what is acknowledged must not vanish with the folder it is in.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Creates a folder and what is missing above it, for the owner only (mode 0700), on stable storage when it returns.
/// Changes nothing if it is there.
///
/// # Errors
/// As the operating system says.
pub fn create(folder: &Path) -> io::Result<()> {
    let missing = folder.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists());
    let missing: Vec<_> = missing.collect();
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    missing.into_iter().try_for_each(sync_name)
}

/// Makes the name of a file or folder durable, by syncing the folder that it is in.
///
/// # Errors
/// As the operating system says.
pub(crate) fn sync_name(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn everything_that_was_missing_is_created_for_the_owner_only() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("a/b/c");
        create(&folder).unwrap();
        create(&folder).unwrap();
        for folder in folder.ancestors().take(3) {
            assert_eq!(folder.metadata().unwrap().permissions().mode() & 0o777, 0o700, "{}", folder.display());
        }
        let file = parent.path().join("file");
        std::fs::write(&file, "in the way").unwrap();
        assert!(create(&file).is_err() && create(&file.join("below")).is_err());
    }

    #[test]
    fn a_folder_can_be_named_relative_to_the_current_one() {
        for path in ["Cargo.toml", "./Cargo.toml", "src/lib.rs"] {
            sync_name(Path::new(path)).unwrap();
        }
        assert!(sync_name(Path::new("no such folder/file")).is_err());
    }
}
