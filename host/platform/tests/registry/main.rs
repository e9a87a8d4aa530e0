//! The registry: one contract for both implementations, a property test that compares them, and what only the one on
//! disk has to stand: crashes, damage, wrong keys.
#![allow(clippy::unwrap_used, reason = "this is how tests fail")]

mod contract;
mod crash;
mod damage;
mod faults;
mod key;
mod property;
mod sqlite;

use std::path::Path;

use model::{DeviceId, TenantId, Timestamp};
use tidegate_platform::Secret;
use tidegate_platform::registry::{
    Credential, Error, Identity, NewDevice, Registry, Settings, Sqlite, StoredCredential,
};

const TENANT: TenantId = TenantId::DEFAULT;

/// A device with a token, or with a generated one where none is given.
fn device(name: &str, token: Option<&str>) -> NewDevice {
    NewDevice {
        name: name.to_owned(),
        profile: "default".to_owned(),
        gateway: false,
        credential: token.map(|token| Credential::token(token).unwrap()),
        created: Timestamp(1_700_000_000_000),
    }
}

/// A basic credential; `-` leaves a part out.
fn basic(client_id: &str, user_name: &str, password: &str) -> Credential {
    let part = |part: &str| (part != "-").then(|| Secret::from(part));
    Credential::basic(part(client_id), part(user_name), part(password)).unwrap()
}

async fn create(registry: &dyn Registry, device: NewDevice) -> StoredCredential {
    only(registry.create_devices(TENANT, vec![device]).await).unwrap()
}

/// The answer for a batch of one.
fn only<T>(mut batch: Vec<T>) -> T {
    assert_eq!(batch.len(), 1);
    batch.remove(0)
}

/// Who is found by a token.
async fn by_token(registry: &dyn Registry, token: &str) -> Result<Option<DeviceId>, Error> {
    let found = registry.credentials(&[Identity::Token(token)]).await?;
    Ok(only(found).map(|found| found.device.id))
}

async fn open(folder: &Path) -> Sqlite {
    Sqlite::open(folder, &Settings::default()).await.unwrap()
}
