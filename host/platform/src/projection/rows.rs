//! The rows in memory, and which of them events change.
//!
//! They are always what the log says up to one position, and are stored together with it, so a replay from there ends at
//! the same rows.

use std::collections::{BTreeMap, BTreeSet};

use lru::LruCache;
use model::{Body, DeviceId, Entry, Event, TenantId, Timestamp};
use proto::row;

use super::Values;
use super::meters::Meters;
use super::values::{ROW_COST, ValuesRow};
use crate::registry::{Connectivity, Flush, PackedRow, RowKind};

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
    values: LruCache<(Key, RowKind), ValuesRow>,
    /// What [`Self::values`] costs.
    values_cost: usize,
    /// Small, and of interest for connected devices all the time.
    connectivity: LruCache<Key, ConnectivityRow>,
    /// What [`Self::connectivity`] costs.
    connectivity_cost: usize,
    meters: Meters,
}

struct ConnectivityRow {
    row: Connectivity,
    changed: bool,
}

/// Rows that events change and that are not in memory.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Missing {
    /// To be given to [`Rows::load`].
    pub(super) values: BTreeMap<(TenantId, RowKind), BTreeSet<DeviceId>>,
    /// To be given to [`Rows::load_connectivity`].
    pub(super) connectivity: BTreeMap<TenantId, BTreeSet<DeviceId>>,
}

impl Rows {
    pub(super) fn new(latest_values: bool, limit: usize, meters: Meters) -> Self {
        Self {
            latest_values,
            limit,
            values: LruCache::unbounded(),
            values_cost: 0,
            connectivity: LruCache::unbounded(),
            connectivity_cost: 0,
            meters,
        }
    }

    /// What has to be loaded before these events are applied.
    pub(super) fn missing(&self, events: &[Event]) -> Missing {
        let mut missing = Missing::default();
        for event in events {
            let key = key(event);
            if let Some(kind) = self.kind(&event.body) {
                if !self.values.contains(&(key, kind)) {
                    missing.values.entry((key.tenant, kind)).or_default().insert(key.device);
                }
            } else if matches!(event.body, Body::Disconnected(_)) && !self.connectivity.contains(&key) {
                // Who it was that left, and since when it was there, is only in the row.
                missing.connectivity.entry(key.tenant).or_default().insert(key.device);
            }
        }
        missing
    }

    /// Takes a row as the registry has it.
    pub(super) fn load(&mut self, key: Key, kind: RowKind, packed: Option<&[u8]>) {
        let row = ValuesRow::stored(packed.map(|packed| unpack(key, packed)).unwrap_or_default());
        self.values_cost += row.cost();
        if let Some(before) = self.values.put((key, kind), row) {
            self.values_cost -= before.cost();
        }
    }

    /// Takes a state as the registry has it.
    pub(super) fn load_connectivity(&mut self, row: Connectivity) {
        self.put_connectivity(ConnectivityRow { row, changed: false });
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
                self.put_connectivity(ConnectivityRow { row, changed: true });
            }
            Body::Disconnected(_) => {
                // Without a row: the event of its connection is older than the log.
                let (client_id, since) = self
                    .connectivity
                    .get(&key)
                    .map_or_else(|| (String::new(), received), |it| (it.row.client_id.clone(), it.row.since));
                let row = Connectivity {
                    tenant: key.tenant,
                    device: key.device,
                    connected: false,
                    boot: id.boot,
                    client_id,
                    since,
                    last_change: received,
                };
                self.put_connectivity(ConnectivityRow { row, changed: true });
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
        if !self.values.contains(&(key, kind)) {
            self.load(key, kind, None);
        }
        let Some(row) = self.values.get_mut(&(key, kind)) else { return };
        let before = row.cost();
        let dropped = row.merge(kind, time, entries);
        self.values_cost = self.values_cost - before + row.cost();
        if dropped > 0 {
            self.meters.dropped_keys.increment(dropped as u64);
            let Key { tenant, device } = key;
            tracing::warn!(%tenant, %device, ?kind, dropped, "a device has too many keys, those with the oldest values were dropped");
        }
    }

