//! The registry without a disk: the second implementation of the contract, for tests of everything that uses one.
//!
//! It keeps every promise but durability, until a test turns [`Faults`] on.

mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use model::{DeviceId, TenantId};

use self::state::State;
use super::change::{Announcer, ChangeSource};
use super::{
    Changes, Connectivity, Credential, Device, DeviceKey, Error, Flush, Identity, NewDevice, Page, ProfileRow, Query,
    Registry, RowKind, StoredCredential, Tenant, Update,
};

/// A registry in memory.
#[derive(Debug)]
pub struct Memory {
    state: Arc<Mutex<State>>,
    faults: Mutex<Faults>,
    changes: ChangeSource,
    /// Taken when closed.
    announcer: Mutex<Option<Announcer>>,
}

/// What goes wrong on purpose. Nothing by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// Every call waits this long before it does anything.
    pub delay: Duration,
    /// Reads fail.
    pub fail_reads: bool,
    /// Writes fail without effect.
    pub fail_writes: bool,
    /// Writes are carried out, but their callers are told that they failed.
    pub lose_answers: bool,
    /// Of each batch that is written, every second item fails without effect, starting with the second.
    /// [`store_projection`](Registry::store_projection) is all or nothing and not concerned.
    pub half_accept: bool,
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Memory {
    /// An empty registry.
    pub fn new() -> Self {
        Self::run(Arc::default())
    }

    /// What the next run of the host finds: the same content, without faults. Closes this one.
    pub fn restart(&self) -> Self {
        self.announcer().take();
        Self::run(Arc::clone(&self.state))
    }

    /// Sets what goes wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        *self.faults.lock().unwrap_or_else(PoisonError::into_inner) = faults;
    }

    fn run(state: Arc<Mutex<State>>) -> Self {
        let announcer = Announcer::new();
        let changes = announcer.source();
        Self { state, faults: Mutex::default(), changes, announcer: Mutex::new(Some(announcer)) }
    }

    async fn read<T>(&self, read: impl FnOnce(&State) -> T) -> Result<T, Error> {
        let faults = self.delay().await?;
        if faults.fail_reads {
            return Err(injected());
        }
        Ok(read(&self.state()))
    }

    async fn write<T>(&self, write: impl FnOnce(&mut State, &Faults) -> T) -> Result<T, Error> {
        let faults = self.delay().await?;
        if faults.fail_writes {
            return Err(injected());
        }
        let answer = {
            // Announced under the lock, so that notices keep the order of the changes.
            let mut state = self.state();
            let answer = write(&mut state, &faults);
            let changes = state.take_changes();
            if let Some(announcer) = &*self.announcer() {
                announcer.announce(changes);
            }
            answer
        };
        if faults.lose_answers { Err(injected()) } else { Ok(answer) }
    }

    async fn write_each<I, T>(
        &self,
        items: Vec<I>,
        mut write: impl FnMut(&mut State, I) -> Result<T, Error>,
    ) -> Vec<Result<T, Error>> {
        let length = items.len();
        let all = |state: &mut State, faults: &Faults| {
            let each = items.into_iter().enumerate().map(|(index, item)| {
                if faults.half_accept && index % 2 == 1 { Err(injected()) } else { write(state, item) }
            });
            each.collect()
        };
        match self.write(all).await {
            Ok(answers) => answers,
            Err(error) => (0..length).map(|_| Err(error.clone())).collect(),
        }
    }

    async fn delay(&self) -> Result<Faults, Error> {
        let faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if !faults.delay.is_zero() {
            tokio::time::sleep(faults.delay).await;
        }
        if self.announcer().is_some() { Ok(faults) } else { Err(Error::Closed) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn announcer(&self) -> MutexGuard<'_, Option<Announcer>> {
        self.announcer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn injected() -> Error {
    Error::Storage { file: "memory".into(), doing: "test", cause: "fault injected".to_owned() }
}

#[async_trait]
impl Registry for Memory {
    fn changes(&self) -> Changes {
        self.changes.listen()
    }

    async fn credentials(&self, identities: &[Identity<'_>]) -> Result<Vec<Option<Arc<StoredCredential>>>, Error> {
        self.read(|state| identities.iter().map(|identity| state.find(identity)).collect()).await
    }

    async fn tenants(&self) -> Result<Vec<Tenant>, Error> {
        self.read(State::tenants).await
    }

    async fn create_tenants(&self, names: Vec<String>) -> Vec<Result<Tenant, Error>> {
        self.write_each(names, State::create_tenant).await
    }

    async fn create_devices(&self, tenant: TenantId, devices: Vec<NewDevice>) -> Vec<Result<StoredCredential, Error>> {
        self.write_each(devices, |state, device| state.create_device(tenant, device)).await
    }

    async fn devices(&self, tenant: TenantId, keys: &[DeviceKey]) -> Result<Vec<Option<Device>>, Error> {
        self.read(|state| keys.iter().map(|key| state.device(tenant, key)).collect()).await
    }

    async fn list_devices(&self, tenant: TenantId, query: &Query) -> Result<Page, Error> {
        query.check()?;
        self.read(|state| state.list_devices(tenant, query)).await
    }

    async fn update_devices(&self, tenant: TenantId, updates: Vec<(DeviceId, Update)>) -> Vec<Result<Device, Error>> {
        self.write_each(updates, |state, (device, update)| state.update_device(tenant, device, &update)).await
    }

    async fn delete_devices(&self, tenant: TenantId, devices: Vec<DeviceId>) -> Vec<Result<(), Error>> {
        self.write_each(devices, |state, device| state.delete_device(tenant, device)).await
    }

    async fn device_credentials(
        &self,
        tenant: TenantId,
        devices: &[DeviceId],
    ) -> Result<Vec<Option<StoredCredential>>, Error> {
        self.read(|state| devices.iter().map(|device| state.credential(tenant, *device)).collect()).await
    }

    async fn set_credentials(
        &self,
        tenant: TenantId,
        credentials: Vec<(DeviceId, Credential)>,
    ) -> Vec<Result<(), Error>> {
        self.write_each(credentials, |state, (device, credential)| state.set_credential(tenant, device, credential))
            .await
    }

    async fn profiles(&self, tenant: TenantId) -> Result<Vec<ProfileRow>, Error> {
        self.read(|state| state.profiles(tenant)).await
    }

    async fn ensure_profiles(&self, tenant: TenantId, profiles: Vec<ProfileRow>) -> Vec<Result<ProfileRow, Error>> {
        self.write_each(profiles, |state, profile| state.ensure_profile(tenant, profile)).await
    }

    async fn remove_profiles(&self, tenant: TenantId, names: Vec<String>) -> Vec<Result<(), Error>> {
        self.write_each(names, |state, name| state.remove_profile(tenant, name)).await
    }

    async fn store_projection(&self, flush: Flush) -> Result<(), Error> {
        self.write(|state, _| state.store_projection(flush)).await
    }

    async fn load_projection(
        &self,
        tenant: TenantId,
        kind: RowKind,
        devices: &[DeviceId],
    ) -> Result<Vec<Option<Vec<u8>>>, Error> {
        self.read(|state| devices.iter().map(|device| state.packed(tenant, *device, kind)).collect()).await
    }

    async fn load_connectivity(
        &self,
        tenant: TenantId,
        devices: &[DeviceId],
    ) -> Result<Vec<Option<Connectivity>>, Error> {
        self.read(|state| devices.iter().map(|device| state.connectivity(tenant, *device)).collect()).await
    }

    async fn connected_in_other_runs(
        &self,
        boot: u32,
        after: Option<(TenantId, DeviceId)>,
        limit: usize,
    ) -> Result<Vec<Connectivity>, Error> {
        Query { limit, ..Query::default() }.check()?;
        self.read(|state| state.connected_in_other_runs(boot, after, limit)).await
    }

    async fn applied_position(&self) -> Result<Option<String>, Error> {
        self.read(State::applied_position).await
    }

    async fn close(&self) {
        self.announcer().take();
    }
}
