//! The projection: what a device said is read back at once, after a restart, after a crash, and while storage fails.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;

use model::event::{Connected, Disconnected};
use model::{Body, DeviceId, Entry, Origin, Sample, TenantId, Timestamp, Value};
use tidegate_platform::log::{EventLog, MemoryLog};
use tidegate_platform::projection::{Projection, Settings, Values};
use tidegate_platform::registry::{Faults, Memory, NewDevice, Registry};

const TENANT: TenantId = TenantId::DEFAULT;

struct World {
    log: Arc<MemoryLog>,
    registry: Arc<Memory>,
    device: DeviceId,
}

impl World {
    async fn new() -> Self {
        let registry = Arc::new(Memory::new());
        let device = NewDevice {
            name: "d".to_owned(),
            profile: "default".to_owned(),
            gateway: false,
            credential: None,
            created: Timestamp(0),
        };
        let created = registry.create_devices(TENANT, vec![device]).await.remove(0).unwrap();
        Self { log: Arc::new(MemoryLog::new()), registry, device: created.device.id }
    }

    async fn start(&self) -> Projection {
        Projection::start(self.log.clone(), self.registry.clone(), Settings::default()).await.unwrap()
    }

    async fn append(&self, body: Body) {
        let origin =
            Origin { tenant: TENANT, device: self.device, name: "d".to_owned(), profile: "default".to_owned() };
        let mut batch = self.log.batch();
        batch.message().event(&Arc::new(origin), Timestamp(1), None, body);
        assert!(self.log.append(batch.finish()).await.unwrap().all_stored());
    }

    async fn latest(&self, projection: &Projection) -> Vec<(String, i64)> {
        longs(projection.latest_values(TENANT, self.device).await.unwrap())
    }
}

fn telemetry(time: i64, key: &str, value: i64) -> Body {
    let entries = vec![Entry { key: key.to_owned(), value: Value::Long(value) }];
    Body::Telemetry(vec![Sample { time: Timestamp(time), entries }])
}

fn longs(values: Values) -> Vec<(String, i64)> {
    let long = |(key, stamped): (String, model::Stamped)| match stamped.value {
        Value::Long(value) => (key, value),
        other => panic!("{other:?}"),
    };
    values.into_iter().map(long).collect()
}

fn pairs(pairs: &[(&str, i64)]) -> Vec<(String, i64)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect()
}

/// Design §6: a read sees everything that was acknowledged before it.
#[tokio::test]
async fn what_was_acknowledged_is_read_at_once() {
    let world = World::new().await;
    let projection = world.start().await;
    assert_eq!(world.latest(&projection).await, pairs(&[]));
    for value in 0..200 {
        world.append(telemetry(value, "a", value)).await;
        assert_eq!(world.latest(&projection).await, pairs(&[("a", value)]));
    }
    world.append(Body::ClientAttributes(vec![Entry { key: "fw".to_owned(), value: Value::Long(1) }])).await;
    let attributes = projection.client_attributes(TENANT, world.device).await.unwrap();
    assert_eq!(longs(attributes), pairs(&[("fw", 1)]));
    projection.close().await;
}

#[tokio::test]
async fn a_restart_goes_on_where_the_rows_stand() {
    let world = World::new().await;
    let projection = world.start().await;
    world.append(telemetry(5, "a", 1)).await;
    assert_eq!(world.latest(&projection).await, pairs(&[("a", 1)]));
    projection.close().await;
    let stored = world.registry.applied_position().await.unwrap().unwrap();
    assert_eq!(stored, world.log.cursor(world.log.end()).to_string(), "closing writes everything");

    world.append(telemetry(6, "b", 2)).await;
    let projection = world.start().await;
    assert_eq!(world.latest(&projection).await, pairs(&[("a", 1), ("b", 2)]));
    projection.close().await;
}

/// A crash loses the rows in memory, not what the log has.
#[tokio::test]
async fn after_a_crash_the_log_is_replayed() {
    let world = World::new().await;
    let projection = world.start().await;
    world.append(telemetry(5, "a", 1)).await;
    assert_eq!(world.latest(&projection).await, pairs(&[("a", 1)]));
    std::mem::forget(projection); // nobody closes it: what it has not written is lost

    let again = world.start().await;
    assert_eq!(world.latest(&again).await, pairs(&[("a", 1)]));
    let stored = world.registry.applied_position().await.unwrap().unwrap();
    assert_eq!(stored, world.log.cursor(world.log.end()).to_string(), "starting writes what was replayed");
    again.close().await;
}

#[tokio::test]
async fn storage_that_fails_delays_and_loses_nothing() {
    let world = World::new().await;
    let projection = world.start().await;
    world.registry.set_faults(Faults { fail_reads: true, fail_writes: true, ..Faults::default() });
    world.append(telemetry(5, "a", 1)).await;
    // The row cannot be loaded, so the event is not applied yet; nobody is told of values that may be wrong.
    let applied = *projection.applied().borrow();
    assert!(applied < world.log.end());
    world.registry.set_faults(Faults::default());
    assert_eq!(world.latest(&projection).await, pairs(&[("a", 1)]));
    projection.close().await;
    let projection = world.start().await;
    assert_eq!(world.latest(&projection).await, pairs(&[("a", 1)]));
    projection.close().await;
}

#[tokio::test]
async fn a_deleted_device_is_forgotten() {
    let world = World::new().await;
    let projection = world.start().await;
    world.append(telemetry(5, "a", 1)).await;
    assert_eq!(world.latest(&projection).await, pairs(&[("a", 1)]));
    world.registry.delete_devices(TENANT, vec![world.device]).await.remove(0).unwrap();
    let mut tries = 0;
    while !world.latest(&projection).await.is_empty() {
        tries += 1;
        assert!(tries < 1000, "still there");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    projection.close().await;
}

/// A registry that stands at a place of another log starts anew instead of skipping.
#[tokio::test]
async fn another_log_is_read_from_its_beginning() {
    let mut world = World::new().await;
    let projection = world.start().await;
    for value in 0..10 {
        world.append(telemetry(value, "old", value)).await;
    }
    projection.close().await;
    world.log = Arc::new(MemoryLog::new());
    world.append(telemetry(1, "new", 1)).await;
    let projection = world.start().await;
    assert_eq!(world.latest(&projection).await, pairs(&[("new", 1), ("old", 9)]));
    projection.close().await;
}

#[tokio::test]
async fn connections_are_projected() {
    let world = World::new().await;
    let projection = world.start().await;
    assert_eq!(projection.connectivity(TENANT, world.device).await.unwrap(), None);
    let connected = Connected { client_id: "c".to_owned(), peer: "p".to_owned(), protocol: "5.0".to_owned() };
    world.append(Body::Connected(connected)).await;
    let state = projection.connectivity(TENANT, world.device).await.unwrap().unwrap();
    assert!(state.connected && state.client_id == "c");
    projection.close().await;

    // Stored as connected: a later run finds it as one that died with its process.
    let lost = world.registry.connected_before(state.boot + 1, None, 10).await.unwrap();
    assert_eq!(lost.len(), 1);
    let projection = world.start().await;
    world.append(Body::Disconnected(Disconnected { cause: "client".to_owned(), detail: String::new() })).await;
    assert!(!projection.connectivity(TENANT, world.device).await.unwrap().unwrap().connected);
    projection.close().await;
    assert!(world.registry.connected_before(state.boot + 1, None, 10).await.unwrap().is_empty());
}
