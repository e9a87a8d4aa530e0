//! The projection: what a device said is read back at once, after a restart, after a crash, and while storage fails.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use model::event::{Connected, Disconnected};
use model::{Body, DeviceId, Entry, Origin, Sample, TenantId, Timestamp, Value};
use tidegate_platform::log::{EventLog, MemoryLog};
use tidegate_platform::projection::{Projection, Settings, Unavailable, Values};
use tidegate_platform::registry::{Faults, Memory, NewDevice, Registry};

const TENANT: TenantId = TenantId::DEFAULT;
/// Only for what would never end.
const PATIENCE: Duration = Duration::from_secs(30);

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
        self.start_with(Settings::default()).await
    }

    async fn start_with(&self, settings: Settings) -> Projection {
        Projection::start(self.log.clone(), self.registry.clone(), settings).await.unwrap()
    }

    async fn append(&self, body: Body) {
        self.append_of(self.device, body).await;
    }

    async fn append_of(&self, device: DeviceId, body: Body) {
        let origin = Origin { tenant: TENANT, device, name: "d".to_owned(), profile: "default".to_owned() };
        let mut batch = self.log.batch();
        batch.message().event(&Arc::new(origin), Timestamp(1), None, body);
        assert!(self.log.append(batch.finish()).await.unwrap().all_stored());
    }

    /// The position of the registry, as it would be if everything was stored.
    fn end(&self) -> Option<String> {
        Some(self.log.cursor(self.log.end()).to_string())
    }

    /// Waits until the projection has noticed that its storage fails.
    async fn trouble(&self, projection: &Projection) -> Unavailable {
        eventually("trouble", async || projection.catch_up().await.err()).await
    }

    /// Waits until the projection has caught up again.
    async fn recovered(&self, projection: &Projection) {
        eventually("recovery", async || projection.catch_up().await.ok()).await;
    }

    async fn latest(&self, projection: &Projection) -> Vec<(String, i64)> {
        longs(projection.latest_values(TENANT, self.device).await.unwrap())
    }
}

/// Asks again until there is an answer, for so long that only one who would wait for ever gives up.
async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..3000 {
        match tokio::time::timeout(PATIENCE, ask()).await {
            Ok(Some(answer)) => return answer,
            Ok(None) => tokio::time::sleep(Duration::from_millis(10)).await,
            Err(_) => panic!("no answer: {what}"),
        }
    }
    panic!("still no {what}");
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
    let Unavailable::Behind(why) = world.trouble(&projection).await else { panic!("it goes on trying") };
    assert!(why.contains("fault injected"), "{why}");
    assert!(projection.applied() < world.log.end());
    world.registry.set_faults(Faults::default());
    world.recovered(&projection).await;
    assert_eq!(world.latest(&projection).await, pairs(&[("a", 1)]));
    projection.close().await;
    let projection = world.start().await;
    assert_eq!(world.latest(&projection).await, pairs(&[("a", 1)]));
    projection.close().await;
}

#[tokio::test]
async fn a_projection_whose_storage_fails_can_be_closed_and_says_that_it_is() {
    for faults in [
        Faults { fail_reads: true, fail_writes: true, ..Faults::default() },
        Faults { delay: Duration::from_secs(4), ..Faults::default() },
    ] {
        let world = World::new().await;
        let projection = world.start().await;
        let failing = faults.fail_reads;
        world.registry.set_faults(faults);
        world.append(telemetry(5, "a", 1)).await;
        if failing {
            world.trouble(&projection).await;
        }
        tokio::time::timeout(PATIENCE, projection.close()).await.unwrap();
        let read = tokio::time::timeout(PATIENCE, projection.catch_up()).await.unwrap();
        // As far as it had come, it can still be read.
        assert!(projection.applied() >= world.log.end() || matches!(read, Err(Unavailable::Ended)), "{read:?}");
        world.registry.set_faults(Faults::default());
        let projection = world.start().await;
        assert_eq!(world.latest(&projection).await, pairs(&[("a", 1)]));
        projection.close().await;
    }
}

#[tokio::test]
async fn what_could_not_be_written_is_written_later_without_traffic() {
    let world = World::new().await;
    let flush_after = Duration::from_millis(20);
    let projection = world.start_with(Settings { flush_after, ..Settings::default() }).await;
    world.registry.set_faults(Faults { fail_writes: true, ..Faults::default() });
    world.append(telemetry(5, "a", 1)).await;
    assert_eq!(world.latest(&projection).await, pairs(&[("a", 1)]), "reading does not need the write");
    // Some attempts fail.
    tokio::time::sleep(20 * flush_after).await;
    world.registry.set_faults(Faults::default());
    let stored = async || (world.registry.applied_position().await.unwrap() == world.end()).then_some(());
    eventually("write", stored).await;
    projection.close().await;
}

/// Memory is bounded also while the registry does not take what is in it.
#[tokio::test]
async fn nothing_is_read_that_there_is_no_memory_for() {
    let world = World::new().await;
    let projection = world.start_with(Settings { memory: 10_000, ..Settings::default() }).await;
    world.registry.set_faults(Faults { fail_writes: true, ..Faults::default() });
    let device = |number: u64| DeviceId(1000 + number);
    for number in 0..200 {
        world.append_of(device(number), telemetry(1, "a", 1)).await;
    }
    let refused = async || {
        world.append_of(device(0), telemetry(1, "a", 1)).await;
        projection.catch_up().await.err()
    };
    let Unavailable::Behind(why) = eventually("trouble", refused).await else { panic!("it goes on trying") };
    assert!(why.contains("no memory"), "{why}");
    let stands = projection.applied();
    for number in 200..400 {
        world.append_of(device(number), telemetry(1, "a", 1)).await;
    }
    // More than one attempt.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(projection.applied(), stands);
    world.registry.set_faults(Faults::default());
    world.recovered(&projection).await;
    projection.close().await;
    assert_eq!(world.registry.applied_position().await.unwrap(), world.end());
}

#[tokio::test]
async fn latest_values_that_are_off_are_not_served_from_when_they_were_on() {
    let world = World::new().await;
    let projection = world.start().await;
    world.append(telemetry(5, "a", 1)).await;
    assert_eq!(world.latest(&projection).await, pairs(&[("a", 1)]));
    projection.close().await;
    let projection = world.start_with(Settings { latest_values: false, ..Settings::default() }).await;
    assert_eq!(world.latest(&projection).await, pairs(&[]));
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
        tokio::time::sleep(Duration::from_millis(10)).await;
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
    let lost = world.registry.connected_in_other_runs(state.boot + 1, None, 10).await.unwrap();
    assert_eq!(lost.len(), 1);
    let projection = world.start().await;
    world.append(Body::Disconnected(Disconnected { cause: "client".to_owned(), detail: String::new() })).await;
    let left = projection.connectivity(TENANT, world.device).await.unwrap().unwrap();
    assert!(!left.connected);
    assert_eq!((left.client_id.as_str(), left.since), ("c", state.since), "also when its row was not in memory");
    projection.close().await;
    assert!(world.registry.connected_in_other_runs(state.boot + 1, None, 10).await.unwrap().is_empty());
}
