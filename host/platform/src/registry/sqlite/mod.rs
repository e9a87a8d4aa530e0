//! The registry on disk: one SQLite file in the data folder.
//!
//! - [`open`]: lock, file, migrations, key
//! - [`writer`]: the one writer, which groups what is waiting into transactions
//! - [`readers`]: connections that only read
//! - [`key`], [`key_file`], [`rekey`]: how credentials are hashed and encrypted, and with what
//! - [`tenants`], [`devices`], [`credentials`], [`profiles`], [`projection`]: the statements, table by table
//!
//! Statements keep to what PostgreSQL has, too (not yet tried on one); only the schema and the journal are SQLite's own.

mod credentials;
mod devices;
mod key;
mod key_file;
mod open;
mod profiles;
mod projection;
mod readers;
mod rekey;
mod sql;
mod tenants;
mod writer;

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use model::{DeviceId, TenantId};
use tokio::sync::watch;

use self::key::Keys;
use self::readers::Readers;
use self::sql::chunks;
use self::writer::{Queue, Turn, Write};
use super::cache::{Cache, Lookup, Place, Ticket};
use super::change::ChangeSource;
use super::{
    Changes, Connectivity, Credential, Device, DeviceKey, Error, Flush, Identity, NewDevice, Page, ProfileRow, Query,
    Registry, RowKind, StoredCredential, Tenant, Update,
};

/// The registry in a folder: `registry.db` with its `-wal` and `-shm`, `registry.key`, `registry.lock`, all with mode
/// 0600.
///
/// **Threads.** Writes go through a bounded queue to one thread with a runtime of its own, which groups them into
/// transactions. Reads run in the caller's task on one of a few connections. Both only wait on channels and semaphores,
/// so any number of current-thread runtimes can share one `Sqlite`, and none of them has to live as long.
///
/// **Durability.** Write-ahead log with `synchronous=FULL`: a write that was answered survives a power cut.
///
/// **Processes.** One at a time: a second one gets [`Error::InUse`], whatever it wants to do.
///
/// [`close`](Registry::close) it in the end. Dropping it instead also carries out what is queued, but nobody knows when.
#[derive(Debug)]
pub struct Sqlite {
    keys: watch::Receiver<Arc<Keys>>,
    cache: Arc<Cache>,
    changes: ChangeSource,
    readers: Readers,
    queue: Queue,
}

/// How much memory the registry may use.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How many credentials are kept in memory for the connect path, at about 400 bytes each.
    pub cached_credentials: NonZeroUsize,
    /// How many identities are remembered as unknown; one takes a fraction of what a credential takes.
    pub cached_misses: NonZeroUsize,
}

impl Default for Settings {
    fn default() -> Self {
        let entries = |entries| NonZeroUsize::new(entries).unwrap_or(NonZeroUsize::MIN);
        Self { cached_credentials: entries(50_000), cached_misses: entries(10_000) }
    }
}

impl Sqlite {
    /// Opens the registry in a folder, and creates both if need be.
    ///
    /// Reads and writes files before it returns; meant for the start of a process.
    ///
    /// # Errors
    /// [`Error::InUse`], [`Error::Key`], [`Error::Newer`], [`Error::Damaged`], [`Error::Storage`].
    pub async fn open(folder: &Path, settings: &Settings) -> Result<Self, Error> {
        open::open(folder, settings).await
    }

    /// Replaces the key: makes a new one and encrypts every credential with it, in one transaction during which other
    /// writes wait and reads do not. A crash at any moment leaves either the old key in force or the new one, and the
    /// next start finds the file that holds it.
    ///
    /// # Errors
    /// [`Error::Key`], [`Error::Damaged`] if a credential cannot be read with the old key, [`Error::Storage`].
    pub async fn rekey(&self) -> Result<(), Error> {
        self.queue.write(rekey::Rekey).await
    }

