//! Devices.

use super::*;

pub(super) async fn devices_get_what_was_asked_for(registry: &dyn Registry) {
    let gateway = NewDevice {
        profile: "thermo".to_owned(),
        gateway: true,
        created: Timestamp(-5),
        ..device("gateway", Some("A1B2"))
    };
    let answers = registry.create_devices(TENANT, vec![gateway, device("plain", None)]).await;
    let [Ok(gateway), Ok(plain)] = answers.as_slice() else { panic!("{answers:?}") };
    assert_eq!((gateway.device.id, gateway.device.tenant), (DeviceId(1), TENANT));
    assert_eq!((gateway.device.name.as_str(), gateway.device.profile.as_str()), ("gateway", "thermo"));
    assert_eq!((gateway.device.gateway, gateway.device.created), (true, Timestamp(-5)));
    assert_eq!(gateway.credential, Credential::token("A1B2").unwrap());

    assert!(!plain.device.gateway);
    let Credential::Token(token) = &plain.credential else { panic!("{plain:?}") };
    assert_eq!(token.expose().len(), 20);
    assert_eq!(by_token(registry, token.expose()).await, Ok(Some(plain.device.id)));

    let keys = [
        DeviceKey::Name("plain".to_owned()),
        DeviceKey::Id(gateway.device.id),
        DeviceKey::Name("nobody".to_owned()),
        DeviceKey::Id(DeviceId(99)),
        DeviceKey::Id(plain.device.id),
    ];
    let (gateway_device, plain_device) = (Some(gateway.device.clone()), Some(plain.device.clone()));
    assert_eq!(
        registry.devices(TENANT, &keys).await.unwrap(),
        [plain_device.clone(), gateway_device, None, None, plain_device]
    );
    let ids = [plain.device.id, DeviceId(99), gateway.device.id];
    assert_eq!(
        registry.device_credentials(TENANT, &ids).await.unwrap(),
        [Some(plain.clone()), None, Some(gateway.clone())]
    );
}

pub(super) async fn each_item_has_its_own_answer(registry: &dyn Registry) {
    create(registry, device("taken", Some("taken"))).await;
    let answers = registry
        .create_devices(
            TENANT,
            vec![
                device("a", Some("a")),
                device("", Some("b")),
                device("taken", Some("c")),
                device("d", Some("taken")),
                NewDevice { profile: "x".repeat(256), ..device("e", None) },
                device("f", Some("f")),
            ],
        )
        .await;
    let blame: Vec<_> = answers.iter().map(|answer| answer.as_ref().map(|_| ()).map_err(Error::blame)).collect();
    let (caller, conflict) = (Err(Blame::Caller), Err(Blame::Conflict));
    assert_eq!(blame, [Ok(()), caller, conflict, conflict, caller, Ok(())]);
    assert_eq!(answers[2], Err(Error::NameTaken { name: "taken".to_owned(), device: DeviceId(1) }));
    assert_eq!(answers[3], Err(Error::IdentityTaken { kind: IdentityKind::Token }));
    let names: Vec<_> = all(registry, TENANT).await.into_iter().map(|device| device.name).collect();
    assert_eq!(names, ["a", "f", "taken"]);
    for token in ["b", "c"] {
        assert_eq!(by_token(registry, token).await, Ok(None));
    }
}

