//! Which log this is and which run: the file `identity`.
//!
//! The run number makes event ids unique by means of the log folder alone: it is counted up, durably, before the first
//! id of a run is handed out. A new log begins with the time at which it is made, so that its ids are not those of a log
//! that was there before it: readers take an event whose id they know for a repetition.

use std::time::{SystemTime, UNIX_EPOCH};

use super::disk::{Disk, DiskError, replace};
use super::{OpenError, small_file};

pub(crate) const FILE: &str = "identity";
/// The version of everything in the folder.
const FORMAT: u32 = 1;

/// The log, and one of its runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Drawn at random when the log is created.
    pub(crate) log: u64,
    /// Counted up at each start, from the second since 1970 in which the log was created.
    pub(crate) boot: u32,
}

impl Identity {
    /// What the folder says, `None` when it does not hold a log.
    pub(crate) fn load(disk: &dyn Disk) -> Result<Option<Self>, OpenError> {
        let contents = disk.read_small(FILE).map_err(|error| DiskError::new(disk, "reading", FILE, error))?;
        let damaged = |reason| OpenError::Damaged { file: disk.describe(FILE), reason };
        contents.map(|contents| small_file::open(&contents).and_then(Self::parse).map_err(damaged)).transpose()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let expected = || format!("expected the lines `format {FORMAT}`, `log …` and `boot …`, got {text:?}");
        let [format, log, boot] = <[&str; 3]>::try_from(text.lines().collect::<Vec<_>>()).map_err(|_| expected())?;
        let format: u32 = format.strip_prefix("format ").and_then(|it| it.parse().ok()).ok_or_else(expected)?;
        if format != FORMAT {
            return Err(format!("expected format {FORMAT}, got {format}: a newer version of tidegate wrote this log"));
        }
        let log = log.strip_prefix("log ").and_then(|it| u64::from_str_radix(it, 16).ok()).ok_or_else(expected)?;
        let boot = boot.strip_prefix("boot ").and_then(|it| it.parse().ok()).ok_or_else(expected)?;
        Ok(Self { log, boot })
    }

    /// Begins the next run.
    pub(crate) fn next_run(disk: &dyn Disk, before: Option<Self>) -> Result<Self, OpenError> {
        let (log, boot) = match before {
            Some(Self { log, boot }) => (log, boot.checked_add(1)),
            None => (super::random()?, Some(first_run())),
        };
        let boot = boot.ok_or_else(|| OpenError::Damaged {
            file: disk.describe(FILE),
            reason: format!("expected a boot number below {}", u32::MAX),
        })?;
        let contents = small_file::seal(format!("format {FORMAT}\nlog {log:016x}\nboot {boot}\n"));
        replace(disk, FILE, &contents).map_err(|error| DiskError::new(disk, "writing", FILE, error))?;
        Ok(Self { log, boot })
    }
}

/// Seconds since 1970, and something else than 0 whatever the clock says.
fn first_run() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::LocalDisk;

    #[test]
    fn each_run_has_its_own_number() {
        let folder = tempfile::tempdir().unwrap();
        let disk = LocalDisk::buffered(folder.path()).unwrap();
        assert_eq!(Identity::load(&disk).unwrap(), None);
        let first = Identity::next_run(&disk, None).unwrap();
        let second = Identity::next_run(&disk, Identity::load(&disk).unwrap()).unwrap();
        assert_eq!(second, Identity { boot: first.boot + 1, ..first });
    }

    /// Whoever removes a log and keeps its readers must not have new events taken for old ones.
    #[test]
    fn a_log_in_the_place_of_another_has_other_numbers() {
        let before = Identity { log: 1, boot: 57 };
        let folder = tempfile::tempdir().unwrap();
        let disk = LocalDisk::buffered(folder.path()).unwrap();
        let new = Identity::next_run(&disk, None).unwrap();
        assert!(new.log != before.log && new.boot > 1_700_000_000, "{new:?}");
    }

    #[test]
    fn other_contents_are_refused_with_what_was_expected() {
        let folder = tempfile::tempdir().unwrap();
        let disk = LocalDisk::buffered(folder.path()).unwrap();
        let expected: [(&[u8], &str); 4] = [
            (b"garbage", "checksum"),
            (&small_file::seal("format 2\nlog 00\nboot 1\n".to_owned()), "newer version"),
            (&small_file::seal("format 1\nlog 00\n".to_owned()), "expected the lines"),
            (&small_file::seal("format 1\nlog 00\nboot -1\n".to_owned()), "expected the lines"),
        ];
        for (contents, reason) in expected {
            disk.write_small(FILE, contents).unwrap();
            let error = Identity::load(&disk).unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains(FILE), "{error}");
        }
        let last = Identity { log: 1, boot: u32::MAX };
        assert!(Identity::next_run(&disk, Some(last)).is_err());
    }
}
