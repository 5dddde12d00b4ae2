//! What is asked for: a source, and what the component must be.

use std::fmt;
use std::path::PathBuf;

use http::Uri;
use tidegate_types::{OciReference, PluginName, Secret, Sha256Digest};

use crate::VerifyKey;

/// A component that is asked for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The plugin's name, for the log.
    pub name: PluginName,
    /// Where it is.
    pub source: Source,
    /// What its digest must be, if anything. `https` needs it.
    pub sha256: Option<Sha256Digest>,
    /// Whose signature it must bear, if anybody's.
    pub verify_key: Option<VerifyKey>,
    /// What the server is told.
    pub credentials: Option<Credentials>,
}

/// Where a component is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// An `https` URL.
    Https(Uri),
    /// An artifact in a registry.
    Oci(OciReference),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Https(url) => write!(f, "{url}"),
            Self::Oci(reference) => write!(f, "oci://{reference}"),
        }
    }
}

/// What a server or registry is told (RFC 7617).
#[derive(Debug, Clone)]
pub struct Credentials {
    /// As the server knows it.
    pub username: String,
    /// Password or token.
    pub password: Secret,
}
