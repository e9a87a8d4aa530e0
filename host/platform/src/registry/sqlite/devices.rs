//! Devices.

use std::collections::{HashMap, HashSet};

use model::{DeviceId, TenantId};
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::key::Keys;
use super::sql::{self, DEVICE, DeviceRow, Stop, chunks, device_key, unsigned};
use super::writer::{Transaction, Write};
use super::{projection, tenants};
use crate::registry::cache::Place;
use crate::registry::{
    ChangeKind, Credential, Device, DeviceKey, Error, NewDevice, Page, Query, StoredCredential, Update,
};

/// Devices by id or name.
pub(super) async fn get(
    db: &mut SqliteConnection,
    tenant: TenantId,
    keys: &[DeviceKey],
) -> Result<Vec<Option<Device>>, Stop> {
    let ids: Vec<_> =
        keys.iter().filter_map(|key| if let DeviceKey::Id(id) = key { Some(*id) } else { None }).collect();
    let names: Vec<_> = keys
        .iter()
        .filter_map(|key| if let DeviceKey::Name(name) = key { Some(name.as_str()) } else { None })
        .collect();
    let by_id = by_ids(db, tenant, &ids).await?;
    let by_name = by_names(db, tenant, &names).await?;
    let find = |key: &DeviceKey| match key {
        DeviceKey::Id(id) => by_id.get(id).cloned(),
        DeviceKey::Name(name) => by_name.get(name).cloned(),
    };
    Ok(keys.iter().map(find).collect())
}

pub(super) async fn by_ids(
    db: &mut SqliteConnection,
    tenant: TenantId,
    ids: &[DeviceId],
) -> Result<HashMap<DeviceId, Device>, Stop> {
    let mut found = HashMap::with_capacity(ids.len());
    for chunk in chunks(ids) {
        let select =
            format!("SELECT {DEVICE} FROM devices d WHERE d.tenant = $1 AND d.id IN ({})", sql::list(2, chunk.len()));
        let mut query = sqlx::query_as::<_, DeviceRow>(AssertSqlSafe(select)).bind(i64::from(tenant.0));
        for id in chunk {
            query = query.bind(device_key(*id));
        }
        for row in query.fetch_all(&mut *db).await? {
            let device = sql::device(row)?;
            found.insert(device.id, device);
        }
    }
    Ok(found)
}

async fn by_names(
    db: &mut SqliteConnection,
    tenant: TenantId,
    names: &[&str],
) -> Result<HashMap<String, Device>, Stop> {
    let mut found = HashMap::with_capacity(names.len());
    for chunk in chunks(names) {
        let select =
            format!("SELECT {DEVICE} FROM devices d WHERE d.tenant = $1 AND d.name IN ({})", sql::list(2, chunk.len()));
        let mut query = sqlx::query_as::<_, DeviceRow>(AssertSqlSafe(select)).bind(i64::from(tenant.0));
        for name in chunk {
            query = query.bind((*name).to_owned());
        }
        for row in query.fetch_all(&mut *db).await? {
            let device = sql::device(row)?;
            found.insert(device.name.clone(), device);
        }
    }
    Ok(found)
}

/// One page by name.
pub(super) async fn list(db: &mut SqliteConnection, tenant: TenantId, query: &Query) -> Result<Page, Stop> {
    // With a profile and without are two statements, so that each has an index to walk.
    let of_profile = if query.profile.is_some() { "AND d.profile = $6" } else { "" };
    let select = format!(
        "SELECT {DEVICE} FROM devices d WHERE d.tenant = $1 AND d.name > $2 AND d.name >= $3 \
         AND (CAST($4 AS TEXT) IS NULL OR d.name < $4) {of_profile} ORDER BY d.name LIMIT $5"
    );
    // One more than asked for tells whether there is another page.
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX).saturating_add(1);
    let rows: Vec<DeviceRow> = sqlx::query_as(AssertSqlSafe(select))
        .bind(i64::from(tenant.0))
        // Names are not empty, so all of them come after the empty one.
        .bind(query.after.as_deref().unwrap_or_default())
        .bind(&query.prefix)
        .bind(query.prefix_end())
        .bind(limit)
        .bind(query.profile.as_deref())
        .fetch_all(db)
        .await?;
    let devices = rows.into_iter().map(sql::device).collect::<Result<_, _>>()?;
    Ok(Page::cut(devices, query.limit))
}

/// Creates devices with their credentials.
pub(super) struct Create {
    pub(super) tenant: TenantId,
    pub(super) devices: Vec<Result<(NewDevice, Credential), Error>>,
}