    /// A batch with an answer for each item; an error that concerns the whole batch is everybody's.
    async fn write_each<T, W>(&self, length: usize, write: W) -> Vec<Result<T, Error>>
    where
        W: Write<Outcome = Vec<Result<T, Error>>>,
    {
        if length == 0 {
            return Vec::new();
        }
        match self.queue.write(write).await {
            Ok(outcome) => outcome,
            Err(error) => (0..length).map(|_| Err(error.clone())).collect(),
        }
    }

    /// The credentials are written with other keys than these: the writer has committed new ones, and hands them out
    /// before it does anything else.
    async fn await_other(&self, keys: &Keys) -> Result<(), Error> {
        self.queue.write(Turn).await?;
        if self.keys.borrow().id() == keys.id() {
            return Err(self.readers.damaged("the key it refers to is not the one it was opened with"));
        }
        Ok(())
    }

    /// What storage has at the places that the cache did not know, and tells the cache. `None`: the key was replaced.
    async fn look_up(
        &self,
        keys: &Keys,
        unknown: &[(Place, Ticket)],
    ) -> Result<Option<HashMap<Place, Arc<StoredCredential>>>, Error> {
        let places: Vec<_> = unknown.iter().map(|(place, _)| *place).collect();
        let mut found = HashMap::new();
        for chunk in chunks(&places) {
            let read = async |db: &mut _| {
                let seen = credentials::at_places(db, chunk).await?;
                if seen.key_id == keys.id() { seen.by_place(keys).map(Some) } else { Ok(None) }
            };
            let Some(rows) = self.readers.read("looking up credentials", read).await? else { return Ok(None) };
            found.extend(rows.into_iter().filter_map(|(place, row)| Some((Place::try_from(place).ok()?, row))));
        }
        for (place, ticket) in unknown {
            self.cache.fill(*place, *ticket, found.get(place).cloned());
        }
        Ok(Some(found))
    }
}

#[async_trait]
impl Registry for Sqlite {
    fn changes(&self) -> Changes {
        self.changes.listen()
    }

    async fn credentials(&self, identities: &[Identity<'_>]) -> Result<Vec<Option<Arc<StoredCredential>>>, Error> {
        if self.readers.is_closed() {
            return Err(Error::Closed);
        }
        loop {
            let keys = Arc::clone(&self.keys.borrow());
            let places: Vec<_> = identities.iter().map(|identity| keys.place(identity)).collect();
            let known = self.cache.get(&places);
            let mut unknown: Vec<_> = std::iter::zip(&places, &known)
                .filter_map(
                    |(place, known)| if let Lookup::Unknown(ticket) = known { Some((*place, *ticket)) } else { None },
                )
                .collect();
            // A token and a lone user name are looked up at the same place.
            unknown.sort_unstable_by_key(|(place, _)| *place);
            unknown.dedup_by_key(|(place, _)| *place);
            let Some(found) = self.look_up(&keys, &unknown).await? else {
                self.await_other(&keys).await?;
                continue;
            };
            let answers =
                std::iter::zip(identities, std::iter::zip(places, known)).map(|(identity, (place, known))| {
                    let credential = match known {
                        Lookup::Found(credential) => Some(credential),
                        Lookup::Absent => None,
                        Lookup::Unknown(_) => found.get(&place).cloned(),
                    };
                    credential.filter(|stored| stored.credential.identity().kind() == identity.kind())
                });
            return Ok(answers.collect());
        }
    }

    async fn tenants(&self) -> Result<Vec<Tenant>, Error> {
        self.readers.read("listing tenants", async |db| tenants::all(db).await).await
    }

    async fn create_tenants(&self, names: Vec<String>) -> Vec<Result<Tenant, Error>> {
        self.write_each(names.len(), tenants::Create(names)).await
    }

    async fn create_devices(&self, tenant: TenantId, devices: Vec<NewDevice>) -> Vec<Result<StoredCredential, Error>> {
        let devices: Vec<_> = devices.into_iter().map(NewDevice::complete).collect();
        self.write_each(devices.len(), devices::Create { tenant, devices }).await
    }

    async fn devices(&self, tenant: TenantId, keys: &[DeviceKey]) -> Result<Vec<Option<Device>>, Error> {
        self.readers.read("reading devices", async |db| devices::get(db, tenant, keys).await).await
    }

    async fn list_devices(&self, tenant: TenantId, query: &Query) -> Result<Page, Error> {
        query.check()?;
        self.readers.read("listing devices", async |db| devices::list(db, tenant, query).await).await
    }

    async fn update_devices(&self, tenant: TenantId, updates: Vec<(DeviceId, Update)>) -> Vec<Result<Device, Error>> {
        self.write_each(updates.len(), devices::Change { tenant, updates }).await
    }

    async fn delete_devices(&self, tenant: TenantId, devices: Vec<DeviceId>) -> Vec<Result<(), Error>> {
        self.write_each(devices.len(), devices::Delete { tenant, devices }).await
    }

    async fn device_credentials(
        &self,
        tenant: TenantId,
        devices: &[DeviceId],
    ) -> Result<Vec<Option<StoredCredential>>, Error> {
        'keys: loop {
            let keys = Arc::clone(&self.keys.borrow());
            let mut found = HashMap::with_capacity(devices.len());
            for chunk in chunks(devices) {
                let read = async |db: &mut _| {
                    let seen = credentials::of_devices(db, tenant, chunk).await?;
                    if seen.key_id == keys.id() { seen.by_device(&keys).map(Some) } else { Ok(None) }
                };
                let Some(rows) = self.readers.read("reading credentials", read).await? else {
                    self.await_other(&keys).await?;
                    continue 'keys;
                };
                found.extend(rows);
            }
            return Ok(devices.iter().map(|device| found.get(device).cloned()).collect());
        }
    }

