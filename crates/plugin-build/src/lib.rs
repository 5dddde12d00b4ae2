//! Builds plugin sources to WASM components.
