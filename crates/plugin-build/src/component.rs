//! From a core module, as the compiler makes it, to a component.

use anyhow::{Context as _, Result};
use wasi_preview1_component_adapter_provider as wasi;
use wit_component::ComponentEncoder;

/// Turns a core module that carries its world in custom sections into a component.
/// The adapter leaves nothing behind where a module uses no WASI.
///
/// # Errors
/// When the module is damaged, or doesn't keep what its world promises.
pub fn component(module: &[u8]) -> Result<Vec<u8>> {
    ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|encoder| {
            encoder.adapter(
                wasi::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME,
                wasi::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
            )
        })
        .and_then(|encoder| encoder.encode())
        .context("can't make a component of the module")
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_no_module_is_refused() {
        for bytes in [&b""[..], b"text", b"\0asm\x09\0\0\0"] {
            assert!(super::component(bytes).is_err(), "{bytes:?}");
        }
    }
}
