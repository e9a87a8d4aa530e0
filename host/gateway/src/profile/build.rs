//! From the folders to profiles in use: what is there is read, what has changed is compiled, checked and configured,
//! and what is wrong leaves its older version in force (design §4).

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mqtt::session::ProfileRules;
use plugins::{Converter, Engine, Limits, Plugin};
use sha2::{Digest, Sha256};

use super::file::ProfileFile;
use super::payload::PayloadSettings;
use super::{DEFAULT, Profile, ProfileSet, ProfileTopic, Topics};
use crate::config::Settings;

/// The plugin behind slot `json` of spec 16, which every profile needs.
const JSON: &str = "json";

/// Builds profiles, and remembers what it has compiled.
#[derive(Debug)]
pub struct Builder {
    engine: Arc<Engine>,
    plugins: PathBuf,
    profiles: PathBuf,
    /// Cast and leniency of the host, which profiles inherit.
    defaults: PayloadSettings,
    /// Compiled plugins by name and content.
    compiled: HashMap<(String, String), Arc<Plugin>>,
    /// The last revision of a profile that was tried and refused, and why: it is not tried again until it changes.
    refused: HashMap<String, (String, String)>,
}

/// What a step of the work is doing, for people who wait for it.
pub type Progress<'a> = &'a (dyn Fn(&str) + Sync);

impl Builder {
    /// For the folders that the settings name.
    pub fn new(engine: Arc<Engine>, settings: &Settings) -> Self {
        Self {
            engine,
            plugins: settings.plugins.clone(),
            profiles: settings.profiles.clone(),
            defaults: PayloadSettings::of_host(settings),
            compiled: HashMap::new(),
            refused: HashMap::new(),
        }
    }

    /// The folders that are read.
    pub fn folders(&self) -> [&Path; 2] {
        [&self.plugins, &self.profiles]
    }

    /// The profiles as they stand in the folders now. Where something is wrong with one, `current` keeps its place.
    /// `None` if nothing has changed.
    pub async fn build(&mut self, current: &ProfileSet, progress: Progress<'_>) -> Option<ProfileSet> {
        let mut set = ProfileSet::default();
        let mut found = self.find();
        found.entry(DEFAULT.to_owned()).or_insert_with(|| ProfileFile::built_in().map_err(|error| error.to_string()));
        for (name, file) in found {
            let built = match file {
                Ok(file) => self.profile(&file, current.profiles.get(&name), progress).await,
                Err(problem) => Err(problem),
            };
            match built {
                Ok(profile) => {
                    set.profiles.insert(name, profile);
                }
                Err(problem) => {
                    if let Some(old) = current.profiles.get(&name) {
                        set.profiles.insert(name.clone(), old.clone());
                    }
                    set.problems.insert(name, problem);
                }
            }
        }
        for (name, old) in &current.profiles {
            if !set.profiles.contains_key(name) {
                set.profiles.insert(name.clone(), old.clone());
                set.problems
                    .insert(name.clone(), "its file is gone; the last version stays until a restart".to_owned());
            }
        }
        let used: Vec<(&str, &str)> = set
            .profiles
            .values()
            .flat_map(|profile| [&profile.converter, &profile.json])
            .map(|converter| (converter.plugin().name(), converter.plugin().version()))
            .collect();
        self.compiled.retain(|(name, version), _| used.contains(&(name.as_str(), version.as_str())));
        let revisions = |set: &ProfileSet| -> BTreeMap<String, String> {
            set.profiles.iter().map(|(name, profile)| (name.clone(), profile.revision.clone())).collect()
        };
        (set.problems != current.problems || revisions(&set) != revisions(current)).then_some(set)
    }

