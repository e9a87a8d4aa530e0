//! Files that are not what was written there: clear errors, no panic, nothing wrong handed out.

use std::fs;
use std::path::Path;

use model::DeviceId;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use tidegate_platform::registry::{
    Credential, DeviceKey, Error, Flush, PackedRow, Query, Registry, RowKind, Settings, Sqlite,
};

use crate::{TENANT, by_token, create, device, open};

/// Runs SQL on the file behind the registry's back.
async fn tamper(folder: &Path, sql: &str) {
    let mut db = SqliteConnectOptions::new().filename(folder.join("registry.db")).connect().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut db).await.unwrap();
    db.close().await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_no_database_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("registry.db");
    fs::write(&file, b"this is not a database, but long enough to look like one".repeat(100)).unwrap();
    let error = Sqlite::open(folder.path(), &Settings::default()).await.unwrap_err();
    assert!(matches!(&error, Error::Damaged { file: named, .. } if *named == file), "{error}");
    let message = error.to_string();
    assert!(message.starts_with(&format!("registry {} is damaged: ", file.display())), "{message}");
    assert!(message.contains("file is not a database") && message.contains("backup"), "{message}");
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let in_the_way = folder.path().join("file");
    fs::write(&in_the_way, []).unwrap();
    let error = Sqlite::open(&in_the_way, &Settings::default()).await.unwrap_err();
    assert!(matches!(error, Error::Storage { .. }), "{error}");
    assert!(error.to_string().contains(&in_the_way.display().to_string()), "{error}");
}

/// Bits that flip anywhere in the file: whatever the registry still says, it says without a panic, and no device is
/// handed to a token that is not its own.
#[tokio::test]
async fn flipped_bits_are_found_or_harmless() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("registry.db");
    let registry = open(folder.path()).await;
    let devices = (0..200).map(|index| device(&format!("d{index}"), Some(&format!("t{index}")))).collect();
    registry.create_devices(TENANT, devices).await;
    registry.close().await;
    let good = fs::read(&file).unwrap();

    let mut damaged = 0;
    for seed in 0_usize..120 {
        let mut bad = good.clone();
        for step in 0..20 {
            // Spread over the file by a multiplier without a pattern.
            let position = (seed * 20 + step + 1).wrapping_mul(2_654_435_761) % bad.len();
            bad[position] ^= 1 << (seed % 8);
        }
        if seed % 10 == 0 {
            bad.truncate(bad.len() * (seed + 1) / 121);
        }
        fs::write(&file, &bad).unwrap();
        for side in ["registry.db-wal", "registry.db-shm"] {
            let _ = fs::remove_file(folder.path().join(side));
        }
        let error = match Sqlite::open(folder.path(), &Settings::default()).await {
            Ok(registry) => {
                let error = use_everything(&registry).await;
                registry.close().await;
                error
            }
            Err(error) => Some(error),
        };
        if let Some(error) = error {
            assert!(error.to_string().contains("registry"), "{error}");
            damaged += usize::from(matches!(error, Error::Damaged { .. }));
        }
    }
    assert!(damaged > 50, "{damaged} of 120 were found");
}

/// Calls everything once, checks what comes back as far as it can be known, and returns the first error.
async fn use_everything(registry: &Sqlite) -> Option<Error> {
    let ids: Vec<_> = (1..=200).map(DeviceId).collect();
    let mut errors = Vec::new();
    for (index, id) in ids.iter().enumerate() {
        match by_token(registry, &format!("t{index}")).await {
            Ok(None) => {}
            Ok(Some(found)) => assert_eq!(found, *id),
            Err(error) => errors.push(error),
        }
    }
    errors.extend(registry.device_credentials(TENANT, &ids).await.err());
    errors.extend(registry.list_devices(TENANT, &Query::default()).await.err());
    errors.extend(registry.devices(TENANT, &[DeviceKey::Name("d1".to_owned())]).await.err());
    errors.extend(registry.connected_in_other_runs(9, None, 10).await.err());
    let rows = ids.iter().map(|device| PackedRow {
        tenant: TENANT,
        device: *device,
        kind: RowKind::LatestValues,
        packed: vec![1; 100],
    });
    errors.extend(registry.store_projection(Flush { rows: rows.collect(), ..Flush::default() }).await.err());
    errors.extend(registry.create_devices(TENANT, vec![device("new", None)]).await.into_iter().filter_map(Result::err));
    errors.extend(registry.delete_devices(TENANT, ids).await.into_iter().filter_map(Result::err));
    errors.into_iter().find(|error| matches!(error, Error::Damaged { .. } | Error::Storage { .. }))
}

