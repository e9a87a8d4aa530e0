//! Settings of the host: what they are, where they come from, and what is wrong with them.
//!
//! - [`settings`]: the settings and their defaults (spec 21)
//! - [`source`]: file, environment and command line, each over the one before
//! - [`toml_file`]: reading TOML so that every mistake is named with its line

pub mod settings;
pub mod source;
pub mod toml_file;

pub use settings::Settings;
pub use source::{ConfigError, Sources};
