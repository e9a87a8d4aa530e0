//! What every registry promises. Each test gets an empty one, and runs against both implementations.

use std::sync::Arc;

use model::{DeviceId, TenantId, Timestamp};
use tidegate_platform::registry::{
    Blame, Change, ChangeKind, Connectivity, Credential, Device, DeviceKey, Error, Flush, Identity, IdentityKind,
    Memory, NewDevice, Notice, PackedRow, ProfileRow, Query, Registry, RowKind, StoredCredential, Tenant, Update,
};

use crate::{TENANT, basic, by_token, create, device, only, open};

mod credentials;
mod devices;
mod projection;

use credentials::*;
use devices::*;
use projection::*;

macro_rules! contract {
    ($($test:ident,)*) => {
        mod memory {
            use super::*;
            $(#[tokio::test] async fn $test() {
                super::$test(&Memory::new()).await;
            })*
        }
        mod sqlite {
            use super::*;
            $(#[tokio::test] async fn $test() {
                let folder = tempfile::tempdir().unwrap();
                let registry = open(folder.path()).await;
                super::$test(&registry).await;
                registry.close().await;
            })*
        }
    };
}

contract!(
    the_default_tenant_exists,
    devices_get_what_was_asked_for,
    each_item_has_its_own_answer,
    a_batch_is_carried_out_in_order,
    tenants_do_not_see_each_other,
    ids_are_never_used_again,
    identities_are_unique_over_all_tenants,
    devices_are_found_as_in_spec_3_3,
    look_ups_take_any_batch,
    a_changed_credential_is_in_force_at_once,
    an_equal_credential_changes_nothing,
    updates_are_seen_by_name_and_by_credential,
    deleting_leaves_nothing_behind,
    lists_come_in_pages,
    any_name_is_just_a_name,
    profiles_are_made_once,
    the_projection_is_stored_with_its_position,
    connections_of_other_runs_are_found,
    changes_are_announced_in_order,
    large_batches_are_fine,
    of_many_who_want_a_name_one_gets_it,
    numbers_out_of_range_are_not_found,
    empty_batches_are_fine,
    a_closed_registry_says_so,
);

async fn the_default_tenant_exists(registry: &dyn Registry) {
    let names = |tenants: Vec<Tenant>| tenants.into_iter().map(|tenant| (tenant.id.0, tenant.name)).collect::<Vec<_>>();
    assert_eq!(names(registry.tenants().await.unwrap()), [(1, "default".to_owned())]);
    let answers = registry.create_tenants(vec!["acme".to_owned(), "acme".to_owned(), String::new()]).await;
    assert_eq!(answers[0].as_ref().unwrap().id, TenantId(2));
    assert_eq!(answers[1], Err(Error::TenantTaken { name: "acme".to_owned(), tenant: TenantId(2) }));
    assert_eq!(answers[2].as_ref().unwrap_err().blame(), Blame::Caller);
    assert_eq!(names(registry.tenants().await.unwrap()), [(1, "default".to_owned()), (2, "acme".to_owned())]);
}

