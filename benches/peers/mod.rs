//! What comparisons with other proxies share: starting them, asking them, and how
//! much of the processor they took for it.
//!
//! What counts is processor time per request: requests per second depend on how
//! the machine's cores are shared.

use std::ffi::OsStr;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A process that ends with this.
#[derive(Debug)]
pub struct Running(Child);

impl Running {
    /// Starts `command`, with nothing to read and nothing to say.
    ///
    /// # Panics
    /// When it can't be started.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        let started =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Self(started.unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }

    /// Its id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Asked first: an nginx that is killed leaves its worker behind.
        let pid = self.0.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let patience = Instant::now() + Duration::from_secs(5);
        while matches!(self.0.try_wait(), Ok(None)) {
            if Instant::now() > patience {
                let _ = self.0.kill();
                let _ = self.0.wait();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Where a process may run.
#[derive(Debug, Clone, Copy)]
pub enum Core {
    /// Wherever there is time.
    Any,
    /// On this one alone, so that what is measured isn't disturbed by what measures.
    Only(usize),
}

impl Core {
    /// `program`, kept there.
    #[must_use]
    pub fn command(self, program: impl AsRef<OsStr>) -> Command {
        match self {
            Self::Any => Command::new(program),
            Self::Only(core) => {
                let mut command = Command::new("taskset");
                command.args(["-c", &core.to_string()]).arg(program);
                command
            }
        }
    }
}

/// A program that isn't there; with `taskset` that is a matter of its own.
#[must_use]
pub fn missing<'a>(programs: &[&'a str]) -> Option<&'a str> {
    let runs = |program: &&&str| Command::new(program).arg("--version").output().is_err();
    programs.iter().find(runs).copied()
}

/// A port of 127.0.0.1 that is free.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound socket")
}

/// Starts an nginx with one worker; `servers` goes into its `http` block.
///
/// # Panics
/// When its files can't be written, or it can't be started.
#[must_use]
pub fn nginx(core: Core, directory: &Path, name: &str, servers: &str) -> Running {
    let home = directory.join(name);
    fs::create_dir_all(&home).expect("a directory");
    let home = home.display();
    let configuration = format!(
        "daemon off; worker_processes 1; pid {home}/pid; error_log {home}/error.log;
         events {{ worker_connections 1024; }}
         http {{ access_log off; keepalive_requests 1000000000;
           client_body_temp_path {home}/a; proxy_temp_path {home}/b; fastcgi_temp_path {home}/c;
           uwsgi_temp_path {home}/d; scgi_temp_path {home}/e;
           {servers} }}"
    );
    let file = directory.join(format!("{name}.conf"));
    fs::write(&file, configuration).expect("a file");
    Running::start(core.command("nginx").arg("-c").arg(&file).arg("-p").arg(directory))
}

/// The one child of an nginx master.
///
/// # Panics
/// When the master doesn't run, or has no worker yet.
#[must_use]
pub fn worker_of(master: u32) -> u32 {
    let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children"));
    let children = children.expect("the process runs");
    children.split_whitespace().next().expect("a worker").parse().expect("a process id")
}

/// Waits until something listens on `address`.
///
/// # Panics
/// When nothing does for 20 s.
pub fn wait_for(address: SocketAddr) {
    let patience = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < patience, "nothing listens on {address}");
        std::thread::yield_now();
    }
}

/// Processor time that the threads of a process have had.
///
/// # Panics
/// When it doesn't run.
#[must_use]
pub fn cpu(pid: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs");
    let had = |thread: fs::DirEntry| {
        // Nanoseconds; `stat` counts in hundredths of a second.
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    };
    Duration::from_nanos(threads.flatten().filter_map(had).sum())
}

/// How a server is asked.
#[derive(Debug, Clone, Copy)]
pub struct Load<'a> {
    /// Where `wrk` runs.
    pub core: Core,
    /// For how long.
    pub seconds: u64,
    /// A header field of every request.
    pub header: Option<&'a str>,
}

/// What a server did under a load.
#[derive(Debug, Clone, Copy)]
pub struct Answered {
    /// Requests per second.
    pub rate: f64,
    /// Microseconds of processor time per request.
    pub micros: f64,
}

impl Load<'_> {
    /// Asks the server at `address`, whose process is `pid`, over 64 connections.
    ///
    /// # Panics
    /// When there are answers other than 2xx, or `wrk` says something unexpected.
    #[must_use]
    pub fn put_on(&self, address: SocketAddr, pid: u32) -> Answered {
        let before = cpu(pid);
        let requests = self.wrk(address);
        let spent = cpu(pid).saturating_sub(before);
        Answered {
            rate: requests as f64 / self.seconds as f64,
            micros: spent.as_secs_f64() * 1e6 / requests as f64,
        }
    }

    /// Requests that were answered.
    fn wrk(&self, address: SocketAddr) -> u64 {
        let mut command = self.core.command("wrk");
        command.args(["-t1", "-c64", &format!("-d{}s", self.seconds)]);
        if let Some(header) = self.header {
            command.args(["-H", header]);
        }
        let output = command.arg(format!("http://{address}/")).output().expect("wrk runs");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(!text.contains("Non-2xx"), "{text}");
        text.lines()
            .find_map(|line| line.trim().split_once(" requests in "))
            .and_then(|(count, _)| count.parse().ok())
            .unwrap_or_else(|| panic!("wrk said: {text}"))
    }
}

/// The middle one.
///
/// # Panics
/// When there are none.
#[must_use]
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().expect("at least one value")
}
