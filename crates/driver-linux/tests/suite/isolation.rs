//! Attacks from inside a sandbox. Each fails, and the sandbox goes on.

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use tidegate_sandbox::Driver;
use tidegate_sandbox::driver::{Files, SandboxId};
use tidegate_types::Limits;
use tidegate_types::template::Bind;
use tokio::net::TcpStream;

use crate::ground::{Ground, ask, connect, evaluator, run};

/// A system call by number, as Python: its result or the name of its error.
const CALL: &str = "(lambda libc, errno: (lambda call: call)(lambda *a: (lambda r: r if r >= 0 else \
    errno.errorcode[ctypes.get_errno()])(libc.syscall(*[ctypes.c_long(x) if isinstance(x, int) else \
    x for x in a]))))(ctypes.CDLL(None, use_errno=True), __import__('errno'))";

struct Inside {
    ground: Ground,
    id: SandboxId,
    stream: TcpStream,
}

impl Inside {
    async fn new(name: &str) -> Self {
        Self::with(name, |_| {}).await
    }

    async fn with(name: &str, change: impl FnOnce(&mut tidegate_types::Template)) -> Self {
        let ground = Ground::new();
        let mut spec = evaluator(name);
        change(std::sync::Arc::make_mut(&mut spec.template));
        run(&ground.driver, &spec, &[]).await;
        let mut stream = connect(&ground.driver, &spec.id, 8080).await;
        ask(&mut stream, &format!("globals().__setitem__('call', {CALL})")).await;
        Self { ground, id: spec.id, stream }
    }

    async fn eval(&mut self, expression: &str) -> String {
        ask(&mut self.stream, expression).await
    }

    /// Each expression has that answer.
    async fn expect(mut self, cases: &[(&str, &str)]) {
        for (expression, expected) in cases {
            assert_eq!(self.eval(expression).await, *expected, "{expression}");
        }
        self.done().await;
    }

    async fn done(mut self) {
        assert_eq!(self.eval("'alive'").await, "alive");
        self.ground.driver.destroy(&self.id, Files::Remove).await.expect("destroys");
    }
}

#[tokio::test]
async fn only_its_own_processes_are_seen() {
    let mut inside = Inside::new("processes").await;
    let neighbour = evaluator("neighbour");
    run(&inside.ground.driver, &neighbour, &[]).await;
    connect(&inside.ground.driver, &neighbour.id, 8080).await;
    assert_eq!(
        inside.eval("sorted(int(p) for p in os.listdir('/proc') if p.isdigit())").await,
        "[1, 2]"
    );
    inside.ground.driver.destroy(&neighbour.id, Files::Remove).await.expect("destroys");
    inside.done().await;
}

#[tokio::test]
async fn neither_the_state_directory_nor_other_sandboxes_files_are_there() {
    let mut inside = Inside::new("files").await;
    let state = inside.ground.state.path().display().to_string();
    assert_eq!(inside.eval(&format!("os.path.exists('{state}')")).await, "False");
    let find = "sh('find / -xdev -name record.json -o -xdev -name control.sock -o -xdev -name output.log 2>/dev/null')";
    assert_eq!(inside.eval(find).await, "");
    assert_eq!(inside.eval("os.listdir('/home')").await, "['user']");
    inside.done().await;
}

#[tokio::test]
async fn the_machines_private_directories_are_not_there() {
    let cases = [
        ("os.path.exists('/root')", "False"),
        ("os.path.exists('/etc/shadow')", "False"),
        ("os.path.exists('/boot')", "False"),
        ("os.listdir('/sys')", "[]"),
        ("os.listdir('/mnt')", "[]"),
        ("sorted(os.listdir('/run'))", "[]"),
    ];
    Inside::new("private").await.expect(&cases).await;
}

#[tokio::test]
async fn the_machines_loopback_is_not_reached() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listens");
    let port = listener.local_addr().expect("an address").port();
    let mut inside = Inside::new("loopback").await;
    for address in ["127.0.0.1", "100.64.0.1", "0.0.0.0", "169.254.169.254"] {
        let connect = format!("socket.create_connection(('{address}', {port}), 2)");
        let answer = inside.eval(&connect).await;
        assert!(answer.starts_with("ConnectionRefusedError"), "{address}: {answer}");
    }
    inside.done().await;
}

#[tokio::test]
async fn another_sandboxs_port_is_not_reached() {
    let mut inside = Inside::new("port").await;
    let neighbour = evaluator("neighbour");
    run(&inside.ground.driver, &neighbour, &[]).await;
    let mut there = connect(&inside.ground.driver, &neighbour.id, 8080).await;
    let listen = "globals().__setitem__('s', socket.create_server(('0.0.0.0', 9001)))";
    assert_eq!(ask(&mut there, listen).await, "None");
    let answer = inside.eval("socket.create_connection(('127.0.0.1', 9001), 2)").await;
    assert!(answer.starts_with("ConnectionRefusedError"), "{answer}");
    inside.ground.driver.destroy(&neighbour.id, Files::Remove).await.expect("destroys");
    inside.done().await;
}

