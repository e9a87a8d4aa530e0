//! Device profiles: what they say, what is made of them, and how they change while the gateway runs.
//!
//! - [`mod@file`]: the text of a profile, and what is wrong with it
//! - [`build`]: from text and plugins to a [`Profile`] that can be used
//! - [`payload`]: the payload rules that every plugin is told
//! - [`check`]: a plugin by itself
//! - [`reload`]: the thread that does so whenever a file changes
//! - this module: the profiles in force

pub mod build;
pub mod check;
pub mod file;
pub mod payload;
pub mod reload;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use mqtt::session::ProfileRules;
use mqtt::topic::Filter;
use plugins::Converter;

/// The name of the profile that always exists.
pub const DEFAULT: &str = "default";

/// A profile in use: one revision of it, whole and checked.
#[derive(Debug)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// Hash of everything it was made of: its text, its plugins and every file it names (design §4).
    pub revision: String,
    /// Its own topics.
    pub topics: Topics,
    /// What the session has to know of it.
    pub rules: ProfileRules,
    /// Slot `profile` of spec 16.
    pub converter: Arc<Converter>,
    /// Slot `json` of spec 16.
    pub json: Arc<Converter>,
}

/// The topics that a profile may choose (spec 4.1).
#[derive(Debug)]
pub struct Topics {
    /// `telemetry_topic`: row 4.
    pub telemetry: ProfileTopic,
    /// `attributes_topic`: row 3.
    pub attributes: ProfileTopic,
}

/// A topic filter of a profile.
#[derive(Debug, Clone)]
pub struct ProfileTopic {
    /// The filter.
    pub filter: Arc<Filter>,
    /// The topic itself, if the filter has no wildcard: most messages share it.
    pub literal: Option<Arc<str>>,
}

impl ProfileTopic {
    /// For this filter.
    pub fn new(filter: Filter) -> Self {
        let literal = (!filter.has_wildcard()).then(|| Arc::from(filter.as_str()));
        Self { filter: Arc::new(filter), literal }
    }
}

/// The profiles in force. Cheap to share and to read.
#[derive(Debug, Default)]
pub struct Profiles {
    set: ArcSwap<ProfileSet>,
    generation: AtomicU64,
}

/// The profiles in force at one time.
#[derive(Debug, Default, Clone)]
pub struct ProfileSet {
    /// By name.
    pub profiles: HashMap<String, Arc<Profile>>,
    /// What is wrong with the newest version of a profile, by name. An older one may be in force nevertheless.
    pub problems: BTreeMap<String, String>,
}

impl Profiles {
    /// The profile with this name.
    pub fn get(&self, name: &str) -> Option<Arc<Profile>> {
        self.set.load().profiles.get(name).cloned()
    }

    /// All of them.
    pub fn all(&self) -> Arc<ProfileSet> {
        self.set.load_full()
    }

    /// Changes whenever a profile does. Whoever holds a profile asks for it again when this has changed.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Puts other profiles in force.
    pub fn replace(&self, set: ProfileSet) {
        self.set.store(Arc::new(set));
        self.generation.fetch_add(1, Ordering::Release);
    }
}
