//! One row of values, and how entries change it.

use std::collections::BTreeMap;

use model::{Entry, Stamped, Timestamp, Value};
use proto::row;

use super::Values;
use crate::registry::RowKind;

/// A device keeps this many keys of one kind at least.
pub(super) const MAX_KEYS: usize = 10_000;
/// With so many more, those with the oldest values go: in one pass for all of them, so that a device which never uses a
/// key twice costs little more than others.
const SURPLUS: usize = MAX_KEYS / 10;
/// What a row may take in bytes, about; with more, those with the oldest values go until three quarters are left. A row is
/// loaded, encoded and stored whole, so the devices of one gateway must not be able to make one that fills its memory.
const MAX_COST: usize = 4 << 20;
/// What an entry costs in memory beside its texts, roughly.
pub(super) const ENTRY_COST: usize = 96;
/// What a row costs beside its entries, roughly.
pub(super) const ROW_COST: usize = 256;

/// The values of one device, of one kind.
pub(super) struct ValuesRow {
    values: BTreeMap<String, Stamped>,
    /// About how many bytes it takes.
    cost: usize,
    /// Whether it has more than what is stored.
    pub(super) changed: bool,
}

impl ValuesRow {
    /// A row as it is stored.
    pub(super) fn stored(values: Values) -> Self {
        let values: BTreeMap<_, _> = values.into_iter().collect();
        let cost = ROW_COST + values.iter().map(|(key, stamped)| cost(key, &stamped.value)).sum::<usize>();
        Self { values, cost, changed: false }
    }

    /// Writes entries; returns how many keys had to go for that.
    ///
    /// The latest value is the one with the greatest time, of the same time the last one (spec 4.2): devices may send
    /// what they have kept. An attribute is what was written last, in the order of the log, for the host's clock may
    /// step back.
    pub(super) fn merge(&mut self, kind: RowKind, time: Timestamp, entries: Vec<Entry>) -> usize {
        for Entry { key, value } in entries {
            let entry_cost = cost(&key, &value);
            let stamped = Stamped { time, value };
            match self.values.get_mut(&key) {
                Some(current) if kind == RowKind::LatestValues && current.time > time => continue,
                Some(current) => {
                    self.cost -= cost(&key, &current.value);
                    *current = stamped;
                }
                None => {
                    self.values.insert(key, stamped);
                }
            }
            self.cost += entry_cost;
            self.changed = true;
        }
        let too_many = if self.values.len() > MAX_KEYS + SURPLUS { self.values.len() - MAX_KEYS } else { 0 };
        let dropped = if too_many > 0 { self.drop_oldest(too_many) } else { 0 };
        if self.cost > MAX_COST { dropped + self.shrink(MAX_COST / 4 * 3) } else { dropped }
    }

    /// Drops keys with the oldest values until the row takes no more than so many bytes; it takes more now.
    fn shrink(&mut self, most: usize) -> usize {
        let mut entries: Vec<_> =
            self.values.iter().map(|(key, stamped)| (stamped.time, cost(key, &stamped.value))).collect();
        entries.sort_unstable();
        let mut left = self.cost;
        let mut count = 0;
        for (_, cost) in entries {
            if left <= most {
                break;
            }
            left -= cost;
            count += 1;
        }
        self.drop_oldest(count)
    }

    /// Drops so many keys, at least one, those with the oldest values.
    fn drop_oldest(&mut self, count: usize) -> usize {
        let mut times: Vec<_> = self.values.values().map(|stamped| stamped.time).collect();
        let (older, &mut last, _) = times.select_nth_unstable(count - 1);
        let mut of_last = count - older.iter().filter(|time| **time < last).count();
        let row_cost = &mut self.cost;
        self.values.retain(|key, stamped| {
            let goes = stamped.time < last || (stamped.time == last && of_last > 0);
            if goes {
                of_last -= usize::from(stamped.time == last);
                *row_cost -= cost(key, &stamped.value);
            }
            !goes
        });
        count
    }

    pub(super) fn cost(&self) -> usize {
        self.cost
    }

    /// A copy for readers, by key.
    pub(super) fn values(&self) -> Values {
        self.values.iter().map(|(key, stamped)| (key.clone(), stamped.clone())).collect()
    }

    /// As it is to be stored.
    pub(super) fn packed(&self) -> Vec<u8> {
        row::encode(self.values.iter())
    }
}

fn cost(key: &str, value: &Value) -> usize {
    let text = match value {
        Value::String(text) | Value::Json(text) => text.len(),
        Value::Boolean(_) | Value::Long(_) | Value::Double(_) => 0,
    };
    ENTRY_COST + key.len() + text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device that sends long texts under ever new keys must not make a row that nobody can load any more.
    #[test]
    fn a_row_is_bounded_in_bytes() {
        let mut row = ValuesRow::stored(Values::new());
        let mut dropped = 0;
        for n in 0..1000_i64 {
            let value = Value::String("x".repeat(60_000));
            dropped += row.merge(RowKind::LatestValues, Timestamp(n), vec![Entry { key: format!("k{n}"), value }]);
            assert!(row.cost() <= MAX_COST, "{}", row.cost());
        }
        let kept = row.values();
        assert_eq!((kept.len() + dropped, row.packed().len() < MAX_COST), (1000, true));
        assert!(
            kept.len() > 40 && kept.iter().all(|(_, stamped)| stamped.time.0 >= 1000 - kept.len() as i64),
            "the newest"
        );
    }

    fn entry(key: String) -> Entry {
        Entry { key, value: Value::Long(0) }
    }

    fn cost_of(row: &ValuesRow) -> usize {
        ValuesRow::stored(row.values()).cost()
    }

    #[test]
    fn of_too_many_keys_those_with_the_newest_values_stay() {
        let mut row = ValuesRow::stored(Vec::new());
        for round in 0..3 {
            let entries = (0..MAX_KEYS).map(|number| entry(format!("{round}-{number}"))).collect();
            let dropped = row.merge(RowKind::LatestValues, Timestamp(round), entries);
            assert_eq!(dropped, if round == 0 { 0 } else { MAX_KEYS });
        }
        let values = row.values();
        assert_eq!((values.len(), row.cost()), (MAX_KEYS, cost_of(&row)));
        assert!(values.iter().all(|(key, _)| key.starts_with("2-")), "the newest stay");
    }

    #[test]
    fn of_values_of_the_same_time_as_many_go_as_must() {
        let mut row = ValuesRow::stored(Vec::new());
        let entries = (0..2 * MAX_KEYS).map(|number| entry(number.to_string())).collect();
        assert_eq!(row.merge(RowKind::ClientAttributes, Timestamp(1), entries), MAX_KEYS);
        assert_eq!((row.values().len(), row.cost()), (MAX_KEYS, cost_of(&row)));
    }

    /// One pass over the row for each new key would let one device stop the projection.
    #[test]
    fn keys_are_dropped_many_at_once() {
        let mut row = ValuesRow::stored(Vec::new());
        let mut passes = 0;
        for time in 0..2 * MAX_KEYS as i64 {
            passes += usize::from(row.merge(RowKind::LatestValues, Timestamp(time), vec![entry(time.to_string())]) > 0);
            assert!(row.values.len() <= MAX_KEYS + SURPLUS);
        }
        assert_eq!(passes, (MAX_KEYS - 1) / (SURPLUS + 1));
        assert_eq!(row.cost(), cost_of(&row));
    }
}
