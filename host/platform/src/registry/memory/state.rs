//! What the registry in memory holds, and its operations one by one.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use model::{DeviceId, TenantId};

use crate::registry::device::check_name;
use crate::registry::{
    Change, ChangeKind, Connectivity, Credential, Device, DeviceKey, Error, Flush, Identity, NewDevice, Page,
    ProfileRow, Query, RowKind, StoredCredential, Tenant, Update,
};

#[derive(Debug)]
pub(super) struct State {
    tenants: BTreeMap<TenantId, String>,
    /// The id of the last device; ids are counted up and never used again.
    last_device: u64,
    devices: HashMap<(TenantId, DeviceId), Arc<StoredCredential>>,
    names: BTreeMap<(TenantId, String), DeviceId>,
    /// Keyed by what identities call their place.
    places: HashMap<Vec<u8>, (TenantId, DeviceId)>,
    profiles: BTreeMap<(TenantId, String), String>,
    packed: HashMap<(TenantId, DeviceId, RowKind), Vec<u8>>,
    connectivity: BTreeMap<(TenantId, DeviceId), Connectivity>,
    applied_position: Option<String>,
    changes: Vec<Change>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            tenants: BTreeMap::from([(TenantId::DEFAULT, "default".to_owned())]),
            last_device: 0,
            devices: HashMap::new(),
            names: BTreeMap::new(),
            places: HashMap::new(),
            profiles: BTreeMap::new(),
            packed: HashMap::new(),
            connectivity: BTreeMap::new(),
            applied_position: None,
            changes: Vec::new(),
        }
    }
}

impl State {
    pub(super) fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    pub(super) fn create_tenant(&mut self, name: String) -> Result<Tenant, Error> {
        check_name("tenant name", &name)?;
        if let Some((tenant, _)) = self.tenants.iter().find(|(_, taken)| **taken == name) {
            return Err(Error::TenantTaken { name, tenant: *tenant });
        }
        let id = TenantId(self.tenants.last_key_value().map_or(1, |(last, _)| last.0 + 1));
        self.tenants.insert(id, name.clone());
        Ok(Tenant { id, name })
    }

    pub(super) fn create_device(&mut self, tenant: TenantId, device: NewDevice) -> Result<StoredCredential, Error> {
        let (device, credential) = device.complete()?;
        if !self.tenants.contains_key(&tenant) {
            return Err(Error::TenantNotFound(tenant));
        }
        let name = (tenant, device.name.clone());
        if let Some(holder) = self.names.get(&name) {
            return Err(Error::NameTaken { name: device.name, device: *holder });
        }
        let place = place(&credential.identity());
        if self.places.contains_key(&place) {
            return Err(Error::IdentityTaken { kind: credential.identity().kind() });
        }
        self.last_device += 1;
        let device = device.into_device(tenant, DeviceId(self.last_device));
        self.names.insert(name, device.id);
        self.places.insert(place, (tenant, device.id));
        let stored = StoredCredential { device, credential };
        self.put(stored.clone(), ChangeKind::Created);
        Ok(stored)
    }

    pub(super) fn update_device(&mut self, tenant: TenantId, id: DeviceId, update: &Update) -> Result<Device, Error> {
        update.check()?;
        let mut stored = self.stored(tenant, id)?;
        let old_name = (tenant, stored.device.name.clone());
        if !update.apply(&mut stored.device) {
            return Ok(stored.device);
        }
        let name = (tenant, stored.device.name.clone());
        if let Some(holder) = self.names.get(&name).filter(|holder| **holder != id) {
            return Err(Error::NameTaken { name: stored.device.name, device: *holder });
        }
        self.names.remove(&old_name);
        self.names.insert(name, id);
        let device = stored.device.clone();
        self.put(stored, ChangeKind::Updated);
        Ok(device)
    }

    pub(super) fn delete_device(&mut self, tenant: TenantId, id: DeviceId) -> Result<(), Error> {
        let stored = self.devices.remove(&(tenant, id)).ok_or(Error::DeviceNotFound(id))?;
        self.names.remove(&(tenant, stored.device.name.clone()));
        self.places.remove(&place(&stored.credential.identity()));
        for kind in [RowKind::LatestValues, RowKind::ClientAttributes] {
            self.packed.remove(&(tenant, id, kind));
        }
        self.connectivity.remove(&(tenant, id));
        self.changes.push(Change { tenant, device: id, kind: ChangeKind::Deleted });
        Ok(())
    }

    pub(super) fn set_credential(
        &mut self,
        tenant: TenantId,
        id: DeviceId,
        credential: Credential,
    ) -> Result<(), Error> {
        let mut stored = self.stored(tenant, id)?;
        if stored.credential == credential {
            return Ok(());
        }
        let new = place(&credential.identity());
        if self.places.get(&new).is_some_and(|holder| *holder != (tenant, id)) {
            return Err(Error::IdentityTaken { kind: credential.identity().kind() });
        }
        self.places.remove(&place(&stored.credential.identity()));
        self.places.insert(new, (tenant, id));
        stored.credential = credential;
        self.put(stored, ChangeKind::Credential);
        Ok(())
    }

