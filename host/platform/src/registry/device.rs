//! Tenants, devices and profile rows as the registry keeps them, and the rules for their names.

use model::{DeviceId, TenantId, Timestamp};

use super::{Credential, Error};

/// The longest name of a tenant, device or profile, in characters (spec 15.2).
pub const MAX_NAME: usize = 255;
/// The most devices that one [`Query`] returns.
pub const MAX_PAGE: usize = 1_000;

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Its name, unique.
    pub name: String,
}

/// A device (spec §1) without its credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its id, never used again after it was deleted.
    pub id: DeviceId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Its name, unique within the tenant.
    pub name: String,
    /// The name of its profile. Whether there is such a profile is not the registry's business.
    pub profile: String,
    /// Whether it may use the gateway topics (spec 3.5).
    pub gateway: bool,
    /// When it was created.
    pub created: Timestamp,
}

/// A device to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDevice {
    /// 1 to 255 characters, kept verbatim (spec 15.2).
    pub name: String,
    /// Name of the profile, 1 to 255 characters.
    pub profile: String,
    /// Whether it may use the gateway topics (spec 3.5).
    pub gateway: bool,
    /// Its credential; without one it gets a generated access token.
    pub credential: Option<Credential>,
    /// The time now, or the time at which it was created in the system it is imported from.
    pub created: Timestamp,
}

/// By what a device is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceKey {
    /// By id.
    Id(DeviceId),
    /// By name, which is unique within the tenant.
    Name(String),
}

/// What to change of a device; `None` leaves it as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Update {
    /// A new name.
    pub name: Option<String>,
    /// Another profile.
    pub profile: Option<String>,
    /// Another gateway flag; takes effect at the next CONNECT (spec 3.5).
    pub gateway: Option<bool>,
}

/// Which devices of a tenant to list, in byte order of their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Only devices of this profile.
    pub profile: Option<String>,
    /// Only devices whose name begins like this; empty for all.
    pub prefix: String,
    /// Only devices whose name comes after this one: [`Page::next`] of the page before.
    pub after: Option<String>,
    /// At most so many, 1 to 1,000.
    pub limit: usize,
}

impl Default for Query {
    fn default() -> Self {
        Self { profile: None, prefix: String::new(), after: None, limit: 100 }
    }
}

/// Devices in byte order of their names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// The devices.
    pub devices: Vec<Device>,
    /// What to put into [`Query::after`] to go on; `None` when this was the last page.
    pub next: Option<String>,
}

/// A profile that appeared at run time and has no file yet (spec 15.2, design §4).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProfileRow {
    /// Its name, unique within the tenant.
    pub name: String,
    /// The profile whose settings it has until a file of its name exists.
    pub based_on: String,
}

/// The rule for names of tenants, devices and profiles. U+0000 is refused because PostgreSQL cannot store it.
pub(super) fn check_name(field: &'static str, name: &str) -> Result<(), Error> {
    let length = name.chars().count();
    let got = match length {
        0 => "none".to_owned(),
        _ if name.contains('\0') => "U+0000".to_owned(),
        1..=MAX_NAME => return Ok(()),
        _ => format!("{length} characters"),
    };
    Err(Error::Invalid { field, expected: "1 to 255 characters without U+0000", got })
}

impl NewDevice {
    /// Checks the names, and fills in a generated token where no credential was given.
    pub(super) fn complete(mut self) -> Result<(Self, Credential), Error> {
        check_name("device name", &self.name)?;
        check_name("profile", &self.profile)?;
        let credential = self.credential.take().map_or_else(Credential::generate_token, Ok)?;
        Ok((self, credential))
    }

    /// The device that this becomes.
    pub(super) fn into_device(self, tenant: TenantId, id: DeviceId) -> Device {
        let Self { name, profile, gateway, created, credential: _ } = self;
        Device { id, tenant, name, profile, gateway, created }
    }
}

impl Update {
    pub(super) fn check(&self) -> Result<(), Error> {
        self.name.as_ref().map_or(Ok(()), |name| check_name("device name", name))?;
        self.profile.as_ref().map_or(Ok(()), |profile| check_name("profile", profile))
    }

    /// Whether anything changed.
    pub(super) fn apply(&self, device: &mut Device) -> bool {
        let before = device.clone();
        device.name.clone_from(self.name.as_ref().unwrap_or(&before.name));
        device.profile.clone_from(self.profile.as_ref().unwrap_or(&before.profile));
        device.gateway = self.gateway.unwrap_or(before.gateway);
        *device != before
    }
}

impl Query {
    pub(super) fn check(&self) -> Result<(), Error> {
        if (1..=MAX_PAGE).contains(&self.limit) {
            return Ok(());
        }
        Err(Error::Invalid { field: "limit", expected: "1 to 1000", got: self.limit.to_string() })
    }

    /// The first text, in byte order, that comes after every text beginning with the prefix; `None` if there is none.
    pub(super) fn prefix_end(&self) -> Option<String> {
        let mut end = self.prefix.clone();
        while let Some(last) = end.pop() {
            // UTF-8 sorts like code points; the range steps over the surrogates.
            if let Some(next) = (last..=char::MAX).nth(1) {
                end.push(next);
                return Some(end);
            }
        }
        None
    }
}

impl Page {
    /// From one device more than was asked for, if there are so many.
    pub(super) fn cut(mut devices: Vec<Device>, limit: usize) -> Self {
        let more = devices.len() > limit;
        devices.truncate(limit);
        let next = if more { devices.last().map(|last| last.name.clone()) } else { None };
        Self { devices, next }
    }
}

impl ProfileRow {
    pub(super) fn check(&self) -> Result<(), Error> {
        check_name("profile", &self.name)?;
        check_name("based_on", &self.based_on)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_1_to_255_characters() {
        let max = "ü".repeat(255);
        for good in ["a", " ", "boiler 7", "\n", max.as_str()] {
            assert!(check_name("device name", good).is_ok(), "{good:?}");
        }
        let rows = [
            ("", "device name: expected 1 to 255 characters without U+0000, got none"),
            ("a\0", "device name: expected 1 to 255 characters without U+0000, got U+0000"),
            (&"a".repeat(256), "device name: expected 1 to 255 characters without U+0000, got 256 characters"),
        ];
        for (bad, message) in rows {
            assert_eq!(check_name("device name", bad).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn the_end_of_a_prefix_is_the_next_text_that_does_not_begin_with_it() {
        let rows = [
            ("", None),
            ("a", Some("b")),
            ("az", Some("a{")),
            ("a\u{d7ff}", Some("a\u{e000}")),
            ("a\u{10ffff}", Some("b")),
            ("\u{10ffff}\u{10ffff}", None),
        ];
        for (prefix, end) in rows {
            let query = Query { prefix: prefix.to_owned(), ..Query::default() };
            assert_eq!(query.prefix_end().as_deref(), end, "{prefix:?}");
        }
    }
}
