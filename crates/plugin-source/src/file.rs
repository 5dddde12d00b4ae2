//! Components in files.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use bytes::Bytes;
use rustix::fs::OFlags;

use crate::error::{Reason, SourceError};
use crate::{MAX_COMPONENT, signature};

/// A signature in base64 has 88 characters.
const MAX_SIGNATURE: usize = 1024;

/// Why a file isn't read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It can't be opened or read, or isn't there.
    #[error("can't be read: {0}")]
    Io(#[from] io::Error),
    /// A directory, a pipe, a device: it may have no end, or never begin.
    #[error("isn't a regular file")]
    Irregular,
    /// It has more than this many bytes.
    #[error("is larger than {0} bytes")]
    TooLarge(usize),
}

/// What stands in the regular file `path`, where that is at most `most` bytes.
/// Links are followed. Blocks, but waits for no writer: a pipe that no one writes to
/// would hold up whoever reads, and all who wait for them.
///
/// # Errors
/// [`Unreadable`]; nothing was read of what isn't a regular file.
pub fn read_bounded(path: &Path, most: usize) -> Result<Vec<u8>, Unreadable> {
    let no_waiting = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(no_waiting).open(path)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(Unreadable::Irregular);
    }
    let length = usize::try_from(found.len()).unwrap_or(usize::MAX);
    if length > most {
        return Err(Unreadable::TooLarge(most));
    }
    let mut bytes = Vec::with_capacity(length);
    // Bounded although its length is known: it may grow meanwhile.
    file.take((most as u64).saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() > most {
        return Err(Unreadable::TooLarge(most));
    }
    Ok(bytes)
}

/// The component in `path`. Blocks.
pub(crate) fn read(path: &Path) -> Result<Bytes, SourceError> {
    let shown = path.display();
    let bytes = read_bounded(path, MAX_COMPONENT).map_err(|error| match error {
        Unreadable::Io(error) if error.kind() == ErrorKind::NotFound => SourceError::new(
            Reason::NotFound,
            format!("there is no file `{shown}`"),
            "check the path in `source`",
        ),
        Unreadable::Io(_) => SourceError::new(
            Reason::Unusable,
            format!("`{shown}` {error}"),
            "check the path in `source` and the file's permissions",
        ),
        Unreadable::Irregular | Unreadable::TooLarge(_) => SourceError::new(
            Reason::Unusable,
            format!("`{shown}` {error}"),
            "name the component itself",
        ),
    })?;
    Ok(bytes.into())
}

/// What stands in the signature's file beside `path`, if there is one. Blocks, but
/// not for what isn't a regular file.
///
/// # Errors
/// [`SourceError`] where there is something that can't be a signature's file.
pub fn read_signature(path: &Path) -> Result<Option<String>, SourceError> {
    let beside = signature::beside(path);
    let refused = |what: String| {
        SourceError::new(
            Reason::WrongSignature,
            format!("the signature `{}` {what}", beside.display()),
            "check the file, and its permissions",
        )
    };
    match read_bounded(&beside, MAX_SIGNATURE) {
        Ok(bytes) => {
            String::from_utf8(bytes).map(Some).map_err(|_| refused("isn't a text".to_owned()))
        }
        Err(Unreadable::Io(error)) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(refused(error.to_string())),
    }
}