pub(super) async fn a_batch_is_carried_out_in_order(registry: &dyn Registry) {
    let answers = registry
        .create_devices(TENANT, vec![device("a", Some("1")), device("a", Some("2")), device("b", Some("1"))])
        .await;
    assert_eq!(answers[0].as_ref().unwrap().device.id, DeviceId(1));
    assert_eq!(answers[1], Err(Error::NameTaken { name: "a".to_owned(), device: DeviceId(1) }));
    assert_eq!(answers[2], Err(Error::IdentityTaken { kind: IdentityKind::Token }));

    let b = create(registry, device("b", Some("2"))).await.device.id;
    let token = |token| Credential::token(token).unwrap();
    // Two devices swap their tokens by way of a third.
    let (a, taken) = (DeviceId(1), Err(Error::IdentityTaken { kind: IdentityKind::Token }));
    let answers = registry
        .set_credentials(TENANT, vec![(a, token("2")), (a, token("x")), (b, token("1")), (a, token("2"))])
        .await;
    assert_eq!(answers, [taken, Ok(()), Ok(()), Ok(())]);
    assert_eq!(by_token(registry, "1").await, Ok(Some(b)));
    assert_eq!(by_token(registry, "2").await, Ok(Some(a)));
    assert_eq!(by_token(registry, "x").await, Ok(None));

    let rename = |name: &str| Update { name: Some(name.to_owned()), ..Update::default() };
    let answers = registry.update_devices(TENANT, vec![(a, rename("b")), (a, rename("c")), (b, rename("a"))]).await;
    assert_eq!(answers[0], Err(Error::NameTaken { name: "b".to_owned(), device: b }));
    assert_eq!(answers[1].as_ref().unwrap().name, "c");
    assert_eq!(answers[2].as_ref().unwrap().name, "a");
    let answers = registry.delete_devices(TENANT, vec![a, a, b]).await;
    assert_eq!(answers, [Ok(()), Err(Error::DeviceNotFound(a)), Ok(())]);
}

pub(super) async fn ids_are_never_used_again(registry: &dyn Registry) {
    let first = create(registry, device("a", None)).await.device.id;
    assert_eq!(registry.delete_devices(TENANT, vec![first]).await, [Ok(())]);
    let second = create(registry, device("a", None)).await.device.id;
    assert!(second > first, "{second} after {first}");
}

pub(super) async fn updates_are_seen_by_name_and_by_credential(registry: &dyn Registry) {
    let id = create(registry, device("a", Some("t"))).await.device.id;
    create(registry, device("b", None)).await;
    let find = async || only(registry.credentials(&[Identity::Token("t")]).await.unwrap()).unwrap().device.clone();
    assert!(!find().await.gateway);

    let update = Update { name: None, profile: Some("thermo".to_owned()), gateway: Some(true) };
    let updated = only(registry.update_devices(TENANT, vec![(id, update)]).await).unwrap();
    assert_eq!((updated.profile.as_str(), updated.gateway, updated.name.as_str()), ("thermo", true, "a"));
    assert_eq!(find().await, updated);

    let rename = |name: &str| vec![(id, Update { name: Some(name.to_owned()), ..Update::default() })];
    assert_eq!(
        registry.update_devices(TENANT, rename("b")).await,
        [Err(Error::NameTaken { name: "b".to_owned(), device: DeviceId(2) })]
    );
    let renamed = only(registry.update_devices(TENANT, rename("c")).await).unwrap();
    assert_eq!(find().await, renamed);
    let keys = [DeviceKey::Name("a".to_owned()), DeviceKey::Name("c".to_owned())];
    assert_eq!(registry.devices(TENANT, &keys).await.unwrap(), [None, Some(renamed)]);
    assert_eq!(only(registry.update_devices(TENANT, rename("")).await).unwrap_err().blame(), Blame::Caller);
    create(registry, device("a", None)).await;
}

