//! What is refused, and how it is said.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tidegate_driver_linux::{Config, LinuxDriver, OpenError};
use tidegate_sandbox::Driver;
use tidegate_sandbox::driver::Severity;
use tidegate_types::Limits;
use tidegate_types::template::{Bind, Root, Template};

use crate::ground::{Ground, template};

fn open(state: &std::path::Path) -> Result<(), OpenError> {
    LinuxDriver::new(Config { state_dir: state.to_owned() }).map(drop)
}

#[tokio::test]
async fn a_state_directory_has_one_user_at_a_time() {
    let state = tempfile::tempdir().expect("a directory");
    let driver = crate::ground::open(state.path().to_owned());
    assert!(matches!(open(state.path()), Err(OpenError::InUse { .. })));
    drop(driver);
    open(state.path()).expect("free again");
}

#[tokio::test]
async fn a_state_directory_of_another_version_is_left_alone() {
    let state = tempfile::tempdir().expect("a directory");
    fs::write(state.path().join("layout"), "99\n").expect("writes");
    let error = open(state.path()).expect_err("refused");
    assert!(error.to_string().contains("has layout 99, this tidegate knows layout 1"), "{error}");
    assert_eq!(fs::read(state.path().join("layout")).expect("there"), b"99\n");
}

#[tokio::test]
async fn a_damaged_record_is_named_and_kept() {
    let state = tempfile::tempdir().expect("a directory");
    open(state.path()).expect("opens");
    let place = state.path().join("sandboxes/tenant/name");
    fs::create_dir_all(&place).expect("makes");
    fs::write(place.join("record.json"), "{\"key\":").expect("writes");
    let error = open(state.path()).expect_err("refused");
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("sandboxes/tenant/name/record.json"), "{error}");
    assert_eq!(fs::read(place.join("record.json")).expect("there"), b"{\"key\":");
}

#[tokio::test]
async fn a_record_in_another_sandboxs_place_is_named_and_kept() {
    let state = tempfile::tempdir().expect("a directory");
    open(state.path()).expect("opens");
    let place = state.path().join("sandboxes/tenant/name");
    fs::create_dir_all(&place).expect("makes");
    let record = r#"{"key": {"tenant": "tenant", "name": "other"}, "range": 7}"#;
    fs::write(place.join("record.json"), record).expect("writes");
    let error = open(state.path()).expect_err("refused");
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    assert_eq!(fs::read_to_string(place.join("record.json")).expect("there"), record);
}

#[tokio::test]
async fn a_directory_that_exists_keeps_its_mode_and_must_be_closed_to_other_writers() {
    let state = tempfile::tempdir().expect("a directory");
    let mode = |mode| {
        let set = fs::set_permissions(state.path(), fs::Permissions::from_mode(mode));
        set.expect("sets its mode");
    };
    mode(0o755);
    open(state.path()).expect("opens");
    let now = fs::metadata(state.path()).expect("there").permissions().mode();
    assert_eq!(now & 0o777, 0o755);
    mode(0o1777);
    let error = open(state.path()).expect_err("refused");
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
}

#[tokio::test]
async fn templates_are_checked_before_any_request_comes() {
    let ground = Ground::new();
    let check = |change: &dyn Fn(&mut Template), key: &str, severity: Severity, says: &str| {
        let mut template = template(&["/bin/sh"]);
        change(&mut template);
        let complaints = ground.driver.check(&template);
        let found = complaints
            .iter()
            .any(|c| c.key == key && c.severity == severity && c.message.contains(says));
        assert!(found, "{key}: {complaints:#?}");
    };
    let bind = |source: &str, target: &str| Bind { source: source.into(), target: target.into() };
    let error = Severity::Error;
    check(&|t| t.command = vec!["/no/such".into()], "command", error, "does not exist inside");
    check(&|t| t.command = vec!["/etc/passwd".into()], "command", error, "does not exist inside");
    check(&|t| t.command = vec!["sh".into()], "command", error, "not an absolute path");
    check(&|t| t.root = Root::Directory("/no/such".into()), "root", error, "does not exist");
    check(&|t| t.binds = vec![bind("/no/such", "/opt")], "binds", error, "cannot be used");
    check(&|t| t.binds = vec![bind("/usr", "/proc/x")], "binds", error, "the sandbox's own");
    check(&|t| t.binds = vec![bind("/usr/../etc", "/opt")], "binds", error, "not absolute");
    if !ground.driver.capabilities().memory_limit {
        let limits = Limits { memory: Some(1 << 30), ..Limits::default() };
        let warning = Severity::Warning;
        check(&|t| t.limits = limits.clone(), "limits.memory", warning, "not enforced");
    }
    assert_eq!(ground.driver.check(&template(&["/bin/sh"])), []);
    assert_eq!(ground.driver.check(&template(&["/usr/bin/python3"])), []);
}

#[test]
fn the_probe_names_everything_that_is_needed() {
    let probe = LinuxDriver::probe();
    for finding in &probe.findings {
        println!("{finding:?}");
    }
    assert!(probe.usable());
    assert!(probe.findings.iter().any(|f| f.what == "namespaces" && f.needed && f.works));
}
