//! Why the registry could not do something, and whose fault that is.

use std::path::PathBuf;

use model::{DeviceId, TenantId};

use super::credential::{CredentialError, IdentityKind};

/// A call, or one item of a batch, was not carried out.
///
/// No case carries a secret, so every one of them may be logged and shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A field breaks its rule. The caller's fault.
    #[error("{field}: expected {expected}, got {got}")]
    Invalid {
        /// What was wrong, such as `device name`.
        field: &'static str,
        /// The rule.
        expected: &'static str,
        /// What came instead, described rather than repeated.
        got: String,
    },
    /// No credential of the kinds of spec 3.1 can be like this. The caller's fault.
    #[error("credential: {0}")]
    Credential(#[from] CredentialError),

    /// The tenant exists already. A conflict.
    #[error("tenant name {name:?} is taken by tenant {tenant}")]
    TenantTaken {
        /// The name that was asked for.
        name: String,
        /// Who has it.
        tenant: TenantId,
    },
    /// The name is taken within the tenant. A conflict.
    #[error("device name {name:?} is taken by device {device}")]
    NameTaken {
        /// The name that was asked for.
        name: String,
        /// Who has it: what a caller needs who would have been content with the device that exists.
        device: DeviceId,
    },
    /// Another device, possibly of another tenant and therefore not named here, is found by the same thing. A conflict.
    #[error("credential: another device is already found by this {kind}")]
    IdentityTaken {
        /// What both would be found by.
        kind: IdentityKind,
    },

    /// There is no such tenant.
    #[error("tenant {0} does not exist")]
    TenantNotFound(TenantId),
    /// There is no such device in this tenant.
    #[error("device {0} does not exist")]
    DeviceNotFound(DeviceId),
    /// There is no such profile row in this tenant.
    #[error("profile {0:?} was not made at run time")]
    ProfileNotFound(String),

    /// The storage did not do it. Whether a failed write was carried out is unknown until it is read back.
    #[error("registry {file}: {doing}: {cause}", file = .file.display())]
    Storage {
        /// The file concerned.
        file: PathBuf,
        /// What was attempted.
        doing: &'static str,
        /// What the operating system or the database said.
        cause: String,
    },
    /// The file is not what was written there: the storage's fault, and only a backup helps.
    #[error("registry {file} is damaged: {cause}; restore it from a backup", file = .file.display())]
    Damaged {
        /// The file concerned.
        file: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// A newer tidegate has written the file. The operator's fault.
    #[error("registry {file} has format {found}, this tidegate knows up to {known}; run a newer one", file = .file.display())]
    Newer {
        /// The file concerned.
        file: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format this build can read.
        known: u32,
    },
    /// Another process, or another part of this one, has the registry open.
    #[error("registry {file} is in use: another tidegate runs on this data folder", file = .file.display())]
    InUse {
        /// The file concerned.
        file: PathBuf,
    },
    /// The key file cannot be used. The operator's fault.
    #[error("key file {file}: {problem}", file = .file.display())]
    Key {
        /// The key file.
        file: PathBuf,
        /// What is wrong with it.
        problem: KeyProblem,
    },
    /// The operating system gave no random bytes.
    #[error("random bytes from the operating system: {0}")]
    Random(String),
    /// The registry was closed.
    #[error("the registry is closed")]
    Closed,
}

/// What can be wrong with the file that holds the key of the credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyProblem {
    /// Credentials were written with a key, and it is gone.
    #[error("missing; restore it, the credentials of {registry} cannot be read without it", registry = .registry.display())]
    Missing {
        /// The registry that was written with it.
        registry: PathBuf,
    },
    /// Others may read or write it.
    #[error("expected permissions 0600, found {0:04o}; change them, and replace the key if others may have read it")]
    Permissions(u32),
    /// It is not 32 bytes long.
    #[error("expected 32 bytes, found {0}")]
    Length(u64),
    /// It is a key, but not the one that the credentials were written with.
    #[error("not the key that {registry} was written with; restore the one that belongs to it", registry = .registry.display())]
    Wrong {
        /// The registry that was written with another one.
        registry: PathBuf,
    },
    /// It could not be read or written.
    #[error("{0}")]
    File(String),
}

/// Whose fault an [`Error`] is, which decides what the caller answers: 400, 409, 404 or 503 over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The input breaks a rule; the same call will never succeed.
    Caller,
    /// The input is fine, but something that exists is in the way.
    Conflict,
    /// What the call is about does not exist.
    NotFound,
    /// The registry itself failed; the same call may succeed later.
    Storage,
}

impl Error {
    /// Whose fault it is.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Invalid { .. } | Self::Credential(_) => Blame::Caller,
            Self::TenantTaken { .. } | Self::NameTaken { .. } | Self::IdentityTaken { .. } => Blame::Conflict,
            Self::TenantNotFound(_) | Self::DeviceNotFound(_) | Self::ProfileNotFound(_) => Blame::NotFound,
            Self::Storage { .. }
            | Self::Damaged { .. }
            | Self::Newer { .. }
            | Self::InUse { .. }
            | Self::Key { .. }
            | Self::Random(_)
            | Self::Closed => Blame::Storage,
        }
    }
}
