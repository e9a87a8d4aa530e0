//! Profiles that were made at run time.

use model::TenantId;
use sqlx::SqliteConnection;

use super::sql::Stop;
use super::tenants;
use super::writer::{Transaction, Write};
use crate::registry::{Error, ProfileRow};

pub(super) async fn all(db: &mut SqliteConnection, tenant: TenantId) -> Result<Vec<ProfileRow>, Stop> {
    let rows: Vec<(String, String)> =
        sqlx::query_as("SELECT name, based_on FROM profiles WHERE tenant = $1 ORDER BY name")
            .bind(i64::from(tenant.0))
            .fetch_all(db)
            .await?;
    Ok(rows.into_iter().map(|(name, based_on)| ProfileRow { name, based_on }).collect())
}

/// Makes sure that rows exist.
pub(super) struct Ensure {
    pub(super) tenant: TenantId,
    pub(super) profiles: Vec<ProfileRow>,
}

impl Write for Ensure {
    type Outcome = Vec<Result<ProfileRow, Error>>;
    const DOING: &'static str = "making profiles";

    async fn apply(&self, tx: &mut Transaction<'_>) -> Result<Self::Outcome, Stop> {
        let tenant_exists = tenants::exists(tx.db, self.tenant).await?;
        let mut outcome = Vec::with_capacity(self.profiles.len());
        for profile in &self.profiles {
            outcome.push(match profile.check() {
                Ok(()) if tenant_exists => Ok(ensure(tx.db, self.tenant, profile).await?),
                Ok(()) => Err(Error::TenantNotFound(self.tenant)),
                Err(error) => Err(error),
            });
        }
        Ok(outcome)
    }
}

async fn ensure(db: &mut SqliteConnection, tenant: TenantId, profile: &ProfileRow) -> Result<ProfileRow, Stop> {
    let insert =
        "INSERT INTO profiles (tenant, name, based_on) VALUES ($1, $2, $3) ON CONFLICT (tenant, name) DO NOTHING";
    let tenant = i64::from(tenant.0);
    sqlx::query(insert).bind(tenant).bind(&profile.name).bind(&profile.based_on).execute(&mut *db).await?;
    let select = "SELECT based_on FROM profiles WHERE tenant = $1 AND name = $2";
    let based_on = sqlx::query_scalar(select).bind(tenant).bind(&profile.name).fetch_one(db).await?;
    Ok(ProfileRow { name: profile.name.clone(), based_on })
}

/// Removes rows.
pub(super) struct Remove {
    pub(super) tenant: TenantId,
    pub(super) names: Vec<String>,
}

impl Write for Remove {
    type Outcome = Vec<Result<(), Error>>;
    const DOING: &'static str = "removing profiles";

    async fn apply(&self, tx: &mut Transaction<'_>) -> Result<Self::Outcome, Stop> {
        let mut outcome = Vec::with_capacity(self.names.len());
        for name in &self.names {
            let delete = "DELETE FROM profiles WHERE tenant = $1 AND name = $2";
            let done = sqlx::query(delete).bind(i64::from(self.tenant.0)).bind(name).execute(&mut *tx.db).await?;
            let found = done.rows_affected() > 0;
            outcome.push(if found { Ok(()) } else { Err(Error::ProfileNotFound(name.clone())) });
        }
        Ok(outcome)
    }
}
