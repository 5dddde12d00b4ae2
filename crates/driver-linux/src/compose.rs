//! Composes a sandbox's file system: which parts of the machine it sees, what is
//! its own, what is hidden.
//!
//! | inside | is |
//! |---|---|
//! | /usr /bin /lib… | the machine's or the root directory's, read-only |
//! | /etc | of `host` roots: the few files that programs need; else the directory's |
//! | /home /var /tmp | the sandbox's own, on disk; /tmp is emptied at each start |
//! | /run /dev/shm | the sandbox's own, in memory |
//! | /proc | its own processes; the machine's settings read-only or hidden |
//! | /sys /root /boot /mnt … | nothing |
//! | /.tidegate/init | the program of init |

use std::fs;
use std::io;
use std::path::Path;

use tidegate_keeper::plan::{Access, Origin, Owner, Plan, Step};
use tidegate_keeper::protocol::APP_ID;

use crate::recipe::{Recipe, Root};

/// Home directory of the tenant's user.
pub(crate) const HOME: &str = "/home/user";

/// Top-level directories that are the sandbox's own or that it has no need of:
/// everything else of a root directory appears.
const NOT_FROM_ROOT: [&str; 12] = [
    "proc",
    "sys",
    "dev",
    "run",
    "tmp",
    "var",
    "home",
    "etc",
    "boot",
    "lost+found",
    ".tidegate",
    ".dockerenv",
];

/// Of the machine's own root only these appear.
const FROM_HOST: [&str; 8] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "nix"];

/// What programs need of the machine's /etc; none of it is secret.
const ETC_FROM_HOST: [&str; 22] = [
    "alternatives",
    "ca-certificates",
    "ca-certificates.conf",
    "crypto-policies",
    "fonts",
    "gai.conf",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.conf",
    "localtime",
    "magic",
    "mime.types",
    "pki/ca-trust",
    "pki/tls/certs",
    "protocols",
    "services",
    "ssl/certs",
    "ssl/openssl.cnf",
    "terminfo",
    "timezone",
    "xdg",
];

const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Of /proc: what would tell about the machine or let it be changed. The kernel
/// guards most of it; this is a wall behind the wall.
const PROC_HIDDEN: [&str; 9] = [
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/key-users",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/kallsyms",
];
const PROC_SEALED: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

const RUN_SIZE: u64 = 32 << 20;
const SHM_SIZE: u64 = 256 << 20;

/// What is composed of.
pub(crate) struct Parts<'a> {
    pub(crate) recipe: &'a Recipe,
    /// The keeper program, on the machine.
    pub(crate) program: &'a Path,
    pub(crate) writable: Writable<'a>,
    pub(crate) hostname: &'a str,
}

/// What the sandbox may write.
pub(crate) enum Writable<'a> {
    /// A directory of the machine with `home`, `var` and `tmp`.
    Directory(&'a Path),
    /// A file system that is handed over, with the same three in it, as the
    /// descriptor of this number.
    Disk(u8),
}

/// The plan. Reads the machine's or the root directory's names, not their content.
///
/// # Errors
/// A root directory that cannot be read.
pub(crate) fn compose(parts: &Parts<'_>) -> io::Result<Plan> {
    let mut steps = Vec::new();
    match &parts.recipe.root {
        Root::Host => {
            for name in FROM_HOST {
                appear(&mut steps, &Path::new("/").join(name), &format!("/{name}"))?;
            }
            etc_of_host(&mut steps, parts);
        }
        Root::Directory(root) => {
            let mut names: Vec<_> = fs::read_dir(root)?
                .flatten()
                .filter_map(|e| e.file_name().into_string().ok())
                .collect();
            names.sort_unstable();
            for name in names.iter().filter(|name| !NOT_FROM_ROOT.contains(&name.as_str())) {
                appear(&mut steps, &Path::new(root).join(name), &format!("/{name}"))?;
            }
            etc_of_directory(&mut steps, Path::new(root), parts)?;
        }
    }
    bind(&mut steps, parts.program, "/.tidegate/init", Access::ReadOnly);
    writable(&mut steps, &parts.writable);
    kernel(&mut steps);
    for (source, target) in &parts.recipe.binds {
        bind(&mut steps, Path::new(source), target, Access::ReadOnly);
    }
    Ok(Plan { steps })
}

fn bind(steps: &mut Vec<Step>, from: &Path, at: &str, access: Access) {
    let from = Origin::Machine(from.to_string_lossy().into_owned());
    steps.push(Step::Bind { from, at: at.to_owned(), access });
}

/// Directories and files are bound, links copied, what is missing left out.
fn appear(steps: &mut Vec<Step>, from: &Path, at: &str) -> io::Result<()> {
    let kind = match fs::symlink_metadata(from) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if kind.is_symlink() {
        let to = fs::read_link(from)?.to_string_lossy().into_owned();
        steps.push(Step::Link { at: at.to_owned(), to });
    } else if kind.is_dir() || kind.is_file() {
        bind(steps, from, at, Access::ReadOnly);
    }
    Ok(())
}

