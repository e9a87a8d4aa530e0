//! Credentials: what a device presents in CONNECT, and what it is found by (spec 3.1–3.3).
//!
//! The order in which identities are tried (spec 3.3) is not here but with whoever handles CONNECT.

use std::fmt;

use super::{Device, Error};
use crate::Secret;

/// The longest string that MQTT can carry, in bytes; a longer one could never be presented.
const MAX_MQTT_STRING: usize = 65_535;
/// Length of a generated token (spec 13.2 uses the same for generated names).
const TOKEN_LENGTH: usize = 20;
const TOKEN_ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// What a device must present to be accepted. A device has exactly one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// `ACCESS_TOKEN` (spec 3.2).
    Token(Token),
    /// `MQTT_BASIC` (spec 3.3).
    Basic(Basic),
}

/// An access token: not empty, without U+0000, short enough for MQTT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token(Secret);

/// Client id, user name and password in one of the five valid combinations of spec 3.3.
///
/// All three are kept secret, because a client id or a user name alone is as good as a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Basic(Combination);

/// The five of spec 3.3, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Combination {
    ClientId(Secret),
    UserName { client_id: Option<Secret>, user_name: Secret, password: Option<Secret> },
}

/// The kinds of credential (spec 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CredentialKind {
    /// `ACCESS_TOKEN`
    AccessToken,
    /// `MQTT_BASIC`
    MqttBasic,
}

/// What the registry finds a device by. Unique over all tenants, since a CONNECT does not name its tenant.
///
/// A token and a user name alone are both looked up by the user name of CONNECT, and the token would always win
/// (spec 3.3, step 3). Therefore they exclude each other: no two devices have a token and a lone user name that are equal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Identity<'a> {
    /// An access token.
    Token(&'a str),
    /// A basic credential that stores a client id and no user name.
    ClientId(&'a str),
    /// A basic credential that stores a user name and no client id.
    UserName(&'a str),
    /// A basic credential that stores both.
    ClientIdAndUserName {
        /// The client id.
        client_id: &'a str,
        /// The user name.
        user_name: &'a str,
    },
}

/// The kinds of [`Identity`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IdentityKind {
    /// See [`Identity::Token`].
    Token,
    /// See [`Identity::ClientId`].
    ClientId,
    /// See [`Identity::UserName`].
    UserName,
    /// See [`Identity::ClientIdAndUserName`].
    ClientIdAndUserName,
}

/// A device together with its credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCredential {
    /// Who it is.
    pub device: Device,
    /// What it must present.
    pub credential: Credential,
}

/// Why something is not a credential (spec 3.1, 3.3). The caller's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// A token without characters.
    #[error("access token: expected at least one character, got none")]
    EmptyToken,
    /// A basic credential with neither client id nor user name nor password.
    #[error("basic: expected a client id or a user name, got neither")]
    Nothing,
    /// A basic credential with a password but no user name, with or without a client id.
    #[error("basic: a password needs a user name, got none")]
    PasswordWithoutUserName,
    /// Longer than any MQTT string.
    #[error("{0}: expected at most 65535 bytes, got more")]
    TooLong(&'static str),
    /// MQTT strings cannot contain it.
    #[error("{0}: expected no U+0000")]
    Nul(&'static str),
}

impl Credential {
    /// An access token.
    ///
    /// # Errors
    /// It is empty, too long, or contains U+0000.
    pub fn token(token: impl Into<Secret>) -> Result<Self, CredentialError> {
        let token = sendable("access token", token.into())?;
        if token.expose().is_empty() {
            return Err(CredentialError::EmptyToken);
        }
        Ok(Self::Token(Token(token)))
    }

    /// A basic credential. Empty means the same as absent (spec 3.3).
    ///
    /// # Errors
    /// The combination is none of the five of spec 3.3, or a part is too long or contains U+0000.
    pub fn basic(
        client_id: Option<Secret>,
        user_name: Option<Secret>,
        password: Option<Secret>,
    ) -> Result<Self, CredentialError> {
        let given = |part: Option<Secret>| part.filter(|part| !part.expose().is_empty());
        let client_id = given(client_id).map(|part| sendable("client id", part)).transpose()?;
        let user_name = given(user_name).map(|part| sendable("user name", part)).transpose()?;
        // The password of CONNECT is binary data, so U+0000 is as good as any other character.
        let password = given(password).map(|part| fitting("password", part)).transpose()?;
        Ok(Self::Basic(Basic(match (client_id, user_name, password) {
            (client_id, Some(user_name), password) => Combination::UserName { client_id, user_name, password },
            (_, None, Some(_)) => return Err(CredentialError::PasswordWithoutUserName),
            (Some(client_id), None, None) => Combination::ClientId(client_id),
            (None, None, None) => return Err(CredentialError::Nothing),
        })))
    }

    /// A new token of 20 characters `A`–`Z`, `a`–`z`, `0`–`9` from the operating system's random source: 119 bits.
    ///
    /// # Errors
    /// The operating system gave no random bytes.
    pub fn generate_token() -> Result<Self, Error> {
        let mut token = String::with_capacity(TOKEN_LENGTH);
        let mut random = [0_u8; 32];
        while token.len() < TOKEN_LENGTH {
            getrandom::fill(&mut random).map_err(|error| Error::Random(error.to_string()))?;
            // Bytes from 248 on are dropped: 248 is the largest multiple of 62 in a byte, so no character is favoured.
            let fair = random.iter().filter(|byte| **byte < 248);
            let characters = fair.filter_map(|byte| TOKEN_ALPHABET.get(usize::from(byte % 62)));
            token.extend(characters.take(TOKEN_LENGTH - token.len()).copied().map(char::from));
        }
        Ok(Self::Token(Token(Secret::new(token))))
    }

    /// Its kind.
    pub fn kind(&self) -> CredentialKind {
        match self {
            Self::Token(_) => CredentialKind::AccessToken,
            Self::Basic(_) => CredentialKind::MqttBasic,
        }
    }

    /// What a device with this credential is found by.
    pub fn identity(&self) -> Identity<'_> {
        match self {
            Self::Token(token) => Identity::Token(token.expose()),
            Self::Basic(Basic(Combination::ClientId(client_id))) => Identity::ClientId(client_id.expose()),
            Self::Basic(Basic(Combination::UserName { client_id: None, user_name, .. })) => {
                Identity::UserName(user_name.expose())
            }
            Self::Basic(Basic(Combination::UserName { client_id: Some(client_id), user_name, .. })) => {
                Identity::ClientIdAndUserName { client_id: client_id.expose(), user_name: user_name.expose() }
            }
        }
    }

    /// Whether the password of a CONNECT fits, once the device was found by its identity: a token and a basic credential
    /// without password accept any (spec 3.2, 3.3). Absent and empty are the same.
    pub fn accepts_password(&self, presented: Option<&[u8]>) -> bool {
        match self {
            Self::Token(_) => true,
            Self::Basic(basic) => {
                basic.password().is_none_or(|password| password.matches(presented.unwrap_or_default()))
            }
        }
    }
}