async fn tenants_do_not_see_each_other(registry: &dyn Registry) {
    let other = only(registry.create_tenants(vec!["other".to_owned()]).await).unwrap().id;
    let ours = create(registry, device("same", Some("ours"))).await.device;
    let theirs = only(registry.create_devices(other, vec![device("same", Some("theirs"))]).await).unwrap().device;
    assert_ne!(ours.id, theirs.id);

    let keys = [DeviceKey::Name("same".to_owned()), DeviceKey::Id(ours.id), DeviceKey::Id(theirs.id)];
    assert_eq!(registry.devices(TENANT, &keys).await.unwrap(), [Some(ours.clone()), Some(ours.clone()), None]);
    assert_eq!(registry.devices(other, &keys).await.unwrap(), [Some(theirs.clone()), None, Some(theirs.clone())]);
    assert_eq!(only(all(registry, TENANT).await), ours);
    assert_eq!(only(all(registry, other).await), theirs);
    assert_eq!(registry.device_credentials(other, &[ours.id]).await.unwrap(), [None]);

    let gone = Error::DeviceNotFound(ours.id);
    let update = Update { gateway: Some(true), ..Update::default() };
    assert_eq!(registry.update_devices(other, vec![(ours.id, update)]).await, [Err(gone.clone())]);
    let token = Credential::token("stolen").unwrap();
    assert_eq!(registry.set_credentials(other, vec![(ours.id, token)]).await, [Err(gone.clone())]);
    assert_eq!(registry.delete_devices(other, vec![ours.id]).await, [Err(gone)]);

    let row = |tenant, device, byte| PackedRow { tenant, device, kind: RowKind::LatestValues, packed: vec![byte] };
    let rows =
        vec![row(TENANT, ours.id, 1), row(other, ours.id, 2), row(other, theirs.id, 3), row(TENANT, theirs.id, 4)];
    registry.store_projection(Flush { rows, ..Flush::default() }).await.unwrap();
    let load =
        async |tenant| registry.load_projection(tenant, RowKind::LatestValues, &[ours.id, theirs.id]).await.unwrap();
    assert_eq!(load(TENANT).await, [Some(vec![1]), None]);
    assert_eq!(load(other).await, [None, Some(vec![3])]);

    let profile = |based_on: &str| ProfileRow { name: "p".to_owned(), based_on: based_on.to_owned() };
    registry.ensure_profiles(TENANT, vec![profile("ours")]).await;
    registry.ensure_profiles(other, vec![profile("theirs")]).await;
    assert_eq!(registry.profiles(TENANT).await.unwrap(), [profile("ours")]);
    assert_eq!(registry.profiles(other).await.unwrap(), [profile("theirs")]);

    let nobody = TenantId(77);
    let answers = registry.create_devices(nobody, vec![device("", None), device("x", None)]).await;
    assert_eq!(answers[0].as_ref().unwrap_err().blame(), Blame::Caller);
    assert_eq!(answers[1], Err(Error::TenantNotFound(nobody)));
    assert_eq!(registry.ensure_profiles(nobody, vec![profile("x")]).await, [Err(Error::TenantNotFound(nobody))]);
    assert_eq!(all(registry, nobody).await, []);
}

async fn profiles_are_made_once(registry: &dyn Registry) {
    let row = |name: &str, based_on: &str| ProfileRow { name: name.to_owned(), based_on: based_on.to_owned() };
    let answers = registry
        .ensure_profiles(TENANT, vec![row("thermo", "default"), row("thermo", "other"), row("", "default")])
        .await;
    assert_eq!(answers[..2], [Ok(row("thermo", "default")), Ok(row("thermo", "default"))]);
    assert_eq!(answers[2].as_ref().unwrap_err().blame(), Blame::Caller);
    registry.ensure_profiles(TENANT, vec![row("boiler", "default")]).await;
    assert_eq!(registry.profiles(TENANT).await.unwrap(), [row("boiler", "default"), row("thermo", "default")]);
    let answers = registry.remove_profiles(TENANT, vec!["thermo".to_owned(), "thermo".to_owned()]).await;
    assert_eq!(answers, [Ok(()), Err(Error::ProfileNotFound("thermo".to_owned()))]);
    assert_eq!(registry.profiles(TENANT).await.unwrap(), [row("boiler", "default")]);
}

/// Spec 3.1: what the gateway needs to close sessions.
async fn changes_are_announced_in_order(registry: &dyn Registry) {
    let mut changes = registry.changes();
    let answers = registry.create_devices(TENANT, vec![device("a", None), device("a", None), device("b", None)]).await;
    let [a, b] = [0, 2].map(|index: usize| answers[index].as_ref().unwrap().device.id);
    let token = Credential::token("t").unwrap();
    registry.set_credentials(TENANT, vec![(a, token.clone()), (b, token)]).await;
    let update = Update { gateway: Some(true), ..Update::default() };
    registry.update_devices(TENANT, vec![(b, update)]).await;
    registry.ensure_profiles(TENANT, vec![ProfileRow { name: "p".to_owned(), based_on: "q".to_owned() }]).await;
    registry.store_projection(Flush { connectivity: vec![connected(a, 1)], ..Flush::default() }).await.unwrap();
    registry.delete_devices(TENANT, vec![a, DeviceId(99)]).await;

    let change = |device, kind| Change { tenant: TENANT, device, kind };
    let expected = [
        vec![change(a, ChangeKind::Created), change(b, ChangeKind::Created)],
        vec![change(a, ChangeKind::Credential)],
        vec![change(b, ChangeKind::Updated)],
        vec![change(a, ChangeKind::Deleted)],
    ];
    for expected in expected {
        assert_eq!(changes.next().await, Notice::Changed(expected.into()));
    }
}

