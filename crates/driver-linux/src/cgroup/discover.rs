//! Which cgroups this machine lets us make, and where.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tidegate_types::Limits;

use super::{Group, Role, Version};

/// Where each role is served, or why it is not.
#[derive(Debug, Clone)]
pub(crate) struct Cgroups {
    roles: Vec<(Role, Result<Place, String>)>,
    tag: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    version: Version,
    /// An existing cgroup that we may make others in.
    base: PathBuf,
}

struct Mount {
    version: Version,
    controllers: Vec<String>,
    /// Our own cgroup in it.
    own: PathBuf,
    root: PathBuf,
}

impl Cgroups {
    /// Looks at what is mounted and tries to make a cgroup in each. `tag` names
    /// the parent of all that will be made.
    pub(crate) fn discover(tag: &str) -> Self {
        let mounts = mounts(
            &fs::read_to_string("/proc/self/mountinfo").unwrap_or_default(),
            &fs::read_to_string("/proc/self/cgroup").unwrap_or_default(),
        );
        let roles = Role::ALL.into_iter().map(|role| (role, find(role, &mounts))).collect();
        Self { roles, tag: format!("tidegate-{tag}") }
    }

    /// Whether `role` is served.
    pub(crate) fn has(&self, role: Role) -> bool {
        self.place(role).is_ok()
    }

    /// In words for an operator: how `role` is served or why it is not.
    pub(crate) fn describe(&self, role: Role) -> String {
        match self.place(role) {
            Ok(Place { version: Version::V1, base }) => {
                format!("cgroup v1 at {}", base.display())
            }
            Ok(Place { version: Version::V2, base }) => {
                format!("cgroup v2 at {}", base.display())
            }
            Err(reason) => reason,
        }
    }

    fn place(&self, role: Role) -> Result<Place, String> {
        let found = self.roles.iter().find(|(known, _)| *known == role);
        found.map_or_else(|| Err("not looked for".into()), |(_, place)| place.clone())
    }

    /// Makes the cgroups of one run, called `name`, with its limits.
    ///
    /// # Errors
    /// The system's; then nothing is left.
    pub(crate) fn make(&self, name: &str, limits: &Limits) -> io::Result<Group> {
        let mut group = Group::default();
        for (role, place) in &self.roles {
            let Ok(place) = place else { continue };
            if let Err(error) = self.make_one(&mut group, *role, place, name, limits) {
                group.remove_now();
                return Err(error);
            }
        }
        Ok(group)
    }

    fn make_one(
        &self,
        group: &mut Group,
        role: Role,
        place: &Place,
        name: &str,
        limits: &Limits,
    ) -> io::Result<()> {
        let parent = place.base.join(&self.tag);
        let directory = parent.join(name);
        // Another sandbox's end may remove the parent between the two.
        let mut attempts = 0;
        loop {
            attempts += 1;
            make_unless_there(&parent)?;
            if let (Version::V2, Some(controller)) = (place.version, role.v2()) {
                enable(&parent, controller)?;
            }
            match make_unless_there(&directory) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && attempts < 10 => {}
                other => break other?,
            }
        }
        group.adopt(role, place.version, directory);
        group.limit(role, limits)
    }

    /// Removes what sandboxes of earlier gateways left that no longer exist: all
    /// that is empty. Those of this process are removed by the runs they belong to.
    pub(crate) fn sweep(&self) {
        let ours = format!(".{}-", std::process::id());
        self.sweep_where(|name| !name.contains(&ours));
    }

    /// Removes what is left of the runs whose names begin so.
    pub(crate) fn sweep_of(&self, prefix: &str) {
        self.sweep_where(|name| name.starts_with(prefix));
    }

    fn sweep_where(&self, which: impl Fn(&str) -> bool) {
        for (_, place) in &self.roles {
            let Ok(place) = place else { continue };
            let parent = place.base.join(&self.tag);
            for entry in fs::read_dir(&parent).into_iter().flatten().flatten() {
                let chosen = entry.file_name().to_str().is_some_and(&which);
                if chosen && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    // Not empty: a sandbox that lives.
                    drop(fs::remove_dir(entry.path()));
                }
            }
            drop(fs::remove_dir(parent));
        }
    }
}

