//! The one unsafe call of this crate: running machine code that was compiled earlier.
#![expect(unsafe_code, reason = "deserialising trusts its input; see below")]

use wasmtime::Engine;
use wasmtime::component::Component;

use crate::cache::Genuine;

/// Loads what an engine compiled earlier.
///
/// # Errors
/// When it was compiled by another version or for other settings.
pub(crate) fn deserialize(engine: &Engine, artefact: &Genuine) -> wasmtime::Result<Component> {
    // SAFETY: the bytes must be what `Component::serialize` returned. A `Genuine`
    // is only made from a file whose checksum matches its content, in a directory
    // that belongs to this process' user and that nobody else may write: what lies
    // there was written by a gateway of the same user, whole. Whoever can forge it
    // can run code as that user anyway. Version and settings are checked by the call.
    unsafe { Component::deserialize(engine, artefact.bytes()) }
}
