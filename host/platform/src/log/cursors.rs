//! Durable cursors: how far each registered reader has come, and what that means for retention. The file `cursors`.

use std::collections::BTreeMap;
use std::fmt::Write;

use tokio::sync::oneshot;

use super::{Position, small_file};

pub(crate) const FILE: &str = "cursors";
/// The longest name of a cursor, in bytes.
const NAME_LIMIT: usize = 100;

/// What happens to records that a registered reader has not read when retention wants to remove them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// They stay. When the disk limit is reached for that, intake stops.
    Hold,
    /// They go. The reader is told with an explicit gap, and what it missed is counted.
    Gap,
}

/// Where a new cursor begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the oldest record that is kept.
    Oldest,
    /// Behind the newest record.
    End,
    /// At this position.
    At(Position),
}

/// A registered cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CursorStatus {
    /// Its name.
    pub name: String,
    /// What it means for retention.
    pub policy: Policy,
    /// Everything before this has been read.
    pub position: Position,
    /// How many positions its reader missed to retention or damage since the log was opened.
    pub skipped: u64,
}

/// A wrong use of a durable cursor: the caller is to blame, except for [`Storage`](Self::Storage).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CursorError {
    /// No cursor is registered under that name.
    #[error("no cursor named {0:?} is registered")]
    Unknown(String),
    /// The name will not do.
    #[error("cursor name: expected 1 to {NAME_LIMIT} characters of a-z, A-Z, 0-9, `.`, `_` and `-`, got {0:?}")]
    Name(String),
    /// The position does not exist yet.
    #[error("position {position} is ahead of the log, which ends at {end}")]
    Ahead {
        /// The position that was given.
        position: Position,
        /// Where the log ends.
        end: Position,
    },
    /// Done, but not yet durable; the log goes on trying.
    #[error("the cursor could not be stored: {0}")]
    Storage(String),
    /// The log is closed.
    #[error("the event log is closed")]
    Closed,
}

/// All registered cursors of a log, and the floor.
#[derive(Debug, Default)]
pub(crate) struct Cursors {
    /// What the projection has applied, once it has said so.
    floor: Option<Marked>,
    /// Whether the floor is from an earlier run, and the projection has not said yet where it stands in this one.
    unconfirmed: bool,
    named: BTreeMap<String, Named>,
    /// Whether memory is ahead of the file.
    dirty: bool,
    /// Who waits for the file to be written.
    waiting: Vec<oneshot::Sender<Result<(), String>>>,
    /// Whether the file will not be written any more.
    closed: bool,
}

/// A position in memory and what is known to be in the file. Records behind `durable` may be needed after a crash.
#[derive(Debug, Clone, Copy)]
struct Marked {
    position: u64,
    durable: u64,
}

impl Marked {
    fn at(position: u64) -> Self {
        Self { position, durable: position }
    }
}

#[derive(Debug)]
struct Named {
    policy: Policy,
    mark: Marked,
    skipped: u64,
}

/// What to write, and what it makes durable.
pub(crate) struct Snapshot {
    pub(crate) contents: Vec<u8>,
    floor: Option<u64>,
    named: BTreeMap<String, u64>,
    pub(crate) waiting: Vec<oneshot::Sender<Result<(), String>>>,
}

impl Cursors {
    /// Reads the file.
    pub(crate) fn parse(contents: &[u8]) -> Result<Self, String> {
        let mut cursors = Self::default();
        for line in small_file::open(contents)?.lines() {
            let expected = || format!("expected `floor POSITION` or `hold|gap POSITION NAME`, got {line:?}");
            let mut words = line.splitn(3, ' ');
            let (kind, position) = (words.next(), words.next().and_then(|word| word.parse().ok()));
            let mark = Marked::at(position.ok_or_else(expected)?);
            let policy = match (kind, words.next()) {
                (Some("floor"), None) => {
                    cursors.floor = Some(mark);
                    cursors.unconfirmed = true;
                    continue;
                }
                (Some("hold"), Some(name)) => (Policy::Hold, name),
                (Some("gap"), Some(name)) => (Policy::Gap, name),
                _ => return Err(expected()),
            };
            let (policy, name) = policy;
            check_name(name).map_err(|error| error.to_string())?;
            cursors.named.insert(name.to_owned(), Named { policy, mark, skipped: 0 });
        }
        Ok(cursors)
    }

    /// Registers a cursor, or gives a registered one this policy; returns where its reader continues.
    pub(crate) fn register(&mut self, name: &str, policy: Policy, start: Position) -> Result<Position, CursorError> {
        check_name(name)?;
        self.dirty = true;
        let named =
            self.named.entry(name.to_owned()).or_insert(Named { policy, mark: Marked::at(start.0), skipped: 0 });
        named.policy = policy;
        Ok(Position(named.mark.position))
    }

