//! What all statements share: lists of parameters, numbers, and errors.

use std::path::Path;

use model::{DeviceId, TenantId, Timestamp};

use crate::registry::Error;

/// Why a statement or what belongs to it did not work, before it is known which file and call that concerns.
#[derive(Debug)]
pub(super) enum Stop {
    /// The database said no.
    Sql(sqlx::Error),
    /// A row makes no sense.
    Damaged(String),
    /// Something else.
    Other(Error),
}

impl From<sqlx::Error> for Stop {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl Stop {
    pub(super) fn into_error(self, file: &Path, doing: &'static str) -> Error {
        let file = file.to_owned();
        match self {
            Self::Sql(error) if is_damage(&error) => Error::Damaged { file, cause: error.to_string() },
            Self::Sql(error) => Error::Storage { file, doing, cause: error.to_string() },
            Self::Damaged(cause) => Error::Damaged { file, cause },
            Self::Other(error) => error,
        }
    }
}

/// Whether the file is not what was written there. SQLite: result codes CORRUPT (11) and NOTADB (26), whose extended
/// forms carry more in the higher bits.
fn is_damage(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => {
            let code = error.code().and_then(|code| code.parse::<u32>().ok());
            matches!(code.map(|code| code & 0xff), Some(11 | 26))
        }
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => true,
        _ => false,
    }
}

/// Cuts a batch so that few different statements are needed: into powers of two, none above 64.
pub(super) fn chunks<T>(mut items: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let length = 1 << items.len().min(64).checked_ilog2()?;
        let (chunk, rest) = items.split_at_checked(length)?;
        items = rest;
        Some(chunk)
    })
}

/// `$first, $first+1, …`: the parameters of one list or row.
pub(super) fn list(first: usize, count: usize) -> String {
    let parameters: Vec<_> = (first..first + count).map(|number| format!("${number}")).collect();
    parameters.join(", ")
}

/// `($1, $2), ($3, $4), …`: the parameters of several rows.
pub(super) fn rows(count: usize, columns: usize) -> String {
    let rows: Vec<_> = (0..count).map(|row| format!("({})", list(row * columns + 1, columns))).collect();
    rows.join(", ")
}

/// Ids beyond the database's integers have never been given out: −1 is nobody's.
pub(super) fn device_key(device: DeviceId) -> i64 {
    i64::try_from(device.0).unwrap_or(-1)
}

/// A column as the unsigned number it was written from.
pub(super) fn unsigned<T: TryFrom<i64>>(column: &str, number: i64) -> Result<T, Stop> {
    T::try_from(number).map_err(|_| Stop::Damaged(format!("{column} is {number}")))
}

/// Columns of [`Device`](crate::registry::Device), for a statement that calls its table `d`.
pub(super) const DEVICE: &str = "d.id, d.tenant, d.name, d.profile, d.gateway, d.created";
pub(super) type DeviceRow = (i64, i64, String, String, bool, i64);

pub(super) fn device(
    (id, tenant, name, profile, gateway, created): DeviceRow,
) -> Result<crate::registry::Device, Stop> {
    Ok(crate::registry::Device {
        id: DeviceId(unsigned("devices.id", id)?),
        tenant: TenantId(unsigned("devices.tenant", tenant)?),
        name,
        profile,
        gateway,
        created: Timestamp(created),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_cut_into_powers_of_two() {
        for (length, expected) in
            [(0, vec![]), (1, vec![1]), (3, vec![2, 1]), (64, vec![64]), (200, vec![64, 64, 64, 8])]
        {
            let items: Vec<usize> = (0..length).collect();
            assert_eq!(chunks(&items).map(<[_]>::len).collect::<Vec<_>>(), expected);
            assert_eq!(chunks(&items).flatten().copied().collect::<Vec<_>>(), items);
        }
    }

    #[test]
    fn parameters_are_numbered_through() {
        assert_eq!(list(2, 3), "$2, $3, $4");
        assert_eq!(rows(2, 2), "($1, $2), ($3, $4)");
    }
}
