//! Hostile plugins: the guests in text form with which the plugin host is tested, as files that a gateway loads.

use std::path::{Path, PathBuf};

use wit_parser::Resolve;

/// The guest of this name, such as `trap-on-x`, as a core module with our bindings.
pub fn guest(name: &str) -> Vec<u8> {
    let folder = workspace("host/plugins/tests/wat");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    module(&read(&format!("{name}.wat")).replace(";; COMMON", &read("common.txt")))
}

/// The same guest with another comment in it: another version that does the same.
pub fn guest_again(name: &str, version: u32) -> Vec<u8> {
    let mut bytes = guest(name);
    // A custom section: id 0, its size, the length of its name, the name.
    let name = format!("version-{version}");
    let length = u8::try_from(name.len()).unwrap();
    bytes.extend([0, length + 1, length]);
    bytes.extend(name.as_bytes());
    bytes
}

fn module(text: &str) -> Vec<u8> {
    let mut module = wat::parse_str(text).unwrap();
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(workspace("wit/draft")).unwrap();
    let world = resolve.select_world(&[package], Some("converter")).unwrap();
    wit_component::embed_component_metadata(&mut module, &resolve, world, wit_component::StringEncoding::UTF8).unwrap();
    module
}

/// A path in the repository.
pub fn workspace(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}
