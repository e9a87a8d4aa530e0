//! What the tests of the plugin host share: an engine, and plugins from `.wat` files and from the build.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::{Operation, TenantId, Timestamp};
use tidegate_plugin_host::{Converter, Engine, EngineSettings, Limits, Plugin, Uplink};
use wit_parser::Resolve;

pub const TENANT: TenantId = TenantId::DEFAULT;

pub fn engine() -> Arc<Engine> {
    Engine::new(&EngineSettings { workers: 2, cache: None }).unwrap()
}

/// Short enough for tests that wait for them to run out.
pub fn limits() -> Limits {
    Limits { call_time: Duration::from_millis(20), message_time: Duration::from_millis(1), ..Limits::default() }
}

/// `tests/wat/<name>.wat` with the functions that every guest needs, and the metadata that bindings would add.
pub fn wat(name: &str) -> Vec<u8> {
    wat_with(name, "", "")
}

/// The same with another text in the place of some of its own.
pub fn wat_with(name: &str, from: &str, to: &str) -> Vec<u8> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wat");
    let read = |name: &str| std::fs::read_to_string(directory.join(name)).unwrap();
    let text = read(&format!("{name}.wat")).replace(";; COMMON", &read("common.txt"));
    let text = if from.is_empty() { text } else { text.replace(from, to) };
    let mut module = wat::parse_str(text).unwrap();
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(workspace("wit/draft")).unwrap();
    let world = resolve.select_world(&[package], Some("converter")).unwrap();
    wit_component::embed_component_metadata(&mut module, &resolve, world, wit_component::StringEncoding::UTF8).unwrap();
    module
}

/// A hostile guest, ready to be called.
pub async fn hostile(engine: &Arc<Engine>, name: &str, limits: Limits) -> Arc<Converter> {
    let plugin = Plugin::load(engine, name, &wat(name)).unwrap();
    Converter::new(engine, &plugin, "{}".to_owned(), limits).await.unwrap()
}

/// The shipped plugin.
pub fn shipped(name: &str) -> Vec<u8> {
    let path = workspace("plugins").join(format!("{name}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}: run `make plugins` first", path.display()))
}

pub fn telemetry(payload: impl Into<Bytes>) -> Uplink {
    Uplink {
        operation: Operation::Telemetry,
        topic: None,
        payload: payload.into(),
        received: Timestamp(1_700_000_000_000),
    }
}

fn workspace(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}
