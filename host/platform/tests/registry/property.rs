//! Both registries under the same random operations: every answer, every notice and all that can be read must agree.

use std::future::ready;

use model::{DeviceId, TenantId, Timestamp};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use tidegate_platform::registry::{
    Change, Changes, Connectivity, Credential, DeviceKey, Flush, Identity, Memory, NewDevice, Notice, PackedRow,
    ProfileRow, Query, Registry, RowKind, Sqlite, Update,
};

use crate::{basic, open};

#[derive(Debug, Clone)]
enum Operation {
    CreateTenants(Vec<String>),
    Create(TenantId, Vec<NewDevice>),
    Change(TenantId, Vec<(DeviceId, Update)>),
    SetCredentials(TenantId, Vec<(DeviceId, Credential)>),
    Delete(TenantId, Vec<DeviceId>),
    EnsureProfiles(TenantId, Vec<ProfileRow>),
    RemoveProfiles(TenantId, Vec<String>),
    Project(Flush),
    List(TenantId, Query),
    Rekey,
    Restart,
}

const NAMES: [&str; 6] = ["", "a", "ab", "b", "c", "ä"];
const PARTS: [&str; 3] = ["a", "b", "c"];

fn name() -> impl Strategy<Value = String> {
    select(NAMES.as_slice()).prop_map(str::to_owned)
}

fn tenant() -> impl Strategy<Value = TenantId> {
    prop_oneof![4 => Just(TenantId(1)), 2 => Just(TenantId(2)), 1 => Just(TenantId(3))]
}

fn id() -> impl Strategy<Value = DeviceId> {
    (1_u64..12).prop_map(DeviceId)
}

fn credential() -> impl Strategy<Value = Credential> {
    let part = || select(PARTS.as_slice());
    prop_oneof![
        part().prop_map(|token| Credential::token(token).unwrap()),
        part().prop_map(|client| basic(client, "-", "-")),
        (part(), select(["-", "p", "q"].as_slice())).prop_map(|(user, password)| basic("-", user, password)),
        (part(), part(), select(["-", "p"].as_slice()))
            .prop_map(|(client, user, password)| basic(client, user, password)),
    ]
}

fn new_device() -> impl Strategy<Value = NewDevice> {
    // Generated tokens differ between the two, so every device comes with a credential.
    (name(), name(), any::<bool>(), credential(), any::<i64>()).prop_map(
        |(name, profile, gateway, credential, created)| NewDevice {
            name,
            profile,
            gateway,
            credential: Some(credential),
            created: Timestamp(created),
        },
    )
}

fn update() -> impl Strategy<Value = Update> {
    (option::of(name()), option::of(name()), option::of(any::<bool>())).prop_map(|(name, profile, gateway)| Update {
        name,
        profile,
        gateway,
    })
}

fn flush() -> impl Strategy<Value = Flush> {
    let kind = select([RowKind::LatestValues, RowKind::ClientAttributes].as_slice());
    let row = (tenant(), id(), kind, vec(any::<u8>(), 0..4)).prop_map(|(tenant, device, kind, packed)| PackedRow {
        tenant,
        device,
        kind,
        packed,
    });
    let state = (tenant(), id(), any::<bool>(), 0_u32..4, name(), any::<i64>(), any::<i64>()).prop_map(
        |(tenant, device, connected, boot, client_id, since, last_change)| Connectivity {
            tenant,
            device,
            connected,
            boot,
            client_id,
            since: Timestamp(since),
            last_change: Timestamp(last_change),
        },
    );
    (vec(row, 0..5), vec(state, 0..5), name()).prop_map(|(rows, connectivity, applied_position)| Flush {
        rows,
        connectivity,
        applied_position,
    })
}

fn query() -> impl Strategy<Value = Query> {
    (option::of(name()), name(), option::of(name()), 0_usize..4).prop_map(|(profile, prefix, after, limit)| Query {
        profile,
        prefix,
        after,
        limit,
    })
}

fn operation() -> impl Strategy<Value = Operation> {
    let row = (name(), name()).prop_map(|(name, based_on)| ProfileRow { name, based_on });
    prop_oneof![
        1 => vec(name(), 0..3).prop_map(Operation::CreateTenants),
        6 => (tenant(), vec(new_device(), 0..4)).prop_map(|(tenant, devices)| Operation::Create(tenant, devices)),
        3 => (tenant(), vec((id(), update()), 0..3)).prop_map(|(tenant, updates)| Operation::Change(tenant, updates)),
        4 => (tenant(), vec((id(), credential()), 0..3)).prop_map(|(tenant, set)| Operation::SetCredentials(tenant, set)),
        2 => (tenant(), vec(id(), 0..3)).prop_map(|(tenant, ids)| Operation::Delete(tenant, ids)),
        1 => (tenant(), vec(row, 0..3)).prop_map(|(tenant, rows)| Operation::EnsureProfiles(tenant, rows)),
        1 => (tenant(), vec(name(), 0..3)).prop_map(|(tenant, names)| Operation::RemoveProfiles(tenant, names)),
        2 => flush().prop_map(Operation::Project),
        2 => (tenant(), query()).prop_map(|(tenant, query)| Operation::List(tenant, query)),
        1 => Just(Operation::Rekey),
        1 => Just(Operation::Restart),
    ]
}

