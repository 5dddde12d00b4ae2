//! Which system calls a sandbox's processes may not make, each with the reason.
//!
//! Most of these are refused by missing capabilities already. They are refused
//! here too because each is a way into kernel code that a tenant has no need of.

use libc::{EAFNOSUPPORT, ENOSYS, EPERM, c_long};

/// One refused call.
pub(super) struct Rule {
    /// Its number.
    pub(super) call: c_long,
    /// Under which condition.
    pub(super) refusal: Refusal,
    /// What the program is told.
    pub(super) error: i32,
    /// Why.
    #[cfg_attr(not(test), expect(dead_code, reason = "for readers, and for tests' messages"))]
    pub(super) why: &'static str,
}

/// When a call is refused. Arguments are compared by their low 32 bits, which is
/// all the kernel looks at for those named here.
pub(super) enum Refusal {
    Always,
    AnyBit {
        argument: u32,
        bits: u32,
    },
    Equal {
        argument: u32,
        value: u32,
    },
    NoneOf {
        argument: u32,
        values: &'static [u32],
    },
    /// The one argument is this, the other is not that.
    EqualButNot {
        argument: u32,
        value: u32,
        other: u32,
        unless: u32,
    },
}

/// The newest system call that was looked at: `file_setattr`, Linux 6.17.
pub(super) const NEWEST: u32 = 469;

/// `CLONE_NEW*`: time, mount, cgroup, uts, ipc, user, pid, network.
const NEW_NAMESPACES: u32 = 0x7e02_0080;

/// Where the C library has no name yet; the same on every architecture.
const STATMOUNT: c_long = 457;
const LISTMOUNT: c_long = 458;
const OPEN_TREE_ATTR: c_long = 467;
const FILE_SETATTR: c_long = 469;

const fn never(call: c_long, why: &'static str) -> Rule {
    Rule { call, refusal: Refusal::Always, error: EPERM, why }
}
const fn missing(call: c_long, why: &'static str) -> Rule {
    Rule { call, refusal: Refusal::Always, error: ENOSYS, why }
}
const fn when(call: c_long, refusal: Refusal, error: i32, why: &'static str) -> Rule {
    Rule { call, refusal, error, why }
}

