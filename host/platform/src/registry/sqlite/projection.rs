//! Rows projected from the event log.

use std::collections::{HashMap, HashSet};

use model::{DeviceId, TenantId, Timestamp};
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::sql::{self, Stop, chunks, device_key, unsigned};
use super::writer::{Transaction, Write};
use crate::registry::{Connectivity, Flush, PackedRow, RowKind};

/// Every table, all of them with the key `tenant`, `device`.
const TABLES: [&str; 3] = [table(RowKind::LatestValues), table(RowKind::ClientAttributes), "connectivity"];

const CONNECTIVITY: &str = "tenant, device, connected, boot, client_id, since, last_change";
type ConnectivityRow = (i64, i64, bool, i64, String, i64, i64);

const fn table(kind: RowKind) -> &'static str {
    match kind {
        RowKind::LatestValues => "latest_values",
        RowKind::ClientAttributes => "client_attributes",
    }
}

/// Packed rows of one kind.
pub(super) async fn load(
    db: &mut SqliteConnection,
    tenant: TenantId,
    kind: RowKind,
    devices: &[DeviceId],
) -> Result<Vec<Option<Vec<u8>>>, Stop> {
    let mut found: HashMap<i64, Vec<u8>> = HashMap::with_capacity(devices.len());
    for chunk in chunks(devices) {
        let select = format!(
            "SELECT device, packed FROM {} WHERE tenant = $1 AND device IN ({})",
            table(kind),
            sql::list(2, chunk.len())
        );
        let mut query = sqlx::query_as(AssertSqlSafe(select)).bind(i64::from(tenant.0));
        for device in chunk {
            query = query.bind(device_key(*device));
        }
        found.extend(query.fetch_all(&mut *db).await?);
    }
    Ok(devices.iter().map(|device| found.get(&device_key(*device)).cloned()).collect())
}

/// Connection states.
pub(super) async fn load_connectivity(
    db: &mut SqliteConnection,
    tenant: TenantId,
    devices: &[DeviceId],
) -> Result<Vec<Option<Connectivity>>, Stop> {
    let mut found = HashMap::with_capacity(devices.len());
    for chunk in chunks(devices) {
        let select = format!(
            "SELECT {CONNECTIVITY} FROM connectivity WHERE tenant = $1 AND device IN ({})",
            sql::list(2, chunk.len())
        );
        let mut query = sqlx::query_as(AssertSqlSafe(select)).bind(i64::from(tenant.0));
        for device in chunk {
            query = query.bind(device_key(*device));
        }
        for row in query.fetch_all(&mut *db).await? {
            let state = connectivity(row)?;
            found.insert(state.device, state);
        }
    }
    Ok(devices.iter().map(|device| found.get(device).cloned()).collect())
}

/// States that say connected and come from another run than `boot`.
pub(super) async fn connected_in_other_runs(
    db: &mut SqliteConnection,
    boot: u32,
    after: Option<(TenantId, DeviceId)>,
    limit: usize,
) -> Result<Vec<Connectivity>, Stop> {
    // The condition `connected` is that of the index.
    const SELECT: &str = "SELECT tenant, device, connected, boot, client_id, since, last_change FROM connectivity \
        WHERE connected AND boot <> $1 AND (tenant, device) > ($2, $3) ORDER BY tenant, device LIMIT $4";
    let (tenant, device) = after.map_or((-1, -1), |(tenant, device)| (i64::from(tenant.0), device_key(device)));
    let rows: Vec<ConnectivityRow> = sqlx::query_as(SELECT)
        .bind(i64::from(boot))
        .bind(tenant)
        .bind(device)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(db)
        .await?;
    rows.into_iter().map(connectivity).collect()
}

/// The position stored last.
pub(super) async fn applied_position(db: &mut SqliteConnection) -> Result<Option<String>, Stop> {
    Ok(sqlx::query_scalar("SELECT applied_position FROM meta").fetch_one(db).await?)
}

fn connectivity(row: ConnectivityRow) -> Result<Connectivity, Stop> {
    let (tenant, device, connected, boot, client_id, since, last_change) = row;
    Ok(Connectivity {
        tenant: TenantId(unsigned("connectivity.tenant", tenant)?),
        device: DeviceId(unsigned("connectivity.device", device)?),
        connected,
        boot: unsigned("connectivity.boot", boot)?,
        client_id,
        since: Timestamp(since),
        last_change: Timestamp(last_change),
    })
}

/// Stores rows together with the position they stand for.
pub(super) struct Store(pub(super) Flush);

impl Write for Store {
    type Outcome = ();
    const DOING: &'static str = "storing the projection";

