//! The registry: what tidegate knows about tenants, devices and their credentials, and what is projected into it from
//! the event log (design §6).
//!
//! - [`device`](Device): tenants, devices, profile rows and the rules for names
//! - [`credential`](Credential): what a device presents, and what it is found by
//! - [`projection`](Flush): rows made from the event log
//! - [`change`](Changes): notices of what changed
//! - [`error`](Error): why something was not done, and whose fault that is
//! - [`sqlite`](Sqlite): the registry on disk
//! - [`memory`](Memory): the same without a disk, which fails on purpose where a test asks for it
//!
//! It does not decide who may connect (the order of spec 3.3 is the caller's), knows no topics, and reads no clock.

mod cache;
mod change;
mod credential;
mod device;
mod error;
mod memory;
mod projection;
mod sqlite;

use std::sync::Arc;

use async_trait::async_trait;
use model::{DeviceId, TenantId};

pub use change::{Change, ChangeKind, Changes, Notice};
pub use credential::{
    Basic, Credential, CredentialError, CredentialKind, Identity, IdentityKind, StoredCredential, Token,
};
pub use device::{Device, DeviceKey, MAX_NAME, MAX_PAGE, NewDevice, Page, ProfileRow, Query, Tenant, Update};
pub use error::{Blame, Error, KeyProblem};
pub use memory::{Faults, Memory};
pub use projection::{Connectivity, Flush, PackedRow, RowKind};
pub use sqlite::{Settings, Sqlite};

/// The registry, used as `Arc<dyn Registry>`.
///
/// Every call takes a batch, may take milliseconds and may fail. Calls may come from any thread and any tokio runtime,
/// also from several current-thread runtimes at once, and a future may be dropped at any time: a write that was already
/// handed over is then carried out all the same.
///
/// **Writes** answer for each item of their batch, in order; an item that fails leaves the others alone, and each item
/// sees what the ones before it did. `Ok` means on stable storage. An error of [`Blame::Storage`] leaves open whether the
/// item was carried out. **Reads** see every write that was answered before they began.
#[async_trait]
pub trait Registry: Send + Sync {
    /// A listener for everything that changes from now on. A notice is there before its change is answered.
    fn changes(&self) -> Changes;

    /// The connect path: what is found by each identity, over all tenants. One call can ask for all candidates of a
    /// CONNECT; a credential is returned only for an identity of its own kind. Only when all can be answered is there an
    /// answer, so that a CONNECT is never decided on half of what it needs.
    async fn credentials(&self, identities: &[Identity<'_>]) -> Result<Vec<Option<Arc<StoredCredential>>>, Error>;

    /// All tenants, by id.
    async fn tenants(&self) -> Result<Vec<Tenant>, Error>;

    /// Creates tenants by name.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::TenantTaken`].
    async fn create_tenants(&self, names: Vec<String>) -> Vec<Result<Tenant, Error>>;

    /// Creates devices. The answer holds the credential, generated or given.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::TenantNotFound`], [`Error::NameTaken`], [`Error::IdentityTaken`].
    async fn create_devices(&self, tenant: TenantId, devices: Vec<NewDevice>) -> Vec<Result<StoredCredential, Error>>;

    /// Devices by id or name; `None` where there is none in this tenant.
    async fn devices(&self, tenant: TenantId, keys: &[DeviceKey]) -> Result<Vec<Option<Device>>, Error>;

    /// One page of a tenant's devices.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a limit out of range.
    async fn list_devices(&self, tenant: TenantId, query: &Query) -> Result<Page, Error>;

    /// Changes name, profile or gateway flag, and returns the device as it is then.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::DeviceNotFound`], [`Error::NameTaken`].
    async fn update_devices(&self, tenant: TenantId, updates: Vec<(DeviceId, Update)>) -> Vec<Result<Device, Error>>;

    /// Deletes devices with their credentials and projected rows.
    ///
    /// # Errors
    /// [`Error::DeviceNotFound`], which whoever only wants it gone may take for success.
    async fn delete_devices(&self, tenant: TenantId, devices: Vec<DeviceId>) -> Vec<Result<(), Error>>;

    /// Devices with their credentials in clear, for operators and provisioning (spec 13.4).
    async fn device_credentials(
        &self,
        tenant: TenantId,
        devices: &[DeviceId],
    ) -> Result<Vec<Option<StoredCredential>>, Error>;

    /// Replaces credentials. Replacing one by its equal changes nothing and closes no session.
    ///
    /// # Errors
    /// [`Error::DeviceNotFound`], [`Error::IdentityTaken`].
    async fn set_credentials(
        &self,
        tenant: TenantId,
        credentials: Vec<(DeviceId, Credential)>,
    ) -> Vec<Result<(), Error>>;

    /// The profiles of a tenant that were made at run time, by name.
    async fn profiles(&self, tenant: TenantId) -> Result<Vec<ProfileRow>, Error>;

    /// Makes sure that the profiles exist. One that exists stays as it is, and is what is returned (spec 15.2).
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::TenantNotFound`].
    async fn ensure_profiles(&self, tenant: TenantId, profiles: Vec<ProfileRow>) -> Vec<Result<ProfileRow, Error>>;

    /// Removes profile rows, for example because a file of their name exists now.
    ///
    /// # Errors
    /// [`Error::ProfileNotFound`].
    async fn remove_profiles(&self, tenant: TenantId, names: Vec<String>) -> Vec<Result<(), Error>>;

    /// Stores projected rows and the position they stand for, all or nothing. Rows of devices that do not exist (any
    /// more) are left out.
    async fn store_projection(&self, flush: Flush) -> Result<(), Error>;

    /// Packed rows of one kind.
    async fn load_projection(
        &self,
        tenant: TenantId,
        kind: RowKind,
        devices: &[DeviceId],
    ) -> Result<Vec<Option<Vec<u8>>>, Error>;

    /// Connection states.
    async fn load_connectivity(
        &self,
        tenant: TenantId,
        devices: &[DeviceId],
    ) -> Result<Vec<Option<Connectivity>>, Error>;

    /// States that say connected and come from another run than this one, over all tenants, ordered by tenant and device:
    /// at most `limit` (1 to 1,000) after the given one. These connections died with their process. Any other: when the
    /// log was replaced, its runs are counted from 1 again.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a limit out of range.
    async fn connected_in_other_runs(
        &self,
        boot: u32,
        after: Option<(TenantId, DeviceId)>,
        limit: usize,
    ) -> Result<Vec<Connectivity>, Error>;

    /// The position stored last; `None` before the first [`store_projection`](Self::store_projection).
    async fn applied_position(&self) -> Result<Option<String>, Error>;

    /// Carries out what was handed over, closes the files and frees them for another process. Every later call fails
    /// with [`Error::Closed`].
    async fn close(&self);
}
