//! What every test stands on: a driver with a state directory of its own.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tidegate_driver_linux::{Config, LinuxDriver};
use tidegate_sandbox::Driver;
use tidegate_sandbox::driver::{Dialled, Files, Listener, SandboxId, Spec};
use tidegate_types::template::{Probe, Ready, Root};
use tidegate_types::{
    ClientAddress, Incarnation, Lifetime, Limits, SandboxKey, SandboxName, Secret, Template,
    TemplateName, TenantId,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Address that applications see.
pub(crate) const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(100, 64, 0, 1));

/// Applications of the tests: programs that the machine surely has.
pub(crate) const PYTHON: &str = "/usr/bin/python3";

/// A driver and its state directory, which goes when this goes.
pub(crate) struct Ground {
    pub(crate) driver: Arc<LinuxDriver>,
    pub(crate) state: TempDir,
}

impl Ground {
    pub(crate) fn new() -> Self {
        let state = tempfile::tempdir().expect("a directory");
        let driver = open(state.path().to_owned());
        Self { driver, state }
    }
}

impl Drop for Ground {
    /// What a failed test left would outlive it: that is what keepers are for.
    fn drop(&mut self) {
        for keeper in crate::adoption::keepers(self.state.path()) {
            if let Some(pid) = rustix::process::Pid::from_raw(keeper) {
                _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}

pub(crate) fn open(state_dir: PathBuf) -> Arc<LinuxDriver> {
    LinuxDriver::new(Config { state_dir }).expect("the state directory opens")
}

pub(crate) fn id(name: &str) -> SandboxId {
    let tenant = TenantId::new("test").expect("a tenant");
    let name = SandboxName::new(name).expect("a name");
    SandboxId { key: SandboxKey { tenant, name }, incarnation: Incarnation(1) }
}

pub(crate) fn template(command: &[&str]) -> Template {
    Template {
        name: TemplateName::new("test").expect("a name"),
        driver: "linux".into(),
        root: Root::Host,
        binds: Vec::new(),
        command: command.iter().map(|&part| part.to_owned()).collect(),
        workdir: "/home/user".into(),
        env: Vec::new(),
        port: 8080,
        ready: Ready { probe: Probe::Tcp(8080), timeout: Duration::from_secs(20) },
        lifetime: Lifetime::KeepAlive,
        stop_grace: Duration::from_secs(5),
        limits: Limits::default(),
        client_address: ClientAddress::Header,
        identity_headers: Vec::new(),
        upstreams: Vec::new(),
    }
}

pub(crate) fn spec(name: &str, template: Template) -> Spec {
    Spec {
        id: id(name),
        template: Arc::new(template),
        listeners: vec![Listener {
            name: "upstreams".into(),
            address: "100.64.0.2:80".parse().expect("an address"),
        }],
        hosts: vec![("model.upstream.internal".into(), "100.64.0.2".parse().expect("an address"))],
    }
}

/// Creates and starts.
pub(crate) async fn run(driver: &LinuxDriver, spec: &Spec, env: &[(&str, &str)]) {
    driver.create(spec).await.expect("creates");
    let env: Vec<_> =
        env.iter().map(|(k, v)| ((*k).to_owned(), Secret::new((*v).to_owned()))).collect();
    driver.start(&spec.id, &env).await.expect("starts");
}

/// Runs a shell script in a sandbox of its own to its end and returns its output.
pub(crate) async fn script(ground: &Ground, name: &str, text: &str) -> String {
    let spec = spec(name, template(&["/bin/sh", "-c", text]));
    run(&ground.driver, &spec, &[]).await;
    ground.driver.wait(&spec.id).await.expect("ends");
    let output = output(&ground.driver, &spec.id);
    ground.driver.destroy(&spec.id, Files::Remove).await.expect("destroys");
    output
}

pub(crate) fn output(driver: &LinuxDriver, id: &SandboxId) -> String {
    std::fs::read_to_string(driver.log_path(&id.key)).unwrap_or_default()
}

/// Dials until something answers: readiness is the caller's affair.
pub(crate) async fn connect(driver: &LinuxDriver, id: &SandboxId, port: u16) -> TcpStream {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        match driver.dial(id, port, GATEWAY).await {
            Ok(Dialled::Tcp(stream)) => return stream,
            Ok(Dialled::Unix(_)) => panic!("a Unix socket"),
            Err(error) if tokio::time::Instant::now() > deadline => {
                panic!("nothing listens: {error}; {}", output(driver, id))
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

/// Sends a line and reads one.
pub(crate) async fn ask(stream: &mut TcpStream, line: &str) -> String {
    stream.write_all(format!("{line}\n").as_bytes()).await.expect("sends");
    let mut answer = Vec::new();
    loop {
        let byte = stream.read_u8().await.expect("answers");
        if byte == b'\n' {
            return String::from_utf8(answer).expect("text");
        }
        answer.push(byte);
    }
}

/// A server in the sandbox: each line is Python to be evaluated, each answer a line.
pub(crate) const EVALUATE: &str = r#"
import os, socket, socketserver, subprocess, sys, ctypes, signal, time
def sh(text):
    done = subprocess.run(["/bin/sh", "-c", text], capture_output=True, text=True)
    return (done.stdout + done.stderr).strip()
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            try:
                answer = eval(line.decode(), globals(), {"peer": self.client_address[0]})
            except BaseException as problem:
                answer = type(problem).__name__ + ": " + str(problem)
            self.wfile.write((str(answer).replace("\n", "|") + "\n").encode())
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
Server(("127.0.0.1", 8080), Handler).serve_forever()
"#;

/// A sandbox in which [`EVALUATE`] runs.
pub(crate) fn evaluator(name: &str) -> Spec {
    spec(name, template(&[PYTHON, "-c", EVALUATE]))
}

/// Set for a process that is a part of a test: which state directory it is to use.
pub(crate) const PART: &str = "TIDEGATE_TEST_PART";

/// A process that runs the test called `name` of this program, which is a part of
/// another and does nothing otherwise.
pub(crate) fn part(name: &str, state: &std::path::Path) -> tokio::process::Command {
    let program = std::env::current_exe().expect("this program");
    let mut command = tokio::process::Command::new(program);
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]).env(PART, state);
    command.kill_on_drop(true);
    command
}

/// The state directory, within a part.
pub(crate) fn state_of_part() -> Option<PathBuf> {
    std::env::var_os(PART).map(PathBuf::from)
}