impl Write for Create {
    type Outcome = Vec<Result<StoredCredential, Error>>;
    const DOING: &'static str = "creating devices";

    async fn apply(&self, tx: &mut Transaction<'_>) -> Result<Self::Outcome, Stop> {
        let mut outcome = self.admit(tx).await?;
        let admitted: Vec<_> = outcome.iter().flatten().collect();
        let keys = tx.keys();
        for chunk in chunks(&admitted) {
            insert(tx.db, &keys, chunk).await?;
        }
        let next = admitted.last().map(|last| last.device.id.0 + 1);
        if let Some(next) = next {
            let next = device_key(DeviceId(next));
            sqlx::query("UPDATE meta SET next_device = $1").bind(next).execute(&mut *tx.db).await?;
        }
        for StoredCredential { device, credential } in outcome.iter_mut().flatten() {
            tx.changed(device, ChangeKind::Created, [keys.place(&credential.identity())]);
        }
        Ok(outcome)
    }
}

impl Create {
    /// Decides about each device, in order, and gives out ids. Nothing is stored yet.
    async fn admit(&self, tx: &mut Transaction<'_>) -> Result<Vec<Result<StoredCredential, Error>>, Stop> {
        let tenant_exists = tenants::exists(tx.db, self.tenant).await?;
        let keys = tx.keys();
        let place = |credential: &Credential| keys.place(&credential.identity());
        let asked: Vec<_> = self.devices.iter().flatten().collect();
        let names: Vec<_> = asked.iter().map(|(device, _)| device.name.as_str()).collect();
        let mut names: HashMap<_, _> =
            by_names(tx.db, self.tenant, &names).await?.into_iter().map(|(name, device)| (name, device.id)).collect();
        let places: Vec<_> = asked.iter().map(|(_, credential)| place(credential)).collect();
        let mut places = taken(tx.db, &places).await?;
        let next: i64 = sqlx::query_scalar("SELECT next_device FROM meta").fetch_one(&mut *tx.db).await?;
        let mut next: u64 = unsigned("meta.next_device", next)?;

        let mut admit = |device: &NewDevice, credential: &Credential| {
            let name = device.name.clone();
            let place = place(credential);
            if !tenant_exists {
                return Err(Error::TenantNotFound(self.tenant));
            }
            if let Some(holder) = names.get(&name) {
                return Err(Error::NameTaken { name, device: *holder });
            }
            if places.contains(place.as_slice()) {
                return Err(Error::IdentityTaken { kind: credential.identity().kind() });
            }
            let id = DeviceId(next);
            next += 1;
            names.insert(name, id);
            places.insert(place.to_vec());
            Ok(StoredCredential { device: device.clone().into_device(self.tenant, id), credential: credential.clone() })
        };
        let decide = |asked: &Result<(NewDevice, Credential), Error>| match asked {
            Ok((device, credential)) => admit(device, credential),
            Err(error) => Err(error.clone()),
        };
        Ok(self.devices.iter().map(decide).collect())
    }
}

/// Which of the places are taken.
async fn taken(db: &mut SqliteConnection, places: &[Place]) -> Result<HashSet<Vec<u8>>, Stop> {
    let mut found = HashSet::new();
    for chunk in chunks(places) {
        let select = format!("SELECT place FROM credentials WHERE place IN ({})", sql::list(1, chunk.len()));
        let mut query = sqlx::query_scalar(AssertSqlSafe(select));
        for place in chunk {
            query = query.bind(place.to_vec());
        }
        found.extend(query.fetch_all(&mut *db).await?);
    }
    Ok(found)
}

async fn insert(db: &mut SqliteConnection, keys: &Keys, chunk: &[&StoredCredential]) -> Result<(), Stop> {
    let insert = "INSERT INTO devices (id, tenant, name, profile, gateway, created) VALUES ";
    let mut query = sqlx::query(AssertSqlSafe(format!("{insert}{}", sql::rows(chunk.len(), 6))));
    for StoredCredential { device, .. } in chunk {
        query = query
            .bind(device_key(device.id))
            .bind(i64::from(device.tenant.0))
            .bind(device.name.clone())
            .bind(device.profile.clone())
            .bind(device.gateway)
            .bind(device.created.0);
    }
    query.execute(&mut *db).await?;
    let insert = "INSERT INTO credentials (device, place, sealed) VALUES ";
    let mut query = sqlx::query(AssertSqlSafe(format!("{insert}{}", sql::rows(chunk.len(), 3))));
    for StoredCredential { device, credential } in chunk {
        query = query
            .bind(device_key(device.id))
            .bind(keys.place(&credential.identity()).to_vec())
            .bind(keys.seal(device.id, credential)?);
    }
    query.execute(db).await?;
    Ok(())
}

