//! What events do to the rows in memory.

use super::*;
use std::sync::Arc;

use model::event::{Connected, Disconnected};
use model::{EventId, Origin, Sample, Stamped, Value};

use crate::projection::values::ENTRY_COST;

const KEY: Key = Key { tenant: TenantId::DEFAULT, device: DeviceId(1) };

fn event(received: i64, body: Body) -> Event {
    let origin = Origin { tenant: KEY.tenant, device: KEY.device, name: "d".to_owned(), profile: "default".to_owned() };
    let id = EventId { node: 0, boot: 4, sequence: 0 };
    Event { id, origin: Arc::new(origin), received: Timestamp(received), topic: None, body }
}

fn rows(latest_values: bool, limit: usize) -> Rows {
    Rows::new(latest_values, limit, Meters::new())
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
    let mut rows = rows(true, 1 << 20);
    rows.apply(event(9, telemetry(&[(5, &[("a", 1), ("b", 1)]), (3, &[("a", 2)]), (5, &[("b", 3)])])));
    let expected = [("a".to_owned(), 5, 1), ("b".to_owned(), 5, 3)];
    assert_eq!(longs(&mut rows, RowKind::LatestValues), expected);
    // Once more: nothing changes.
    rows.apply(event(9, telemetry(&[(5, &[("a", 1), ("b", 1)]), (3, &[("a", 2)]), (5, &[("b", 3)])])));
    assert_eq!(longs(&mut rows, RowKind::LatestValues), expected);
}

#[test]
fn attributes_are_written_in_the_order_of_the_log() {
    let mut rows = rows(true, 1 << 20);
    rows.apply(event(1, Body::ClientAttributes(vec![entry("a", 1), entry("b", 1)])));
    rows.apply(event(2, Body::ClientAttributes(vec![entry("a", 2)])));
    let expected = [("a".to_owned(), 2, 2), ("b".to_owned(), 1, 1)];
    assert_eq!(longs(&mut rows, RowKind::ClientAttributes), expected);
    // The clock of the host was set back.
    rows.apply(event(-7, Body::ClientAttributes(vec![entry("b", 3)])));
    let expected = [("a".to_owned(), 2, 2), ("b".to_owned(), -7, 3)];
    assert_eq!(longs(&mut rows, RowKind::ClientAttributes), expected);
}

#[test]
fn latest_values_can_be_off() {
    let mut rows = rows(false, 1 << 20);
    let events = [event(1, telemetry(&[(1, &[("a", 1)])]))];
    assert_eq!(rows.missing(&events), Missing::default());
    events.into_iter().for_each(|event| rows.apply(event));
    assert!(rows.changed().rows.is_empty());
}

#[test]
fn rows_are_missing_once_changed_once_and_written_once() {
    let mut rows = rows(true, 1 << 20);
    let events = [event(1, telemetry(&[(1, &[("a", 1)])])), event(2, telemetry(&[(2, &[("b", 2)])]))];
    let expected = [((KEY.tenant, RowKind::LatestValues), [KEY.device].into())].into();
    assert_eq!(rows.missing(&events), Missing { values: expected, ..Missing::default() });
    let stored = row::encode([(&"c".to_owned(), &Stamped { time: Timestamp(0), value: Value::Long(0) })].into_iter());
    rows.load(KEY, RowKind::LatestValues, Some(&stored));
    assert_eq!(rows.missing(&events), Missing::default());
    assert!(rows.changed().rows.is_empty(), "loading changes nothing");
    events.into_iter().for_each(|event| rows.apply(event));
    let flush = rows.changed();
    assert_eq!(flush.rows.len(), 1);
    assert_eq!(unpack(KEY, &flush.rows[0].packed).len(), 3);
    rows.written();
    assert!(rows.changed().rows.is_empty());
}

fn of_device(device: u64, mut event: Event) -> Event {
    Arc::make_mut(&mut event.origin).device = DeviceId(device);
    event
}

fn connected() -> Body {
    Body::Connected(Connected { client_id: "c".to_owned(), peer: String::new(), protocol: String::new() })
}