pub(super) async fn deleting_leaves_nothing_behind(registry: &dyn Registry) {
    let id = create(registry, device("a", Some("t"))).await.device.id;
    let stays = create(registry, device("b", Some("u"))).await.device.id;
    assert_eq!(by_token(registry, "t").await, Ok(Some(id)));
    let rows = [id, stays]
        .into_iter()
        .flat_map(|device| {
            [RowKind::LatestValues, RowKind::ClientAttributes].map(|kind| PackedRow {
                tenant: TENANT,
                device,
                kind,
                packed: vec![7],
            })
        })
        .collect();
    let connectivity = vec![connected(id, 1), connected(stays, 1)];
    registry.store_projection(Flush { rows, connectivity, applied_position: "1".to_owned() }).await.unwrap();

    assert_eq!(registry.delete_devices(TENANT, vec![id]).await, [Ok(())]);
    assert_eq!(registry.delete_devices(TENANT, vec![id]).await, [Err(Error::DeviceNotFound(id))]);
    assert_eq!(by_token(registry, "t").await, Ok(None));
    let keys = [DeviceKey::Id(id), DeviceKey::Name("a".to_owned())];
    assert_eq!(registry.devices(TENANT, &keys).await.unwrap(), [None, None]);
    assert_eq!(registry.device_credentials(TENANT, &[id]).await.unwrap(), [None]);
    for kind in [RowKind::LatestValues, RowKind::ClientAttributes] {
        assert_eq!(registry.load_projection(TENANT, kind, &[id, stays]).await.unwrap(), [None, Some(vec![7])]);
    }
    let states = registry.load_connectivity(TENANT, &[id, stays]).await.unwrap();
    assert_eq!(states, [None, Some(connected(stays, 1))]);
    assert_eq!(registry.connected_in_other_runs(2, None, 10).await.unwrap(), [connected(stays, 1)]);

    let again = create(registry, device("a", Some("t"))).await.device.id;
    assert_eq!(by_token(registry, "t").await, Ok(Some(again)));
}

pub(super) async fn lists_come_in_pages(registry: &dyn Registry) {
    let names = ["b", "a", "aa", "ab", "a\u{d7ff}", "a\u{10ffff}", "B", "ä", "a b", "%"];
    let devices = names.iter().enumerate().map(|(index, name)| NewDevice {
        profile: if index % 2 == 0 { "even" } else { "odd" }.to_owned(),
        ..device(name, None)
    });
    assert!(registry.create_devices(TENANT, devices.collect()).await.iter().all(Result::is_ok));
    let mut sorted = names;
    sorted.sort_unstable();

    for limit in 1..12 {
        let mut query = Query { limit, ..Query::default() };
        let mut seen = Vec::new();
        loop {
            let page = registry.list_devices(TENANT, &query).await.unwrap();
            assert!(page.devices.len() <= limit);
            seen.extend(page.devices.into_iter().map(|device| device.name));
            if page.next.is_none() {
                break;
            }
            assert_eq!(page.next.as_ref(), seen.last(), "a full page names its end");
            query.after = page.next;
        }
        assert_eq!(seen, sorted, "limit {limit}");
    }
    let list = async |prefix: &str, profile: Option<&str>, after: Option<&str>| {
        let query = Query {
            profile: profile.map(str::to_owned),
            prefix: prefix.to_owned(),
            after: after.map(str::to_owned),
            ..Query::default()
        };
        let page = registry.list_devices(TENANT, &query).await.unwrap();
        assert_eq!(page.next, None);
        page.devices.into_iter().map(|device| device.name).collect::<Vec<_>>()
    };
    assert_eq!(list("a", None, None).await, ["a", "a b", "aa", "ab", "a\u{d7ff}", "a\u{10ffff}"]);
    assert_eq!(list("a\u{d7ff}", None, None).await, ["a\u{d7ff}"]);
    assert_eq!(list("a\u{10ffff}", None, None).await, ["a\u{10ffff}"]);
    assert_eq!(list("%", None, None).await, ["%"]);
    assert_eq!(list("_", None, None).await, Vec::<String>::new());
    assert_eq!(list("", Some("odd"), None).await, ["%", "a", "ab", "a\u{10ffff}", "ä"]);
    assert_eq!(list("a", Some("odd"), Some("a")).await, ["ab", "a\u{10ffff}"]);
    assert_eq!(list("a", None, Some("aab")).await, ["ab", "a\u{d7ff}", "a\u{10ffff}"]);
    assert_eq!(list("", Some("none"), None).await, Vec::<String>::new());
    for limit in [0, 1001] {
        let error = registry.list_devices(TENANT, &Query { limit, ..Query::default() }).await.unwrap_err();
        assert_eq!(error.to_string(), format!("limit: expected 1 to 1000, got {limit}"));
    }
}

