//! What a program inside a sandbox does: raw HTTP to the gate's listener.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tidegate_egress::{GateConfig, Upstream, UpstreamGate};
use tidegate_types::{SandboxKey, SandboxName, Secret, TenantId, UpstreamName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

pub(crate) const KEY: &str = "sk-operator-0123456789";

pub(crate) struct Inside {
    pub(crate) gate: Arc<UpstreamGate>,
    pub(crate) stop: CancellationToken,
    pub(crate) serving: AbortOnDropHandle<()>,
    at: SocketAddr,
}

pub(crate) fn name(name: &str) -> UpstreamName {
    UpstreamName::new(name).expect("valid")
}

pub(crate) fn upstream(of: &str, url: &str) -> Upstream {
    Upstream {
        name: name(of),
        url: url.parse().expect(url),
        headers: vec![(http::header::AUTHORIZATION, Secret::new(format!("Bearer {KEY}")))],
    }
}

impl Inside {
    pub(crate) async fn new(upstreams: &[Upstream], allowed: &[&str], config: GateConfig) -> Self {
        let gate = UpstreamGate::new(upstreams, config).expect("usable");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = listener.local_addr().expect("bound");
        let who = SandboxKey {
            tenant: TenantId::new("acme").expect("valid"),
            name: SandboxName::new("a").expect("valid"),
        };
        let allowed = allowed.iter().map(|n| name(n)).collect();
        let stop = CancellationToken::new();
        let serve = Arc::clone(&gate).serve(listener, who, allowed, stop.clone());
        Self { gate, stop, serving: AbortOnDropHandle::new(tokio::spawn(serve)), at }
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.at).await.expect("the gate accepts")
    }

    /// Sends `request` as it is and reads until the gate closes.
    pub(crate) async fn raw(&self, request: &str) -> Answer {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("answered");
        Answer::parse(&answer)
    }

    /// A request with these lines after its first two, and this body.
    pub(crate) async fn send(&self, line: &str, host: &str, fields: &str, body: &str) -> Answer {
        let length = if body.is_empty() {
            String::new()
        } else {
            format!("content-length: {}\r\n", body.len())
        };
        self.raw(&format!(
            "{line} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{fields}{length}\r\n{body}"
        ))
        .await
    }

    pub(crate) async fn get(&self, path: &str, host: &str) -> Answer {
        self.send(&format!("GET {path}"), host, "", "").await
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: HashMap<String, String>,
    pub(crate) body: String,
    /// Everything, for what must be nowhere in it.
    pub(crate) text: String,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let fields = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(n, v)| (n.to_ascii_lowercase(), v.to_owned()))
            .collect();
        Self { status: status.unwrap_or(0), fields, body: body.to_owned(), text: text.clone() }
    }
}