fn make_unless_there(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

fn enable(cgroup: &Path, controller: &str) -> io::Result<()> {
    let file = cgroup.join("cgroup.subtree_control");
    let enabled = fs::read_to_string(&file)?;
    if enabled.split_whitespace().any(|name| name == controller) {
        return Ok(());
    }
    fs::write(file, format!("+{controller}"))
}

fn find(role: Role, mounts: &[Mount]) -> Result<Place, String> {
    let mut reasons = Vec::new();
    for mount in mounts {
        let serves = match (mount.version, role.v2()) {
            (Version::V1, _) => mount.controllers.iter().any(|name| name == role.v1()),
            (Version::V2, None) => true,
            (Version::V2, Some(controller)) => mount.controllers.iter().any(|c| c == controller),
        };
        if !serves {
            continue;
        }
        for base in bases(mount) {
            match try_base(mount.version, role, &base) {
                Ok(()) => return Ok(Place { version: mount.version, base }),
                Err(error) => reasons.push(format!("{}: {error}", base.display())),
            }
        }
    }
    if reasons.is_empty() {
        return Err(format!("no cgroup hierarchy with `{}` is mounted", role.v1()));
    }
    Err(format!("cannot make cgroups ({})", reasons.join("; ")))
}

/// Beneath our own cgroup we stay within our own limits. With version 2 that only
/// works where nothing runs in it, so for the machine's root cgroup comes next.
fn bases(mount: &Mount) -> Vec<PathBuf> {
    match mount.version {
        Version::V1 => vec![mount.own.clone()],
        Version::V2 if mount.own == mount.root => vec![mount.root.clone()],
        Version::V2 => vec![mount.own.clone(), mount.root.clone()],
    }
}

fn try_base(version: Version, role: Role, base: &Path) -> io::Result<()> {
    let trial = base.join(format!("tidegate-trial-{}", std::process::id()));
    if let (Version::V2, Some(controller)) = (version, role.v2()) {
        enable(base, controller)?;
    }
    make_unless_there(&trial)?;
    fs::remove_dir(trial)
}

/// Reads `/proc/self/mountinfo` and `/proc/self/cgroup`; version 2 comes first.
fn mounts(mountinfo: &str, own: &str) -> Vec<Mount> {
    let mut mounts: Vec<_> = mountinfo.lines().filter_map(|line| mount(line, own)).collect();
    mounts.sort_by_key(|mount| mount.version == Version::V1);
    mounts
}

fn mount(line: &str, own: &str) -> Option<Mount> {
    // 31 23 0:27 /root /mount/point rw,… optional… - type source super,options
    let (before, after) = line.split_once(" - ")?;
    let mut before = before.split(' ').skip(3);
    let (root_within, point) = (before.next()?, PathBuf::from(before.next()?));
    let mut after = after.split(' ');
    let version = match after.next()? {
        "cgroup" => Version::V1,
        "cgroup2" => Version::V2,
        _ => return None,
    };
    let options: Vec<String> = after.nth(1)?.split(',').map(str::to_owned).collect();
    let path = own.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let matches = match version {
            Version::V2 => controllers.is_empty(),
            Version::V1 => controllers.split(',').any(|name| options.iter().any(|o| o == name)),
        };
        matches.then_some(path)
    })?;
    // Within a container the mount may show a part of the tree only.
    let relative = Path::new(path).strip_prefix(root_within).unwrap_or(Path::new(""));
    let controllers = match version {
        Version::V1 => options,
        Version::V2 => fs::read_to_string(point.join("cgroup.controllers"))
            .unwrap_or_default()
            .split_whitespace()
            .map(str::to_owned)
            .collect(),
    };
    Some(Mount { version, controllers, own: point.join(relative), root: point })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mixed_machine_serves_each_role_from_where_its_controller_is() {
        let mountinfo = "\
            31 23 0:27 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
            32 23 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
            33 23 0:29 /part /sys/fs/cgroup/pids rw shared:9 - cgroup cgroup rw,pids\n\
            34 23 0:30 / /proc rw - proc proc rw\n\
            35 23 0:31 / /nowhere/unified rw - cgroup2 cgroup2 rw,nsdelegate\n";
        let own = "9:pids:/part/x\n4:memory:/here\n2:cpu,cpuacct:/\n0::/service\n";
        let found: Vec<_> = mounts(mountinfo, own)
            .into_iter()
            .map(|mount| (mount.version, mount.own.display().to_string()))
            .collect();
        let expected = [
            (Version::V2, "/nowhere/unified/service"),
            (Version::V1, "/sys/fs/cgroup/memory/here"),
            (Version::V1, "/sys/fs/cgroup/cpu/"),
            (Version::V1, "/sys/fs/cgroup/pids/x"),
        ];
        let expected: Vec<_> = expected.iter().map(|(v, path)| (*v, (*path).to_owned())).collect();
        assert_eq!(found, expected);
    }
}
