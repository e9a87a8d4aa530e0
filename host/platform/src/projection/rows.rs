//! The rows in memory, and how events change them.
//!
//! Applying an event a second time changes nothing, so a replay after a crash is safe: the latest value is the one with
//! the greatest time, and attributes are written in the order of the log.

use std::collections::BTreeMap;

use lru::LruCache;
use model::{Body, DeviceId, Entry, Event, Stamped, TenantId, Timestamp, Value};
use proto::row;

use super::Values;
use crate::registry::{Connectivity, Flush, PackedRow, RowKind};

/// A device cannot have more keys than this of one kind; of more, those with the oldest values go.
const MAX_KEYS: usize = 10_000;
/// What an entry costs in memory beside its texts, roughly.
const ENTRY_COST: usize = 96;
/// What a row costs beside its entries, roughly.
const ROW_COST: usize = 256;

/// Whose row it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) tenant: TenantId,
    pub(super) device: DeviceId,
}

/// Rows of the devices that were heard of lately.
pub(super) struct Rows {
    latest_values: bool,
    /// About how many bytes may be used.
    limit: usize,
    used: usize,
    values: LruCache<(Key, RowKind), ValuesRow>,
    /// Small, and of interest for connected devices all the time; written rows go when memory is short.
    connectivity: LruCache<Key, ConnectivityRow>,
}

#[derive(Default)]
struct ValuesRow {
    values: BTreeMap<String, Stamped>,
    cost: usize,
    changed: bool,
}

struct ConnectivityRow {
    row: Connectivity,
    changed: bool,
}

impl Rows {
    pub(super) fn new(latest_values: bool, limit: usize) -> Self {
        Self { latest_values, limit, used: 0, values: LruCache::unbounded(), connectivity: LruCache::unbounded() }
    }

    /// Rows that these events change and that are not in memory, to be given to [`Self::load`].
    pub(super) fn missing(&self, events: &[Event]) -> Vec<(TenantId, RowKind, Vec<DeviceId>)> {
        let mut missing: BTreeMap<(TenantId, RowKind), Vec<DeviceId>> = BTreeMap::new();
        for event in events {
            let key = key(event);
            let Some(kind) = self.kind(&event.body) else { continue };
            if !self.values.contains(&(key, kind)) {
                missing.entry((key.tenant, kind)).or_default().push(key.device);
            }
        }
        let deduplicated = missing.into_iter().map(|((tenant, kind), mut devices)| {
            devices.sort_unstable();
            devices.dedup();
            (tenant, kind, devices)
        });
        deduplicated.collect()
    }

    /// Takes a row as the registry has it.
    pub(super) fn load(&mut self, key: Key, kind: RowKind, packed: Option<&[u8]>) {
        let values: BTreeMap<_, _> = packed.map(|packed| unpack(key, packed)).unwrap_or_default().into_iter().collect();
        let cost = ROW_COST + values.iter().map(|(key, stamped)| cost(key, &stamped.value)).sum::<usize>();
        self.used += cost;
        if let Some(before) = self.values.put((key, kind), ValuesRow { values, cost, changed: false }) {
            self.used -= before.cost;
        }
    }

    pub(super) fn apply(&mut self, event: Event) {
        let key = key(&event);
        let Event { id, received, body, .. } = event;
        match body {
            Body::Telemetry(samples) if self.latest_values => {
                for sample in samples {
                    self.merge(key, RowKind::LatestValues, sample.time, sample.entries);
                }
            }
            Body::ClientAttributes(entries) => self.merge(key, RowKind::ClientAttributes, received, entries),
            Body::Connected(connected) => {
                let row = Connectivity {
                    tenant: key.tenant,
                    device: key.device,
                    connected: true,
                    boot: id.boot,
                    client_id: connected.client_id,
                    since: received,
                    last_change: received,
                };
                self.connectivity.put(key, ConnectivityRow { row, changed: true });
            }
            Body::Disconnected(_) => {
                // The row may have been written and dropped; who it was that left is not worth a look-up.
                let row = self.connectivity.get_or_insert_mut(key, || ConnectivityRow {
                    row: Connectivity {
                        tenant: key.tenant,
                        device: key.device,
                        connected: false,
                        boot: id.boot,
                        client_id: String::new(),
                        since: received,
                        last_change: received,
                    },
                    changed: true,
                });
                row.row.connected = false;
                row.row.boot = id.boot;
                row.row.last_change = received;
                row.changed = true;
            }
            Body::Telemetry(_) | Body::RpcRequest(_) | Body::DeadLetter(_) => {}
        }
    }

    /// Which row of values an event changes.
    fn kind(&self, body: &Body) -> Option<RowKind> {
        match body {
            Body::Telemetry(_) if self.latest_values => Some(RowKind::LatestValues),
            Body::ClientAttributes(_) => Some(RowKind::ClientAttributes),
            _ => None,
        }
    }