fn disconnected() -> Body {
    Body::Disconnected(Disconnected { cause: "client".to_owned(), detail: String::new() })
}

fn check_costs(rows: &Rows) {
    assert_eq!(rows.values_cost, rows.values.iter().map(|(_, row)| row.cost()).sum::<usize>());
    assert_eq!(rows.connectivity_cost, rows.connectivity.iter().map(|(_, row)| row.cost()).sum::<usize>());
}

#[test]
fn memory_is_bounded_and_a_quarter_of_it_is_freed_at_once() {
    let mut rows = rows(true, 16 * (ROW_COST + ENTRY_COST + 1));
    let value = |device| of_device(device, event(1, telemetry(&[(1, &[("a", 1)])])));
    for device in 0..16 {
        rows.apply(value(device));
    }
    assert!(rows.make_room() && rows.values.len() == 16, "it may use its memory");
    rows.apply(value(16));
    assert!(!rows.make_room());
    assert_eq!(rows.changed().rows.len(), 17, "nothing is dropped that is not written");
    rows.written();
    rows.apply(value(0));
    assert!(rows.make_room());
    assert_eq!(rows.values.len(), 12);
    assert!(rows.values.contains(&(key(&value(0)), RowKind::LatestValues)), "used lately");
    check_costs(&rows);

    // Those that are written make room without a write.
    for device in 100..105 {
        rows.apply(value(device));
    }
    assert!(rows.make_room());
    assert_eq!((rows.values.len(), rows.changed().rows.len()), (12, 6));
    check_costs(&rows);
    rows.forget(KEY);
    rows.forget(key(&value(104)));
    check_costs(&rows);
}

#[test]
fn connections_are_bounded_too_and_leave_room_for_values() {
    let mut rows = rows(true, 16 * (ROW_COST + 1));
    for device in 0..100 {
        rows.apply(of_device(device, event(1, connected())));
    }
    assert!(!rows.make_room());
    assert_eq!(rows.changed().connectivity.len(), 100, "nothing is dropped that is not written");
    rows.written();
    assert!(rows.make_room());
    assert_eq!(rows.connectivity.len(), 4);
    assert!(rows.connectivity(Key { device: DeviceId(99), ..KEY }).is_some());
    check_costs(&rows);
}

/// Who it was that left is in the stored row only.
#[test]
fn a_disconnect_keeps_what_is_stored_of_the_connection() {
    let mut rows = rows(true, 1 << 20);
    let events = [event(8, disconnected())];
    let expected = [(KEY.tenant, [KEY.device].into())].into();
    assert_eq!(rows.missing(&events), Missing { connectivity: expected, ..Missing::default() });
    rows.load_connectivity(Connectivity {
        tenant: KEY.tenant,
        device: KEY.device,
        connected: true,
        boot: 3,
        client_id: "stored".to_owned(),
        since: Timestamp(5),
        last_change: Timestamp(5),
    });
    assert_eq!(rows.missing(&events), Missing::default());
    assert!(rows.changed().connectivity.is_empty(), "loading changes nothing");
    events.into_iter().for_each(|event| rows.apply(event));
    let row = rows.changed().connectivity.remove(0);
    assert_eq!((row.connected, row.boot, row.client_id.as_str()), (false, 4, "stored"));
    assert_eq!((row.since.0, row.last_change.0), (5, 8));
    check_costs(&rows);
}

#[test]
fn connectivity_follows_connect_and_disconnect() {
    let mut rows = rows(true, 1 << 20);
    rows.apply(event(5, connected()));
    let row = rows.connectivity(KEY).unwrap();
    assert_eq!((row.connected, row.boot, row.since.0, row.last_change.0), (true, 4, 5, 5));
    rows.apply(event(8, disconnected()));
    let row = rows.connectivity(KEY).unwrap();
    assert_eq!((row.connected, row.client_id.as_str(), row.since.0, row.last_change.0), (false, "c", 5, 8));
    assert_eq!(rows.changed().connectivity.len(), 1);
    rows.forget(KEY);
    assert!(rows.connectivity(KEY).is_none() && rows.changed().connectivity.is_empty());
}