impl Token {
    /// The token itself.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

impl Basic {
    /// The client id, if one is stored.
    pub fn client_id(&self) -> Option<&Secret> {
        match &self.0 {
            Combination::ClientId(client_id) => Some(client_id),
            Combination::UserName { client_id, .. } => client_id.as_ref(),
        }
    }

    /// The user name, if one is stored.
    pub fn user_name(&self) -> Option<&Secret> {
        match &self.0 {
            Combination::ClientId(_) => None,
            Combination::UserName { user_name, .. } => Some(user_name),
        }
    }

    /// The password, if one is stored.
    pub fn password(&self) -> Option<&Secret> {
        match &self.0 {
            Combination::ClientId(_) => None,
            Combination::UserName { password, .. } => password.as_ref(),
        }
    }
}

impl CredentialKind {
    /// The name that ThingsBoard and spec 3.1 give it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AccessToken => "ACCESS_TOKEN",
            Self::MqttBasic => "MQTT_BASIC",
        }
    }
}

impl fmt::Display for CredentialKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Identity<'_> {
    /// Its kind.
    pub fn kind(&self) -> IdentityKind {
        match self {
            Self::Token(_) => IdentityKind::Token,
            Self::ClientId(_) => IdentityKind::ClientId,
            Self::UserName(_) => IdentityKind::UserName,
            Self::ClientIdAndUserName { .. } => IdentityKind::ClientIdAndUserName,
        }
    }

    /// The place that this identity occupies, as bytes given to `write`: two identities that exclude each other, and
    /// only those, give the same bytes.
    pub(super) fn place(&self, mut write: impl FnMut(&[u8])) {
        match self {
            Self::Token(name) | Self::UserName(name) => {
                write(b"user name\0");
                write(name.as_bytes());
            }
            Self::ClientId(client_id) => {
                write(b"client id\0");
                write(client_id.as_bytes());
            }
            Self::ClientIdAndUserName { client_id, user_name } => {
                write(b"both\0");
                write(&(client_id.len() as u64).to_le_bytes());
                write(client_id.as_bytes());
                write(user_name.as_bytes());
            }
        }
    }
}

/// Shows the kind only: a user name or client id may be all it takes to connect.
impl fmt::Debug for Identity<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.kind())
    }
}

impl fmt::Display for IdentityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token => "access token",
            Self::ClientId => "client id",
            Self::UserName => "user name",
            Self::ClientIdAndUserName => "client id and user name",
        })
    }
}

/// Text that can stand in an MQTT string.
fn sendable(name: &'static str, text: Secret) -> Result<Secret, CredentialError> {
    if text.expose().contains('\0') {
        return Err(CredentialError::Nul(name));
    }
    fitting(name, text)
}

