//! The built binary in tests: started with a state directory and ports of its
//! own, driven from outside, gone without trace at the end.
//!
//! Methods panic where something isn't as it must be: what a test checks itself
//! is what they return. When a test fails, the gateway's log is shown and its
//! state directory kept.

pub(crate) mod binary;
pub(crate) mod cleanup;
pub(crate) mod client;
mod control;
mod ports;
mod search;
mod setup;

pub use client::{Answer, Ask, SignIn};
pub use control::Sandbox;
pub use setup::Setup;

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::process::{Child, Command};

/// The gateway itself starts in well under a second; a busy machine takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    address: SocketAddr,
    control: SocketAddr,
    users: Vec<(String, String)>,
    marker: String,
    process: Option<Child>,
    config: PathBuf,
    state_dir: PathBuf,
    user: Option<u32>,
    // Last: what is in it is used by the others until they are dropped.
    directory: Option<TempDir>,
}

impl Gateway {
    /// Starts the gateway and waits until it is ready.
    ///
    /// # Panics
    /// When it isn't.
    pub async fn start(setup: Setup) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("tidegate-test-")
            .tempdir()
            .expect("a directory for its state");
        let address = ports::free();
        let control = ports::free();
        let written = setup.write(directory.path(), address, control);
        let mut gateway = Self {
            address,
            control,
            users: written.users,
            marker: written.marker,
            process: None,
            config: written.config,
            state_dir: written.state_dir,
            user: written.user,
            directory: Some(directory),
        };
        gateway.start_again().await;
        gateway
    }

    /// Starts it once more with the same configuration and state; returns how long
    /// it took until it was ready.
    ///
    /// # Panics
    /// When it runs already, or doesn't become ready.
    pub async fn start_again(&mut self) -> Duration {
        assert!(self.process.is_none(), "the gateway runs already");
        let begun = Instant::now();
        self.process = Some(self.spawn());
        while !self.is_ready().await {
            if let Some(status) = self.process.as_mut().and_then(|p| p.try_wait().ok()).flatten() {
                panic!("the gateway ended ({status}):\n{}", self.log());
            }
            assert!(begun.elapsed() < PATIENCE, "the gateway isn't ready:\n{}", self.log());
            // A probe's pause: there is nothing to be told by.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        begun.elapsed()
    }

    /// Kills the gateway as a crash would: nothing is told, nothing is saved.
    ///
    /// # Panics
    /// When it doesn't run.
    pub async fn kill(&mut self) {
        let mut process = self.process.take().expect("the gateway runs");
        process.kill().await.expect("it can be killed");
    }

    /// Asks the gateway to end (SIGTERM) and waits; returns its exit code.
    ///
    /// # Panics
    /// When it doesn't run.
    pub async fn terminate(&mut self) -> Option<i32> {
        let mut process = self.process.take().expect("the gateway runs");
        cleanup::signal(process.id(), "TERM");
        process.wait().await.expect("it ends").code()
    }

    /// Tells the gateway to read its configuration again (SIGHUP).
    pub fn reload(&self) {
        cleanup::signal(self.process.as_ref().and_then(Child::id), "HUP");
    }

    /// Where users connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The configuration file, for tests that change it.
    #[must_use]
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// The state directory.
    #[must_use]
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// A user's token.
    ///
    /// # Panics
    /// When the set-up has no such user.
    #[must_use]
    pub fn token(&self, user: &str) -> &str {
        let known = self.users.iter().find(|(name, _)| name == user);
        known.map(|(_, token)| token.as_str()).unwrap_or_else(|| panic!("no user `{user}`"))
    }

    /// A user's host name and port: every user has an address of their own.
    #[must_use]
    pub fn host(&self, user: &str) -> String {
        format!("{user}.localhost:{}", self.address.port())
    }

    /// The processes inside this gateway's sandboxes, as the host numbers them,
    /// whose command line contains `command`.
    #[must_use]
    pub fn processes(&self, command: &str) -> Vec<u32> {
        cleanup::processes(&self.marker, command)
    }

    /// Kills a process inside a sandbox, from outside.
    pub fn kill_inside(&self, pid: u32) {
        cleanup::signal(Some(pid), "KILL");
    }

    /// What the gateway has said so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.state_dir.with_file_name("gateway.log")
    }

    fn spawn(&self) -> Child {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file())
            .expect("its log can be written");
        let mut command = Command::new(binary::path());
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
            .arg("serve")
            .arg("--config")
            .arg(&self.config)
            .env("TIDEGATE_LOG", "info")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("its log can be shared"))
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("the gateway starts")
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        if failed {
            eprintln!("---- the gateway's log ----\n{}", last_lines(&self.log(), 60));
            for (name, log) in sandbox_logs(&self.state_dir) {
                eprintln!("---- what sandbox {name} wrote ----\n{}", last_lines(&log, 30));
            }
        }
        cleanup::destroy_all(self.control, &self.state_dir);
        if let Some(mut process) = self.process.take() {
            // Reaped by the runtime; what matters is that it no longer listens.
            let _ = process.start_kill();
        }
        cleanup::kill_left(&self.marker, &self.state_dir);
        if let Some(directory) = self.directory.take().filter(|_| failed) {
            eprintln!("---- its state is kept in {} ----", directory.keep().display());
        }
    }
}

/// What sandboxes wrote, by tenant and name: gone once they are destroyed.
fn sandbox_logs(state_dir: &Path) -> Vec<(String, String)> {
    let children = |path: &Path| {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let tenants = children(&state_dir.join("sandboxes"));
    let sandboxes = tenants.iter().flat_map(|tenant| children(tenant));
    sandboxes
        .filter_map(|sandbox| {
            let log = std::fs::read(sandbox.join("log/output.log")).ok()?;
            Some((sandbox.display().to_string(), String::from_utf8_lossy(&log).into_owned()))
        })
        .collect()
}

/// Runs the binary to its end; returns its exit code and what it said.
///
/// # Panics
/// When it can't be started or doesn't end within a minute.
pub async fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let run = Command::new(binary::path())
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output =
        tokio::time::timeout(PATIENCE, run).await.expect("it ends").expect("the binary starts");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines.get(lines.len().saturating_sub(count)..).unwrap_or_default().join("\n")
}
