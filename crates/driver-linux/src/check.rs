//! What is wrong with a template on this machine, said when configuration is
//! loaded and not when the first request comes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use tidegate_sandbox::driver::{Complaint, Severity};
use tidegate_types::template::{Bind, Root, Template};

use crate::cgroup::Role;
use crate::driver::LinuxDriver;

pub(crate) fn check(driver: &LinuxDriver, template: &Template) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    let mut error = |key: &str, message: String| {
        complaints.push(Complaint { severity: Severity::Error, key: key.into(), message });
    };
    if let Err(why) = &driver.offers.namespaces {
        error(
            "driver",
            format!(
                "This machine does not allow sandboxes ({why}). Run as root, or set \
                 kernel.unprivileged_userns_clone=1, user.max_user_namespaces and, where AppArmor \
                 restricts them, kernel.apparmor_restrict_unprivileged_userns=0."
            ),
        );
    }
    let root = match &template.root {
        Root::Host => Some(PathBuf::from("/")),
        Root::Directory(path) if path.is_dir() => Some(path.clone()),
        Root::Directory(path) => {
            let message = format!(
                "The root directory `{}` does not exist. Name a directory that holds a root file \
                 system, or use the host's.",
                path.display()
            );
            error("root", message);
            None
        }
    };
    for bind in &template.binds {
        if let Some(message) = bad_bind(bind) {
            error("binds", message);
        }
    }
    if let Some(root) = &root
        && let Some(message) = bad_command(root, template)
    {
        error("command", message);
    }
    if let Root::Directory(path) = &template.root {
        for name in ["etc/hosts", "etc/resolv.conf"] {
            if path.join("etc").is_dir() && !path.join(name).is_file() {
                complaints.push(warning(
                    "root",
                    format!(
                        "The root directory has no `{name}`, so names of upstreams are not known \
                         inside. Put an empty file there."
                    ),
                ));
            }
        }
    }
    limits(driver, template, &mut complaints);
    complaints
}

fn warning(key: &str, message: String) -> Complaint {
    Complaint { severity: Severity::Warning, key: key.into(), message }
}

fn limits(driver: &LinuxDriver, template: &Template, complaints: &mut Vec<Complaint>) {
    let limits = &template.limits;
    let mut unless = |set: bool, key: &str, why: Option<String>, instead: &str| {
        if let (true, Some(why)) = (set, why) {
            let message = format!("This limit is not enforced: {why}. {instead}");
            complaints.push(warning(key, message));
        }
    };
    let missing = |role| (!driver.cgroups.has(role)).then(|| driver.cgroups.describe(role));
    const DELEGATE: &str = "Run as root, or in a delegated cgroup (Delegate=yes of systemd).";
    unless(limits.memory.is_some(), "limits.memory", missing(Role::Memory), DELEGATE);
    unless(limits.cpu.is_some(), "limits.cpu", missing(Role::Cpu), DELEGATE);
    unless(
        limits.disk.is_some(),
        "limits.disk",
        driver.offers.disk_limit.as_ref().err().cloned(),
        "Run as root with loop devices and e2fsprogs, or watch the state directory.",
    );
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    let too_many = limits.open_files.zip(most).filter(|(wanted, most)| wanted > most);
    if let Some((wanted, most)) = too_many {
        complaints.push(warning(
            "limits.open-files",
            format!(
                "A process gets {most} open files instead of {wanted}, which is all that this \
                 gateway may hand on. Raise its own limit (LimitNOFILE= of systemd)."
            ),
        ));
    }
}

fn bad_bind(bind: &Bind) -> Option<String> {
    let (source, target) = (bind.source.display(), bind.target.display());
    let plain = |path: &Path| {
        path.is_absolute() && !path.components().any(|part| part == Component::ParentDir)
    };
    if bind.source.to_str().is_none() || bind.target.to_str().is_none() {
        return Some(format!("The bind `{source}` has a name that is not UTF-8. Rename it."));
    }
    if !plain(&bind.source) || !plain(&bind.target) {
        return Some(format!(
            "The bind `{source}` to `{target}` is not absolute. Write both paths in full, without \
             `..`."
        ));
    }
    if ["/", "/proc", "/dev", "/.tidegate"].iter().any(|own| Path::new(own) == bind.target)
        || ["/proc", "/.tidegate"].iter().any(|own| bind.target.starts_with(own))
    {
        return Some(format!(
            "Nothing can be bound to `{target}`, which is the sandbox's own. Choose another place."
        ));
    }
    match fs::metadata(&bind.source) {
        Ok(_) => None,
        Err(error) => Some(format!(
            "The bind's source `{source}` cannot be used: {error}. Make it, or correct the path."
        )),
    }
}

fn bad_command(root: &Path, template: &Template) -> Option<String> {
    let command = template.command.first()?;
    let path = Path::new(command);
    if !path.is_absolute() {
        return Some(format!(
            "The command `{command}` is not an absolute path. Write where it is inside the sandbox."
        ));
    }
    // A program of the sandbox's own files cannot be seen from here.
    if ["/home", "/var", "/tmp", "/run"].iter().any(|own| path.starts_with(own))
        && !template.binds.iter().any(|bind| path.starts_with(&bind.target))
    {
        return None;
    }
    let found = locate(root, path, &template.binds);
    let visible = found.as_ref().is_some_and(|found| seen(root, found, template));
    let executable = found
        .and_then(|found| fs::metadata(found).ok())
        .is_some_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0);
    if visible && executable {
        return None;
    }
    Some(format!(
        "The command `{command}` does not exist inside, or cannot be executed. The sandbox sees \
         the programs of its root and what `binds` adds."
    ))
}

/// Of the machine's root only programs and libraries are seen.
fn seen(root: &Path, found: &Path, template: &Template) -> bool {
    let bound = template.binds.iter().any(|bind| found.starts_with(&bind.source));
    let top = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix"];
    bound || root != Path::new("/") || top.iter().any(|top| found.starts_with(top))
}

/// Where on the machine `path` of the sandbox is, following links as they are seen
/// from inside.
fn locate(root: &Path, path: &Path, binds: &[Bind]) -> Option<PathBuf> {
    let mut rest: Vec<_> = names(path);
    rest.reverse();
    let mut inside = PathBuf::from("/");
    let mut links = 0;
    while let Some(name) = rest.pop() {
        if name == ".." {
            inside.pop();
            continue;
        }
        let next = inside.join(&name);
        if let Ok(to) = fs::read_link(on_machine(root, &next, binds)) {
            links += 1;
            if links > 40 {
                return None;
            }
            if to.is_absolute() {
                inside = PathBuf::from("/");
            }
            rest.extend(names(&to).into_iter().rev());
        } else {
            inside = next;
        }
    }
    Some(on_machine(root, &inside, binds))
}

fn names(path: &Path) -> Vec<String> {
    path.components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
            Component::ParentDir => Some("..".to_owned()),
            _ => None,
        })
        .collect()
}

fn on_machine(root: &Path, inside: &Path, binds: &[Bind]) -> PathBuf {
    // The last bind lies on top.
    for bind in binds.iter().rev() {
        if let Ok(rest) = inside.strip_prefix(&bind.target) {
            return if rest.as_os_str().is_empty() {
                bind.source.clone()
            } else {
                bind.source.join(rest)
            };
        }
    }
    root.join(inside.strip_prefix("/").unwrap_or(inside))
}
