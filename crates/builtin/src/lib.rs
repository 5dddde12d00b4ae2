//! The first-party plugins, as components: what `builtin:NAME` means.
//!
//! Built from `plugins/` by this crate's build script, so that one `cargo build`
//! of the binary suffices.
#![forbid(unsafe_code)]

/// The component of the first-party plugin called `name`.
#[must_use]
pub fn component(name: &str) -> Option<&'static [u8]> {
    COMPONENTS.iter().find(|(n, _)| *n == name).map(|(_, bytes)| *bytes)
}

/// What first-party plugins there are, in alphabetical order.
pub fn names() -> impl Iterator<Item = &'static str> {
    COMPONENTS.iter().map(|(name, _)| *name)
}

const COMPONENTS: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/components.rs"));
