//! Credentials.

use super::*;

/// Spec 3.1, 3.3: a CONNECT does not name its tenant.
pub(super) async fn identities_are_unique_over_all_tenants(registry: &dyn Registry) {
    let other = only(registry.create_tenants(vec!["other".to_owned()]).await).unwrap().id;
    let stored = [
        Credential::token("hunter2").unwrap(),
        basic("-", "user", "hunter2"),
        basic("client", "-", "-"),
        basic("client", "user", "-"),
    ];
    for (index, credential) in stored.into_iter().enumerate() {
        create(registry, NewDevice { credential: Some(credential), ..device(&format!("d{index}"), None) }).await;
    }
    let rows = [
        (Credential::token("hunter2").unwrap(), Some(IdentityKind::Token)),
        (basic("-", "hunter2", "-"), Some(IdentityKind::UserName)),
        (Credential::token("user").unwrap(), Some(IdentityKind::Token)),
        (basic("-", "user", "other password"), Some(IdentityKind::UserName)),
        (basic("client", "-", "-"), Some(IdentityKind::ClientId)),
        (basic("client", "user", "p"), Some(IdentityKind::ClientIdAndUserName)),
        (Credential::token("client").unwrap(), None),
        (basic("client", "hunter2", "-"), None),
        (basic("user", "client", "-"), None),
        (basic("clientuse", "r", "-"), None),
    ];
    let victim = only(registry.create_devices(other, vec![device("victim", None)]).await).unwrap().device.id;
    for (row, (credential, conflict)) in rows.into_iter().enumerate() {
        let answer = only(registry.set_credentials(other, vec![(victim, credential.clone())]).await);
        let expected = conflict.map_or(Ok(()), |kind| Err(Error::IdentityTaken { kind }));
        assert_eq!(answer, expected, "row {row}");
        if let Err(error) = answer {
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
            let answer = registry
                .create_devices(other, vec![NewDevice { credential: Some(credential), ..device("new", None) }])
                .await;
            assert_eq!(only(answer), Err(error), "row {row}");
        }
    }
}

/// The table of spec 3.3, walked with nothing but what the registry answers to one batch.
pub(super) async fn devices_are_found_as_in_spec_3_3(registry: &dyn Registry) {
    let stored = [
        ("D1", basic("ClientId", "-", "-")),
        ("D2", basic("ClientId", "UserName1", "-")),
        ("D3", basic("ClientId", "UserName2", "secret")),
        ("D4", basic("ClientId", "UserName3", "secret")),
        ("D5", Credential::token("UserName1").unwrap()),
        ("D6", Credential::token("UserName2").unwrap()),
        ("D7", basic("-", "Alone", "secret")),
    ];
    for (name, credential) in stored {
        create(registry, NewDevice { credential: Some(credential), ..device(name, None) }).await;
    }
    let rows = [
        ("random", "UserName1", None, Some("D5")),
        ("ClientId", "", None, Some("D1")),
        ("ClientId", "UserName1", None, Some("D2")),
        ("ClientId", "UserName2", Some("secret"), Some("D3")),
        ("random", "UserName2", Some("random"), Some("D6")),
        ("ClientId", "UserName3", Some("WRONG"), None),
        ("ClientId", "UserName3", None, None),
        ("random", "Alone", Some("secret"), Some("D7")),
        ("random", "Alone", Some("Secret"), None),
        ("random", "", None, None),
        ("", "UserName1", None, Some("D5")),
        ("UserName1", "", None, None),
    ];
    // Twice: the second time from the cache, where there is one.
    for (client_id, user_name, password, expected) in rows.iter().chain(&rows) {
        let found = connect(registry, client_id, user_name, password.map(str::as_bytes)).await;
        let found = found.map(|found| found.device.name.clone());
        assert_eq!(found.as_deref(), *expected, "{client_id} {user_name} {password:?}");
    }
}