#[tokio::test]
async fn the_machines_abstract_sockets_are_not_reached() {
    let name = format!("tidegate-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let _listener = UnixListener::bind_addr(&address).expect("listens");
    let mut inside = Inside::new("abstract").await;
    let answer = inside.eval(&format!("socket.socket(socket.AF_UNIX).connect('\\0{name}')")).await;
    assert!(answer.starts_with("ConnectionRefusedError"), "{answer}");
    inside.done().await;
}

#[tokio::test]
async fn init_cannot_be_looked_into_or_changed() {
    let mut inside = Inside::new("init").await;
    for file in ["mem", "environ", "maps", "root/etc", "cwd", "fd", "exe", "ns/net", "stack"] {
        let answer = inside.eval(&format!("os.stat('/proc/1/{file}') and os.listdir('/proc/1/{file}') if '{file}' in ('fd', 'root/etc', 'cwd') else open('/proc/1/{file}').read(1)")).await;
        assert!(answer.starts_with("PermissionError"), "{file}: {answer}");
    }
    let write = "os.write(os.open('/proc/1/oom_score_adj', os.O_WRONLY), b'1000')";
    let answer = inside.eval(write).await;
    assert!(answer.starts_with("PermissionError"), "{answer}");
    inside.done().await;
}

#[tokio::test]
async fn nothing_can_be_traced() {
    let cases = [
        // PTRACE_ATTACH, PTRACE_SEIZE, PTRACE_TRACEME; process_vm_readv; pidfd_getfd.
        ("call(101, 16, 1, 0, 0)", "EPERM"),
        ("call(101, 0x4206, 1, 0, 0)", "EPERM"),
        ("call(101, 0, 0, 0, 0)", "EPERM"),
        ("call(310, 1, 0, 0, 0, 0, 0)", "EPERM"),
        ("call(311, 1, 0, 0, 0, 0, 0)", "EPERM"),
        ("call(438, call(434, 1, 0), 0, 0)", "EPERM"),
    ];
    Inside::new("trace").await.expect(&cases).await;
}

#[tokio::test]
async fn signals_do_not_end_init() {
    let mut inside = Inside::new("signals").await;
    for signal in [9, 15, 19, 1, 2, 6, 11] {
        // Refused where init is another user, without effect where it is not.
        inside.eval(&format!("os.kill(1, {signal})")).await;
    }
    assert_eq!(inside.eval("os.path.exists('/proc/1/status')").await, "True");
    inside.done().await;
}

#[tokio::test]
async fn nothing_can_be_mounted_or_uncovered() {
    let cases = [
        ("sh('mount -t tmpfs x /tmp; echo $?').endswith('0')", "False"),
        ("call(166, ctypes.c_char_p(b'/proc/sys'), 2)", "EPERM"),
        ("call(165, ctypes.c_char_p(b'/'), ctypes.c_char_p(b'/tmp'), 0, 4096, 0)", "EPERM"),
        ("call(155, ctypes.c_char_p(b'/'), ctypes.c_char_p(b'/tmp'))", "EPERM"),
        ("call(161, ctypes.c_char_p(b'/tmp'))", "EPERM"),
        ("call(428, -100, ctypes.c_char_p(b'/usr'), 1)", "ENOSYS"),
        ("call(429, 3, 0, -100, ctypes.c_char_p(b'/tmp'), 4)", "ENOSYS"),
        ("call(430, ctypes.c_char_p(b'tmpfs'), 0)", "ENOSYS"),
        ("call(442, -100, ctypes.c_char_p(b'/usr'), 0, 0, 0)", "ENOSYS"),
        ("call(458, 0, 0, 0, 0)", "ENOSYS"),
        ("call(304, 0, 0, 0)", "EPERM"),
    ];
    Inside::new("mount").await.expect(&cases).await;
}

#[tokio::test]
async fn no_new_namespaces() {
    let cases = [
        // unshare and clone with CLONE_NEWUSER, _NEWNS, _NEWNET; setns; clone3.
        ("call(272, 0x10000000)", "EPERM"),
        ("call(272, 0x00020000)", "EPERM"),
        ("call(56, 0x10000011, 0, 0, 0, 0)", "EPERM"),
        ("call(56, 0x40000011, 0, 0, 0, 0)", "EPERM"),
        ("call(308, 3, 0)", "EPERM"),
        ("call(435, 0, 0)", "ENOSYS"),
        ("sh('unshare -r true 2>/dev/null; echo $?')", "1"),
    ];
    Inside::new("namespaces").await.expect(&cases).await;
}

#[tokio::test]
async fn the_kernels_settings_cannot_be_written() {
    let mut inside = Inside::new("settings").await;
    for file in [
        "/proc/sys/kernel/hostname",
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/vm/overcommit_memory",
        "/proc/sys/net/ipv4/ip_forward",
        "/proc/sys/net/ipv4/ip_unprivileged_port_start",
        "/proc/sys/user/max_user_namespaces",
        "/proc/sysrq-trigger",
        "/proc/irq/default_smp_affinity",
        "/proc/self/uid_map",
        "/usr/bin/tidegate-test",
        "/etc/hosts",
        "/tidegate-test",
        "/.tidegate/init",
        "/dev/null/x",
        "/sys/x",
    ] {
        let write = format!("os.write(os.open('{file}', os.O_WRONLY | os.O_CREAT, 0o600), b'1')");
        let answer = inside.eval(&write).await;
        assert!(!answer.bytes().all(|b| b.is_ascii_digit()), "{file}: {answer}");
    }
    for file in ["/proc/kcore", "/proc/keys", "/proc/kallsyms", "/proc/timer_list"] {
        let read = format!("len(open('{file}', 'rb').read(10)) if os.path.exists('{file}') else 0");
        let answer = inside.eval(&read).await;
        assert!(answer == "0" || answer.starts_with("PermissionError"), "{file}: {answer}");
    }
    inside.done().await;
}

#[tokio::test]
async fn only_ordinary_sockets_can_be_made() {
    let cases = [
        ("type(socket.socket(socket.AF_INET)).__name__", "socket"),
        ("type(socket.socket(socket.AF_UNIX)).__name__", "socket"),
        ("call(41, 17, 3, 0)", "EAFNOSUPPORT"),  // packet
        ("call(41, 40, 1, 0)", "EAFNOSUPPORT"),  // vsock
        ("call(41, 38, 5, 0)", "EAFNOSUPPORT"),  // alg
        ("call(41, 44, 3, 0)", "EAFNOSUPPORT"),  // xdp
        ("call(41, 16, 3, 12)", "EAFNOSUPPORT"), // netfilter
        ("call(41, 16, 3, 0) > 0", "True"),      // routing
        ("call(41, 2, 3, 1)", "EPERM"),          // raw
        ("call(41, 10, 3, 58)", "EPERM"),
    ];
    Inside::new("sockets").await.expect(&cases).await;
}

#[tokio::test]
async fn the_network_cannot_be_changed() {
    let mut inside = Inside::new("network").await;
    // SIOCSIFFLAGS: loopback down.
    let down = "call(16, call(41, 2, 2, 0), 0x8914, ctypes.c_char_p(b'lo'.ljust(16, b'\\0') + b'\\0' * 24))";
    assert_eq!(inside.eval(down).await, "EPERM");
    assert_eq!(
        inside.eval("sh('ls /proc/net/dev && tail -n +3 /proc/net/dev | wc -l')").await,
        "/proc/net/dev|1"
    );
    inside.done().await;
}

#[tokio::test]
async fn there_are_no_privileges_and_no_way_to_any() {
    let status = |field: &str| format!("sh('grep ^{field}: /proc/self/status').split()[1]");
    let mut inside = Inside::new("privileges").await;
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(inside.eval(&status(set)).await, "0000000000000000", "{set}");
    }
    assert_eq!(inside.eval(&status("NoNewPrivs")).await, "1");
    assert_eq!(inside.eval(&status("Seccomp")).await, "2");
    assert_eq!(
        inside.eval("os.getresuid() + os.getresgid()").await,
        "(1000, 1000, 1000, 1000, 1000, 1000)"
    );
    // Every mount refuses set-user-id programs.
    let lax =
        "[l.split()[4] for l in open('/proc/self/mountinfo') if 'nosuid' not in l.split()[5]]";
    assert_eq!(inside.eval(lax).await, "[]");
    // Where only one user is mapped, 0 is none at all.
    let answer = inside.eval("os.setuid(0)").await;
    assert!(answer.contains("Error"), "{answer}");
    assert!(inside.eval("sh('su -c id 2>&1; true')").await != "uid=0(root)");
    inside.done().await;
}

