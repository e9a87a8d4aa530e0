//! Plugins that are not shipped: guests in text form, as files that a gateway loads.

use std::path::{Path, PathBuf};

use wit_parser::Resolve;

/// The guest of this name, such as `trap-on-x`, as a core module with our bindings. Most of them are those with which the
/// plugin host is tested; what only shows end to end is in `wat/`.
pub fn guest(name: &str) -> Vec<u8> {
    let host = workspace("host/plugins/tests/wat");
    let folders = [host.clone(), workspace("tests/wat")];
    let file = folders.iter().map(|folder| folder.join(format!("{name}.wat"))).find(|file| file.is_file());
    let read = |file: &Path| std::fs::read_to_string(file).unwrap();
    let text = read(&file.unwrap_or_else(|| panic!("there is no guest {name}")));
    module(&text.replace(";; COMMON", &read(&host.join("common.txt"))))
}

/// A core module with our bindings as a component, which is what other toolchains make.
pub fn component(module: &[u8]) -> Vec<u8> {
    let mut encoder = wit_component::ComponentEncoder::default().module(module).unwrap();
    encoder.encode().unwrap()
}

/// Another version of a plugin, which does the same: one more custom section.
pub fn again(plugin: &[u8], version: u32) -> Vec<u8> {
    let name = format!("version-{version}");
    let length = u8::try_from(name.len()).unwrap();
    // Id 0, the size of the section, the length of its name, its name, and nothing in it.
    [plugin, &[0, length + 1, length], name.as_bytes()].concat()
}

/// A core module in text form, with our bindings.
pub fn module(text: &str) -> Vec<u8> {
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