async fn connect(
    registry: &dyn Registry,
    client_id: &str,
    user_name: &str,
    password: Option<&[u8]>,
) -> Option<Arc<StoredCredential>> {
    if user_name.is_empty() {
        return only(registry.credentials(&[Identity::ClientId(client_id)]).await.unwrap());
    }
    let candidates = [
        Identity::ClientIdAndUserName { client_id, user_name },
        Identity::Token(user_name),
        Identity::UserName(user_name),
    ];
    let mut found = registry.credentials(&candidates).await.unwrap().into_iter().flatten();
    found.next().filter(|found| found.credential.accepts_password(password))
}

pub(super) async fn look_ups_take_any_batch(registry: &dyn Registry) {
    let devices = (0..100).map(|index| device(&format!("d{index}"), Some(&format!("t{index}")))).collect();
    assert!(registry.create_devices(TENANT, devices).await.iter().all(Result::is_ok));
    let tokens: Vec<_> = (0..150).map(|index| format!("t{}", index % 120)).collect();
    let identities: Vec<_> = tokens.iter().map(|token| Identity::Token(token)).collect();
    for round in 0..2 {
        let found = registry.credentials(&identities).await.unwrap();
        assert_eq!(found.len(), 150);
        for (index, found) in found.iter().enumerate() {
            let expected = (index % 120 < 100).then(|| format!("d{}", index % 120));
            assert_eq!(found.as_ref().map(|found| found.device.name.clone()), expected, "round {round}");
        }
    }
    // A credential answers to its own kind only.
    let identities = [Identity::UserName("t1"), Identity::Token("t1"), Identity::ClientId("t1")];
    let found = registry.credentials(&identities).await.unwrap();
    assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true, false]);
}

pub(super) async fn a_changed_credential_is_in_force_at_once(registry: &dyn Registry) {
    let id = create(registry, device("a", Some("t0"))).await.device.id;
    for round in 1..20 {
        let (old, new) = (format!("t{}", round - 1), format!("t{round}"));
        assert_eq!(by_token(registry, &old).await, Ok(Some(id)));
        assert_eq!(by_token(registry, &new).await, Ok(None));
        let credential = Credential::token(new.as_str()).unwrap();
        assert_eq!(registry.set_credentials(TENANT, vec![(id, credential.clone())]).await, [Ok(())]);
        assert_eq!(by_token(registry, &old).await, Ok(None));
        assert_eq!(by_token(registry, &new).await, Ok(Some(id)));
        let stored = only(registry.device_credentials(TENANT, &[id]).await.unwrap()).unwrap();
        assert_eq!(stored.credential, credential);
    }
    // The password alone changes.
    for password in ["one", "two"] {
        let credential = basic("c", "u", password);
        assert_eq!(registry.set_credentials(TENANT, vec![(id, credential)]).await, [Ok(())]);
        assert!(connect(registry, "c", "u", Some(password.as_bytes())).await.is_some());
        assert!(connect(registry, "c", "u", Some(b"three")).await.is_none());
    }
    let missing = registry.set_credentials(TENANT, vec![(DeviceId(9), basic("c2", "-", "-"))]).await;
    assert_eq!(missing, [Err(Error::DeviceNotFound(DeviceId(9)))]);
    assert_eq!(only(registry.credentials(&[Identity::ClientId("c2")]).await.unwrap()), None);
}

pub(super) async fn an_equal_credential_changes_nothing(registry: &dyn Registry) {
    let id = create(registry, device("a", Some("t"))).await.device.id;
    let mut changes = registry.changes();
    let token = |token| Credential::token(token).unwrap();
    let nothing = Update { name: Some("a".to_owned()), profile: None, gateway: Some(false) };
    assert_eq!(registry.set_credentials(TENANT, vec![(id, token("t"))]).await, [Ok(())]);
    assert!(only(registry.update_devices(TENANT, vec![(id, nothing)]).await).is_ok());
    assert_eq!(registry.set_credentials(TENANT, vec![(id, token("u"))]).await, [Ok(())]);
    let credential = Change { tenant: TENANT, device: id, kind: ChangeKind::Credential };
    assert_eq!(changes.next().await, Notice::Changed([credential].into()));
}