    fn put_connectivity(&mut self, row: ConnectivityRow) {
        let key = Key { tenant: row.row.tenant, device: row.row.device };
        self.connectivity_cost += row.cost();
        if let Some(before) = self.connectivity.put(key, row) {
            self.connectivity_cost -= before.cost();
        }
    }

    /// The values of a device, if they are in memory.
    pub(super) fn values(&mut self, key: Key, kind: RowKind) -> Option<Values> {
        self.values.get(&(key, kind)).map(ValuesRow::values)
    }

    pub(super) fn connectivity(&mut self, key: Key) -> Option<Connectivity> {
        self.connectivity.get(&key).map(|row| row.row.clone())
    }

    pub(super) fn forget(&mut self, key: Key) {
        for kind in [RowKind::LatestValues, RowKind::ClientAttributes] {
            self.drop_values(&(key, kind));
        }
        self.drop_connectivity(&key);
    }

    /// Everything that has changed and is not written.
    pub(super) fn changed(&self) -> Flush {
        let rows = self.values.iter().filter(|(_, row)| row.changed).map(|((key, kind), row)| PackedRow {
            tenant: key.tenant,
            device: key.device,
            kind: *kind,
            packed: row.packed(),
        });
        let connectivity = self.connectivity.iter().filter(|(_, row)| row.changed).map(|(_, row)| row.row.clone());
        Flush { rows: rows.collect(), connectivity: connectivity.collect(), applied_position: String::new() }
    }

    /// What [`Self::changed`] returned is written, and nothing was applied since.
    pub(super) fn written(&mut self) {
        self.values.iter_mut().for_each(|(_, row)| row.changed = false);
        self.connectivity.iter_mut().for_each(|(_, row)| row.changed = false);
    }

    /// If the rows take more memory than they may, drops written ones that were not used for long, until a quarter of
    /// it is free: not again with the next page. `false` if the rest has to be written first.
    pub(super) fn make_room(&mut self) -> bool {
        if self.is_over_limit() {
            // What is connected must not crowd out all values.
            let excess = self.connectivity_cost.saturating_sub(self.limit / 4);
            let written = self.connectivity.iter().rev().filter(|(_, row)| !row.changed);
            let gone = first_of(written.map(|(key, row)| (*key, row.cost())), excess);
            gone.iter().for_each(|key| self.drop_connectivity(key));

            let excess = (self.values_cost + self.connectivity_cost).saturating_sub(self.limit - self.limit / 4);
            let written = self.values.iter().rev().filter(|(_, row)| !row.changed);
            let gone = first_of(written.map(|(key, row)| (*key, row.cost())), excess);
            gone.iter().for_each(|key| self.drop_values(key));
        }
        !self.is_over_limit()
    }

    fn is_over_limit(&self) -> bool {
        self.values_cost + self.connectivity_cost > self.limit
    }

    fn drop_values(&mut self, key: &(Key, RowKind)) {
        self.values_cost -= self.values.pop(key).map_or(0, |row| row.cost());
    }

    fn drop_connectivity(&mut self, key: &Key) {
        self.connectivity_cost -= self.connectivity.pop(key).map_or(0, |row| row.cost());
    }
}

impl ConnectivityRow {
    /// About how many bytes it takes.
    fn cost(&self) -> usize {
        ROW_COST + self.row.client_id.len()
    }
}

/// As many of these keys as it takes for their costs to make up `excess`.
fn first_of<K>(keys: impl Iterator<Item = (K, usize)>, mut excess: usize) -> Vec<K> {
    let mut first = Vec::new();
    for (key, cost) in keys {
        if excess == 0 {
            break;
        }
        excess = excess.saturating_sub(cost);
        first.push(key);
    }
    first
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

#[cfg(test)]
mod tests;
