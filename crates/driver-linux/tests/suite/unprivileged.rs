//! Everything again as a user without any privilege.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::ground::state_of_part;

/// Nobody that a machine knows.
const USER: &str = "4321";

#[test]
fn all_of_this_works_without_root() {
    if !rustix::process::geteuid().is_root() || state_of_part().is_some() {
        // That is how we are running already.
        return;
    }
    let place = tempfile::tempdir().expect("a directory");
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o777)).expect("opens it");
    let program = place.path().join("suite");
    fs::copy(std::env::current_exe().expect("this program"), &program).expect("copies");
    let output = Command::new("setpriv")
        .args(["--reuid", USER, "--regid", USER, "--clear-groups"])
        .arg(&program)
        .args(["--nocapture", "--test-threads=4"])
        .env("TMPDIR", place.path())
        .env("HOME", place.path())
        .output()
        .expect("setpriv runs");
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
}
