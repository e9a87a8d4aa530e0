//! The file that holds the key: found, refused, replaced.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use model::DeviceId;
use tidegate_platform::registry::{Blame, Error, KeyProblem, Registry, Settings, Sqlite};

use crate::{TENANT, by_token, create, device, open};

async fn refused(folder: &Path) -> (KeyProblem, String) {
    let error = Sqlite::open(folder, &Settings::default()).await.unwrap_err();
    assert_eq!(error.blame(), Blame::Storage);
    let message = error.to_string();
    match error {
        Error::Key { file, problem } => {
            assert!(message.contains(&file.display().to_string()), "{message}");
            (problem, message)
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_key_that_does_not_fit_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let (key, registry_file) = (folder.path().join("registry.key"), folder.path().join("registry.db"));
    let registry = open(folder.path()).await;
    let token = create(&registry, device("a", Some("t"))).await.device.id;
    registry.close().await;
    let good = fs::read(&key).unwrap();
    assert_eq!(good.len(), 32);

    fs::remove_file(&key).unwrap();
    let (problem, message) = refused(folder.path()).await;
    assert_eq!(problem, KeyProblem::Missing { registry: registry_file.clone() });
    assert!(message.contains("missing; restore it"), "{message}");
    assert!(!key.exists(), "no key is made for a registry that has one");

    let write = |bytes: &[u8], mode| {
        fs::write(&key, bytes).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
    };
    write(&[7; 32], 0o600);
    let (problem, message) = refused(folder.path()).await;
    assert_eq!(problem, KeyProblem::Wrong { registry: registry_file });
    assert!(message.contains("was written with another") || message.contains("not the key"), "{message}");

    for length in [0, 31, 33, 64] {
        write(&vec![7; length], 0o600);
        assert_eq!(refused(folder.path()).await.0, KeyProblem::Length(length as u64));
    }
    for mode in [0o644, 0o640, 0o604, 0o660, 0o610, 0o700 | 0o001] {
        write(&good, mode);
        let (problem, message) = refused(folder.path()).await;
        assert_eq!(problem, KeyProblem::Permissions(mode));
        assert!(message.contains(&format!("found {mode:04o}")), "{message}");
    }
    write(&good, 0o400);
    let registry = open(folder.path()).await;
    assert_eq!(by_token(&registry, "t").await, Ok(Some(token)));
    registry.close().await;
}

#[tokio::test]
async fn a_new_registry_takes_a_key_that_lies_there() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("registry.key");
    fs::write(&key, [7; 32]).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    open(folder.path()).await.close().await;
    assert_eq!(fs::read(&key).unwrap(), [7; 32]);
}

#[tokio::test]
async fn after_replacing_the_key_only_the_new_one_fits() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("registry.key");
    let registry = open(folder.path()).await;
    let created = create(&registry, device("a", Some("t"))).await;
    let id = created.device.id;
    let old = fs::read(&key).unwrap();
    for _ in 0..3 {
        registry.rekey().await.unwrap();
        assert_eq!(by_token(&registry, "t").await, Ok(Some(id)));
        assert_eq!(registry.device_credentials(TENANT, &[id]).await.unwrap(), [Some(created.clone())]);
        let taken = registry.create_devices(TENANT, vec![device("b", Some("t"))]).await;
        assert!(matches!(taken[..], [Err(Error::IdentityTaken { .. })]));
    }
    registry.close().await;
    let new = fs::read(&key).unwrap();
    assert_ne!(old, new);
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!folder.path().join("registry.key.next").exists());

    fs::write(&key, old).unwrap();
    assert!(matches!(refused(folder.path()).await.0, KeyProblem::Wrong { .. }));
    fs::write(&key, new).unwrap();
    let registry = open(folder.path()).await;
    assert_eq!(by_token(&registry, "t").await, Ok(Some(id)));
    registry.close().await;
}

