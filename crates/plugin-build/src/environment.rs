//! What a nested cargo must not inherit. A build script runs in an environment
//! that describes the *outer* build: its flags, target directory and wrappers.

use std::process::Command;

/// Kept although its name begins with `CARGO_` or `RUST`: where to find and how
/// to fetch, as opposed to what to build and how.
const KEPT: &[&str] = &["CARGO_HOME", "CARGO_HTTP_CAINFO", "CARGO_HTTP_PROXY", "RUSTUP_HOME"];

/// Names beyond those prefixes that cargo sets for build scripts.
const DROPPED: &[&str] = &[
    "CARGO",
    "DEBUG",
    "HOST",
    "MAKEFLAGS",
    "MFLAGS",
    "NUM_JOBS",
    "OPT_LEVEL",
    "OUT_DIR",
    "PROFILE",
    "TARGET",
    "CLIPPY_ARGS",
    "CLIPPY_CONF_DIR",
    "LD_LIBRARY_PATH",
];

/// Removes the outer build from `command`'s environment. Settings that say how to
/// reach registries (`CARGO_REGISTRIES_…`, `CARGO_NET_…`, `CARGO_SOURCE_…`) stay.
pub(crate) fn clean(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let Some(text) = name.to_str() else { continue };
        let reaches = ["CARGO_REGISTR", "CARGO_NET_", "CARGO_SOURCE_", "CARGO_HTTP_"]
            .iter()
            .any(|prefix| text.starts_with(prefix));
        let ours = text.starts_with("CARGO_") || text.starts_with("RUST");
        if DROPPED.contains(&text) || ours && !reaches && !KEPT.contains(&text) {
            command.env_remove(&name);
        }
    }
}