fn etc_of_host(steps: &mut Vec<Step>, parts: &Parts<'_>) {
    for name in ETC_FROM_HOST {
        // What cannot be looked at is not there for the sandbox either.
        drop(appear(steps, &Path::new("/etc").join(name), &format!("/etc/{name}")));
    }
    for (name, content) in own_etc(parts) {
        steps.push(Step::File { at: format!("/etc/{name}"), content: content.into_bytes() });
    }
    let passwd = format!(
        "root:x:0:0:root:/:/usr/sbin/nologin\n\
         user:x:{APP_ID}:{APP_ID}:user:{HOME}:/bin/sh\n\
         nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n"
    );
    let group = format!("root:x:0:\ntty:x:5:\nuser:x:{APP_ID}:\nnogroup:x:65534:\n");
    for (name, content) in [
        ("passwd", passwd),
        ("group", group),
        ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n".to_owned()),
    ] {
        steps.push(Step::File { at: format!("/etc/{name}"), content: content.into_bytes() });
    }
}

/// The directory's own /etc, with our files in place of its own where it has
/// files to put them on.
fn etc_of_directory(steps: &mut Vec<Step>, root: &Path, parts: &Parts<'_>) -> io::Result<()> {
    // INVARIANT: nothing of a root directory is looked at through a link. Here,
    // outside, a link would lead to the machine's own files.
    let etc = root.join("etc");
    let is = |path: &Path, kind: fn(&fs::FileType) -> bool| {
        fs::symlink_metadata(path).is_ok_and(|metadata| kind(&metadata.file_type()))
    };
    if !is(&etc, fs::FileType::is_dir) {
        etc_of_host(steps, parts);
        return Ok(());
    }
    bind(steps, &etc, "/etc", Access::ReadOnly);
    let mut files = own_etc(parts);
    let passwd = match is(&etc.join("passwd"), fs::FileType::is_file) {
        true => fs::read_to_string(etc.join("passwd"))?,
        false => String::new(),
    };
    let known = |line: &str| line.split(':').nth(2) == Some(&APP_ID.to_string());
    if !passwd.lines().any(known) {
        files.push(("passwd", format!("{passwd}user:x:{APP_ID}:{APP_ID}:user:{HOME}:/bin/sh\n")));
    }
    for (name, content) in files {
        if !is(&etc.join(name), fs::FileType::is_file) {
            continue;
        }
        let at = format!("/.tidegate/etc/{name}");
        steps.push(Step::File { at: at.clone(), content: content.into_bytes() });
        steps.push(Step::Bind {
            from: Origin::Inside(at),
            at: format!("/etc/{name}"),
            access: Access::ReadOnly,
        });
    }
    Ok(())
}

fn own_etc(parts: &Parts<'_>) -> Vec<(&'static str, String)> {
    let mut hosts = format!("127.0.0.1 localhost {}\n::1 localhost\n", parts.hostname);
    for (name, address) in &parts.recipe.hosts {
        hosts.push_str(&format!("{address} {name}\n"));
    }
    vec![
        ("hosts", hosts),
        ("hostname", format!("{}\n", parts.hostname)),
        // No name server answers: a program gets its refusal at once.
        ("resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n".to_owned()),
    ]
}

fn writable(steps: &mut Vec<Step>, writable: &Writable<'_>) {
    const DISK: &str = "/.tidegate/disk";
    if let Writable::Disk(number) = writable {
        let from = Origin::Handed(*number);
        steps.push(Step::Bind { from, at: DISK.to_owned(), access: Access::ReadWrite });
    }
    for name in ["home", "var", "tmp"] {
        let from = match writable {
            Writable::Directory(path) => {
                Origin::Machine(path.join(name).to_string_lossy().into_owned())
            }
            Writable::Disk(_) => Origin::Inside(format!("{DISK}/{name}")),
        };
        steps.push(Step::Bind { from, at: format!("/{name}"), access: Access::ReadWrite });
    }
    if let Writable::Disk(_) = writable {
        steps.push(Step::Unmount { at: DISK.to_owned() });
    }
    let memory =
        |at: &str, size, mode, owner| Step::Memory { at: at.to_owned(), size, mode, owner };
    steps.push(memory("/run", RUN_SIZE, 0o755, Owner::App));
}

fn kernel(steps: &mut Vec<Step>) {
    let text = str::to_owned;
    steps.push(Step::Processes { at: text("/proc") });
    steps.push(Step::Directory { at: text("/dev"), mode: 0o755 });
    for device in DEVICES {
        bind(steps, &Path::new("/dev").join(device), &format!("/dev/{device}"), Access::Device);
    }
    // After the devices: /dev/null is what hides.
    steps.extend(PROC_HIDDEN.iter().map(|at| Step::Hide { at: text(at) }));
    steps.extend(PROC_SEALED.iter().map(|at| Step::Seal { at: text(at) }));
    steps.push(Step::Terminals { at: text("/dev/pts") });
    steps.push(Step::Memory {
        at: text("/dev/shm"),
        size: SHM_SIZE,
        mode: 0o1777,
        owner: Owner::System,
    });
    for (at, to) in [
        ("/dev/ptmx", "pts/ptmx"),
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdin", "/proc/self/fd/0"),
        ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"),
    ] {
        steps.push(Step::Link { at: text(at), to: text(to) });
    }
    steps.push(Step::Directory { at: text("/sys"), mode: 0o555 });
    // Some programs look for it and cannot do without.
    steps.push(Step::Directory { at: text("/mnt"), mode: 0o755 });
}
