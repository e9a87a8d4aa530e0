//! What the registry on disk promises beyond the contract: it is there again, it is private, and it serves any runtime.

use std::collections::BTreeSet;
use std::future::ready;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{fs, thread};

use model::{DeviceId, TenantId};
use tidegate_platform::registry::{
    Credential, DeviceKey, Error, Flush, Identity, PackedRow, ProfileRow, Query, Registry, RowKind, Settings, Sqlite,
};
use tokio::runtime::Builder;

use crate::crash::{child, child_folder};
use crate::{TENANT, basic, by_token, create, device, only, open};

#[tokio::test]
async fn everything_is_there_again() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(folder.path()).await;
    let a = create(&registry, device("a", Some("t"))).await;
    let b = create(&registry, device("b", None)).await.device.id;
    registry.delete_devices(TENANT, vec![b]).await;
    let tenant = only(registry.create_tenants(vec!["acme".to_owned()]).await).unwrap();
    let profile = ProfileRow { name: "thermo".to_owned(), based_on: "default".to_owned() };
    registry.ensure_profiles(TENANT, vec![profile.clone()]).await;
    let row = PackedRow { tenant: TENANT, device: a.device.id, kind: RowKind::ClientAttributes, packed: vec![1, 2] };
    let flush = Flush { rows: vec![row], applied_position: "17".to_owned(), ..Flush::default() };
    registry.store_projection(flush).await.unwrap();
    registry.close().await;
    assert!(!folder.path().join("registry.db-wal").exists(), "closing leaves one whole file");

    for _ in 0..3 {
        let registry = open(folder.path()).await;
        assert_eq!(registry.device_credentials(TENANT, &[a.device.id, b]).await.unwrap(), [Some(a.clone()), None]);
        assert_eq!(by_token(&registry, "t").await, Ok(Some(a.device.id)));
        assert_eq!(registry.tenants().await.unwrap()[1], tenant);
        assert_eq!(only(registry.profiles(TENANT).await.unwrap()), profile);
        let rows = registry.load_projection(TENANT, RowKind::ClientAttributes, &[a.device.id]).await.unwrap();
        assert_eq!(rows, [Some(vec![1, 2])]);
        assert_eq!(registry.applied_position().await.unwrap().as_deref(), Some("17"));
        registry.close().await;
    }
    let registry = open(folder.path()).await;
    assert_eq!(create(&registry, device("c", None)).await.device.id, DeviceId(3), "not the id of b, which was deleted");
    registry.close().await;
}

#[tokio::test]
async fn it_starts_from_no_folder_and_from_an_empty_file() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("not/yet");
    open(&folder).await.close().await;
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);

    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("registry.db"), []).unwrap();
    let registry = open(folder.path()).await;
    create(&registry, device("a", None)).await;
    registry.close().await;
}

#[tokio::test]
async fn only_the_owner_can_read_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("registry.db");
    fs::write(&file, []).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let registry = open(folder.path()).await;
    create(&registry, device("a", None)).await;
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
        names.insert(entry.file_name().into_string().unwrap());
    }
    let expected = ["registry.db", "registry.db-shm", "registry.db-wal", "registry.key", "registry.lock"];
    assert_eq!(names, expected.map(str::to_owned).into());
    registry.close().await;
}

#[tokio::test]
async fn no_secret_is_on_disk_or_in_what_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(folder.path()).await;
    let secret = "hunter2-hunter2";
    let token = create(&registry, device("a", Some(secret))).await;
    let id = create(&registry, device("b", None)).await.device.id;
    let credential = basic(&format!("{secret}c"), &format!("{secret}u"), &format!("{secret}p"));
    assert_eq!(registry.set_credentials(TENANT, vec![(id, credential.clone())]).await, [Ok(())]);
    let taken = only(registry.create_devices(TENANT, vec![device("c", Some(secret))]).await).unwrap_err();
    registry.rekey().await.unwrap();

    let printed = format!("{registry:?} {token:?} {credential:?} {taken:?} {taken} {:?}", device("c", Some(secret)));
    assert!(!printed.contains("hunter2"), "{printed}");
    let files = || fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    for round in ["while open", "after closing"] {
        for file in files() {
            let bytes = fs::read(&file).unwrap();
            assert!(!bytes.windows(7).any(|bytes| bytes == b"hunter2"), "{} {round}", file.display());
        }
        registry.close().await;
    }
}

#[tokio::test]
async fn a_second_user_of_the_folder_is_refused() {
    if let Some(folder) = child_folder() {
        return child_opens(&folder).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let registry = open(folder.path()).await;
    let again = Sqlite::open(folder.path(), &Settings::default()).await.unwrap_err();
    assert_eq!(again, Error::InUse { file: folder.path().join("registry.db") });

    let output = || {
        let output = child("sqlite::a_second_user_of_the_folder_is_refused", folder.path()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(output().contains("is in use: another tidegate runs on this data folder"));
    // It was refused before it could disturb anything.
    create(&registry, device("a", None)).await;
    registry.close().await;
    assert!(output().contains("opened"));
}

async fn child_opens(folder: &Path) {
    match Sqlite::open(folder, &Settings::default()).await {
        Ok(_) => println!("opened"),
        Err(error) => println!("{error}"),
    }
}

#[tokio::test]
async fn many_runtimes_share_one_registry_and_may_end_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Arc::new(open(folder.path()).await);
    let worker = |number: u64| {
        let registry = Arc::clone(&registry);
        move || {
            let runtime = Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                for index in 0..20 {
                    let token = format!("{number}-{index}");
                    let id = create(&*registry, device(&token, Some(&token))).await.device.id;
                    assert_eq!(by_token(&*registry, &token).await, Ok(Some(id)));
                }
            });
            // Ends in the middle of calls.
            for index in 0..20 {
                let registry = Arc::clone(&registry);
                runtime.spawn(async move {
                    let name = format!("{number}-late-{index}");
                    registry.create_devices(TENANT, vec![device(&name, None)]).await;
                    registry.credentials(&[Identity::Token(&name)]).await
                });
            }
            runtime.block_on(tokio::task::yield_now());
        }
    };
    let workers: Vec<_> = (0..4).map(|number| thread::spawn(worker(number))).collect();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    let query = Query { limit: 1000, ..Query::default() };
    let devices = registry.list_devices(TENANT, &query).await.unwrap().devices;
    assert_eq!(devices.iter().filter(|device| !device.name.contains("late")).count(), 80);
    registry.close().await;
}

