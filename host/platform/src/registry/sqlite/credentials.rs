//! Credentials: found by the hash of their identity on the connect path, by device for operators.

use std::collections::HashMap;
use std::sync::Arc;

use model::{DeviceId, TenantId};
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::key::Keys;
use super::sql::{self, DEVICE, DeviceRow, Stop, device_key};
use super::writer::{Transaction, Write};
use crate::registry::cache::Place;
use crate::registry::{ChangeKind, Credential, Device, Error, StoredCredential};

/// Credentials as one read saw them, and the id of the key they were written with then. If that is not the reader's key,
/// it was replaced meanwhile, and what the reader found or did not find means nothing.
pub(super) struct Seen {
    pub(super) key_id: String,
    rows: Vec<Row>,
}

struct Row {
    place: Vec<u8>,
    sealed: Vec<u8>,
    device: Device,
}

/// One row of the statements below, which always return at least the key id: with it, they say of one moment both what
/// is there and how to read it.
type SeenRow = (
    Option<String>,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    Option<i64>,
    Option<i64>,
    Option<String>,
    Option<String>,
    Option<bool>,
    Option<i64>,
);

/// What is at these places, at most 64.
pub(super) async fn at_places(db: &mut SqliteConnection, places: &[Place]) -> Result<Seen, Stop> {
    let select = format!(
        "SELECT m.key_id, c.place, c.sealed, {DEVICE} FROM meta m \
         LEFT JOIN credentials c ON c.place IN ({}) LEFT JOIN devices d ON d.id = c.device",
        sql::list(1, places.len())
    );
    let mut query = sqlx::query_as(AssertSqlSafe(select));
    for place in places {
        query = query.bind(place.to_vec());
    }
    seen(query.fetch_all(db).await?)
}

/// The credentials of these devices, at most 64.
pub(super) async fn of_devices(
    db: &mut SqliteConnection,
    tenant: TenantId,
    devices: &[DeviceId],
) -> Result<Seen, Stop> {
    let select = format!(
        "SELECT m.key_id, c.place, c.sealed, {DEVICE} FROM meta m \
         LEFT JOIN devices d ON d.tenant = $1 AND d.id IN ({}) LEFT JOIN credentials c ON c.device = d.id",
        sql::list(2, devices.len())
    );
    let mut query = sqlx::query_as(AssertSqlSafe(select)).bind(i64::from(tenant.0));
    for device in devices {
        query = query.bind(device_key(*device));
    }
    seen(query.fetch_all(db).await?)
}

fn seen(rows: Vec<SeenRow>) -> Result<Seen, Stop> {
    let mut seen = Seen { key_id: String::new(), rows: Vec::new() };
    for (key_id, place, sealed, id, tenant, name, profile, gateway, created) in rows {
        seen.key_id = key_id.unwrap_or_default();
        let device: Option<DeviceRow> = (|| Some((id?, tenant?, name?, profile?, gateway?, created?)))();
        match (place, sealed, device) {
            (Some(place), Some(sealed), Some(device)) => {
                seen.rows.push(Row { place, sealed, device: sql::device(device)? });
            }
            (None, None, None) => {}
            _ => return Err(Stop::Damaged("a device without credential, or a credential without device".to_owned())),
        }
    }
    Ok(seen)
}

impl Seen {
    pub(super) fn by_place(self, keys: &Keys) -> Result<HashMap<Vec<u8>, Arc<StoredCredential>>, Stop> {
        self.rows.into_iter().map(|row| Ok((row.place.clone(), Arc::new(row.open(keys)?)))).collect()
    }

    pub(super) fn by_device(self, keys: &Keys) -> Result<HashMap<DeviceId, StoredCredential>, Stop> {
        self.rows.into_iter().map(|row| Ok((row.device.id, row.open(keys)?))).collect()
    }
}

impl Row {
    fn open(self, keys: &Keys) -> Result<StoredCredential, Stop> {
        let credential = unseal(keys, self.device.id, &self.sealed)?;
        // The database found this row by its place. Whether that is the place of what it holds, only we can tell: a
        // damaged index, or somebody who moved places around, would let a device in as another one.
        if keys.place(&credential.identity()).as_slice() != self.place {
            return Err(Stop::Damaged(format!("the credential of device {} is not where it belongs", self.device.id)));
        }
        Ok(StoredCredential { device: self.device, credential })
    }
}

pub(super) fn unseal(keys: &Keys, device: DeviceId, sealed: &[u8]) -> Result<Credential, Stop> {
    keys.unseal(device, sealed).map_err(|_| {
        Stop::Damaged(format!("the credential of device {device} was altered or belongs to another device"))
    })
}

/// Replaces credentials.
pub(super) struct Set {
    pub(super) tenant: TenantId,
    pub(super) credentials: Vec<(DeviceId, Credential)>,
}

impl Write for Set {
    type Outcome = Vec<Result<(), Error>>;
    const DOING: &'static str = "changing credentials";

    async fn apply(&self, tx: &mut Transaction<'_>) -> Result<Self::Outcome, Stop> {
        let mut outcome = Vec::with_capacity(self.credentials.len());
        for (device, credential) in &self.credentials {
            outcome.push(set(tx, self.tenant, *device, credential).await?);
        }
        Ok(outcome)
    }
}

async fn set(
    tx: &mut Transaction<'_>,
    tenant: TenantId,
    id: DeviceId,
    credential: &Credential,
) -> Result<Result<(), Error>, Stop> {
    let keys = tx.keys();
    let Some(Row { place: old_place, sealed, device }) = of_devices(tx.db, tenant, &[id]).await?.rows.pop() else {
        return Ok(Err(Error::DeviceNotFound(id)));
    };
    let identity = credential.identity();
    let place = keys.place(&identity);
    // One that cannot be read or found is replaced: that is how an operator gets rid of it.
    if place.as_slice() == old_place && keys.unseal(id, &sealed).is_ok_and(|old| old == *credential) {
        return Ok(Ok(()));
    }
    if let Some(holder) = at_places(tx.db, &[place]).await?.rows.pop()
        && holder.device.id != id
    {
        return Ok(Err(Error::IdentityTaken { kind: identity.kind() }));
    }
    sqlx::query("UPDATE credentials SET place = $1, sealed = $2 WHERE device = $3")
        .bind(place.to_vec())
        .bind(keys.seal(id, credential)?)
        .bind(device_key(id))
        .execute(&mut *tx.db)
        .await?;
    let old_place = Place::try_from(old_place).ok();
    tx.changed(&device, ChangeKind::Credential, old_place.into_iter().chain([place]));
    Ok(Ok(()))
}
