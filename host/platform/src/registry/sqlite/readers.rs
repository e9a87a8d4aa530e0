//! A few connections that only read, lent to callers one at a time.
//!
//! A read runs in its caller's task, on its caller's runtime: statements are executed by the connection's own thread, and
//! nothing in between belongs to a runtime. Dropping the caller's future gives the connection back.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::sql::Stop;
use crate::registry::Error;

/// How many reads run at the same time.
const CONNECTIONS: u32 = 4;

/// The connections.
#[derive(Debug)]
pub(super) struct Readers {
    file: PathBuf,
    options: SqliteConnectOptions,
    idle: Mutex<Vec<SqliteConnection>>,
    permits: Semaphore,
}

impl Readers {
    /// Opens a file that the writer has open.
    pub(super) async fn open(file: PathBuf, options: SqliteConnectOptions) -> Result<Self, Error> {
        let readers = Self {
            file,
            options: options.read_only(true),
            idle: Mutex::new(Vec::new()),
            permits: Semaphore::new(CONNECTIONS as usize),
        };
        for _ in 0..CONNECTIONS {
            let db = readers.options.connect().await.map_err(|error| readers.failed(error.into(), "opening"))?;
            readers.put_back(db);
        }
        Ok(readers)
    }

    /// Reads with a connection, waiting for one if all are in use.
    pub(super) async fn read<T>(
        &self,
        doing: &'static str,
        read: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, Stop>,
    ) -> Result<T, Error> {
        let permit = self.permits.acquire().await.map_err(|_| Error::Closed)?;
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut loan = Loan { readers: self, db: idle, _permit: permit };
        let db = match &mut loan.db {
            Some(db) => db,
            // One was lost with a crashed thread.
            none => none.insert(self.options.connect().await.map_err(|error| self.failed(error.into(), "opening"))?),
        };
        let result = read(db).await;
        if matches!(result, Err(Stop::Sql(sqlx::Error::WorkerCrashed))) {
            loan.db = None;
        }
        result.map_err(|stop| self.failed(stop, doing))
    }

    pub(super) fn is_closed(&self) -> bool {
        self.permits.is_closed()
    }

    /// Waits for the reads under way; those that come later fail.
    pub(super) async fn close(&self) {
        let Ok(_all) = self.permits.acquire_many(CONNECTIONS).await else { return };
        self.permits.close();
        let idle = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        for db in idle {
            // A connection that only reads has nothing to lose.
            let _ = db.close().await;
        }
    }

    /// The file makes no sense.
    pub(super) fn damaged(&self, cause: &str) -> Error {
        Error::Damaged { file: self.file.clone(), cause: cause.to_owned() }
    }

    fn put_back(&self, db: SqliteConnection) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(db);
    }

    fn failed(&self, stop: Stop, doing: &'static str) -> Error {
        stop.into_error(&self.file, doing)
    }
}

/// A connection that goes back when its reader is done or gone, before its permit does.
struct Loan<'a> {
    readers: &'a Readers,
    db: Option<SqliteConnection>,
    _permit: SemaphorePermit<'a>,
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        if let Some(db) = self.db.take() {
            self.readers.put_back(db);
        }
    }
}
