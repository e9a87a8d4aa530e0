//! How a gateway of a test is started.

use std::path::PathBuf;

/// Settings and files. Folders and ports are given by [`Gateway`](crate::Gateway).
#[derive(Debug, Clone, Default)]
pub struct Options {
    pub(crate) settings: Vec<String>,
    pub(crate) flags: Vec<String>,
    pub(crate) files: Vec<(PathBuf, Vec<u8>)>,
    pub(crate) wrapper: Vec<String>,
}

impl Options {
    /// The defaults, but for what tests must have otherwise.
    pub fn new() -> Self {
        Self::default()
    }

    /// A setting as `KEY=VALUE`.
    #[must_use]
    pub fn set(mut self, setting: &str) -> Self {
        self.settings.push(setting.to_owned());
        self
    }

    /// A flag of `serve`, such as `--demo`.
    #[must_use]
    pub fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }

    /// A file below the gateway's folder, such as `profiles/boiler/boiler.wasm` or `plugins/own.wasm`.
    #[must_use]
    pub fn file(mut self, path: &str, contents: impl Into<Vec<u8>>) -> Self {
        self.files.push((path.into(), contents.into()));
        self
    }

    /// A profile of one file.
    #[must_use]
    pub fn profile(self, name: &str, toml: &str) -> Self {
        self.file(&format!("profiles/{name}.toml"), toml)
    }

    /// A profile that is a folder with its own plugin, which has the profile's name.
    #[must_use]
    pub fn own_plugin(self, name: &str, plugin: Vec<u8>, toml: &str) -> Self {
        self.file(&format!("profiles/{name}/{name}.wasm"), plugin)
            .file(&format!("profiles/{name}/profile.toml"), format!("converter.plugin = \"{name}\"\n{toml}"))
    }

    /// Starts the gateway by another program, which must become the gateway.
    #[must_use]
    pub fn under(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|&part| part.to_owned()).collect();
        self
    }
}
