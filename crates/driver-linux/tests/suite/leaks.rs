//! After destroy nothing is left.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use tidegate_sandbox::Driver;
use tidegate_sandbox::driver::Files;
use tokio::task::JoinSet;

use crate::adoption::keepers;
use crate::ground::{open, part, run, spec, state_of_part, template};

const COUNT: usize = 1000;
/// Without root the same is done for fewer: the suite runs both ways.
const COUNT_UNPRIVILEGED: usize = 200;
const AT_ONCE: usize = 8;

/// Everything that a sandbox is made of, as far as this process can see it.
#[derive(Debug, PartialEq, Eq)]
struct Traces {
    keepers: Vec<i32>,
    mounts: Vec<String>,
    cgroups: Vec<PathBuf>,
    disks: Vec<String>,
    files: Vec<PathBuf>,
    /// Of this process: sockets, pidfds, mounts.
    descriptors: usize,
}

fn traces(state: &Path) -> Traces {
    let name = state.file_name().and_then(|n| n.to_str()).expect("a name");
    let lines = |file: &str| -> Vec<String> {
        let text = fs::read_to_string(file).unwrap_or_default();
        text.lines().filter(|line| line.contains(name)).map(str::to_owned).collect()
    };
    let mut cgroups = Vec::new();
    walk(Path::new("/sys/fs/cgroup"), &mut cgroups);
    // Their names end in the process that made them: other tests run meanwhile.
    let ours = format!(".{}-", std::process::id());
    cgroups.retain(|path| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.contains(&ours))
    });
    let disks = (0..64)
        .filter_map(|n| fs::read_to_string(format!("/sys/block/loop{n}/loop/backing_file")).ok())
        .filter(|file| file.contains(name))
        .collect();
    let mut files = Vec::new();
    walk(&state.join("sandboxes"), &mut files);
    Traces {
        keepers: keepers(state),
        mounts: lines("/proc/self/mountinfo"),
        cgroups,
        disks,
        files,
        descriptors: fs::read_dir("/proc/self/fd").expect("fds").count(),
    }
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), found);
        }
        found.push(entry.path());
    }
}

fn networks(pids: &[i32]) -> BTreeSet<PathBuf> {
    pids.iter().filter_map(|pid| fs::read_link(format!("/proc/{pid}/ns/net")).ok()).collect()
}

fn all_networks() -> BTreeSet<PathBuf> {
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    let pids: Vec<_> = processes.filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
    networks(&pids)
}

/// In a process of its own, so that its descriptors can be counted.
#[tokio::test]
async fn part_that_makes_and_destroys() {
    let Some(state) = state_of_part() else { return };
    let driver = open(state.clone());
    // The runtime's own descriptors are there before anything is counted.
    driver.list().await.expect("lists");
    let before = traces(&state);
    let mut seen = BTreeSet::new();
    let begun = Instant::now();
    let mut running = JoinSet::new();
    let root = rustix::process::geteuid().is_root();
    let count = if root { COUNT } else { COUNT_UNPRIVILEGED };
    for number in 0..count {
        if running.len() == AT_ONCE {
            running.join_next().await.expect("one").expect("it works");
        }
        let driver = Arc::clone(&driver);
        running.spawn(async move {
            let mut template = template(&["/bin/sh", "-c", "exec sleep 9"]);
            // Every fiftieth with a disk: each takes a while.
            template.limits.disk = (number % 50 == 0).then_some(16 << 20);
            let spec = spec(&format!("leak-{number}"), template);
            run(&driver, &spec, &[]).await;
            driver.destroy(&spec.id, Files::Remove).await.expect("destroys");
        });
        if number % 100 == 50 {
            seen.extend(networks(&keepers(&state)));
        }
    }
    while let Some(done) = running.join_next().await {
        done.expect("it works");
    }
    println!("{count} sandboxes made and destroyed in {:?}", begun.elapsed());
    assert_eq!(traces(&state), before);
    // Launchers are still in the machine's network when they are looked at.
    seen.remove(&fs::read_link("/proc/self/ns/net").expect("our own"));
    let left: Vec<_> = seen.intersection(&all_networks()).cloned().collect();
    assert_eq!(left, Vec::<PathBuf>::new());
    println!("\nnothing left");
}

#[tokio::test]
async fn a_thousand_sandboxes_leave_no_process_mount_cgroup_namespace_socket_or_file() {
    let state = tempfile::tempdir().expect("a directory");
    let state_dir = state.path().canonicalize().expect("it exists");
    let output =
        part("leaks::part_that_makes_and_destroys", &state_dir).output().await.expect("runs");
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    assert!(said.contains("nothing left"), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn files_of_any_depth_and_mode_are_removed() {
    let ground = crate::ground::Ground::new();
    let program = "\
import os
for name in range(3):
    os.chdir('/home/user'); os.mkdir('d%d' % name); os.chdir('d%d' % name)
    for depth in range(700):
        os.mkdir('x' * 50); os.chdir('x' * 50)
    open('deep', 'w')
os.chdir('/home/user')
os.mkdir('closed'); open('closed/file', 'w'); os.chmod('closed', 0)
os.symlink('/', 'root'); os.symlink('..', 'up'); os.mkfifo('pipe')
os.mkdir('.tidegate-removed-1')
print('done')";
    let spec = spec("deep", template(&[crate::ground::PYTHON, "-c", program]));
    run(&ground.driver, &spec, &[]).await;
    ground.driver.wait(&spec.id).await.expect("ends");
    assert_eq!(crate::ground::output(&ground.driver, &spec.id), "done\n");
    ground.driver.destroy(&spec.id, Files::Remove).await.expect("destroys");
    let mut left = Vec::new();
    walk(&ground.state.path().join("sandboxes"), &mut left);
    assert_eq!(left, Vec::<PathBuf>::new());
}
