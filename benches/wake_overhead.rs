//! Claim: from nothing to a ready sandbox costs less than 50 ms beyond the bare
//! process's own start.
//!
//! Both sides run the same program and end when it accepts a connection. The
//! sandbox is made from nothing each time (namespaces, mounts, keeper, init) and
//! ended outside the measured time. Needs what sandboxes need of a machine; says
//! so and measures nothing where it is missing.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use tidegate_driver_linux::{Config, LinuxDriver};
use tidegate_sandbox::Driver;
use tidegate_sandbox::driver::{Files, SandboxId, Spec};
use tidegate_types::{
    Incarnation, SandboxKey, SandboxName, Template, TemplateName, TenantId, template,
};
use tokio::runtime::Runtime;

/// The demonstration application of the binary that is built beside this bench.
fn program() -> Option<PathBuf> {
    let mine = std::env::current_exe().ok()?;
    let binary = mine.parent()?.parent()?.join("tidegate");
    binary.exists().then_some(binary)
}

fn template(program: &Path) -> Arc<Template> {
    Arc::new(Template {
        name: TemplateName::new("bench").expect("a name"),
        driver: "linux".into(),
        root: template::Root::Host,
        binds: vec![template::Bind { source: program.to_owned(), target: "/opt/tidegate".into() }],
        command: ["/opt/tidegate", "hello-app", "--port", "3000"].map(String::from).to_vec(),
        workdir: "/".into(),
        env: Vec::new(),
        port: 3000,
        ready: template::Ready {
            probe: template::Probe::Tcp(3000),
            timeout: Duration::from_secs(10),
        },
        lifetime: tidegate_types::Lifetime::KeepAlive,
        stop_grace: Duration::ZERO,
        limits: template::Limits::default(),
        client_address: tidegate_types::ClientAddress::Header,
        identity_headers: Vec::new(),
        upstreams: Vec::new(),
    })
}

/// Tries until something accepts; spinning, so that what is measured is the start.
fn until_accepted(mut attempt: impl FnMut() -> bool) {
    let began = Instant::now();
    while !attempt() {
        assert!(began.elapsed() < Duration::from_secs(10), "nothing listens");
        std::thread::sleep(Duration::from_micros(200));
    }
}

fn bare(program: &Path) -> (Duration, Child) {
    // The port is free again when the listener is gone, and nobody else asks for
    // ports during a bench.
    let port =
        TcpListener::bind(("127.0.0.1", 0)).and_then(|l| l.local_addr()).expect("a port").port();
    let began = Instant::now();
    let child = Command::new(program)
        .args(["hello-app", "--port", &port.to_string()])
        .stdin(Stdio::null())
        .spawn()
        .expect("the program");
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    until_accepted(|| std::net::TcpStream::connect(address).is_ok());
    (began.elapsed(), child)
}

fn sandboxed(
    runtime: &Runtime,
    driver: &LinuxDriver,
    template: &Arc<Template>,
    n: u64,
) -> Duration {
    let key = SandboxKey {
        tenant: TenantId::new("bench").expect("a name"),
        name: SandboxName::new("wake").expect("a name"),
    };
    let id = SandboxId { key, incarnation: Incarnation(n) };
    let spec = Spec {
        id: id.clone(),
        template: Arc::clone(template),
        listeners: Vec::new(),
        hosts: Vec::new(),
    };
    let from = IpAddr::V4(Ipv4Addr::new(100, 64, 0, 1));
    let began = Instant::now();
    runtime.block_on(driver.create(&spec)).expect("created");
    runtime.block_on(driver.start(&id, &[])).expect("started");
    until_accepted(|| runtime.block_on(driver.dial(&id, 3000, from)).is_ok());
    let took = began.elapsed();
    runtime.block_on(driver.destroy(&id, Files::Remove)).expect("destroyed");
    took
}

fn wake_overhead(c: &mut Criterion) {
    let Some(program) = program() else {
        println!("skipped: build the program first: cargo build --release");
        return;
    };
    let runtime = Runtime::new().expect("a runtime");
    let state = tempfile::tempdir().expect("a directory");
    let _inside = runtime.enter();
    let driver = match LinuxDriver::new(Config { state_dir: state.path().to_owned() }) {
        Ok(driver) if LinuxDriver::probe().usable() => driver,
        _ => {
            println!("skipped: this machine cannot make sandboxes; see `tidegate check`");
            return;
        }
    };
    let template = template(&program);
    let mut group = c.benchmark_group("wake_overhead");
    group.sample_size(20);
    group.bench_function("bare_process", |b| {
        b.iter_custom(|rounds| {
            (0..rounds)
                .map(|_| {
                    let (took, mut child) = bare(&program);
                    child.kill().expect("ended");
                    child.wait().expect("reaped");
                    took
                })
                .sum()
        });
    });
    let mut incarnation = 0;
    group.bench_function("sandbox", |b| {
        b.iter_custom(|rounds| {
            (0..rounds)
                .map(|_| {
                    incarnation += 1;
                    sandboxed(&runtime, &driver, &template, incarnation)
                })
                .sum()
        });
    });
    group.finish();
}

criterion_group!(benches, wake_overhead);
criterion_main!(benches);