    /// Moves a cursor forward; a smaller position changes nothing.
    pub(crate) fn advance(&mut self, name: &str, to: Position) -> Result<(), CursorError> {
        let named = self.named.get_mut(name).ok_or_else(|| CursorError::Unknown(name.to_owned()))?;
        self.dirty |= to.0 > named.mark.position;
        named.mark.position = named.mark.position.max(to.0);
        Ok(())
    }

    pub(crate) fn unregister(&mut self, name: &str) -> Result<(), CursorError> {
        self.named.remove(name).ok_or_else(|| CursorError::Unknown(name.to_owned()))?;
        self.dirty = true;
        Ok(())
    }

    /// Moves the floor forward; the first call of a run sets it, also back: the registry may have been restored or
    /// replaced since. `true` if retention waited for this.
    pub(crate) fn set_floor(&mut self, to: Position) -> bool {
        let confirms = std::mem::take(&mut self.unconfirmed);
        let floor = self.floor.get_or_insert_with(|| {
            self.dirty = true;
            Marked::at(to.0)
        });
        if confirms {
            self.dirty |= to.0 != floor.position;
            *floor = Marked { position: to.0, durable: floor.durable.min(to.0) };
        }
        self.dirty |= to.0 > floor.position;
        floor.position = floor.position.max(to.0);
        confirms
    }

    /// The reader of this cursor missed so many positions.
    pub(crate) fn skipped(&mut self, name: &str, positions: u64) {
        if let Some(named) = self.named.get_mut(name) {
            named.skipped = named.skipped.saturating_add(positions);
        }
    }

    /// What to write, if memory is ahead of the file or somebody waits for it.
    pub(crate) fn snapshot(&mut self) -> Option<Snapshot> {
        if !self.dirty && self.waiting.is_empty() {
            return None;
        }
        self.dirty = false;
        let mut lines = String::new();
        // Writing to a string cannot fail.
        if let Some(floor) = self.floor {
            let _ = writeln!(lines, "floor {}", floor.position);
        }
        for (name, Named { policy, mark, .. }) in &self.named {
            let policy = match policy {
                Policy::Hold => "hold",
                Policy::Gap => "gap",
            };
            let _ = writeln!(lines, "{policy} {} {name}", mark.position);
        }
        Some(Snapshot {
            contents: small_file::seal(lines),
            floor: self.floor.map(|floor| floor.position),
            named: self.named.iter().map(|(name, named)| (name.clone(), named.mark.position)).collect(),
            waiting: std::mem::take(&mut self.waiting),
        })
    }

    /// The snapshot is in the file.
    pub(crate) fn stored(&mut self, snapshot: &Snapshot) {
        if let (Some(floor), Some(stored)) = (&mut self.floor, snapshot.floor) {
            // It may have been set back meanwhile.
            floor.durable = stored.min(floor.position);
        }
        for (name, &stored) in &snapshot.named {
            // A cursor that was unregistered and registered again meanwhile may be behind what was stored.
            if let Some(named) = self.named.get_mut(name) {
                named.mark.durable = stored.min(named.mark.position);
            }
        }
    }

    /// The snapshot is not in the file, or perhaps not.
    pub(crate) fn not_stored(&mut self) {
        self.dirty = true;
    }

    /// Who wants to know when the file has been written; the sender is dropped when it will not be.
    pub(crate) fn wait(&mut self, waiting: oneshot::Sender<Result<(), String>>) {
        if !self.closed {
            self.waiting.push(waiting);
        }
    }

    /// The file is not written any more.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.waiting.clear();
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.named.contains_key(name)
    }

    /// Retention must not pass this position: what the floor and the holding cursors need after a crash. The text says
    /// whose position it is.
    pub(crate) fn held(&self) -> Option<(Position, String)> {
        let holding = self.named.iter().filter(|(_, named)| named.policy == Policy::Hold);
        let marks = holding.map(|(name, named)| (named.mark, format!("cursor {name:?}")));
        if self.unconfirmed {
            return Some((Position(0), "the projection, which has not said yet how far it is,".to_owned()));
        }
        let floor = self.floor.map(|mark| (mark, "the projection".to_owned()));
        marks.chain(floor).map(|(mark, who)| (Position(mark.durable), who)).min_by_key(|(position, _)| *position)
    }

    /// The highest position that anybody is known to have read.
    pub(crate) fn highest(&self) -> u64 {
        self.named.values().map(|named| named.mark).chain(self.floor).map(|mark| mark.position).max().unwrap_or(0)
    }

    pub(crate) fn list(&self) -> Vec<CursorStatus> {
        let status = |(name, named): (&String, &Named)| CursorStatus {
            name: name.clone(),
            policy: named.policy,
            position: Position(named.mark.position),
            skipped: named.skipped,
        };
        self.named.iter().map(status).collect()
    }
}

