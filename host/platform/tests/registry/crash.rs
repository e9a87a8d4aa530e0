//! kill -9 in the middle of writes: what was acknowledged is there.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use model::DeviceId;
use tidegate_platform::registry::{Credential, DeviceKey, Flush, PackedRow, Registry, RowKind, Sqlite};

use crate::{TENANT, by_token, create, device, only, open};

const FOLDER: &str = "TIDEGATE_TEST_REGISTRY";

/// A process that runs one test of this program as a child, on a folder.
pub(crate) fn child(test: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture"]).env(FOLDER, folder);
    command
}

/// The folder that a child works on; `None` in the test itself.
pub(crate) fn child_folder() -> Option<PathBuf> {
    std::env::var_os(FOLDER).map(PathBuf::from)
}

/// Starts a child, kills it a while after it has acknowledged so many things, and returns what it has acknowledged.
async fn kill(test: &str, folder: &Path, things: usize, after: Duration) -> Vec<String> {
    let mut child = child(test, folder).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut lines = lines.filter(|line| line.starts_with("acknowledged "));
    let mut acknowledged: Vec<_> = lines.by_ref().take(things).collect();
    assert_eq!(acknowledged.len(), things, "a child that gets to work");
    tokio::time::sleep(after).await;
    child.kill().unwrap();
    child.wait().unwrap();
    acknowledged.extend(lines);
    acknowledged
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    if let Some(folder) = child_folder() {
        return child_writes(&folder).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let (mut names, mut deleted, mut changed, mut flushed) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for round in 0..12 {
        for line in
            kill("crash::what_was_acknowledged_survives_kill_9", folder.path(), 12, Duration::from_millis(round * 5))
                .await
        {
            match line.split(' ').collect::<Vec<_>>().as_slice() {
                ["acknowledged", "created", name] => names.push((*name).to_owned()),
                ["acknowledged", "deleted", name] => deleted.push((*name).to_owned()),
                ["acknowledged", "changed", name] => changed.push((*name).to_owned()),
                ["acknowledged", "flushed", position] => flushed = position.parse().unwrap(),
                _ => panic!("{line}"),
            }
        }
        let registry = open(folder.path()).await;
        for name in &names {
            let keys = [DeviceKey::Name(name.clone())];
            let found = only(registry.devices(TENANT, &keys).await.unwrap());
            if found.is_none() && names.iter().rev().take(3).any(|last| last == name) {
                // Deleted when the answer was cut off.
                deleted.push(name.clone());
            }
            assert_eq!(found.is_none(), deleted.contains(name), "{name}, round {round}");
            let by_old = by_token(&registry, &format!("token {name}")).await.unwrap();
            let by_new = by_token(&registry, &format!("new token {name}")).await.unwrap();
            assert_eq!(by_old.or(by_new), found.map(|found| found.id), "{name}, round {round}");
            assert!(by_old.is_none() || by_new.is_none(), "{name}, round {round}");
            assert!(by_old.is_none() || !changed.contains(name), "{name}, round {round}");
        }
        // Rows and position are of one transaction.
        let position: u64 = registry.applied_position().await.unwrap().unwrap_or_default().parse().unwrap_or_default();
        assert!(position >= flushed, "{position} after {flushed}, round {round}");
        let row = only(registry.load_projection(TENANT, RowKind::LatestValues, &[DeviceId(1)]).await.unwrap());
        assert_eq!(row.unwrap_or_default(), position.to_le_bytes(), "round {round}");
        registry.close().await;
    }
    let counts = [names.len(), deleted.len(), changed.len()];
    assert!(counts.iter().all(|count| *count > 12), "{counts:?}");
}

async fn child_writes(folder: &Path) {
    let registry = open(folder).await;
    // Something that no other run has.
    let run = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let start = registry.applied_position().await.unwrap().unwrap_or_default().parse().unwrap_or(0);
    if only(registry.devices(TENANT, &[DeviceKey::Name("first".to_owned())]).await.unwrap()).is_none() {
        create(&registry, device("first", None)).await;
    }
    let created = async {
        for index in 0.. {
            let names = [0, 1, 2].map(|item| format!("{run}-{index}-{item}"));
            let devices = names.iter().map(|name| device(name, Some(&format!("token {name}")))).collect();
            let answers = registry.create_devices(TENANT, devices).await;
            names.iter().for_each(|name| println!("acknowledged created {name}"));
            let victim = answers[1].as_ref().unwrap().device.id;
            assert_eq!(registry.delete_devices(TENANT, vec![victim]).await, [Ok(())]);
            println!("acknowledged deleted {}", names[1]);
            let other = answers[2].as_ref().unwrap().device.id;
            let credential = Credential::token(format!("new token {}", names[2])).unwrap();
            assert_eq!(registry.set_credentials(TENANT, vec![(other, credential)]).await, [Ok(())]);
            println!("acknowledged changed {}", names[2]);
        }
    };
    let flushed = async {
        for position in start + 1.. {
            let packed = u64::to_le_bytes(position).to_vec();
            let row = PackedRow { tenant: TENANT, device: DeviceId(1), kind: RowKind::LatestValues, packed };
            let applied_position = position.to_string();
            registry.store_projection(Flush { rows: vec![row], applied_position, ..Flush::default() }).await.unwrap();
            println!("acknowledged flushed {position}");
        }
    };
    tokio::join!(created, flushed);
}

#[tokio::test]
async fn replacing_the_key_survives_kill_9() {
    if let Some(folder) = child_folder() {
        return child_replaces_the_key(&folder).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let registry = open(folder.path()).await;
    let devices = (0..300).map(|index| device(&format!("d{index}"), Some(&format!("t{index}")))).collect();
    assert!(registry.create_devices(TENANT, devices).await.iter().all(Result::is_ok));
    registry.close().await;
    let mut replaced = 0;
    for round in 0..25 {
        let (things, after) = (1 + round as usize % 3, Duration::from_micros(round * 1_300));
        replaced += kill("crash::replacing_the_key_survives_kill_9", folder.path(), things, after).await.len() - 1;
        let registry = open(folder.path()).await;
        for index in 0..300 {
            let found = by_token(&registry, &format!("t{index}")).await;
            assert_eq!(found, Ok(Some(DeviceId(index + 1))), "round {round}");
        }
        registry.close().await;
    }
    assert!(replaced >= 24);
}

async fn child_replaces_the_key(folder: &Path) {
    let registry: Sqlite = open(folder).await;
    println!("acknowledged start");
    loop {
        registry.rekey().await.unwrap();
        println!("acknowledged rekey");
    }
}