async fn numbers_out_of_range_are_not_found(registry: &dyn Registry) {
    let (device, tenant) = (DeviceId(u64::MAX), TenantId(u32::MAX));
    let not_found = Err(Error::DeviceNotFound(device));
    for device in [device, DeviceId(1 << 63), DeviceId(0)] {
        assert_eq!(registry.devices(tenant, &[DeviceKey::Id(device)]).await.unwrap(), [None]);
        assert_eq!(registry.device_credentials(TENANT, &[device]).await.unwrap(), [None]);
        assert_eq!(registry.load_projection(tenant, RowKind::LatestValues, &[device]).await.unwrap(), [None]);
        assert_eq!(registry.load_connectivity(tenant, &[device]).await.unwrap(), [None]);
        assert_eq!(registry.delete_devices(tenant, vec![device]).await, [Err(Error::DeviceNotFound(device))]);
    }
    assert_eq!(registry.set_credentials(TENANT, vec![(device, basic("c", "-", "-"))]).await, [not_found]);
    assert_eq!(registry.connected_in_other_runs(u32::MAX, Some((tenant, device)), 1).await.unwrap(), []);
    registry
        .store_projection(Flush { connectivity: vec![connected(device, u32::MAX)], ..Flush::default() })
        .await
        .unwrap();
}

async fn empty_batches_are_fine(registry: &dyn Registry) {
    let mut changes = registry.changes();
    assert!(registry.create_tenants(vec![]).await.is_empty());
    assert!(registry.create_devices(TENANT, vec![]).await.is_empty());
    assert!(registry.update_devices(TENANT, vec![]).await.is_empty());
    assert!(registry.set_credentials(TENANT, vec![]).await.is_empty());
    assert!(registry.delete_devices(TENANT, vec![]).await.is_empty());
    assert!(registry.ensure_profiles(TENANT, vec![]).await.is_empty());
    assert!(registry.remove_profiles(TENANT, vec![]).await.is_empty());
    assert!(registry.credentials(&[]).await.unwrap().is_empty());
    assert!(registry.devices(TENANT, &[]).await.unwrap().is_empty());
    assert!(registry.device_credentials(TENANT, &[]).await.unwrap().is_empty());
    assert!(registry.load_connectivity(TENANT, &[]).await.unwrap().is_empty());
    let id = create(registry, device("a", None)).await.device.id;
    let created = Change { tenant: TENANT, device: id, kind: ChangeKind::Created };
    assert_eq!(changes.next().await, Notice::Changed([created].into()), "the first notice");
}

async fn a_closed_registry_says_so(registry: &dyn Registry) {
    let id = create(registry, device("a", Some("known"))).await.device.id;
    assert_eq!(by_token(registry, "known").await, Ok(Some(id)));
    let mut changes = registry.changes();
    registry.close().await;
    registry.close().await;
    assert_eq!(changes.next().await, Notice::Closed);
    assert_eq!(registry.changes().next().await, Notice::Closed);
    assert_eq!(registry.create_devices(TENANT, vec![device("a", None)]).await, [Err(Error::Closed)]);
    assert_eq!(registry.store_projection(Flush::default()).await, Err(Error::Closed));
    assert_eq!(registry.tenants().await, Err(Error::Closed));
    assert_eq!(by_token(registry, "t").await, Err(Error::Closed));
    assert_eq!(by_token(registry, "known").await, Err(Error::Closed), "although it is in the cache");
    assert_eq!(registry.list_devices(TENANT, &Query::default()).await, Err(Error::Closed));
    assert_eq!(Error::Closed.blame(), Blame::Storage);
}

async fn all(registry: &dyn Registry, tenant: TenantId) -> Vec<Device> {
    registry.list_devices(tenant, &Query { limit: 1000, ..Query::default() }).await.unwrap().devices
}

fn connected(device: DeviceId, boot: u32) -> Connectivity {
    Connectivity {
        tenant: TENANT,
        device,
        connected: true,
        boot,
        client_id: format!("client of {device}"),
        since: Timestamp(5),
        last_change: Timestamp(5),
    }
}