#[tokio::test]
async fn callers_may_lose_interest() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(folder.path()).await;
    for index in 0..50 {
        let name = format!("d{index}");
        tokio::select! {
            biased;
            _ = registry.create_devices(TENANT, vec![device(&name, None)]) => {}
            () = ready(()) => {}
        }
        let token = format!("unknown {index}");
        tokio::select! {
            biased;
            _ = by_token(&registry, &token) => {}
            () = ready(()) => {}
        }
    }
    // Writes are carried out in order, so with this one the others are done, too.
    create(&registry, device("last", Some("last"))).await;
    let names: Vec<_> = (0..50).map(|index| DeviceKey::Name(format!("d{index}"))).collect();
    assert!(registry.devices(TENANT, &names).await.unwrap().iter().all(Option::is_some));
    assert_eq!(by_token(&registry, "last").await, Ok(Some(DeviceId(51))));
    registry.close().await;
}

#[tokio::test]
async fn closing_finishes_what_was_handed_over() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Arc::new(open(folder.path()).await);
    let mut calls = tokio::task::JoinSet::new();
    for index in 0..50 {
        let registry = Arc::clone(&registry);
        calls.spawn(
            async move { only(registry.create_devices(TENANT, vec![device(&format!("d{index}"), None)]).await) },
        );
    }
    tokio::task::yield_now().await;
    registry.close().await;
    let answers = calls.join_all().await;
    let done = answers.iter().filter(|answer| answer.is_ok()).count();
    assert!(answers.iter().flat_map(|answer| answer.as_ref().err()).all(|error| *error == Error::Closed));
    let registry = open(folder.path()).await;
    let page = registry.list_devices(TENANT, &Query::default()).await.unwrap();
    assert_eq!(page.devices.len(), done);
    registry.close().await;
}

/// The cache must not keep what a reader saw before a change. Lookups race with changes of the credential; whenever no
/// change was under way, the answer must be the newest.
#[test]
fn the_cache_never_answers_with_a_credential_of_the_past() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings::default();
    let registry = Builder::new_current_thread().build().unwrap().block_on(Sqlite::open(folder.path(), &settings));
    let registry = Arc::new(registry.unwrap());
    // Change 2 creates the device with the token `even`, the ones after it change the token to and fro.
    let (begun, done) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicU64::new(1)));
    const ROUNDS: u64 = 400;

    let reader = || {
        let (registry, begun, done) = (Arc::clone(&registry), Arc::clone(&begun), Arc::clone(&done));
        thread::spawn(move || {
            let mut certain = 0;
            Builder::new_current_thread().build().unwrap().block_on(async {
                while done.load(Ordering::SeqCst) < ROUNDS {
                    let before = done.load(Ordering::SeqCst);
                    let found = by_token(&*registry, "even").await.unwrap().is_some();
                    if begun.load(Ordering::SeqCst) == before {
                        assert_eq!(found, before.is_multiple_of(2), "after change {before}");
                        certain += 1;
                    }
                }
            });
            certain
        })
    };
    let readers: Vec<_> = (0..3).map(|_| reader()).collect();
    Builder::new_current_thread().build().unwrap().block_on(async {
        begun.store(2, Ordering::SeqCst);
        let id = create(&*registry, device("a", Some("even"))).await.device.id;
        done.store(2, Ordering::SeqCst);
        for round in 3..=ROUNDS {
            begun.store(round, Ordering::SeqCst);
            let token = if round.is_multiple_of(2) { "even" } else { "odd" };
            let credential = Credential::token(token).unwrap();
            assert_eq!(registry.set_credentials(TENANT, vec![(id, credential)]).await, [Ok(())]);
            done.store(round, Ordering::SeqCst);
            // Leaves readers time to fill the cache.
            for _ in 0..5 {
                assert_eq!(by_token(&*registry, token).await, Ok(Some(id)));
            }
        }
    });
    let certain: u64 = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
    assert!(certain > 0);
}

#[tokio::test]
async fn a_small_cache_answers_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let one = std::num::NonZeroUsize::MIN;
    let settings = Settings { cached_credentials: one, cached_misses: one };
    let registry = Sqlite::open(folder.path(), &settings).await.unwrap();
    for name in ["a", "b", "c"] {
        create(&registry, device(name, Some(name))).await;
    }
    for round in 0..3 {
        for (index, name) in ["a", "b", "c", "d", "e"].iter().enumerate() {
            let expected = (index < 3).then_some(DeviceId(index as u64 + 1));
            assert_eq!(by_token(&registry, name).await, Ok(expected), "{round}");
        }
    }
    assert_eq!(registry.devices(TenantId(9), &[DeviceKey::Name("a".to_owned())]).await.unwrap(), [None]);
    registry.close().await;
}