    fn merge(&mut self, key: Key, kind: RowKind, time: Timestamp, entries: Vec<Entry>) {
        let row = self.values.get_or_insert_mut((key, kind), ValuesRow::default);
        let before = row.cost;
        for Entry { key, value } in entries {
            let entry_cost = cost(&key, &value);
            let stamped = Stamped { time, value };
            match row.values.get_mut(&key) {
                Some(current) if current.time > time => continue,
                Some(current) => {
                    row.cost -= cost(&key, &current.value);
                    *current = stamped;
                }
                None => {
                    row.values.insert(key, stamped);
                }
            }
            row.cost += entry_cost;
            row.changed = true;
        }
        while row.values.len() > MAX_KEYS {
            let oldest = row.values.iter().min_by_key(|(_, stamped)| stamped.time).map(|(key, _)| key.clone());
            let Some((key, removed)) = oldest.and_then(|key| row.values.remove_entry(&key)) else { break };
            row.cost -= cost(&key, &removed.value);
        }
        self.used = self.used - before + row.cost;
    }

    /// The values of a device, if they are in memory.
    pub(super) fn values(&mut self, key: Key, kind: RowKind) -> Option<Values> {
        let row = self.values.get(&(key, kind))?;
        Some(row.values.iter().map(|(key, stamped)| (key.clone(), stamped.clone())).collect())
    }

    pub(super) fn connectivity(&mut self, key: Key) -> Option<Connectivity> {
        self.connectivity.get(&key).map(|row| row.row.clone())
    }

    pub(super) fn forget(&mut self, key: Key) {
        for kind in [RowKind::LatestValues, RowKind::ClientAttributes] {
            if let Some(row) = self.values.pop(&(key, kind)) {
                self.used -= row.cost;
            }
        }
        self.connectivity.pop(&key);
    }

    /// Everything that has changed and is not written.
    pub(super) fn changed(&self) -> Flush {
        let rows = self.values.iter().filter(|(_, row)| row.changed).map(|((key, kind), row)| PackedRow {
            tenant: key.tenant,
            device: key.device,
            kind: *kind,
            packed: row::encode(row.values.iter()),
        });
        let connectivity = self.connectivity.iter().filter(|(_, row)| row.changed).map(|(_, row)| row.row.clone());
        Flush { rows: rows.collect(), connectivity: connectivity.collect(), applied_position: String::new() }
    }

    /// What [`Self::changed`] returned is written, and nothing was applied since. Drops what memory has no room for.
    pub(super) fn written(&mut self) {
        self.values.iter_mut().for_each(|(_, row)| row.changed = false);
        self.connectivity.iter_mut().for_each(|(_, row)| row.changed = false);
        while self.is_over_limit() {
            match self.values.pop_lru() {
                Some((_, row)) => self.used -= row.cost,
                None => break,
            }
        }
        while self.connectivity.len() * ROW_COST > self.limit {
            self.connectivity.pop_lru();
        }
    }

    /// Whether rows have to be written and dropped.
    pub(super) fn is_over_limit(&self) -> bool {
        self.used > self.limit
    }
}

/// The values of a stored row; an unreadable one is reported and starts anew.
pub(super) fn unpack(key: Key, packed: &[u8]) -> Values {
    row::decode(packed).unwrap_or_else(|error| {
        tracing::error!(tenant = %key.tenant, device = %key.device, "stored values cannot be read: {error}");
        Vec::new()
    })
}

