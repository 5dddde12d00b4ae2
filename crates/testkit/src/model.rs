//! The model that answers in tests: the example's own provider, as a process.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::openclaw::{Installation, repository};

/// A model provider on the host; ends when dropped.
#[derive(Debug)]
pub struct Model {
    _process: Child,
    address: SocketAddr,
}

impl Model {
    /// Starts one that refuses whoever hasn't got `key`.
    ///
    /// # Panics
    /// When it doesn't start.
    pub async fn start(installation: &Installation, key: &str) -> Self {
        let program = repository().join("examples/openclaw/model-provider.mjs");
        Self::start_program(&installation.node(), &program, key).await
    }

    async fn start_program(node: &Path, program: &Path, key: &str) -> Self {
        let mut process = Command::new(node)
            .arg(program)
            .args(["--listen", "127.0.0.1:0", "--key", key, "--delay", "5"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the model provider starts");
        let output = process.stdout.take().expect("its output is piped");
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).await.expect("its output can be read");
        let address = line
            .trim()
            .strip_prefix("listening on http://")
            .and_then(|address| address.parse().ok())
            .unwrap_or_else(|| panic!("the model provider said `{line}`"));
        Self { _process: process, address }
    }

    /// Where it listens, on the host's loopback.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