#[tokio::test]
async fn swapped_credentials_are_refused_and_can_be_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(folder.path()).await;
    for name in ["a", "b", "c"] {
        create(&registry, device(name, Some(name))).await;
    }
    registry.close().await;
    // Whoever can write the file gives the credential of device 1 to device 2.
    tamper(
        folder.path(),
        "CREATE TEMP TABLE old AS SELECT * FROM credentials; UPDATE credentials SET place = randomblob(32); \
         UPDATE credentials SET (place, sealed) = (SELECT place, sealed FROM old WHERE old.device = 3 - credentials.device) \
         WHERE device < 3; UPDATE credentials SET place = (SELECT place FROM old WHERE old.device = 3) WHERE device = 3;",
    )
    .await;
    let registry = open(folder.path()).await;
    for token in ["a", "b"] {
        let error = by_token(&registry, token).await.unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("was altered or belongs to another device"), "{error}");
    }
    assert_eq!(by_token(&registry, "c").await, Ok(Some(DeviceId(3))));
    assert!(matches!(registry.rekey().await, Err(Error::Damaged { .. })), "what cannot be read cannot be kept");
    assert_eq!(by_token(&registry, "c").await, Ok(Some(DeviceId(3))));

    let token = |token| Credential::token(token).unwrap();
    let answers = registry.set_credentials(TENANT, vec![(DeviceId(1), token("x")), (DeviceId(2), token("y"))]).await;
    assert_eq!(answers, [Ok(()), Ok(())]);
    assert_eq!(by_token(&registry, "x").await, Ok(Some(DeviceId(1))));
    assert_eq!(by_token(&registry, "a").await, Ok(None));
    registry.rekey().await.unwrap();
    registry.close().await;
}

/// Moving places around would let the device of one token in as another device.
#[tokio::test]
async fn swapped_places_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(folder.path()).await;
    for name in ["a", "b", "c"] {
        create(&registry, device(name, Some(name))).await;
    }
    registry.close().await;
    tamper(
        folder.path(),
        "CREATE TEMP TABLE old AS SELECT * FROM credentials; UPDATE credentials SET place = randomblob(32); \
         UPDATE credentials SET place = (SELECT place FROM old WHERE old.device = 3 - credentials.device) WHERE device < 3; \
         UPDATE credentials SET place = (SELECT place FROM old WHERE old.device = 3) WHERE device = 3;",
    )
    .await;
    let registry = open(folder.path()).await;
    for (token, device) in [("a", 2), ("b", 1)] {
        let error = by_token(&registry, token).await.unwrap_err();
        let message = format!("the credential of device {device} is not where it belongs");
        assert!(error.to_string().contains(&message), "{error}");
    }
    assert_eq!(by_token(&registry, "c").await, Ok(Some(DeviceId(3))));
    // A new key puts every credential where it belongs.
    registry.rekey().await.unwrap();
    for (index, token) in ["a", "b", "c"].iter().enumerate() {
        assert_eq!(by_token(&registry, token).await, Ok(Some(DeviceId(index as u64 + 1))));
    }
    registry.close().await;
}

#[tokio::test]
async fn a_key_that_changes_behind_the_back_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(folder.path()).await;
    create(&registry, device("a", Some("t"))).await;
    for sql in ["UPDATE meta SET key_id = 'another'", "UPDATE meta SET key_id = NULL", "DELETE FROM meta"] {
        tamper(folder.path(), sql).await;
        let error = by_token(&registry, "unknown to the cache").await.unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
        assert!(registry.device_credentials(TENANT, &[DeviceId(1)]).await.is_err());
    }
    registry.close().await;
}

#[tokio::test]
async fn rows_that_make_no_sense_are_damage() {
    let rows = [
        ("DELETE FROM credentials", "a device without credential"),
        ("UPDATE devices SET tenant = 5000000000", "devices.tenant is 5000000000"),
        ("UPDATE credentials SET sealed = x''", "the credential of device 1 was altered"),
    ];
    for (sql, message) in rows {
        let folder = tempfile::tempdir().unwrap();
        let registry = open(folder.path()).await;
        create(&registry, device("a", Some("t"))).await;
        registry.close().await;
        tamper(folder.path(), &format!("PRAGMA foreign_keys = OFF; {sql}")).await;
        let registry = open(folder.path()).await;
        let tenant =
            if sql.contains("tenant") { None } else { Some(registry.device_credentials(TENANT, &[DeviceId(1)]).await) };
        let error = match tenant {
            Some(answer) => answer.unwrap_err(),
            None => by_token(&registry, "t").await.unwrap_err(),
        };
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
        assert!(error.to_string().contains(message), "{error}");
        registry.close().await;
    }
}

#[tokio::test]
async fn a_newer_format_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).await.close().await;
    tamper(folder.path(), "UPDATE meta SET format = 99").await;
    for _ in 0..2 {
        let error = Sqlite::open(folder.path(), &Settings::default()).await.unwrap_err();
        assert_eq!(error, Error::Newer { file: folder.path().join("registry.db"), found: 99, known: 1 });
    }
    // A newer program that has only added something does not shut this one out.
    let added = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (99, 'added', TRUE, x'00', 1)";
    tamper(folder.path(), &format!("UPDATE meta SET format = 1; {added}")).await;
    let registry = open(folder.path()).await;
    assert_eq!(registry.applied_position().await.unwrap(), None);
    registry.close().await;
}
