//! The token of the admin API: made at the first start, kept in the data folder for nobody but its owner, and found
//! there by the command line.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, bail};
use platform::Secret;
use platform::registry::Credential;

/// The token, mode 0600.
pub const TOKEN_FILE: &str = "admin-token";
/// Where the API of the running gateway listens.
pub const ADDRESS_FILE: &str = "admin-address";

/// What a request has to present.
#[derive(Clone, Debug)]
pub struct Token(Secret);

impl Token {
    /// Compares in constant time.
    pub fn matches(&self, presented: &str) -> bool {
        self.0.matches(presented.as_bytes())
    }
}

/// Reads the token of this data folder, or makes one; and leaves a note where the API listens.
///
/// # Errors
/// The file cannot be read or written, or others may read it.
pub fn load(data: &Path, address: SocketAddr) -> anyhow::Result<Token> {
    let file = data.join(TOKEN_FILE);
    let place = || format!("admin token {}", file.display());
    if !file.exists() {
        let credential = Credential::generate_token()?;
        let Credential::Token(token) = &credential else { bail!("no token was generated") };
        let mut created =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file).with_context(place)?;
        writeln!(created, "{}", token.expose()).and_then(|()| created.sync_all()).with_context(place)?;
    }
    let mode = fs::metadata(&file).with_context(place)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        bail!("admin token {}: expected mode 0600, got {mode:04o}; run chmod 600 on it", file.display());
    }
    let token = fs::read_to_string(&file).with_context(place)?.trim().to_owned();
    if token.is_empty() {
        bail!("admin token {}: expected a token, the file is empty; delete it to get a new one", file.display());
    }
    fs::write(data.join(ADDRESS_FILE), format!("{address}\n")).context("admin address")?;
    Ok(Token(Secret::new(token)))
}

/// Takes the note away: soon somebody else may listen there, who must not be sent the token.
pub fn forget_address(data: &Path) {
    if let Err(error) = fs::remove_file(data.join(ADDRESS_FILE)) {
        tracing::warn!("{ADDRESS_FILE} cannot be removed: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_and_must_not_be_open_to_others() {
        let data = tempfile::tempdir().unwrap();
        let address = "127.0.0.1:8083".parse().unwrap();
        load(data.path(), address).unwrap();
        let file = data.path().join(TOKEN_FILE);
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let again = load(data.path(), address).unwrap();
        assert!(again.matches(text.trim()) && !again.matches("x"));
        assert_eq!(fs::read_to_string(data.path().join(ADDRESS_FILE)).unwrap(), "127.0.0.1:8083\n");

        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let error = load(data.path(), address).unwrap_err().to_string();
        assert!(error.contains("expected mode 0600, got 0644"), "{error}");
    }
}
