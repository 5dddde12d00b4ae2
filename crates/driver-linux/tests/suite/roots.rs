//! Roots that are directories, and what a hostile one can do: nothing.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use tidegate_sandbox::Driver;
use tidegate_sandbox::driver::Files;
use tidegate_types::template::Root;

use crate::ground::{Ground, output, run, spec, template};

/// A root with nothing but a shell and what it is linked with.
fn root() -> TempDir {
    let root = tempfile::tempdir().expect("a directory");
    let copy = |from: &Path| {
        let to = root.path().join(from.strip_prefix("/").expect("absolute"));
        fs::create_dir_all(to.parent().expect("a parent")).expect("makes");
        fs::copy(from, to).expect("copies");
    };
    for program in ["/bin/sh", "/bin/ls", "/bin/cat"] {
        copy(Path::new(program));
        let linked = Command::new("ldd").arg(program).output().expect("ldd runs");
        for word in String::from_utf8_lossy(&linked.stdout).split_whitespace() {
            if word.starts_with('/') {
                copy(Path::new(word));
            }
        }
    }
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(root.path(), mode).expect("opens it");
    root
}

async fn say(root: &Path, script: &str) -> String {
    let ground = Ground::new();
    let mut template = template(&["/bin/sh", "-c", script]);
    template.root = Root::Directory(root.to_owned());
    let spec = spec("root", template);
    assert_eq!(
        ground.driver.check(&spec.template).iter().filter(|c| c.key == "command").count(),
        0
    );
    run(&ground.driver, &spec, &[]).await;
    ground.driver.wait(&spec.id).await.expect("ends");
    let said = output(&ground.driver, &spec.id);
    ground.driver.destroy(&spec.id, Files::Remove).await.expect("destroys");
    said
}

#[tokio::test]
async fn a_directory_is_the_root_and_cannot_be_written() {
    let root = root();
    fs::create_dir_all(root.path().join("etc")).expect("makes");
    fs::create_dir_all(root.path().join("app")).expect("makes");
    fs::write(root.path().join("etc/hosts"), "").expect("writes");
    fs::write(root.path().join("etc/passwd"), "root:x:0:0::/:/bin/sh\n").expect("writes");
    let said = say(
        root.path(),
        "ls /app; ls /etc; cat /etc/hosts /etc/passwd; echo > /app/x; echo > /etc/x; echo > /x; echo > /home/user/x && echo home",
    )
    .await;
    assert!(said.starts_with("hosts\npasswd\n127.0.0.1 localhost root\n"), "{said}");
    assert!(said.contains("100.64.0.2 model.upstream.internal\n"), "{said}");
    assert!(said.contains("user:x:1000:1000:user:/home/user:/bin/sh\n"), "{said}");
    assert_eq!(said.matches("/bin/sh: 1: cannot create").count(), 3, "{said}");
    assert!(said.ends_with("home\n"), "{said}");
}

#[tokio::test]
async fn links_in_a_root_lead_to_nothing_of_the_machines() {
    let secret = tempfile::tempdir().expect("a directory");
    fs::write(secret.path().join("passwd"), "the machine's\n").expect("writes");
    fs::write(secret.path().join("hosts"), "the machine's\n").expect("writes");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(secret.path(), mode).expect("opens it");

    let files = root();
    fs::create_dir_all(files.path().join("etc")).expect("makes");
    symlink(secret.path().join("passwd"), files.path().join("etc/passwd")).expect("links");
    symlink(secret.path().join("hosts"), files.path().join("etc/hosts")).expect("links");
    symlink(secret.path(), files.path().join("opt")).expect("links");
    let said =
        say(files.path(), "cat /etc/passwd /etc/hosts /opt/passwd 2>/dev/null; echo end").await;
    assert_eq!(said, "end\n");

    let directory = root();
    symlink(secret.path(), directory.path().join("etc")).expect("links");
    let said = say(directory.path(), "cat /etc/passwd").await;
    assert!(!said.contains("the machine's") && said.contains("user:x:1000"), "{said}");
}
