//! From bytes to a checked plugin. Everything here is slow and may fail; none of it happens on a worker.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use wasmparser::{Parser, Payload};
use wasmtime::component::{Component, InstancePre};
use wit_parser::decoding::decode_world;

use crate::contract::{VERSION, draft};
use crate::engine::Engine;
use crate::instance::Guest;

/// Why bytes are not a plugin of ours. Always the plugin's fault, never a message's.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Not WebAssembly at all, such as a file that is still being written.
    #[error("not a WebAssembly file: expected a core module or a component")]
    NotWasm,
    /// A core module that was not built with our bindings, or whose bindings are damaged.
    #[error("core module cannot be wrapped as a component: {0}")]
    Wrap(String),
    /// Invalid WebAssembly, or uses a proposal that is switched off.
    #[error("does not compile: {0}")]
    Compile(String),
    /// Wants functions that no plugin gets.
    #[error("imports {}: plugins get only {log}, no files, clocks, sockets or other WASI", .0.join(", "), log = draft::LOG)]
    Imports(Vec<String>),
    /// Built against another version of the contract.
    #[error("speaks contract {found}, this gateway speaks {VERSION}: rebuild it with the matching SDK")]
    Version {
        /// What the plugin exports.
        found: String,
    },
    /// Exports nothing that the gateway could call.
    #[error("exports no {}: is it a tidegate plugin?", draft::CONVERSION)]
    NotAPlugin,
}

/// How the bytes of a plugin were packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A component, taken as it is.
    Component,
    /// A core module with our bindings, wrapped at load.
    CoreModule,
}

/// A compiled and checked plugin, not configured for anybody yet.
pub struct Plugin {
    name: String,
    version: String,
    kind: Kind,
    size: usize,
    pre: InstancePre<Guest>,
}

impl Plugin {
    /// Compiles and checks. Takes tenths of a second; call it where nobody waits.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn load(engine: &Engine, name: &str, bytes: &[u8]) -> Result<Arc<Self>, LoadError> {
        let (kind, component) = if Parser::is_component(bytes) {
            (Kind::Component, None)
        } else if Parser::is_core_wasm(bytes) {
            (Kind::CoreModule, Some(wrap(bytes)?))
        } else {
            return Err(LoadError::NotWasm);
        };
        let component = engine
            .compile(component.as_deref().unwrap_or(bytes))
            .map_err(|error| LoadError::Compile(format!("{error:#}")))?;
        check_exports(engine, &component)?;
        check_imports(engine, &component)?;
        let pre = engine.linker().instantiate_pre(&component).map_err(|error| {
            LoadError::Compile(format!("an import has other types than contract {VERSION}: {error:#}"))
        })?;
        Ok(Arc::new(Self { name: name.to_owned(), version: hash(bytes), kind, size: bytes.len(), pre }))
    }

    /// The name that profiles call it by: that of its file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first 16 hexadecimal digits of the SHA-256 of its bytes.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// How its bytes were packed.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Size of the file in bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    pub(crate) fn pre(&self) -> &InstancePre<Guest> {
        &self.pre
    }
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin").field("name", &self.name).field("version", &self.version).finish_non_exhaustive()
    }
}

/// What a plugin's [`Plugin::version`] is for these bytes.
pub fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes)[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn wrap(module: &[u8]) -> Result<Vec<u8>, LoadError> {
    // The encoder trusts what it is given: half a section makes it panic, and so may bindings that are damaged.
    wasmparser::validate(module).map_err(|error| LoadError::Wrap(error.to_string()))?;
    let wrap = || {
        check_bindings(module)?;
        let encoder = wit_component::ComponentEncoder::default().module(module);
        let encoded = encoder.and_then(|encoder| encoder.validate(true).encode());
        encoded.map_err(|error| format!("{error:#}"))
    };
    match std::panic::catch_unwind(wrap) {
        Ok(wrapped) => wrapped.map_err(LoadError::Wrap),
        Err(_) => Err(LoadError::Wrap("the bindings in it are damaged".to_owned())),
    }
}

/// Refuses bindings in which packages need each other in a circle: the encoder follows it until the stack is used up,
/// which nobody can catch.
fn check_bindings(module: &[u8]) -> Result<(), String> {
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload.map_err(|error| error.to_string())?;
        let Payload::CustomSection(section) = payload else { continue };
        if !section.name().starts_with("component-type") {
            continue;
        }
        let (resolve, _) = decode_world(section.data()).map_err(|error| format!("{error:#}"))?;
        let mut left: Vec<_> = resolve.packages.iter().map(|(id, _)| id).collect();
        while !left.is_empty() {
            let waiting = left.clone();
            left.retain(|id| resolve.package_direct_deps(*id).any(|needed| waiting.contains(&needed)));
            if left.len() == waiting.len() {
                return Err("its packages need each other in a circle".to_owned());
            }
        }
    }
    Ok(())
}

fn check_exports(engine: &Engine, component: &Component) -> Result<(), LoadError> {
    let (interface, _) = draft::CONVERSION.split_once('@').unwrap_or((draft::CONVERSION, ""));
    let mut found = None;
    for (export, _) in component.component_type().exports(engine.wasmtime()) {
        match export.split_once('@') {
            Some((name, VERSION)) if name == interface => return Ok(()),
            Some((name, version)) if name == interface => found = Some(version.to_owned()),
            _ => {}
        }
    }
    Err(found.map_or(LoadError::NotAPlugin, |found| LoadError::Version { found }))
}

fn check_imports(engine: &Engine, component: &Component) -> Result<(), LoadError> {
    let allowed = [draft::LOG, draft::TYPES];
    let offenders: Vec<String> = component
        .component_type()
        .imports(engine.wasmtime())
        .map(|(import, _)| import.to_owned())
        .filter(|import| !allowed.contains(&import.as_str()))
        .collect();
    if offenders.is_empty() { Ok(()) } else { Err(LoadError::Imports(offenders)) }
}
