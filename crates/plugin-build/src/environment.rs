//! What a nested cargo must not inherit. A build script runs in an environment
//! that describes the *outer* build: its flags, target directory and wrappers.

use std::process::Command;

/// Kept although its name begins with `CARGO_` or `RUST`: where to find and how
/// to fetch, as opposed to what to build and how.
const KEPT: &[&str] = &["CARGO_HOME", "RUSTUP_DIST_SERVER", "RUSTUP_HOME"];

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

/// Removes the outer build from `command`'s environment.
pub(crate) fn clean(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if !name.to_str().is_some_and(inherited) {
            command.env_remove(&name);
        }
    }
}

/// Whether a variable is no part of the outer build. Settings that say how to
/// reach registries are none.
fn inherited(name: &str) -> bool {
    let reaches = ["CARGO_REGISTR", "CARGO_NET_", "CARGO_SOURCE_", "CARGO_HTTP_"];
    let builds = ["CARGO_", "RUST"];
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    KEPT.contains(&name) || begins(&reaches) || !(DROPPED.contains(&name) || begins(&builds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_to_fetch_is_inherited_and_how_to_build_is_not() {
        for name in ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME", "CARGO_REGISTRIES_X_INDEX"] {
            assert!(inherited(name), "{name}");
        }
        for name in ["RUSTFLAGS", "RUSTC_WORKSPACE_WRAPPER", "CARGO_TARGET_DIR", "OUT_DIR", "CARGO"]
        {
            assert!(!inherited(name), "{name}");
        }
    }
}
