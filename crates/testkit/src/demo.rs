//! `cargo xtask up` in tests: the demo, started and ended as a person would.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Full;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::gateway::client::{Answer, exchange};
use crate::gateway::{binary, cleanup};

/// A running demo; ended with everything it started when dropped.
#[derive(Debug)]
pub struct Demo {
    process: Child,
    ready: Value,
    state_dir: PathBuf,
}

impl Demo {
    /// Starts `up --app APP` and waits until it says that it is ready.
    ///
    /// # Panics
    /// When it ends before.
    pub async fn start(app: &str, state_dir: &Path) -> Self {
        let mut process = Command::new(Self::program())
            .args(Self::arguments(app, state_dir))
            .args(["--listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("it starts");
        let output = process.stdout.take().expect("its output is piped");
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).await.expect("its output can be read");
        let ready = serde_json::from_str(&line)
            .unwrap_or_else(|problem| panic!("not one JSON object ({problem}): `{line}`"));
        Self { process, ready, state_dir: state_dir.to_owned() }
    }

    /// What it said when it was ready.
    #[must_use]
    pub fn ready(&self) -> &Value {
        &self.ready
    }

    /// Opens a user's address as a browser does: follows the redirect, with the
    /// cookie that it brought.
    ///
    /// # Panics
    /// When nobody answers, or by anything but a redirect.
    pub async fn open(&self, url: &str) -> Answer {
        let (host, path) = url
            .strip_prefix("http://")
            .and_then(|rest| rest.split_once('/'))
            .unwrap_or_else(|| panic!("`{url}` is no address of a user"));
        let first = get(host, &format!("/{path}"), "").await;
        assert_eq!(first.status, StatusCode::SEE_OTHER, "{}", first.text());
        let cookie = first.header("set-cookie").split(';').next().unwrap_or_default();
        get(host, first.header("location"), cookie).await
    }

    /// The processes that name this demo's state directory, but for `up` itself.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        cleanup::processes_of(&self.state_dir)
            .into_iter()
            .filter(|&pid| Some(pid) != self.process.id())
            .collect()
    }

    /// Presses Ctrl-C and waits until it has ended; returns its exit code.
    ///
    /// # Panics
    /// When it can't be waited for.
    pub async fn interrupt(&mut self) -> Option<i32> {
        cleanup::signal(self.process.id(), "INT");
        self.process.wait().await.expect("it ends").code()
    }

    /// The xtask under test.
    #[must_use]
    pub fn program() -> &'static Path {
        binary::xtask()
    }

    /// The arguments that every test gives it.
    #[must_use]
    pub fn arguments(app: &str, state_dir: &Path) -> Vec<String> {
        let binary = binary::path().display().to_string();
        let state_dir = state_dir.display().to_string();
        ["up", "--json", "--app", app, "--state-dir", &state_dir, "--binary", &binary]
            .map(str::to_owned)
            .to_vec()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        for pid in self.processes() {
            cleanup::signal(Some(pid), "KILL");
        }
    }
}

async fn get(host: &str, path: &str, cookie: &str) -> Answer {
    // `localhost` names are the machine itself, whatever its resolver says.
    let port = host.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    let request = Request::builder()
        .uri(path)
        .header(header::HOST, host)
        .header(header::ACCEPT, "text/html")
        .header(header::COOKIE, cookie)
        .body(Full::<Bytes>::default())
        .expect("a request");
    exchange(([127, 0, 0, 1], port).into(), request).await.expect("the gateway answers")
}
