//! One case's sandboxes.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use tidegate_sandbox::Driver;
use tidegate_sandbox::driver::{Dialled, DriverError, Files, Listener, SandboxId, Spec};
use tidegate_types::{Incarnation, SandboxKey, SandboxName, Secret, Template, TenantId};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;

use super::Subject;

/// The source address that applications see.
pub(super) const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(100, 64, 0, 1));
/// Where [`SERVER`] listens.
pub(super) const PORT: u16 = 8080;
/// How long a server may take to listen.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// Answers each line by evaluating it.
pub(super) const SERVER: &str = r#"
import os, socket, socketserver, sys, time
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        peer = self.client_address[0]
        for line in self.rfile:
            try:
                answer = eval(line.decode(), globals(), {"peer": peer})
            except BaseException as problem:
                answer = type(problem).__name__
            self.wfile.write((str(answer) + "\n").encode())
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
print("listening", flush=True)
Server(("127.0.0.1", 8080), Handler).serve_forever()
"#;

pub(super) struct Bench {
    pub(super) driver: Arc<dyn Driver>,
    subject: Subject,
    number: usize,
    made: Mutex<Vec<SandboxId>>,
}

impl Bench {
    pub(super) fn new(driver: Arc<dyn Driver>, subject: Subject, number: usize) -> Self {
        Self { driver, subject, number, made: Mutex::default() }
    }

    /// A sandbox that runs `program`; `name` tells those of one case apart.
    pub(super) fn spec(&self, name: &str, program: &str) -> Spec {
        self.spec_with(name, program, |_| {})
    }

    pub(super) fn spec_with(
        &self,
        name: &str,
        program: &str,
        change: impl FnOnce(&mut Template),
    ) -> Spec {
        let mut template = self.subject.template.clone();
        template.command = vec![self.subject.python.clone(), "-c".into(), program.into()];
        change(&mut template);
        let id = self.id(name);
        self.made.lock().unwrap_or_else(PoisonError::into_inner).push(id.clone());
        Spec {
            id,
            template: Arc::new(template),
            listeners: vec![Listener {
                name: "upstreams".into(),
                address: "100.64.0.2:80".parse().expect("an address"),
            }],
            hosts: vec![(
                "model.upstream.internal".into(),
                "100.64.0.2".parse().expect("an address"),
            )],
        }
    }

    pub(super) fn id(&self, name: &str) -> SandboxId {
        let tenant = TenantId::new("conformance").expect("a tenant");
        let name = SandboxName::new(&format!("case-{}-{name}", self.number)).expect("a name");
        SandboxId { key: SandboxKey { tenant, name }, incarnation: Incarnation(7) }
    }

    /// Creates and starts.
    pub(super) async fn run(&self, spec: &Spec) -> anyhow::Result<()> {
        self.driver.create(spec).await.context("create")?;
        self.driver.start(&spec.id, &[]).await.context("start")
    }

    /// Creates and starts a [`SERVER`] and connects to it.
    pub(super) async fn serve(&self, name: &str) -> anyhow::Result<(Spec, Talk)> {
        let spec = self.spec(name, SERVER);
        self.run(&spec).await?;
        let talk = self.talk(&spec.id).await?;
        Ok((spec, talk))
    }

    /// Connects as soon as something listens.
    pub(super) async fn talk(&self, id: &SandboxId) -> anyhow::Result<Talk> {
        let deadline = tokio::time::Instant::now() + READY_WITHIN;
        loop {
            match self.driver.dial(id, PORT, GATEWAY).await {
                Ok(Dialled::Tcp(stream)) => return Ok(Talk(BufStream::new(stream))),
                Ok(Dialled::Unix(_)) => bail!("this suite talks TCP"),
                Err(DriverError::Refused { .. }) if tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err(error) => return Err(error).context("dial"),
            }
        }
    }

    pub(super) fn output(&self, id: &SandboxId) -> String {
        std::fs::read_to_string(self.driver.log_path(&id.key)).unwrap_or_default()
    }

    /// Destroys whatever the case left.
    pub(super) async fn clear(self) {
        for id in self.made.into_inner().unwrap_or_else(PoisonError::into_inner) {
            for found in self.driver.list().await.unwrap_or_default() {
                if found.id.key == id.key {
                    drop(self.driver.destroy(&found.id, Files::Remove).await);
                }
            }
            // What it kept on purpose.
            drop(self.driver.destroy(&id, Files::Remove).await);
        }
    }
}

/// A variable for the command.
pub(super) fn variable(name: &str, value: &str) -> (String, Secret) {
    (name.to_owned(), Secret::new(value.to_owned()))
}

/// A connection to a [`SERVER`].
pub(super) struct Talk(BufStream<TcpStream>);

impl Talk {
    pub(super) async fn say(&mut self, line: &str) -> anyhow::Result<()> {
        self.0.write_all(format!("{line}\n").as_bytes()).await?;
        Ok(self.0.flush().await?)
    }

    pub(super) async fn hear(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        anyhow::ensure!(self.0.read_line(&mut line).await? > 0, "the connection ended");
        Ok(line.trim_end().to_owned())
    }

    pub(super) async fn ask(&mut self, line: &str) -> anyhow::Result<String> {
        self.say(line).await?;
        self.hear().await
    }
}
