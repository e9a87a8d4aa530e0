//! The cache in front of the connect path: which credential is found at which place, and where none is.
//!
//! Bounded by entries. What is remembered to be absent has a bound of its own, so that guessing tokens cannot push out
//! the devices that exist.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;

use super::StoredCredential;

/// Keyed hash of the place of an identity.
pub(super) type Place = [u8; 32];

/// Changes to the same slot are told apart, changes to different ones do not disturb each other. A power of two.
const SLOTS: usize = 1024;

/// Answers by place. The lock is held for a few map operations, never over an `.await`.
#[derive(Debug)]
pub(super) struct Cache(Mutex<Contents>);

#[derive(Debug)]
struct Contents {
    found: LruCache<Place, Arc<StoredCredential>>,
    absent: LruCache<Place, ()>,
    /// Counts the changes to the places of a slot.
    changes: Box<[u64; SLOTS]>,
}

/// What the cache knows about a place.
#[derive(Debug)]
pub(super) enum Lookup {
    /// This credential is there.
    Found(Arc<StoredCredential>),
    /// Nothing is there.
    Absent,
    /// Look yourself, and [`Cache::fill`] with this ticket.
    Unknown(Ticket),
}

/// The state of a place when its reader began. Taken before storage is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticket(u64);

impl Cache {
    pub(super) fn new(found: NonZeroUsize, absent: NonZeroUsize) -> Self {
        Self(Mutex::new(Contents {
            found: LruCache::new(found),
            absent: LruCache::new(absent),
            changes: Box::new([0; SLOTS]),
        }))
    }

    pub(super) fn get(&self, places: &[Place]) -> Vec<Lookup> {
        let mut contents = self.lock();
        let mut get = |place: &Place| {
            if let Some(credential) = contents.found.get(place) {
                Lookup::Found(Arc::clone(credential))
            } else if contents.absent.get(place).is_some() {
                Lookup::Absent
            } else {
                Lookup::Unknown(Ticket(*contents.changes(place)))
            }
        };
        places.iter().map(&mut get).collect()
    }

    /// Remembers what storage said, unless the place may have changed since the ticket was taken: then the reader may
    /// have seen the state before the change, and nobody would ever remove that.
    pub(super) fn fill(&self, place: Place, ticket: Ticket, answer: Option<Arc<StoredCredential>>) {
        let mut contents = self.lock();
        if *contents.changes(&place) != ticket.0 {
            return;
        }
        match answer {
            Some(credential) => drop(contents.found.put(place, credential)),
            None => drop(contents.absent.put(place, ())),
        }
    }

    /// Forgets what is known about these places. Called after a change is committed and before it is acknowledged.
    pub(super) fn invalidate(&self, places: &[Place]) {
        let mut contents = self.lock();
        for place in places {
            *contents.changes(place) += 1;
            contents.found.pop(place);
            contents.absent.pop(place);
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        let mut contents = self.lock();
        contents.found.clear();
        contents.absent.clear();
        contents.changes.iter_mut().for_each(|changes| *changes += 1);
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        // Every operation leaves the contents whole, so a panic in another thread does not matter.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    fn changes(&mut self, place: &Place) -> &mut u64 {
        let [low, high, ..] = *place;
        &mut self.changes[usize::from(u16::from_le_bytes([low, high])) % SLOTS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{Credential, Device};
    use model::{DeviceId, TenantId, Timestamp};

    fn credential(device: u64) -> Arc<StoredCredential> {
        let device = Device {
            id: DeviceId(device),
            tenant: TenantId::DEFAULT,
            name: "d".to_owned(),
            profile: "default".to_owned(),
            gateway: false,
            created: Timestamp(0),
        };
        Arc::new(StoredCredential { device, credential: Credential::token("t").unwrap() })
    }

    fn cache(found: usize, absent: usize) -> Cache {
        Cache::new(NonZeroUsize::new(found).unwrap(), NonZeroUsize::new(absent).unwrap())
    }

    fn get(cache: &Cache, place: Place) -> Lookup {
        cache.get(&[place]).pop().unwrap()
    }

    fn ticket(cache: &Cache, place: Place) -> Ticket {
        match get(cache, place) {
            Lookup::Unknown(ticket) => ticket,
            known => panic!("{known:?}"),
        }
    }

    #[test]
    fn an_answer_is_remembered_until_it_changes() {
        let cache = cache(2, 2);
        cache.fill([1; 32], ticket(&cache, [1; 32]), Some(credential(1)));
        cache.fill([2; 32], ticket(&cache, [2; 32]), None);
        assert!(matches!(get(&cache, [1; 32]), Lookup::Found(found) if found.device.id == DeviceId(1)));
        assert!(matches!(get(&cache, [2; 32]), Lookup::Absent));
        cache.invalidate(&[[1; 32], [2; 32]]);
        ticket(&cache, [1; 32]);
        ticket(&cache, [2; 32]);
    }

    #[test]
    fn a_reader_that_began_before_a_change_leaves_nothing_behind() {
        let cache = cache(2, 2);
        let (found, absent, other) = (ticket(&cache, [1; 32]), ticket(&cache, [2; 32]), ticket(&cache, [3; 32]));
        cache.invalidate(&[[1; 32], [2; 32]]);
        cache.fill([1; 32], found, Some(credential(1)));
        cache.fill([2; 32], absent, None);
        cache.fill([3; 32], other, Some(credential(3)));
        ticket(&cache, [1; 32]);
        ticket(&cache, [2; 32]);
        assert!(matches!(get(&cache, [3; 32]), Lookup::Found(_)), "an unrelated change costs nothing");

        let before = ticket(&cache, [1; 32]);
        cache.clear();
        cache.fill([1; 32], before, Some(credential(1)));
        ticket(&cache, [1; 32]);
        ticket(&cache, [3; 32]);
    }

    #[test]
    fn guessing_does_not_push_out_what_exists() {
        let cache = cache(1, 2);
        cache.fill([1; 32], ticket(&cache, [1; 32]), Some(credential(1)));
        for guess in 2..100 {
            cache.fill([guess; 32], ticket(&cache, [guess; 32]), None);
        }
        assert!(matches!(get(&cache, [1; 32]), Lookup::Found(_)));
        assert!(matches!(get(&cache, [99; 32]), Lookup::Absent));
        ticket(&cache, [97; 32]);
    }
}
