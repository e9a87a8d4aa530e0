//! The file that holds the key, and how it is replaced without a moment in which a crash would lose access.
//!
//! The registry records which key its credentials are written with. A new key is put on disk as a second file before
//! the registry refers to it, and becomes the first file after. Whatever the moment of a crash, one of the two files
//! holds the key that the registry refers to, and [`KeyFile::settle`] finds it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::key::{KEY_LENGTH, Keys};
use crate::folder;
use crate::registry::{Error, KeyProblem};

/// Where the key lies.
#[derive(Debug, Clone)]
pub(super) struct KeyFile {
    current: PathBuf,
    next: PathBuf,
    /// The registry it belongs to, for error messages.
    registry: PathBuf,
}

impl KeyFile {
    pub(super) fn new(folder: &Path, registry: &Path) -> Self {
        Self {
            current: folder.join("registry.key"),
            next: folder.join("registry.key.next"),
            registry: registry.to_owned(),
        }
    }

    /// The key for a registry that has none yet: a new one, or one that an earlier start left before it was recorded.
    pub(super) fn create(&self) -> Result<Keys, Error> {
        match read(&self.current)? {
            Some(keys) => Ok(keys),
            None => write_new(&self.current),
        }
    }

    /// The key with this id, which the registry refers to. Finishes or takes back a replacement that was interrupted.
    pub(super) fn settle(&self, id: &str) -> Result<Keys, Error> {
        let current = match read(&self.current) {
            Ok(Some(keys)) if keys.id() == id => {
                remove(&self.next)?;
                return Ok(keys);
            }
            current => current,
        };
        match read(&self.next)? {
            Some(keys) if keys.id() == id => {
                self.promote()?;
                return Ok(keys);
            }
            _ => {}
        }
        let registry = self.registry.clone();
        let problem =
            if current?.is_some() { KeyProblem::Wrong { registry } } else { KeyProblem::Missing { registry } };
        Err(failure(&self.current, problem))
    }

    /// Puts a new key beside the current one. The registry may refer to it once this has returned.
    pub(super) fn prepare(&self, current: &Keys) -> Result<Keys, Error> {
        match read(&self.next)? {
            // The last replacement could not be finished: this is the only copy of the current key.
            Some(next) if next.id() == current.id() => self.promote()?,
            // The last replacement was taken back, or so the database said. Only a restart shows which key a failed
            // commit has left, so this file stays until then, and its key is as new as any.
            Some(next) => return Ok(next),
            None => {}
        }
        write_new(&self.next)
    }

    /// Makes the second file the first, once the registry refers to its key.
    pub(super) fn promote(&self) -> Result<(), Error> {
        fs::rename(&self.next, &self.current)
            .and_then(|()| folder::sync_name(&self.current))
            .map_err(|error| failed(&self.next, &error))
    }
}

fn read(path: &Path) -> Result<Option<Keys>, Error> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(path, &error)),
    };
    let metadata = file.metadata().map_err(|error| failed(path, &error))?;
    let permissions = metadata.mode() & 0o7777;
    if permissions & 0o077 != 0 {
        return Err(failure(path, KeyProblem::Permissions(permissions)));
    }
    if metadata.len() != KEY_LENGTH as u64 {
        return Err(failure(path, KeyProblem::Length(metadata.len())));
    }
    let mut key = Zeroizing::new([0; KEY_LENGTH]);
    file.read_exact(&mut *key).map_err(|error| failed(path, &error))?;
    Ok(Some(Keys::derive(&key)))
}

fn write_new(path: &Path) -> Result<Keys, Error> {
    let mut key = Zeroizing::new([0; KEY_LENGTH]);
    getrandom::fill(&mut *key).map_err(|error| Error::Random(error.to_string()))?;
    // Under another name first: a file of this name is always whole.
    let draft = path.with_extension("draft");
    let write = || {
        remove_if_there(&draft)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(&*key)?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        folder::sync_name(path)
    };
    write().map_err(|error| failed(path, &error))?;
    Ok(Keys::derive(&key))
}

fn remove(path: &Path) -> Result<(), Error> {
    remove_if_there(path).map_err(|error| failed(path, &error))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn failure(path: &Path, problem: KeyProblem) -> Error {
    Error::Key { file: path.to_owned(), problem }
}

fn failed(path: &Path, error: &io::Error) -> Error {
    failure(path, KeyProblem::File(error.to_string()))
}