/// Carries an operation out and describes the answer.
async fn perform(registry: &dyn Registry, operation: &Operation) -> String {
    match operation.clone() {
        Operation::CreateTenants(names) => format!("{:?}", registry.create_tenants(names).await),
        Operation::Create(tenant, devices) => format!("{:?}", registry.create_devices(tenant, devices).await),
        Operation::Change(tenant, updates) => format!("{:?}", registry.update_devices(tenant, updates).await),
        Operation::SetCredentials(tenant, set) => format!("{:?}", registry.set_credentials(tenant, set).await),
        Operation::Delete(tenant, ids) => format!("{:?}", registry.delete_devices(tenant, ids).await),
        Operation::EnsureProfiles(tenant, rows) => format!("{:?}", registry.ensure_profiles(tenant, rows).await),
        Operation::RemoveProfiles(tenant, names) => format!("{:?}", registry.remove_profiles(tenant, names).await),
        Operation::Project(flush) => format!("{:?}", registry.store_projection(flush).await),
        Operation::List(tenant, query) => format!("{:?}", registry.list_devices(tenant, &query).await),
        Operation::Rekey | Operation::Restart => String::new(),
    }
}

/// All that can be read.
async fn contents(registry: &dyn Registry) -> String {
    let mut identities = Vec::new();
    for client_id in PARTS {
        identities.extend([Identity::Token(client_id), Identity::ClientId(client_id), Identity::UserName(client_id)]);
        identities.extend(PARTS.map(|user_name| Identity::ClientIdAndUserName { client_id, user_name }));
    }
    let found = registry.credentials(&identities).await.unwrap();
    let mut seen = format!("{:?} {found:?}", registry.tenants().await);
    for stored in found.iter().flatten() {
        // What Debug hides, too.
        let fits = [None, Some("p"), Some("q")]
            .map(|password| stored.credential.accepts_password(password.map(str::as_bytes)));
        seen += &format!("{fits:?}");
    }
    let ids: Vec<_> = (0..14).map(DeviceId).collect();
    let keys: Vec<_> =
        ids.iter().map(|id| DeviceKey::Id(*id)).chain(NAMES.map(|name| DeviceKey::Name(name.to_owned()))).collect();
    for tenant in (1..4).map(TenantId) {
        seen += &format!("{:?}", registry.devices(tenant, &keys).await);
        seen += &format!("{:?}", registry.device_credentials(tenant, &ids).await);
        seen += &format!("{:?}", registry.list_devices(tenant, &Query::default()).await);
        seen += &format!("{:?}", registry.profiles(tenant).await);
        seen += &format!("{:?}", registry.load_projection(tenant, RowKind::LatestValues, &ids).await);
        seen += &format!("{:?}", registry.load_projection(tenant, RowKind::ClientAttributes, &ids).await);
        seen += &format!("{:?}", registry.load_connectivity(tenant, &ids).await);
    }
    seen += &format!("{:?}", registry.connected_in_other_runs(3, None, 100).await);
    seen += &format!("{:?}", registry.connected_in_other_runs(3, Some((TenantId(1), DeviceId(3))), 2).await);
    seen + &format!("{:?}", registry.applied_position().await)
}

async fn compare(operations: &[Operation]) -> Result<(), TestCaseError> {
    let folder = tempfile::tempdir().unwrap();
    let mut sqlite: Sqlite = open(folder.path()).await;
    let mut memory = Memory::new();
    for operation in operations {
        let (mut on_disk, mut in_memory) = (sqlite.changes(), memory.changes());
        prop_assert_eq!(perform(&sqlite, operation).await, perform(&memory, operation).await);
        prop_assert_eq!(heard(&mut on_disk).await, heard(&mut in_memory).await);
        match operation {
            Operation::Rekey => sqlite.rekey().await.unwrap(),
            Operation::Restart => {
                sqlite.close().await;
                sqlite = open(folder.path()).await;
                memory = memory.restart();
            }
            _ => {}
        }
        prop_assert_eq!(contents(&sqlite).await, contents(&memory).await, "after {:?}", operation);
    }
    sqlite.close().await;
    Ok(())
}

/// Every change so far: a notice is there before the change is answered.
async fn heard(changes: &mut Changes) -> Vec<Change> {
    let mut heard = Vec::new();
    loop {
        tokio::select! {
            biased;
            notice = changes.next() => match notice {
                Notice::Changed(changes) => heard.extend_from_slice(&changes),
                other => panic!("{other:?}"),
            },
            () = ready(()) => return heard,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn both_registries_agree(operations in vec(operation(), 1..25)) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(compare(&operations))?;
    }
}