fn fitting(name: &'static str, text: Secret) -> Result<Secret, CredentialError> {
    if text.expose().len() > MAX_MQTT_STRING {
        return Err(CredentialError::TooLong(name));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(client_id: &str, user_name: &str, password: &str) -> Result<Credential, CredentialError> {
        let part = |part: &str| (part != "-").then(|| Secret::from(part));
        Credential::basic(part(client_id), part(user_name), part(password))
    }

    /// Spec 3.3: the five valid combinations and the two invalid ones; empty is the same as absent.
    #[test]
    fn basic_takes_five_combinations() {
        let both = IdentityKind::ClientIdAndUserName;
        let rows = [
            ("-", "U", "-", Ok(IdentityKind::UserName)),
            ("-", "U", "P", Ok(IdentityKind::UserName)),
            ("C", "-", "-", Ok(IdentityKind::ClientId)),
            ("C", "U", "-", Ok(both)),
            ("C", "U", "P", Ok(both)),
            ("-", "-", "-", Err(CredentialError::Nothing)),
            ("-", "-", "P", Err(CredentialError::PasswordWithoutUserName)),
            ("C", "-", "P", Err(CredentialError::PasswordWithoutUserName)),
            ("", "U", "", Ok(IdentityKind::UserName)),
            ("C", "", "", Ok(IdentityKind::ClientId)),
            ("", "", "", Err(CredentialError::Nothing)),
            ("", "", "P", Err(CredentialError::PasswordWithoutUserName)),
        ];
        for (client_id, user_name, password, expected) in rows {
            let got = basic(client_id, user_name, password);
            assert_eq!(got.map(|got| got.identity().kind()), expected, "{client_id} {user_name} {password}");
        }
    }

    #[test]
    fn what_mqtt_cannot_carry_is_refused() {
        let long = "x".repeat(65_536);
        assert_eq!(Credential::token(""), Err(CredentialError::EmptyToken));
        assert_eq!(Credential::token("a\0"), Err(CredentialError::Nul("access token")));
        assert_eq!(Credential::token(long.as_str()), Err(CredentialError::TooLong("access token")));
        assert!(Credential::token(&long[1..]).is_ok());
        assert_eq!(basic("a\0", "U", "-"), Err(CredentialError::Nul("client id")));
        assert_eq!(basic("-", "a\0", "-"), Err(CredentialError::Nul("user name")));
        assert_eq!(basic("-", "U", &long), Err(CredentialError::TooLong("password")));
        assert!(basic("-", "U", "a\0b").is_ok());
    }

    #[test]
    fn passwords_are_checked_where_one_is_stored() {
        let with = basic("-", "U", "P").unwrap();
        let without = basic("-", "U", "-").unwrap();
        let token = Credential::token("T").unwrap();
        let rows: [(Option<&[u8]>, bool); 5] =
            [(None, false), (Some(b""), false), (Some(b"p"), false), (Some(b"PP"), false), (Some(b"P"), true)];
        for (presented, fits) in rows {
            assert_eq!(with.accepts_password(presented), fits, "{presented:?}");
            assert!(without.accepts_password(presented));
            assert!(token.accepts_password(presented));
        }
    }

    #[test]
    fn generated_tokens_are_twenty_letters_and_digits_and_differ() {
        let tokens: Vec<_> = (0..200).map(|_| Credential::generate_token().unwrap()).collect();
        let mut seen = std::collections::BTreeSet::new();
        for token in &tokens {
            let Credential::Token(token) = token else { panic!("expected a token") };
            assert_eq!(token.expose().len(), 20);
            assert!(token.expose().bytes().all(|byte| byte.is_ascii_alphanumeric()));
            assert!(seen.insert(token.expose()));
        }
        let used: std::collections::BTreeSet<u8> = seen.iter().flat_map(|token| token.bytes()).collect();
        assert_eq!(used.len(), 62, "4000 characters without one of the 62 have a chance of 1 in 10^26");
    }

    #[test]
    fn identities_exclude_each_other_only_where_connect_cannot_tell_them_apart() {
        let place = |identity: Identity<'_>| {
            let mut place = Vec::new();
            identity.place(|bytes| place.extend_from_slice(bytes));
            place
        };
        let both = |client_id, user_name| place(Identity::ClientIdAndUserName { client_id, user_name });
        assert_eq!(place(Identity::Token("a")), place(Identity::UserName("a")));
        let places = [
            place(Identity::Token("a")),
            place(Identity::ClientId("a")),
            both("a", "bc"),
            both("ab", "c"),
            both("", "abc"),
            both("abc", ""),
        ];
        for (index, place) in places.iter().enumerate() {
            assert!(!places[..index].contains(place), "row {index}");
        }
    }

    #[test]
    fn nothing_secret_shows() {
        let shown = format!(
            "{:?} {:?} {:?}",
            Credential::token("hunter2").unwrap(),
            basic("hunter2", "hunter2", "hunter2").unwrap(),
            Identity::Token("hunter2")
        );
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