/// The moments at which replacing the key can be cut off, as what they leave on disk.
#[tokio::test]
async fn a_replacement_that_was_cut_off_is_finished_or_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let [key, next, draft] =
        ["registry.key", "registry.key.next", "registry.key.draft"].map(|name| folder.path().join(name));
    let registry = open(folder.path()).await;
    let id = create(&registry, device("a", Some("t"))).await.device.id;
    let old = fs::read(&key).unwrap();
    registry.close().await;
    let private = |path: &Path, bytes: &[u8]| {
        fs::write(path, bytes).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    };
    let check = async |expected: &[u8], replace: bool| {
        let registry = open(folder.path()).await;
        assert_eq!(by_token(&registry, "t").await, Ok(Some(id)));
        assert_eq!(fs::read(&key).unwrap(), expected);
        assert!(!next.exists());
        if replace {
            registry.rekey().await.unwrap();
            assert_eq!(by_token(&registry, "t").await, Ok(Some(id)));
        }
        registry.close().await;
    };

    private(&draft, &[1; 5]);
    check(&old, false).await;
    private(&next, &[1; 32]);
    check(&old, true).await;
    // Committed, but the file did not get its name.
    let new = fs::read(&key).unwrap();
    fs::rename(&key, &next).unwrap();
    private(&key, &old);
    check(&new, false).await;
    // The same, and the first file is gone for good.
    fs::rename(&key, &next).unwrap();
    check(&new, true).await;
}

#[tokio::test]
async fn a_replacement_that_cannot_be_named_is_finished_later() {
    let folder = tempfile::tempdir().unwrap();
    let [key, next] = ["registry.key", "registry.key.next"].map(|name| folder.path().join(name));
    let registry = open(folder.path()).await;
    let id = create(&registry, device("a", Some("t"))).await.device.id;
    let old = fs::read(&key).unwrap();
    // A folder of that name: the rename after the commit fails.
    let in_the_way = |there: bool| {
        if there {
            fs::remove_file(&key).unwrap();
            fs::create_dir(&key).unwrap();
        } else {
            fs::remove_dir(&key).unwrap();
        }
    };
    in_the_way(true);
    registry.rekey().await.unwrap();
    assert!(next.exists());
    assert_eq!(by_token(&registry, "t").await, Ok(Some(id)));
    let only_copy = fs::read(&next).unwrap();
    assert!(matches!(registry.rekey().await, Err(Error::Key { .. })), "the only copy of the key is not given up");
    assert_eq!(fs::read(&next).unwrap(), only_copy);
    assert_eq!(by_token(&registry, "t").await, Ok(Some(id)));
    in_the_way(false);
    registry.rekey().await.unwrap();
    assert_eq!(by_token(&registry, "t").await, Ok(Some(id)));
    registry.close().await;
    assert!(!next.exists() && fs::read(&key).unwrap() != old);
    let registry = open(folder.path()).await;
    assert_eq!(by_token(&registry, "t").await, Ok(Some(id)));
    registry.close().await;
}

#[tokio::test]
async fn nobody_is_refused_while_the_key_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { cached_credentials: std::num::NonZeroUsize::MIN, ..Settings::default() };
    let registry = Arc::new(Sqlite::open(folder.path(), &settings).await.unwrap());
    let devices = (0..50).map(|index| device(&format!("d{index}"), Some(&format!("t{index}")))).collect();
    registry.create_devices(TENANT, devices).await;
    let looking = Arc::clone(&registry);
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let look = tokio::spawn(async move {
        let mut looks = 0_u64;
        while !stopped.load(Ordering::Relaxed) {
            let index = looks % 50;
            let found = by_token(&*looking, &format!("t{index}")).await;
            assert_eq!(found, Ok(Some(DeviceId(index + 1))));
            let stored = looking.device_credentials(TENANT, &[DeviceId(index + 1)]).await.unwrap();
            assert!(stored[0].is_some());
            looks += 1;
        }
        looks
    });
    for _ in 0..30 {
        registry.rekey().await.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    assert!(look.await.unwrap() > 30);
    registry.close().await;
}
