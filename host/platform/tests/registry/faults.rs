//! Storage that fails: on purpose in memory, and for real where the file may not grow.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use tidegate_platform::registry::{
    Blame, DeviceKey, Error, Faults, Flush, Memory, Notice, PackedRow, Query, Registry, RowKind,
};
use tokio::time::Instant;

use crate::crash::{child, child_folder};
use crate::{TENANT, by_token, create, device, only, open};

#[tokio::test]
async fn memory_fails_on_purpose() {
    let registry = Memory::new();
    let id = create(&registry, device("a", Some("t"))).await.device.id;
    let mut changes = registry.changes();

    registry.set_faults(Faults { fail_reads: true, ..Faults::default() });
    let error = by_token(&registry, "t").await.unwrap_err();
    assert_eq!(error.blame(), Blame::Storage);
    assert!(registry.applied_position().await.is_err());
    assert!(only(registry.create_devices(TENANT, vec![device("b", None)]).await).is_ok());

    registry.set_faults(Faults { fail_writes: true, ..Faults::default() });
    assert_eq!(by_token(&registry, "t").await, Ok(Some(id)));
    let answers = registry.create_devices(TENANT, vec![device("c", None), device("d", None)]).await;
    assert!(answers.iter().all(|answer| matches!(answer, Err(Error::Storage { .. }))));
    let flush = Flush { applied_position: "1".to_owned(), ..Flush::default() };
    assert!(registry.store_projection(flush.clone()).await.is_err());
    assert_eq!(registry.applied_position().await, Ok(None));

    registry.set_faults(Faults { lose_answers: true, ..Faults::default() });
    assert!(only(registry.delete_devices(TENANT, vec![id]).await).is_err());
    assert_eq!(by_token(&registry, "t").await, Ok(None), "done all the same");
    assert!(registry.store_projection(flush).await.is_err());
    assert_eq!(registry.applied_position().await.unwrap().as_deref(), Some("1"));

    registry.set_faults(Faults::default());
    assert_eq!(only(registry.delete_devices(TENANT, vec![id]).await), Err(Error::DeviceNotFound(id)));
    for _ in ["b created", "a deleted"] {
        assert!(matches!(changes.next().await, Notice::Changed(_)));
    }
}

#[tokio::test]
async fn memory_half_accepts_on_purpose() {
    let registry = Memory::new();
    registry.set_faults(Faults { half_accept: true, ..Faults::default() });
    let devices = ["a", "b", "c", "d", "e"].map(|name| device(name, None)).into();
    let answers = registry.create_devices(TENANT, devices).await;
    let accepted: Vec<_> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(accepted, [true, false, true, false, true]);
    let page = registry.list_devices(TENANT, &Query::default()).await.unwrap();
    assert_eq!(page.devices.iter().map(|device| device.name.as_str()).collect::<Vec<_>>(), ["a", "c", "e"]);
}

#[tokio::test(start_paused = true)]
async fn memory_delays_on_purpose() {
    let registry = Memory::new();
    registry.set_faults(Faults { delay: Duration::from_millis(5), ..Faults::default() });
    let start = Instant::now();
    create(&registry, device("a", Some("t"))).await;
    assert!(by_token(&registry, "t").await.unwrap().is_some());
    assert_eq!(start.elapsed(), Duration::from_millis(10));
}

#[tokio::test]
async fn memory_restarts() {
    let first = Memory::new();
    let id = create(&first, device("a", Some("t"))).await.device.id;
    first.set_faults(Faults { fail_reads: true, ..Faults::default() });
    let mut changes = first.changes();
    let second = first.restart();
    assert_eq!(by_token(&second, "t").await, Ok(Some(id)));
    assert_eq!(by_token(&first, "t").await, Err(Error::Closed));
    assert_eq!(changes.next().await, Notice::Closed);
}