    /// Every profile of the folder, read and checked.
    fn find(&self) -> BTreeMap<String, Result<ProfileFile, String>> {
        let mut found = BTreeMap::new();
        let entries = match std::fs::read_dir(&self.profiles) {
            Ok(entries) => entries,
            // No folder, no profiles but the built-in one.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return found,
            Err(error) => {
                found.insert(DEFAULT.to_owned(), Err(format!("{}: {error}", self.profiles.display())));
                return found;
            }
        };
        for entry in entries.flatten() {
            let path = entry.path();
            let Some(file_name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            if file_name.starts_with('.') {
                continue;
            }
            let (name, file, folder) = match file_name.strip_suffix(".toml") {
                Some(name) => (name, path.clone(), None),
                None if path.join("profile.toml").is_file() => (file_name, path.join("profile.toml"), Some(&*path)),
                None => continue,
            };
            let read = ProfileFile::read(name, &file, folder).map_err(|error| error.to_string());
            let twice = found.insert(name.to_owned(), read).is_some();
            if twice {
                let problem = format!("{name}.toml and {name}/profile.toml: one of them expected");
                found.insert(name.to_owned(), Err(problem));
            }
        }
        found
    }

    async fn profile(
        &mut self,
        file: &ProfileFile,
        current: Option<&Arc<Profile>>,
        progress: Progress<'_>,
    ) -> Result<Arc<Profile>, String> {
        let converter_bytes = self.read_plugin(&file.plugin, file.folder.as_deref())?;
        let json_bytes = self.read_plugin(JSON, None)?;
        let revision = revision(&[file.source.as_bytes(), &converter_bytes.1, &json_bytes.1]);
        if let Some(current) = current.filter(|current| current.revision == revision) {
            return Ok(current.clone());
        }
        if let Some((_, problem)) = self.refused.get(&file.name).filter(|(refused, _)| *refused == revision) {
            return Err(problem.clone());
        }
        let built = self.converters(file, &converter_bytes, &json_bytes, progress).await;
        let (converter, json) = built.inspect_err(|problem| {
            self.refused.insert(file.name.clone(), (revision.clone(), problem.clone()));
        })?;
        Ok(Arc::new(Profile {
            name: file.name.clone(),
            revision,
            topics: Topics {
                telemetry: ProfileTopic::new(file.telemetry.clone()),
                attributes: ProfileTopic::new(file.attributes.clone()),
            },
            rules: ProfileRules {
                ack_on_error: file.ack_on_error,
                attributes_filter: file.attributes_subscribe.clone().map(Arc::new),
            },
            converter,
            json,
        }))
    }

    /// The converters of the slots `profile` and `json`.
    async fn converters(
        &mut self,
        file: &ProfileFile,
        converter: &(PathBuf, Vec<u8>),
        json: &(PathBuf, Vec<u8>),
        progress: Progress<'_>,
    ) -> Result<(Arc<Converter>, Arc<Converter>), String> {
        let settings = PayloadSettings {
            type_cast_enabled: file.type_cast_enabled.unwrap_or(self.defaults.type_cast_enabled),
            json_lenient: file.json_lenient.unwrap_or(self.defaults.json_lenient),
            ..self.defaults
        };
        let plain_json = file.plugin == JSON && converter.0 == json.0;
        let own_config = if plain_json { &toml::Table::new() } else { &file.config };
        let json_limits = if plain_json { file.limits.clone() } else { Limits::default() };
        let json_plugin = self.compile(JSON, json, progress)?;
        let json_config = if plain_json { &file.config } else { &toml::Table::new() };
        let json = self.configure(&json_plugin, &json.0, settings, json_config, json_limits).await?;
        if plain_json {
            return Ok((json.clone(), json));
        }
        let plugin = self.compile(&file.plugin, converter, progress)?;
        let converter = self.configure(&plugin, &converter.0, settings, own_config, file.limits.clone()).await?;
        Ok((converter, json))
    }

    /// A profile's own plugin lies beside it and goes before a shipped one of the same name.
    fn read_plugin(&self, name: &str, folder: Option<&Path>) -> Result<(PathBuf, Vec<u8>), String> {
        let shipped = self.plugins.join(format!("{name}.wasm"));
        let own = folder.map(|folder| folder.join(format!("{name}.wasm"))).filter(|own| own.is_file());
        let path = own.unwrap_or(shipped);
        match std::fs::read(&path) {
            Ok(bytes) => Ok((path, bytes)),
            Err(error) => Err(format!("plugin {name:?}: {}: {error}", path.display())),
        }
    }

    fn compile(
        &mut self,
        name: &str,
        (path, bytes): &(PathBuf, Vec<u8>),
        progress: Progress<'_>,
    ) -> Result<Arc<Plugin>, String> {
        let key = (name.to_owned(), plugins::load::hash(bytes));
        if let Some(plugin) = self.compiled.get(&key) {
            return Ok(plugin.clone());
        }
        progress(&format!("compiling plugin {name}"));
        let plugin = Plugin::load(&self.engine, name, bytes)
            .map_err(|error| format!("plugin {name:?}: {}: {error}", path.display()))?;
        self.compiled.insert(key, plugin.clone());
        Ok(plugin)
    }

    async fn configure(
        &self,
        plugin: &Arc<Plugin>,
        path: &Path,
        settings: PayloadSettings,
        config: &toml::Table,
        limits: Limits,
    ) -> Result<Arc<Converter>, String> {
        Converter::new(&self.engine, plugin, settings.configuration(config), limits)
            .await
            .map_err(|error| format!("plugin {:?}: {}: {error}", plugin.name(), path.display()))
    }
}

fn revision(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}
