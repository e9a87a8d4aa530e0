//! From a folder to a running registry: lock, file, migrations, key.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, SqlSafeStr, SqliteConnection};
use tokio::sync::watch;

use super::key::Keys;
use super::key_file::KeyFile;
use super::readers::Readers;
use super::sql::{Stop, unsigned};
use super::writer::Writer;
use super::{Settings, Sqlite};
use crate::folder;
use crate::registry::Error;
use crate::registry::cache::Cache;
use crate::registry::change::Announcer;

/// The newest `meta.format` this build can read.
const FORMAT: u32 = 1;
const MIGRATIONS: [(i64, &str, &str); 1] = [(1, "registry", include_str!("../../../migrations/0001_registry.sql"))];

/// See [`Sqlite::open`].
pub(super) async fn open(folder: &Path, settings: &Settings) -> Result<Sqlite, Error> {
    let file = folder.join("registry.db");
    let lock = Lock::take(folder, &file)?;
    create(&file).map_err(|error| storage(&file, "creating", &error))?;

    let options = SqliteConnectOptions::new()
        .filename(&file)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(5))
        .statement_cache_capacity(256)
        .disable_statement_logging();
    let opening = |stop: Stop| stop.into_error(&file, "opening");
    let mut db = options.connect().await.map_err(|error| opening(error.into()))?;
    refuse_newer(&mut db, &file).await?;
    migrate(&mut db).await.map_err(opening)?;
    let key_file = KeyFile::new(folder, &file);
    let keys = start(&mut db, &key_file).await.map_err(opening)?;
    let readers = Readers::open(file.clone(), options).await?;

    let (keys, current_keys) = watch::channel(Arc::new(keys));
    let cache = Arc::new(Cache::new(settings.cached_credentials, settings.cached_misses));
    let announcer = Announcer::new();
    let writer = Writer {
        db,
        file: file.clone(),
        key_file,
        keys,
        cache: Arc::clone(&cache),
        announcer: announcer.clone(),
        lock,
    };
    let queue = writer.start().map_err(|error| storage(&file, "starting the writer", &error))?;
    Ok(Sqlite { keys: current_keys, cache, changes: announcer.source(), readers, queue })
}

/// One process at a time. The lock lies beside the database, because closing any descriptor of the database itself would
/// release SQLite's own locks on it. The system releases it when the process ends, however it ends.
pub(super) struct Lock(File);

impl Lock {
    fn take(folder: &Path, file: &Path) -> Result<Self, Error> {
        let path = folder.join("registry.lock");
        let open = || {
            folder::create(folder)?;
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)
        };
        let lock = open().map_err(|error| storage(&path, "opening", &error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self(lock)),
            Err(TryLockError::WouldBlock) => Err(Error::InUse { file: file.to_owned() }),
            Err(TryLockError::Error(error)) => Err(storage(&path, "locking", &error)),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file is not enough: a process that is just being started elsewhere in this one has a copy of the
        // descriptor for a moment, which would keep the lock.
        let _ = self.0.unlock();
    }
}

/// Makes sure that there is a file which only its owner can read. SQLite gives its side files the same permissions.
fn create(file: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
        Ok(_) => folder::sync_name(file),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::set_permissions(file, Permissions::from_mode(0o600))
        }
        Err(error) => Err(error),
    }
}

/// A newer program may have changed what this one would not understand.
async fn refuse_newer(db: &mut SqliteConnection, file: &Path) -> Result<(), Error> {
    let format = async {
        let has_meta = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'meta'";
        if sqlx::query(has_meta).fetch_optional(&mut *db).await?.is_none() {
            return Ok(0);
        }
        let format: i64 = sqlx::query_scalar("SELECT format FROM meta").fetch_one(db).await?;
        unsigned("meta.format", format)
    };
    let found = format.await.map_err(|stop: Stop| stop.into_error(file, "opening"))?;
    if found > FORMAT {
        return Err(Error::Newer { file: file.to_owned(), found, known: FORMAT });
    }
    Ok(())
}

async fn migrate(db: &mut SqliteConnection) -> Result<(), Stop> {
    let migration = |(version, name, sql): (i64, &'static str, &'static str)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    let mut migrator = Migrator::with_migrations(MIGRATIONS.into_iter().map(migration).collect());
    // Migrations that an older program does not know are fine as long as they left the format as it was.
    migrator.set_ignore_missing(true);
    migrator.run_direct(None, db, false).await.map_err(|error| match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => Stop::Sql(error),
        error => Stop::Sql(error.into()),
    })
}

/// Finds the key, and records which one it is.
async fn start(db: &mut SqliteConnection, key_file: &KeyFile) -> Result<Keys, Stop> {
    let id: Option<String> = sqlx::query_scalar("SELECT key_id FROM meta").fetch_one(&mut *db).await?;
    let keys = match id {
        Some(id) => key_file.settle(&id)?,
        None => key_file.create()?,
    };
    sqlx::query("UPDATE meta SET key_id = $1").bind(keys.id()).execute(db).await?;
    Ok(keys)
}

fn storage(file: &Path, doing: &'static str, error: &io::Error) -> Error {
    Error::Storage { file: file.to_owned(), doing, cause: error.to_string() }
}
