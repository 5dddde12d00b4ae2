//! Components in files.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use bytes::Bytes;
use rustix::fs::OFlags;

use crate::error::{Reason, SourceError};
use crate::{MAX_COMPONENT, signature};

/// A signature in base64 has 88 characters.
const MAX_SIGNATURE: u64 = 1024;

/// The component in `path`. Blocks.
pub(crate) fn read(path: &Path) -> Result<Bytes, SourceError> {
    let shown = path.display();
    let unusable = |what: String| {
        let remedy = "check the path in `source` and the file's permissions";
        SourceError::new(Reason::Unusable, what, remedy)
    };
    let file = open(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => SourceError::new(
            Reason::NotFound,
            format!("there is no file `{shown}`"),
            "check the path in `source`",
        ),
        _ => unusable(format!("`{shown}` can't be read: {error}")),
    })?;
    let found = file.metadata().map_err(|e| unusable(format!("`{shown}` can't be read: {e}")))?;
    if !found.is_file() || found.len() > MAX_COMPONENT as u64 {
        let most = MAX_COMPONENT >> 20;
        return Err(SourceError::new(
            Reason::Unusable,
            format!("`{shown}` isn't a file of at most {most} MiB"),
            "name the component itself",
        ));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(found.len()).unwrap_or(0));
    // Bounded although its length is known: it may grow meanwhile.
    file.take(MAX_COMPONENT as u64)
        .read_to_end(&mut bytes)
        .map_err(|e| unusable(format!("`{shown}` can't be read: {e}")))?;
    Ok(bytes.into())
}

/// What stands in the signature's file beside `path`, if there is one. Blocks.
pub(crate) fn read_signature(path: &Path) -> Result<Option<String>, SourceError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(signature::SUFFIX);
    let beside = Path::new(&beside);
    let mut text = String::new();
    let read = open(beside).and_then(|file| file.take(MAX_SIGNATURE).read_to_string(&mut text));
    match read {
        Ok(_) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(SourceError::new(
            Reason::WrongSignature,
            format!("the signature `{}` can't be read: {error}", beside.display()),
            "check the file, and its permissions",
        )),
    }
}

/// Opens a file, and waits for nobody: a pipe that no one writes to would hold up
/// this reload and every later one.
fn open(path: &Path) -> io::Result<File> {
    let no_waiting = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    OpenOptions::new().read(true).custom_flags(no_waiting).open(path)
}