#[tokio::test]
async fn no_device_but_the_harmless_ones_is_there_or_can_be_made() {
    let mut inside = Inside::new("devices").await;
    let listed = inside.eval("sorted(os.listdir('/dev'))").await;
    assert_eq!(
        listed,
        "['fd', 'full', 'null', 'ptmx', 'pts', 'random', 'shm', 'stderr', 'stdin', 'stdout', 'tty', \
         'urandom', 'zero']"
    );
    let made = inside.eval("os.mknod('/tmp/disk', 0o60600, os.makedev(254, 0))").await;
    assert!(made.starts_with("PermissionError"), "{made}");
    let lax = "[l.split()[4] for l in open('/proc/self/mountinfo') if 'nodev' not in l.split()[5] and not l.split()[4].startswith('/dev/') and l.split()[4] not in PROC]";
    inside.eval("globals().__setitem__('PROC', ['/proc/' + x for x in ('acpi','kcore','keys','key-users','latency_stats','sched_debug','scsi','timer_list','kallsyms')])").await;
    assert_eq!(inside.eval(lax).await, "[]");
    assert_eq!(inside.eval("len(os.urandom(8)) + open('/dev/null', 'w').write('x')").await, "9");
    inside.done().await;
}

#[tokio::test]
async fn limits_cannot_be_raised() {
    let inside = Inside::with("limits", |template| {
        template.limits = Limits { open_files: Some(100), ..Limits::default() };
    });
    let cases = [
        ("__import__('resource').getrlimit(7)", "(100, 100)"),
        (
            "__import__('resource').setrlimit(7, (101, 101))",
            "ValueError: not allowed to raise maximum limit",
        ),
        ("__import__('resource').getrlimit(4)", "(0, 0)"),
    ];
    inside.await.expect(&cases).await;
}