/// One request that spoils the transaction does not take those with it that happen to be in the same group.
#[tokio::test]
async fn a_failing_request_fails_alone() {
    let data = tempfile::tempdir().unwrap();
    let registry = open(data.path()).await;
    create(&registry, device("a", Some("a"))).await;
    registry.close().await;
    let mut db = SqliteConnectOptions::new().filename(data.path().join("registry.db")).connect().await.unwrap();
    sqlx::query("UPDATE credentials SET sealed = x'00'").execute(&mut db).await.unwrap();
    db.close().await.unwrap();

    let registry = open(data.path()).await;
    let mut changes = registry.changes();
    let (before, spoiled, after) = tokio::join!(
        registry.create_devices(TENANT, vec![device("b", Some("b"))]),
        registry.rekey(),
        registry.create_devices(TENANT, vec![device("c", Some("c"))]),
    );
    assert!(matches!(spoiled, Err(Error::Damaged { .. })), "{spoiled:?}");
    for (answer, token) in [(before, "b"), (after, "c")] {
        let id = only(answer).unwrap().device.id;
        assert_eq!(by_token(&registry, token).await, Ok(Some(id)));
        let Notice::Changed(change) = changes.next().await else { panic!("expected a change") };
        assert_eq!(only(change.to_vec()).device, id, "announced once");
    }
    registry.close().await;
}

/// A file that may not grow stands for a full disk: writes fail with a clear error and without a trace, reads go on, and
/// everything acknowledged is there once there is room again.
#[tokio::test]
async fn a_full_disk_loses_nothing_that_was_acknowledged() {
    if let Some(folder) = child_folder() {
        return child_fills_the_disk(&folder).await;
    }
    let data = tempfile::tempdir().unwrap();
    open(data.path()).await.close().await;
    let output = limited("faults::a_full_disk_loses_nothing_that_was_acknowledged", data.path()).output().unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    let acknowledged: Vec<_> = output.lines().filter_map(|line| line.strip_prefix("acknowledged ")).collect();
    assert!(!acknowledged.is_empty() && output.contains("\nfailed as expected\n"), "{output}");

    let registry = open(data.path()).await;
    for name in acknowledged {
        let keys = [DeviceKey::Name(name.to_owned())];
        let found = only(registry.devices(TENANT, &keys).await.unwrap()).map(|found| found.id);
        assert!(found.is_some(), "{name}");
        assert_eq!(by_token(&registry, name).await, Ok(found));
    }
    assert_eq!(only(registry.devices(TENANT, &[DeviceKey::Name("refused".to_owned())]).await.unwrap()), None);
    create(&registry, device("again", None)).await;
    registry.close().await;
}

/// A child whose files may not grow beyond 512 KiB, and which lives to see the error.
fn limited(test: &str, folder: &Path) -> Command {
    let inner = child(test, folder);
    let mut command = Command::new("sh");
    command
        .args(["-c", "trap '' XFSZ; ulimit -f 1024; exec \"$0\" \"$@\""])
        .arg(inner.get_program())
        .args(inner.get_args());
    for (key, value) in inner.get_envs() {
        command.env(key, value.unwrap_or_default());
    }
    command
}

async fn child_fills_the_disk(folder: &Path) {
    let registry = open(folder).await;
    let mut acknowledged = Vec::new();
    let error = loop {
        let name = format!("d{}", acknowledged.len());
        let id = match only(registry.create_devices(TENANT, vec![device(&name, Some(&name))]).await) {
            Ok(created) => created.device.id,
            Err(error) => break error,
        };
        println!("acknowledged {name}");
        acknowledged.push(name);
        let row = PackedRow { tenant: TENANT, device: id, kind: RowKind::LatestValues, packed: vec![7; 20_000] };
        if let Err(error) = registry.store_projection(Flush { rows: vec![row], ..Flush::default() }).await {
            break error;
        }
    };
    check_full(&registry, &error, &acknowledged).await;
}

async fn check_full(registry: &dyn Registry, error: &Error, acknowledged: &[String]) {
    assert!(matches!(error, Error::Storage { .. }), "{error}");
    assert!(error.to_string().contains("registry.db: "), "{error}");
    // 100 rows cannot fit where 1 did not.
    let mut devices: Vec<_> = (0..100).map(|index| device(&format!("{index}").repeat(80), None)).collect();
    devices.push(device("refused", Some("refused")));
    let refused = registry.create_devices(TENANT, devices).await;
    assert!(refused.iter().all(|answer| matches!(answer, Err(Error::Storage { .. }))), "{:?}", refused.last());
    assert_eq!(by_token(registry, "refused").await, Ok(None));
    for name in acknowledged {
        assert!(by_token(registry, name).await.unwrap().is_some(), "{name}");
    }
    println!("failed as expected");
}
