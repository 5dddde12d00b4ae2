//! The first-party plugins, as components.
