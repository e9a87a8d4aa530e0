//! Replacing the key: every credential is encrypted anew in one transaction.

use model::DeviceId;

use super::credentials;
use super::sql::{Stop, unsigned};
use super::writer::{Transaction, Write};

/// How many credentials are held in memory at a time.
const STEP: i64 = 1000;

/// See [`Sqlite::rekey`](super::Sqlite::rekey).
pub(super) struct Rekey;

impl Write for Rekey {
    type Outcome = ();
    const DOING: &'static str = "replacing the key";

    async fn apply(&self, tx: &mut Transaction<'_>) -> Result<(), Stop> {
        let (old, new) = (tx.keys(), tx.prepare_keys()?);
        let mut last = 0;
        loop {
            let select = "SELECT device, sealed FROM credentials WHERE device > $1 ORDER BY device LIMIT $2";
            let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as(select).bind(last).bind(STEP).fetch_all(&mut *tx.db).await?;
            for (key, sealed) in &rows {
                let device = DeviceId(unsigned("credentials.device", *key)?);
                let credential = credentials::unseal(&old, device, sealed)?;
                let update = "UPDATE credentials SET place = $1, sealed = $2 WHERE device = $3";
                sqlx::query(update)
                    .bind(new.place(&credential.identity()).to_vec())
                    .bind(new.seal(device, &credential)?)
                    .bind(key)
                    .execute(&mut *tx.db)
                    .await?;
            }
            match rows.last() {
                Some((key, _)) => last = *key,
                None => break,
            }
        }
        sqlx::query("UPDATE meta SET key_id = $1").bind(new.id()).execute(&mut *tx.db).await?;
        tx.use_keys(new);
        Ok(())
    }
}