    async fn apply(&self, tx: &mut Transaction<'_>) -> Result<(), Stop> {
        let Flush { rows, connectivity, applied_position } = &self.0;
        let rows_of = rows.iter().map(|row| (row.tenant, row.device));
        let states_of = connectivity.iter().map(|state| (state.tenant, state.device));
        let existing = existing(tx.db, rows_of.chain(states_of)).await?;
        for kind in [RowKind::LatestValues, RowKind::ClientAttributes] {
            let rows =
                last_of_each(rows.iter().filter(|row| row.kind == kind), |row| (row.tenant, row.device), &existing);
            for chunk in chunks(&rows) {
                store_packed(tx.db, kind, chunk).await?;
            }
        }
        let states = last_of_each(connectivity.iter(), |state| (state.tenant, state.device), &existing);
        for chunk in chunks(&states) {
            store_connectivity(tx.db, chunk).await?;
        }
        sqlx::query("UPDATE meta SET applied_position = $1").bind(applied_position).execute(&mut *tx.db).await?;
        Ok(())
    }
}

/// Deletes all rows of these devices.
pub(super) async fn delete(db: &mut SqliteConnection, tenant: TenantId, devices: &[DeviceId]) -> Result<(), Stop> {
    for table in TABLES {
        for chunk in chunks(devices) {
            let parameters = sql::list(2, chunk.len());
            let delete = format!("DELETE FROM {table} WHERE tenant = $1 AND device IN ({parameters})");
            let mut query = sqlx::query(AssertSqlSafe(delete)).bind(i64::from(tenant.0));
            for device in chunk {
                query = query.bind(device_key(*device));
            }
            query.execute(&mut *db).await?;
        }
    }
    Ok(())
}

/// Which of the devices exist.
async fn existing(
    db: &mut SqliteConnection,
    devices: impl Iterator<Item = (TenantId, DeviceId)>,
) -> Result<HashSet<(TenantId, DeviceId)>, Stop> {
    let asked: HashSet<_> = devices.map(|(_, device)| device).collect();
    let asked: Vec<_> = asked.into_iter().collect();
    let mut existing = HashSet::with_capacity(asked.len());
    for chunk in chunks(&asked) {
        let select = format!("SELECT tenant, id FROM devices WHERE id IN ({})", sql::list(1, chunk.len()));
        let mut query = sqlx::query_as::<_, (i64, i64)>(AssertSqlSafe(select));
        for device in chunk {
            query = query.bind(device_key(*device));
        }
        for (tenant, device) in query.fetch_all(&mut *db).await? {
            existing.insert((TenantId(unsigned("devices.tenant", tenant)?), DeviceId(unsigned("devices.id", device)?)));
        }
    }
    Ok(existing)
}

/// One row per existing device, the last: PostgreSQL refuses to update a row twice in one statement.
fn last_of_each<'a, T>(
    rows: impl Iterator<Item = &'a T>,
    key: impl Fn(&T) -> (TenantId, DeviceId),
    existing: &HashSet<(TenantId, DeviceId)>,
) -> Vec<&'a T> {
    let last: HashMap<_, _> = rows.map(|row| (key(row), row)).filter(|(key, _)| existing.contains(key)).collect();
    last.into_values().collect()
}

async fn store_packed(db: &mut SqliteConnection, kind: RowKind, chunk: &[&PackedRow]) -> Result<(), Stop> {
    let upsert = format!(
        "INSERT INTO {} (tenant, device, packed) VALUES {} \
         ON CONFLICT (tenant, device) DO UPDATE SET packed = excluded.packed",
        table(kind),
        sql::rows(chunk.len(), 3)
    );
    let mut query = sqlx::query(AssertSqlSafe(upsert));
    for row in chunk {
        query = query.bind(i64::from(row.tenant.0)).bind(device_key(row.device)).bind(row.packed.clone());
    }
    query.execute(db).await?;
    Ok(())
}

async fn store_connectivity(db: &mut SqliteConnection, chunk: &[&Connectivity]) -> Result<(), Stop> {
    let upsert = format!(
        "INSERT INTO connectivity ({CONNECTIVITY}) VALUES {} ON CONFLICT (tenant, device) DO UPDATE SET \
         connected = excluded.connected, boot = excluded.boot, client_id = excluded.client_id, \
         since = excluded.since, last_change = excluded.last_change",
        sql::rows(chunk.len(), 7)
    );
    let mut query = sqlx::query(AssertSqlSafe(upsert));
    for state in chunk {
        query = query
            .bind(i64::from(state.tenant.0))
            .bind(device_key(state.device))
            .bind(state.connected)
            .bind(i64::from(state.boot))
            .bind(state.client_id.clone())
            .bind(state.since.0)
            .bind(state.last_change.0);
    }
    query.execute(db).await?;
    Ok(())
}
