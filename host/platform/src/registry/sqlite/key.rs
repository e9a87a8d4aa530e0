//! The key of the credentials: hashes what they are found by, encrypts what they are.
//!
//! A stolen database tells neither. The key lies in a file of its own ([`super::key_file`]).

use std::borrow::Cow;
use std::fmt;

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{ChaCha20Poly1305, KeyInit, Nonce};
use hmac::{Hmac, Mac};
use model::DeviceId;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::Secret;
use crate::registry::cache::Place;
use crate::registry::{Credential, CredentialError, Error, Identity};

/// Length of the key in the file.
pub(super) const KEY_LENGTH: usize = 32;
const NONCE_LENGTH: usize = 12;
/// First byte of a sealed credential.
const VERSION: u8 = 1;

/// One key for finding and one for encrypting, both derived from the key in the file.
pub(super) struct Keys {
    id: String,
    place: Hmac<Sha256>,
    cipher: ChaCha20Poly1305,
}

/// A sealed credential that this key did not make for this device, or that was altered.
#[derive(Debug)]
pub(super) struct Unreadable;

impl Keys {
    pub(super) fn derive(master: &[u8; KEY_LENGTH]) -> Self {
        let derive = |purpose: &[u8]| Zeroizing::new(digest(keyed(master), purpose));
        let id = derive(b"tidegate registry: key id");
        Self {
            id: id.iter().take(8).map(|byte| format!("{byte:02x}")).collect(),
            place: keyed(&derive(b"tidegate registry: credential place")),
            cipher: ChaCha20Poly1305::new((&*derive(b"tidegate registry: credential seal")).into()),
        }
    }

    /// Tells keys apart without giving them away.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Where a credential with this identity is found.
    pub(super) fn place(&self, identity: &Identity<'_>) -> Place {
        let mut hash = self.place.clone();
        identity.place(|bytes| hash.update(bytes));
        hash.finalize().into_bytes().into()
    }

    /// Encrypts a credential so that only this device's row can hold it: version, nonce, text and tag.
    pub(super) fn seal(&self, device: DeviceId, credential: &Credential) -> Result<Vec<u8>, Error> {
        let mut nonce = [0; NONCE_LENGTH];
        getrandom::fill(&mut nonce).map_err(|error| Error::Random(error.to_string()))?;
        let text = Text::from(credential).to_bytes();
        let mut sealed = vec![VERSION];
        sealed.extend_from_slice(&nonce);
        let payload = Payload { msg: &text, aad: &bound_to(device) };
        // Fails only for more text than a credential can have.
        let encrypted = self.cipher.encrypt(&Nonce::from(nonce), payload);
        sealed.extend(encrypted.map_err(|_| Error::Credential(CredentialError::TooLong("credential")))?);
        Ok(sealed)
    }

    pub(super) fn unseal(&self, device: DeviceId, sealed: &[u8]) -> Result<Credential, Unreadable> {
        let (&version, sealed) = sealed.split_first().ok_or(Unreadable)?;
        let (nonce, msg) = sealed.split_first_chunk::<NONCE_LENGTH>().ok_or(Unreadable)?;
        if version != VERSION {
            return Err(Unreadable);
        }
        let payload = Payload { msg, aad: &bound_to(device) };
        let text = Zeroizing::new(self.cipher.decrypt(&Nonce::from(*nonce), payload).map_err(|_| Unreadable)?);
        Text::read(&text)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.id)
    }
}

/// What is encrypted: JSON, since kinds will be added.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum Text<'a> {
    Token {
        #[serde(borrow)]
        token: Cow<'a, str>,
    },
    Basic {
        #[serde(borrow)]
        client_id: Option<Cow<'a, str>>,
        #[serde(borrow)]
        user_name: Option<Cow<'a, str>>,
        #[serde(borrow)]
        password: Option<Cow<'a, str>>,
    },
}

impl<'a> From<&'a Credential> for Text<'a> {
    fn from(credential: &'a Credential) -> Self {
        fn part(part: Option<&Secret>) -> Option<Cow<'_, str>> {
            part.map(|part| Cow::Borrowed(part.expose()))
        }
        match credential {
            Credential::Token(token) => Self::Token { token: Cow::Borrowed(token.expose()) },
            Credential::Basic(basic) => Self::Basic {
                client_id: part(basic.client_id()),
                user_name: part(basic.user_name()),
                password: part(basic.password()),
            },
        }
    }
}

impl Text<'_> {
    fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        // Writing strings as JSON cannot fail.
        Zeroizing::new(serde_json::to_vec(self).unwrap_or_default())
    }

    fn read(text: &[u8]) -> Result<Credential, Unreadable> {
        let part = |part: Option<Cow<'_, str>>| part.map(|part| Secret::new(part.into_owned()));
        match serde_json::from_slice(text).map_err(|_| Unreadable)? {
            Text::Token { token } => Credential::token(token.into_owned()),
            Text::Basic { client_id, user_name, password } => {
                Credential::basic(part(client_id), part(user_name), part(password))
            }
        }
        .map_err(|_| Unreadable)
    }
}