    pub(super) fn ensure_profile(&mut self, tenant: TenantId, profile: ProfileRow) -> Result<ProfileRow, Error> {
        profile.check()?;
        if !self.tenants.contains_key(&tenant) {
            return Err(Error::TenantNotFound(tenant));
        }
        let ProfileRow { name, based_on } = profile;
        let based_on = self.profiles.entry((tenant, name.clone())).or_insert(based_on).clone();
        Ok(ProfileRow { name, based_on })
    }

    pub(super) fn remove_profile(&mut self, tenant: TenantId, name: String) -> Result<(), Error> {
        let key = (tenant, name);
        self.profiles.remove(&key).map(drop).ok_or(Error::ProfileNotFound(key.1))
    }

    pub(super) fn store_projection(&mut self, flush: Flush) {
        for row in flush.rows {
            if self.devices.contains_key(&(row.tenant, row.device)) {
                self.packed.insert((row.tenant, row.device, row.kind), row.packed);
            }
        }
        for state in flush.connectivity {
            if self.devices.contains_key(&(state.tenant, state.device)) {
                self.connectivity.insert((state.tenant, state.device), state);
            }
        }
        self.applied_position = Some(flush.applied_position);
    }

    pub(super) fn tenants(&self) -> Vec<Tenant> {
        self.tenants.iter().map(|(id, name)| Tenant { id: *id, name: name.clone() }).collect()
    }

    pub(super) fn find(&self, identity: &Identity<'_>) -> Option<Arc<StoredCredential>> {
        let stored = self.devices.get(self.places.get(&place(identity))?)?;
        (stored.credential.identity().kind() == identity.kind()).then(|| Arc::clone(stored))
    }

    pub(super) fn device(&self, tenant: TenantId, key: &DeviceKey) -> Option<Device> {
        let id = match key {
            DeviceKey::Id(id) => *id,
            DeviceKey::Name(name) => *self.names.get(&(tenant, name.clone()))?,
        };
        self.devices.get(&(tenant, id)).map(|stored| stored.device.clone())
    }

    pub(super) fn credential(&self, tenant: TenantId, id: DeviceId) -> Option<StoredCredential> {
        self.devices.get(&(tenant, id)).map(|stored| StoredCredential::clone(stored))
    }

    pub(super) fn list_devices(&self, tenant: TenantId, query: &Query) -> Page {
        let after = query.after.clone().unwrap_or_default();
        let names = self.names.range((Bound::Excluded((tenant, after)), Bound::Unbounded));
        let devices = names
            .take_while(|((owner, _), _)| *owner == tenant)
            .filter(|((_, name), _)| name.starts_with(&query.prefix))
            .filter_map(|(_, id)| self.device(tenant, &DeviceKey::Id(*id)))
            .filter(|device| query.profile.as_ref().is_none_or(|profile| *profile == device.profile));
        Page::cut(devices.take(query.limit + 1).collect(), query.limit)
    }

    pub(super) fn profiles(&self, tenant: TenantId) -> Vec<ProfileRow> {
        let of_tenant = self.profiles.iter().filter(|((owner, _), _)| *owner == tenant);
        of_tenant.map(|((_, name), based_on)| ProfileRow { name: name.clone(), based_on: based_on.clone() }).collect()
    }

    pub(super) fn packed(&self, tenant: TenantId, device: DeviceId, kind: RowKind) -> Option<Vec<u8>> {
        self.packed.get(&(tenant, device, kind)).cloned()
    }

    pub(super) fn connectivity(&self, tenant: TenantId, device: DeviceId) -> Option<Connectivity> {
        self.connectivity.get(&(tenant, device)).cloned()
    }

    pub(super) fn connected_in_other_runs(
        &self,
        boot: u32,
        after: Option<(TenantId, DeviceId)>,
        limit: usize,
    ) -> Vec<Connectivity> {
        let states = self.connectivity.range((after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded));
        let old = states.map(|(_, state)| state).filter(|state| state.connected && state.boot != boot);
        old.take(limit).cloned().collect()
    }

    pub(super) fn applied_position(&self) -> Option<String> {
        self.applied_position.clone()
    }

    fn stored(&self, tenant: TenantId, id: DeviceId) -> Result<StoredCredential, Error> {
        self.credential(tenant, id).ok_or(Error::DeviceNotFound(id))
    }

    fn put(&mut self, stored: StoredCredential, kind: ChangeKind) {
        let (tenant, device) = (stored.device.tenant, stored.device.id);
        self.devices.insert((tenant, device), Arc::new(stored));
        self.changes.push(Change { tenant, device, kind });
    }
}

fn place(identity: &Identity<'_>) -> Vec<u8> {
    let mut place = Vec::new();
    identity.place(|bytes| place.extend_from_slice(bytes));
    place
}