/// The table. Order does not matter.
pub(super) const TABLE: &[Rule] = &[
    // Answered as if they did not exist, so that programs use something else.
    missing(libc::SYS_io_uring_setup, "cannot be checkpointed; many kernel bugs"),
    missing(libc::SYS_io_uring_enter, "as io_uring_setup"),
    missing(libc::SYS_io_uring_register, "as io_uring_setup"),
    missing(libc::SYS_clone3, "its flags cannot be seen; libc falls back to clone"),
    missing(libc::SYS_userfaultfd, "makes kernel races winnable"),
    missing(libc::SYS_memfd_secret, "cannot be checkpointed"),
    missing(libc::SYS_fsopen, "as mount"),
    missing(libc::SYS_fsconfig, "as mount"),
    missing(libc::SYS_fsmount, "as mount"),
    missing(libc::SYS_fspick, "as mount"),
    missing(libc::SYS_open_tree, "as mount"),
    missing(libc::SYS_move_mount, "as mount"),
    missing(libc::SYS_mount_setattr, "as mount"),
    missing(OPEN_TREE_ATTR, "as mount"),
    missing(STATMOUNT, "shows the machine's paths"),
    missing(LISTMOUNT, "as statmount"),
    missing(FILE_SETATTR, "file system internals"),
    // Namespaces: whoever has one of their own has capabilities in it.
    when(
        libc::SYS_clone,
        Refusal::AnyBit { argument: 0, bits: NEW_NAMESPACES },
        EPERM,
        "no new namespaces: capabilities in one open much of the kernel",
    ),
    never(libc::SYS_unshare, "as clone"),
    never(libc::SYS_setns, "as clone"),
    // Mounts and roots.
    never(libc::SYS_mount, "the file system is the gateway's to arrange"),
    never(libc::SYS_umount2, "as mount: would uncover what is hidden"),
    never(libc::SYS_pivot_root, "as mount"),
    never(libc::SYS_chroot, "as mount"),
    never(libc::SYS_swapon, "administration of the machine"),
    never(libc::SYS_swapoff, "administration of the machine"),
    never(libc::SYS_quotactl, "administration of the machine"),
    never(libc::SYS_quotactl_fd, "administration of the machine"),
    never(libc::SYS_name_to_handle_at, "handles get around path lookup"),
    never(libc::SYS_open_by_handle_at, "as name_to_handle_at"),
    never(libc::SYS_fanotify_init, "watches whole file systems"),
    never(libc::SYS_fanotify_mark, "as fanotify_init"),
    // Other processes.
    never(libc::SYS_ptrace, "nobody traces: init and siblings are not the tenant's"),
    never(libc::SYS_process_vm_readv, "as ptrace"),
    never(libc::SYS_process_vm_writev, "as ptrace"),
    never(libc::SYS_process_madvise, "as ptrace"),
    never(libc::SYS_pidfd_getfd, "as ptrace"),
    never(libc::SYS_kcmp, "as ptrace: compares kernel pointers"),
    never(libc::SYS_move_pages, "as ptrace; moves others' memory"),
    never(libc::SYS_migrate_pages, "as move_pages"),
    // Kernel and machine.
    never(libc::SYS_bpf, "programs in the kernel"),
    never(libc::SYS_perf_event_open, "measures what others do; many kernel bugs"),
    never(libc::SYS_kexec_load, "administration of the machine"),
    #[cfg(target_arch = "x86_64")]
    never(libc::SYS_kexec_file_load, "administration of the machine"),
    never(libc::SYS_init_module, "kernel modules"),
    never(libc::SYS_finit_module, "kernel modules"),
    never(libc::SYS_delete_module, "kernel modules"),
    never(libc::SYS_reboot, "administration of the machine"),
    never(libc::SYS_acct, "administration of the machine"),
    never(libc::SYS_syslog, "the machine's log"),
    never(libc::SYS_vhangup, "administration of the machine"),
    never(libc::SYS_settimeofday, "the machine's clock"),
    never(libc::SYS_clock_settime, "the machine's clock"),
    never(libc::SYS_adjtimex, "the machine's clock"),
    never(libc::SYS_clock_adjtime, "the machine's clock"),
    never(libc::SYS_sethostname, "the sandbox's name is the gateway's to choose"),
    never(libc::SYS_setdomainname, "as sethostname"),
    never(libc::SYS_nfsservctl, "gone from the kernel"),
    when(
        libc::SYS_personality,
        Refusal::NoneOf { argument: 0, values: &[0, 0xffff_ffff] },
        EPERM,
        "others weaken address randomisation or speak other systems' calls",
    ),
    #[cfg(target_arch = "x86_64")]
    never(libc::SYS_iopl, "hardware"),
    #[cfg(target_arch = "x86_64")]
    never(libc::SYS_ioperm, "hardware"),
    #[cfg(target_arch = "x86_64")]
    never(libc::SYS_modify_ldt, "16-bit segments; kernel bugs, no users"),
    // Keys live in a store that is per user, not per sandbox.
    never(libc::SYS_add_key, "the kernel's key store is not part of a sandbox"),
    never(libc::SYS_request_key, "as add_key; runs a program of the machine"),
    never(libc::SYS_keyctl, "as add_key"),
    // Sockets: what an application needs, not the kernel's forty other families.
    when(
        libc::SYS_socket,
        Refusal::NoneOf { argument: 0, values: FAMILIES },
        EAFNOSUPPORT,
        "other families are kernel code that nobody here needs: vsock, alg, packet, xdp",
    ),
    when(
        libc::SYS_socket,
        Refusal::EqualButNot { argument: 0, value: 16, other: 2, unless: 0 },
        EAFNOSUPPORT,
        "of netlink only routing: the rest configures firewalls, audit, crypto",
    ),
    when(
        libc::SYS_socketpair,
        Refusal::NoneOf { argument: 0, values: &[1] },
        EAFNOSUPPORT,
        "only Unix sockets come in pairs",
    ),
    // Terminals: typing for somebody else.
    when(
        libc::SYS_ioctl,
        Refusal::Equal { argument: 1, value: 0x5412 },
        EPERM,
        "TIOCSTI puts input into a terminal that another process reads",
    ),
    when(
        libc::SYS_ioctl,
        Refusal::Equal { argument: 1, value: 0x541C },
        EPERM,
        "TIOCLINUX does the same on a console",
    ),
];

/// Unix, IPv4, IPv6 and netlink: the last for the list of interfaces, which libc
/// asks for.
const FAMILIES: &[u32] = &[1, 2, 10, 16];
