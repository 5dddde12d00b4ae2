//! Builds plugin sources to WASM components.
//!
//! Called by `xtask` and by the build script of `builtin`. Finds out by itself
//! which compiler on this machine can make WASM, and says in plain words what to
//! install when none can.
//!
//! **Not in here:** installing anything, loading components.
#![forbid(unsafe_code)]
