//! Tenants.

use model::TenantId;
use sqlx::SqliteConnection;

use super::sql::{Stop, unsigned};
use super::writer::{Transaction, Write};
use crate::registry::device::check_name;
use crate::registry::{Error, Tenant};

pub(super) async fn all(db: &mut SqliteConnection) -> Result<Vec<Tenant>, Stop> {
    let rows: Vec<(i64, String)> = sqlx::query_as("SELECT id, name FROM tenants ORDER BY id").fetch_all(db).await?;
    rows.into_iter().map(|(id, name)| Ok(Tenant { id: TenantId(unsigned("tenants.id", id)?), name })).collect()
}

pub(super) async fn exists(db: &mut SqliteConnection, tenant: TenantId) -> Result<bool, Stop> {
    let row = sqlx::query("SELECT 1 FROM tenants WHERE id = $1").bind(i64::from(tenant.0)).fetch_optional(db).await?;
    Ok(row.is_some())
}

/// Creates tenants by name.
pub(super) struct Create(pub(super) Vec<String>);

impl Write for Create {
    type Outcome = Vec<Result<Tenant, Error>>;
    const DOING: &'static str = "creating tenants";

    async fn apply(&self, tx: &mut Transaction<'_>) -> Result<Self::Outcome, Stop> {
        let mut outcome = Vec::with_capacity(self.0.len());
        for name in &self.0 {
            outcome.push(match check_name("tenant name", name) {
                Ok(()) => create(tx.db, name).await?,
                Err(error) => Err(error),
            });
        }
        Ok(outcome)
    }
}

async fn create(db: &mut SqliteConnection, name: &str) -> Result<Result<Tenant, Error>, Stop> {
    let by_name = "SELECT id FROM tenants WHERE name = $1";
    let holder: Option<i64> = sqlx::query_scalar(by_name).bind(name).fetch_optional(&mut *db).await?;
    if let Some(holder) = holder {
        let tenant = TenantId(unsigned("tenants.id", holder)?);
        return Ok(Err(Error::TenantTaken { name: name.to_owned(), tenant }));
    }
    // Tenants are never deleted, so the highest id is the last one given out.
    let insert = "INSERT INTO tenants (id, name) SELECT MAX(id) + 1, $1 FROM tenants";
    sqlx::query(insert).bind(name).execute(&mut *db).await?;
    let id: i64 = sqlx::query_scalar(by_name).bind(name).fetch_one(db).await?;
    Ok(Ok(Tenant { id: TenantId(unsigned("tenants.id", id)?), name: name.to_owned() }))
}