pub(super) async fn any_name_is_just_a_name(registry: &dyn Registry) {
    let longest = "\u{1f600}".repeat(255);
    let names = ["'); DROP TABLE devices; --", "\"", "\\", "%", "_", " ", "\n", "?1", "$1", "ü", "e\u{301}", &longest];
    for name in names {
        let profile = ProfileRow { name: name.to_owned(), based_on: name.to_owned() };
        assert_eq!(registry.ensure_profiles(TENANT, vec![profile.clone()]).await, [Ok(profile)]);
        let created = create(registry, NewDevice { profile: name.to_owned(), ..device(name, Some(name)) }).await.device;
        assert_eq!(created.name, name);
        let keys = [DeviceKey::Name(name.to_owned())];
        assert_eq!(registry.devices(TENANT, &keys).await.unwrap(), [Some(created.clone())]);
        assert_eq!(by_token(registry, name).await, Ok(Some(created.id)));
        let query = Query { profile: Some(name.to_owned()), prefix: name.to_owned(), ..Query::default() };
        assert_eq!(registry.list_devices(TENANT, &query).await.unwrap().devices, [created]);
    }
    assert_eq!(all(registry, TENANT).await.len(), names.len());
}

pub(super) async fn large_batches_are_fine(registry: &dyn Registry) {
    let devices = (0..1000).map(|index| device(&format!("d{index:04}"), None)).collect();
    let created: Vec<_> =
        registry.create_devices(TENANT, devices).await.into_iter().map(|answer| answer.unwrap()).collect();
    let ids: Vec<_> = created.iter().map(|created| created.device.id).collect();
    let page = registry.list_devices(TENANT, &Query { limit: 1000, ..Query::default() }).await.unwrap();
    assert_eq!(page.next, None);
    assert_eq!(page.devices, created.iter().map(|created| created.device.clone()).collect::<Vec<_>>());
    let stored = registry.device_credentials(TENANT, &ids).await.unwrap();
    assert!(stored.into_iter().flatten().eq(created.iter().cloned()));

    let rows = ids.iter().map(|device| PackedRow {
        tenant: TENANT,
        device: *device,
        kind: RowKind::ClientAttributes,
        packed: device.0.to_le_bytes().to_vec(),
    });
    let connectivity = ids.iter().map(|id| connected(*id, 1)).collect();
    let flush = Flush { rows: rows.collect(), connectivity, applied_position: "x".to_owned() };
    registry.store_projection(flush).await.unwrap();
    let loaded = registry.load_projection(TENANT, RowKind::ClientAttributes, &ids).await.unwrap();
    assert!(loaded.into_iter().flatten().eq(ids.iter().map(|id| id.0.to_le_bytes().to_vec())));
    assert_eq!(registry.connected_in_other_runs(2, None, 1000).await.unwrap().len(), 1000);

    let deleted = registry.delete_devices(TENANT, ids[..999].to_vec()).await;
    assert!(deleted.iter().all(Result::is_ok));
    assert_eq!(all(registry, TENANT).await, [created[999].device.clone()]);
    assert_eq!(registry.connected_in_other_runs(2, None, 1000).await.unwrap(), [connected(ids[999], 1)]);
}

/// Spec 15.2: concurrent first messages for one name create exactly one device.
pub(super) async fn of_many_who_want_a_name_one_gets_it(registry: &dyn Registry) {
    let tries = (0..50).map(|_| registry.create_devices(TENANT, vec![device("a", None)]));
    let answers: Vec<_> = futures_util::future::join_all(tries).await.into_iter().map(only).collect();
    let winner = answers.iter().flatten().map(|created| created.device.id).collect::<Vec<_>>();
    assert_eq!(winner.len(), 1);
    let others = answers.into_iter().filter_map(Result::err).collect::<Vec<_>>();
    assert_eq!(others, vec![Error::NameTaken { name: "a".to_owned(), device: winner[0] }; 49]);
}
