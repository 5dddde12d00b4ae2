//! The binary under test.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::openclaw::repository;

/// Names the binary to test; `cargo xtask test` sets it, having just built it.
const VARIABLE: &str = "TIDEGATE_TEST_BINARY";

/// The binary under test, built once per test process unless one is named.
pub(crate) fn path() -> &'static PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os(VARIABLE) {
        Some(named) => PathBuf::from(named),
        None => build("tidegate"),
    })
}

/// The xtask that runs the tests, or one built for them.
pub(crate) fn xtask() -> &'static PathBuf {
    static XTASK: OnceLock<PathBuf> = OnceLock::new();
    XTASK.get_or_init(|| match std::env::var_os("TIDEGATE_TEST_XTASK") {
        Some(named) => PathBuf::from(named),
        None => build("xtask"),
    })
}

/// Builds a package's program with the tests' profile; says where it is.
fn build(package: &str) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(repository())
        .args(["build", "--quiet", "--package", package])
        .status()
        .expect("cargo can be called");
    assert!(status.success(), "{package} doesn't build");
    // A test's own program lies in TARGET/PROFILE/deps.
    let test = std::env::current_exe().expect("a test knows its program");
    let profile = test.ancestors().nth(2).expect("it lies in a target directory");
    profile.join(package)
}