/// Changes what a device is called and may do.
pub(super) struct Change {
    pub(super) tenant: TenantId,
    pub(super) updates: Vec<(DeviceId, Update)>,
}

impl Write for Change {
    type Outcome = Vec<Result<Device, Error>>;
    const DOING: &'static str = "changing devices";

    async fn apply(&self, tx: &mut Transaction<'_>) -> Result<Self::Outcome, Stop> {
        let mut outcome = Vec::with_capacity(self.updates.len());
        for (id, update) in &self.updates {
            outcome.push(match update.check() {
                Ok(()) => change(tx, self.tenant, *id, update).await?,
                Err(error) => Err(error),
            });
        }
        Ok(outcome)
    }
}

async fn change(
    tx: &mut Transaction<'_>,
    tenant: TenantId,
    id: DeviceId,
    update: &Update,
) -> Result<Result<Device, Error>, Stop> {
    let Some(mut device) = by_ids(tx.db, tenant, &[id]).await?.remove(&id) else {
        return Ok(Err(Error::DeviceNotFound(id)));
    };
    if !update.apply(&mut device) {
        return Ok(Ok(device));
    }
    if let Some(holder) = by_names(tx.db, tenant, &[&device.name]).await?.remove(&device.name)
        && holder.id != id
    {
        return Ok(Err(Error::NameTaken { name: device.name, device: holder.id }));
    }
    sqlx::query("UPDATE devices SET name = $1, profile = $2, gateway = $3 WHERE tenant = $4 AND id = $5")
        .bind(&device.name)
        .bind(&device.profile)
        .bind(device.gateway)
        .bind(i64::from(tenant.0))
        .bind(device_key(id))
        .execute(&mut *tx.db)
        .await?;
    let places = places_of(tx.db, &[id]).await?;
    tx.changed(&device, ChangeKind::Updated, places.into_values());
    Ok(Ok(device))
}

/// Deletes devices with all that belongs to them.
pub(super) struct Delete {
    pub(super) tenant: TenantId,
    pub(super) devices: Vec<DeviceId>,
}

impl Write for Delete {
    type Outcome = Vec<Result<(), Error>>;
    const DOING: &'static str = "deleting devices";

    async fn apply(&self, tx: &mut Transaction<'_>) -> Result<Self::Outcome, Stop> {
        let mut found = by_ids(tx.db, self.tenant, &self.devices).await?;
        let ids: Vec<_> = found.keys().copied().collect();
        let mut places = places_of(tx.db, &ids).await?;
        projection::delete(tx.db, self.tenant, &ids).await?;
        for chunk in chunks(&ids) {
            // By id alone, now that they are known to be the tenant's: given both, SQLite walks all devices of the tenant.
            // Credentials go with their devices.
            let delete = format!("DELETE FROM devices WHERE id IN ({})", sql::list(1, chunk.len()));
            let mut query = sqlx::query(AssertSqlSafe(delete));
            for id in chunk {
                query = query.bind(device_key(*id));
            }
            query.execute(&mut *tx.db).await?;
        }

        let mut outcome = Vec::with_capacity(self.devices.len());
        for id in &self.devices {
            // A device that is named twice is gone the second time.
            outcome.push(match found.remove(id) {
                Some(device) => {
                    tx.changed(&device, ChangeKind::Deleted, places.remove(id));
                    Ok(())
                }
                None => Err(Error::DeviceNotFound(*id)),
            });
        }
        Ok(outcome)
    }
}

/// Where the credentials of these devices are found.
async fn places_of(db: &mut SqliteConnection, ids: &[DeviceId]) -> Result<HashMap<DeviceId, Place>, Stop> {
    let mut places = HashMap::with_capacity(ids.len());
    for chunk in chunks(ids) {
        let select = format!("SELECT device, place FROM credentials WHERE device IN ({})", sql::list(1, chunk.len()));
        let mut query = sqlx::query_as::<_, (i64, Vec<u8>)>(AssertSqlSafe(select));
        for id in chunk {
            query = query.bind(device_key(*id));
        }
        for (device, place) in query.fetch_all(&mut *db).await? {
            // One of another length is nobody's hash, so nobody has found anything there.
            if let Ok(place) = Place::try_from(place) {
                places.insert(DeviceId(unsigned("credentials.device", device)?), place);
            }
        }
    }
    Ok(places)
}
