//! The first-party plugins, as components.
#![forbid(unsafe_code)]

/// The component of the first-party plugin called `name`: what `builtin:NAME` means.
#[must_use]
pub fn component(name: &str) -> Option<&'static [u8]> {
    COMPONENTS.iter().find(|(n, _)| *n == name).map(|(_, bytes)| *bytes)
}

/// What first-party plugins there are.
pub fn names() -> impl Iterator<Item = &'static str> {
    COMPONENTS.iter().map(|(name, _)| *name)
}

const COMPONENTS: &[(&str, &[u8])] = &[];