#[tokio::test]
async fn binds_lead_nowhere_but_into_themselves() {
    let shared = tempfile::tempdir().expect("a directory");
    fs::write(shared.path().join("file"), "shared").expect("writes");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    fs::set_permissions(shared.path().join("file"), mode).expect("opens it");
    std::os::unix::fs::symlink("/etc/shadow", shared.path().join("shadow")).expect("links");
    std::os::unix::fs::symlink("/proc/1/root/etc/shadow", shared.path().join("magic"))
        .expect("links");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(shared.path(), mode).expect("opens it");
    let source = shared.path().to_owned();
    let inside = Inside::with("binds", |template| {
        template.binds = vec![Bind { source, target: "/opt/shared".into() }];
    });
    let cases = [
        ("open('/opt/shared/file').read()", "shared"),
        ("sorted(os.listdir('/opt/shared/..'))", "['shared']"),
        ("os.path.exists('/opt/shared/shadow')", "False"),
        ("os.path.exists('/opt/shared/magic')", "False"),
        (
            "open('/opt/shared/file', 'a')",
            "OSError: [Errno 30] Read-only file system: '/opt/shared/file'",
        ),
        (
            "os.chmod('/opt/shared/file', 0o777)",
            "OSError: [Errno 30] Read-only file system: '/opt/shared/file'",
        ),
    ];
    inside.await.expect(&cases).await;
}

#[tokio::test]
async fn no_descriptor_from_outside_is_open() {
    let mut inside = Inside::new("descriptors").await;
    let open =
        "sh('ls -l /proc/2/fd | tail -n +2 | sed \"s/.* -> //; s/[0-9][0-9]*//g\" | sort -u')";
    // Its standard streams, and its own listener and connections.
    assert_eq!(inside.eval(open).await, "/dev/null|pipe:[]|socket:[]");
    assert_eq!(inside.eval("os.readlink('/proc/self/fd/0')").await, "/dev/null");
    inside.done().await;
}

#[tokio::test]
async fn the_kernels_riskier_calls_are_closed() {
    let cases = [
        ("call(425, 8, 0)", "ENOSYS"),           // io_uring_setup
        ("call(321, 0, 0, 0)", "EPERM"),         // bpf
        ("call(298, 0, 0, -1, -1, 0)", "EPERM"), // perf_event_open
        ("call(323, 0)", "ENOSYS"),              // userfaultfd
        ("call(250, 0, 0, 0)", "EPERM"),         // keyctl
        ("call(248, 0, 0, 0, 0, 0)", "EPERM"),   // add_key
        ("call(175, 0, 0, 0)", "EPERM"),         // init_module
        ("call(246, 0, 0, 0, 0)", "EPERM"),      // kexec_load
        ("call(103, 10, 0, 0)", "EPERM"),        // syslog
        ("call(169, 0, 0, 0, 0)", "EPERM"),      // reboot
        ("call(135, 0x0400000)", "EPERM"),       // personality: READ_IMPLIES_EXEC
        ("call(16, 0, 0x5412, 0)", "EPERM"),     // TIOCSTI
        ("call(600)", "ENOSYS"),
        ("call(0x40000000 + 39)", "ENOSYS"), // x32 getpid
    ];
    Inside::new("calls").await.expect(&cases).await;
}