fn key(event: &Event) -> Key {
    Key { tenant: event.origin.tenant, device: event.origin.device }
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
    use std::sync::Arc;

    use model::event::{Connected, Disconnected};
    use model::{EventId, Origin, Sample};

    const KEY: Key = Key { tenant: TenantId::DEFAULT, device: DeviceId(1) };

    fn event(received: i64, body: Body) -> Event {
        let origin =
            Origin { tenant: KEY.tenant, device: KEY.device, name: "d".to_owned(), profile: "default".to_owned() };
        let id = EventId { node: 0, boot: 4, sequence: 0 };
        Event { id, origin: Arc::new(origin), received: Timestamp(received), topic: None, body }
    }

    fn entry(key: &str, value: i64) -> Entry {
        Entry { key: key.to_owned(), value: Value::Long(value) }
    }

    fn telemetry(samples: &[(i64, &[(&str, i64)])]) -> Body {
        let sample = |(time, entries): &(i64, &[(&str, i64)])| Sample {
            time: Timestamp(*time),
            entries: entries.iter().map(|(key, value)| entry(key, *value)).collect(),
        };
        Body::Telemetry(samples.iter().map(sample).collect())
    }

    fn longs(rows: &mut Rows, kind: RowKind) -> Vec<(String, i64, i64)> {
        let values = rows.values(KEY, kind).unwrap_or_default();
        let long = |(key, Stamped { time, value })| match value {
            Value::Long(value) => (key, time.0, value),
            other => panic!("{other:?}"),
        };
        values.into_iter().map(long).collect()
    }

    #[test]
    fn the_latest_value_is_the_one_with_the_greatest_time() {
        let mut rows = Rows::new(true, 1 << 20);
        rows.apply(event(9, telemetry(&[(5, &[("a", 1), ("b", 1)]), (3, &[("a", 2)]), (5, &[("b", 3)])])));
        let expected = [("a".to_owned(), 5, 1), ("b".to_owned(), 5, 3)];
        assert_eq!(longs(&mut rows, RowKind::LatestValues), expected);
        // Once more: nothing changes.
        rows.apply(event(9, telemetry(&[(5, &[("a", 1), ("b", 1)]), (3, &[("a", 2)]), (5, &[("b", 3)])])));
        assert_eq!(longs(&mut rows, RowKind::LatestValues), expected);
    }

    #[test]
    fn attributes_are_written_in_the_order_of_the_log() {
        let mut rows = Rows::new(true, 1 << 20);
        rows.apply(event(1, Body::ClientAttributes(vec![entry("a", 1), entry("b", 1)])));
        rows.apply(event(2, Body::ClientAttributes(vec![entry("a", 2)])));
        let expected = [("a".to_owned(), 2, 2), ("b".to_owned(), 1, 1)];
        assert_eq!(longs(&mut rows, RowKind::ClientAttributes), expected);
    }

    #[test]
    fn latest_values_can_be_off() {
        let mut rows = Rows::new(false, 1 << 20);
        let events = [event(1, telemetry(&[(1, &[("a", 1)])]))];
        assert!(rows.missing(&events).is_empty());
        events.into_iter().for_each(|event| rows.apply(event));
        assert!(rows.changed().rows.is_empty());
    }

    #[test]
    fn rows_are_missing_once_changed_once_and_written_once() {
        let mut rows = Rows::new(true, 1 << 20);
        let events = [event(1, telemetry(&[(1, &[("a", 1)])])), event(2, telemetry(&[(2, &[("b", 2)])]))];
        assert_eq!(rows.missing(&events), [(KEY.tenant, RowKind::LatestValues, vec![KEY.device])]);
        let stored =
            row::encode([(&"c".to_owned(), &Stamped { time: Timestamp(0), value: Value::Long(0) })].into_iter());
        rows.load(KEY, RowKind::LatestValues, Some(&stored));
        assert!(rows.missing(&events).is_empty());
        assert!(rows.changed().rows.is_empty(), "loading changes nothing");
        events.into_iter().for_each(|event| rows.apply(event));
        let flush = rows.changed();
        assert_eq!(flush.rows.len(), 1);
        assert_eq!(unpack(KEY, &flush.rows[0].packed).len(), 3);
        rows.written();
        assert!(rows.changed().rows.is_empty());
    }

    #[test]
    fn memory_is_bounded() {
        let mut rows = Rows::new(true, 10 * (ROW_COST + ENTRY_COST));
        for device in 0..100 {
            let mut event = event(1, telemetry(&[(1, &[("a", 1)])]));
            Arc::make_mut(&mut event.origin).device = DeviceId(device);
            rows.load(key(&event), RowKind::LatestValues, None);
            rows.apply(event);
        }
        assert!(rows.is_over_limit());
        assert_eq!(rows.changed().rows.len(), 100, "nothing is dropped that is not written");
        rows.written();
        assert!(!rows.is_over_limit() && rows.values.len() < 11, "{}", rows.values.len());
        rows.values.iter().for_each(|(_, row)| assert!(row.cost > 0));
        let used: usize = rows.values.iter().map(|(_, row)| row.cost).sum();
        assert_eq!(rows.used, used);
    }

    #[test]
    fn a_device_cannot_have_keys_without_end() {
        let mut rows = Rows::new(true, 1 << 30);
        for round in 0..3 {
            let entries = (0..MAX_KEYS).map(|number| entry(&format!("{round}-{number}"), 0)).collect();
            let sample = Sample { time: Timestamp(round), entries };
            rows.apply(event(1, Body::Telemetry(vec![sample])));
        }
        let values = rows.values(KEY, RowKind::LatestValues).unwrap();
        assert_eq!(values.len(), MAX_KEYS);
        assert!(values.iter().all(|(key, _)| key.starts_with("2-")), "the newest stay");
    }

    #[test]
    fn connectivity_follows_connect_and_disconnect() {
        let mut rows = Rows::new(true, 1 << 20);
        let connected = Connected { client_id: "c".to_owned(), peer: String::new(), protocol: String::new() };
        rows.apply(event(5, Body::Connected(connected)));
        let row = rows.connectivity(KEY).unwrap();
        assert_eq!((row.connected, row.boot, row.since.0, row.last_change.0), (true, 4, 5, 5));
        rows.apply(event(8, Body::Disconnected(Disconnected { cause: "client".to_owned(), detail: String::new() })));
        let row = rows.connectivity(KEY).unwrap();
        assert_eq!((row.connected, row.client_id.as_str(), row.since.0, row.last_change.0), (false, "c", 5, 8));
        assert_eq!(rows.changed().connectivity.len(), 1);
        rows.forget(KEY);
        assert!(rows.connectivity(KEY).is_none() && rows.changed().connectivity.is_empty());
    }
}