fn check_name(name: &str) -> Result<(), CursorError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.is_empty() || name.len() > NAME_LIMIT || !name.bytes().all(allowed) {
        return Err(CursorError::Name(name.chars().take(2 * NAME_LIMIT).collect()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retention_waits_for_what_is_in_the_file_not_for_what_is_in_memory() {
        let mut cursors = Cursors::default();
        cursors.register("sink", Policy::Hold, Position(10)).unwrap();
        cursors.register("tail", Policy::Gap, Position(0)).unwrap();
        let held = |cursors: &Cursors| cursors.held().map(|(position, _)| position);
        assert_eq!(held(&cursors), Some(Position(10)));
        cursors.advance("sink", Position(50)).unwrap();
        let snapshot = cursors.snapshot().unwrap();
        cursors.advance("sink", Position(70)).unwrap();
        assert_eq!(held(&cursors), Some(Position(10)));
        cursors.stored(&snapshot);
        assert_eq!(held(&cursors), Some(Position(50)));
        cursors.set_floor(Position(20));
        assert_eq!(cursors.held(), Some((Position(20), "the projection".to_owned())));
        assert_eq!(cursors.highest(), 70);

        let mut restored = Cursors::parse(&cursors.snapshot().unwrap().contents).unwrap();
        assert_eq!(restored.list(), cursors.list());
        assert!(restored.set_floor(Position(20)));
        assert_eq!(held(&restored), Some(Position(20)));
        assert!(cursors.snapshot().is_none(), "nothing new to write");
    }

    /// The registry may have been restored from a backup, or replaced: then it needs what an earlier run did not.
    #[test]
    fn the_floor_of_an_earlier_run_counts_for_nothing_until_it_is_confirmed() {
        let held = |cursors: &Cursors| cursors.held().map(|(position, _)| position);
        let mut before = Cursors::default();
        assert!(!before.set_floor(Position(50)), "nothing waited for it");
        let contents = before.snapshot().unwrap().contents;

        let mut cursors = Cursors::parse(&contents).unwrap();
        assert_eq!(held(&cursors), Some(Position(0)));
        let snapshot = {
            cursors.register("other", Policy::Gap, Position(60)).unwrap();
            cursors.snapshot().unwrap()
        };
        assert!(cursors.set_floor(Position(7)));
        cursors.stored(&snapshot);
        assert_eq!(held(&cursors), Some(Position(7)), "what was being stored is of the earlier run");
        assert!(!cursors.set_floor(Position(5)));
        assert_eq!(held(&cursors), Some(Position(7)), "later calls only move on");
        assert!(!cursors.set_floor(Position(70)));
        let snapshot = cursors.snapshot().unwrap();
        cursors.stored(&snapshot);
        assert_eq!(held(&cursors), Some(Position(70)));

        let mut cursors = Cursors::parse(&contents).unwrap();
        assert!(cursors.set_floor(Position(50)));
        assert_eq!(held(&cursors), Some(Position(50)));
        assert!(cursors.snapshot().is_none(), "nothing new to write");
    }

    #[test]
    fn cursors_never_go_back_and_a_second_registration_finds_the_first() {
        let mut cursors = Cursors::default();
        cursors.register("a", Policy::Gap, Position(5)).unwrap();
        cursors.advance("a", Position(9)).unwrap();
        cursors.advance("a", Position(7)).unwrap();
        assert_eq!(cursors.register("a", Policy::Hold, Position(0)), Ok(Position(9)));
        assert_eq!(cursors.list()[0].policy, Policy::Hold);
        cursors.unregister("a").unwrap();
        assert_eq!(cursors.unregister("a"), Err(CursorError::Unknown("a".to_owned())));
        assert_eq!(cursors.advance("a", Position(1)), Err(CursorError::Unknown("a".to_owned())));
    }

    #[test]
    fn a_cursor_made_anew_while_the_old_one_is_stored_holds_from_its_own_position() {
        let mut cursors = Cursors::default();
        cursors.register("a", Policy::Hold, Position(90)).unwrap();
        let snapshot = cursors.snapshot().unwrap();
        cursors.unregister("a").unwrap();
        cursors.register("a", Policy::Hold, Position(5)).unwrap();
        cursors.stored(&snapshot);
        assert_eq!(cursors.held().unwrap().0, Position(5));
    }

    #[test]
    fn names_and_lines_are_checked() {
        let mut cursors = Cursors::default();
        for bad in ["", "a b", "a\n", "é", &"x".repeat(101)] {
            assert!(matches!(cursors.register(bad, Policy::Gap, Position(0)), Err(CursorError::Name(_))), "{bad:?}");
        }
        for bad in ["floor\n", "floor x\n", "floor 1 2\n", "keep 1 a\n", "hold 1\n", "hold 1 a b\n", "hold -1 a\n"] {
            let error = Cursors::parse(&small_file::seal(bad.to_owned())).unwrap_err();
            assert!(error.contains("expected"), "{error}");
        }
    }
}