    async fn set_credentials(
        &self,
        tenant: TenantId,
        credentials: Vec<(DeviceId, Credential)>,
    ) -> Vec<Result<(), Error>> {
        self.write_each(credentials.len(), credentials::Set { tenant, credentials }).await
    }

    async fn profiles(&self, tenant: TenantId) -> Result<Vec<ProfileRow>, Error> {
        self.readers.read("listing profiles", async |db| profiles::all(db, tenant).await).await
    }

    async fn ensure_profiles(&self, tenant: TenantId, profiles: Vec<ProfileRow>) -> Vec<Result<ProfileRow, Error>> {
        self.write_each(profiles.len(), profiles::Ensure { tenant, profiles }).await
    }

    async fn remove_profiles(&self, tenant: TenantId, names: Vec<String>) -> Vec<Result<(), Error>> {
        self.write_each(names.len(), profiles::Remove { tenant, names }).await
    }

    async fn store_projection(&self, flush: Flush) -> Result<(), Error> {
        self.queue.write(projection::Store(flush)).await
    }

    async fn load_projection(
        &self,
        tenant: TenantId,
        kind: RowKind,
        devices: &[DeviceId],
    ) -> Result<Vec<Option<Vec<u8>>>, Error> {
        self.readers.read("reading the projection", async |db| projection::load(db, tenant, kind, devices).await).await
    }

    async fn load_connectivity(
        &self,
        tenant: TenantId,
        devices: &[DeviceId],
    ) -> Result<Vec<Option<Connectivity>>, Error> {
        self.readers
            .read("reading connection states", async |db| projection::load_connectivity(db, tenant, devices).await)
            .await
    }

    async fn connected_in_other_runs(
        &self,
        boot: u32,
        after: Option<(TenantId, DeviceId)>,
        limit: usize,
    ) -> Result<Vec<Connectivity>, Error> {
        Query { limit, ..Query::default() }.check()?;
        self.readers
            .read("reading connection states", async |db| {
                projection::connected_in_other_runs(db, boot, after, limit).await
            })
            .await
    }

    async fn applied_position(&self) -> Result<Option<String>, Error> {
        self.readers.read("reading the projection", async |db| projection::applied_position(db).await).await
    }

    async fn close(&self) {
        self.readers.close().await;
        self.queue.close().await;
    }
}