fn keyed(key: &[u8; KEY_LENGTH]) -> Hmac<Sha256> {
    // Of the ways to make one, the one that cannot fail: the key is padded to a block, as HMAC does with short keys.
    let mut block = Zeroizing::new([0; 64]);
    if let Some(start) = block.first_chunk_mut() {
        *start = *key;
    }
    Hmac::new((&*block).into())
}

fn digest(mut hash: Hmac<Sha256>, bytes: &[u8]) -> [u8; 32] {
    hash.update(bytes);
    hash.finalize().into_bytes().into()
}

fn bound_to(device: DeviceId) -> [u8; 9] {
    let [a, b, c, d, e, f, g, h] = device.0.to_le_bytes();
    [VERSION, a, b, c, d, e, f, g, h]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials() -> Vec<Credential> {
        let part = |part: &str| Some(Secret::from(part));
        vec![
            Credential::token("A1B2\"\\\n✓").unwrap(),
            Credential::basic(part("C"), None, None).unwrap(),
            Credential::basic(None, part("U"), None).unwrap(),
            Credential::basic(None, part("U"), part("P\0")).unwrap(),
            Credential::basic(part("C"), part("U"), part("P")).unwrap(),
        ]
    }

    #[test]
    fn a_sealed_credential_opens_with_its_key_for_its_device_only() {
        let (keys, others) = (Keys::derive(&[1; 32]), Keys::derive(&[2; 32]));
        for credential in credentials() {
            let sealed = keys.seal(DeviceId(7), &credential).unwrap();
            assert_eq!(keys.unseal(DeviceId(7), &sealed).unwrap(), credential);
            assert!(keys.unseal(DeviceId(8), &sealed).is_err());
            assert!(others.unseal(DeviceId(7), &sealed).is_err());
            assert_ne!(keys.seal(DeviceId(7), &credential).unwrap(), sealed, "a nonce is used once");
        }
    }

    #[test]
    fn an_altered_credential_does_not_open() {
        let keys = Keys::derive(&[1; 32]);
        let sealed = keys.seal(DeviceId(7), &credentials()[4]).unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut altered = sealed.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert!(keys.unseal(DeviceId(7), &altered).is_err(), "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert!(keys.unseal(DeviceId(7), &sealed[..length]).is_err(), "{length} bytes");
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// RFC 4231, test case 2, whose key HMAC pads with zeros as we do.
    #[test]
    fn hashes_are_hmac_sha256() {
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hex(&digest(keyed(&key), b"what do ya want for nothing?")), expected);
    }

    /// Registries live longer than programs: what one version writes, every later one finds and opens.
    #[test]
    fn what_was_written_once_is_found_and_opened_for_ever() {
        let keys = Keys::derive(&[1; 32]);
        assert_eq!(keys.id(), "df95408fd60d4a1f");
        assert_eq!(
            hex(&keys.place(&Identity::Token("a"))),
            "ddde0376e9d3d98634460d3b30a0270e5ec16fc966bcdfebac5d5fff1de388f6"
        );
        assert_eq!(
            hex(&keys.place(&Identity::ClientId("a"))),
            "86d2a768482f59ea53eb1aee69e34df9dbb768c610df0cf9186085eb410809fb"
        );
        let both = Identity::ClientIdAndUserName { client_id: "a", user_name: "b" };
        assert_eq!(hex(&keys.place(&both)), "046125f47a05d50ff9a587821b42e82ba5ba5af13e103c5d83f0375790d0a6a8");
        let sealed = "01e808c2887a9095253957d278e4b32b69df5da039a01e342268314ab92cb32ad4a1f42ead67c8cb3046b557e49893381906c8481fba2017874206be8243948c54ee40ad129e3c57681ad24e45170273a24a34c059df4cd985ff11e4";
        let sealed: Vec<_> =
            (0..sealed.len() / 2).map(|at| u8::from_str_radix(&sealed[2 * at..2 * at + 2], 16).unwrap()).collect();
        assert_eq!(keys.unseal(DeviceId(7), &sealed).unwrap(), credentials()[4]);
    }

    #[test]
    fn places_depend_on_key_and_identity() {
        let (keys, others) = (Keys::derive(&[1; 32]), Keys::derive(&[2; 32]));
        let (token, client) = (Identity::Token("a"), Identity::ClientId("a"));
        assert_eq!(keys.place(&token), Keys::derive(&[1; 32]).place(&token));
        assert_ne!(keys.place(&token), others.place(&token));
        assert_ne!(keys.place(&token), keys.place(&client));
        assert_ne!(keys.id(), others.id());
    }

    #[test]
    fn keys_do_not_show_themselves() {
        let keys = Keys::derive(&[7; 32]);
        assert_eq!(format!("{keys:?}"), format!("Keys({})", keys.id()));
    }
}
