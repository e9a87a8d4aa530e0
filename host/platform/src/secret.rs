//! Text that must not leak: tokens, user names, passwords.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Text that never shows up in logs or errors, is compared in constant time and is wiped from memory when dropped.
///
/// Comparing takes the same time wherever the texts differ (spec 3.3); only a difference in length can be seen.
#[derive(Clone, Default)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text over without copying it.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself. Every call of this is a place where it could leak.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `presented`, for example a password from CONNECT, is byte for byte this secret.
    pub fn matches(&self, presented: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(presented).into()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text.to_owned())
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.matches(other.0.as_bytes())
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_matches_only_its_own_bytes() {
        let secret = Secret::from("wörd");
        assert_eq!(secret.expose(), "wörd");
        assert!(secret.matches("wörd".as_bytes()));
        for other in ["", "wörD", "wör", "wördx", "word"] {
            assert!(!secret.matches(other.as_bytes()), "{other}");
        }
        assert!(!secret.matches(&[0xff, 0xfe]));
        assert_eq!(secret, secret.clone());
        assert_ne!(secret, Secret::default());
    }

    #[test]
    fn a_secret_does_not_show_itself() {
        assert_eq!(format!("{:?}", Some(Secret::from("hunter2"))), "Some(<secret>)");
    }
}
