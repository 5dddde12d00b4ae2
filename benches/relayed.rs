//! A relay with nothing around it: every request goes to one server.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use http::{Request, Response};
use tidegate_relay::{
    ClientBody, CloseReason, Flow, Handler, Peer, Relay, RelayBody, RelayConfig, Route,
    ServerConfig, Target, TrustedProxies, Upstream, facts, serve,
};
use tidegate_types::{DecisionId, RequestFacts, SandboxKey, SandboxName, TenantId};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// What is decided about a request before it is relayed.
pub trait Judge: Send + Sync + 'static {
    /// Where it goes, or the answer of whoever refuses it.
    fn judge(
        &self,
        facts: Arc<RequestFacts>,
        port: u16,
        id: DecisionId,
    ) -> impl Future<Output = Result<Route, Response<RelayBody>>> + Send;
}

/// Nothing: every request goes to the server as it is.
#[derive(Debug)]
pub struct Unjudged;

impl Judge for Unjudged {
    async fn judge(
        &self,
        facts: Arc<RequestFacts>,
        port: u16,
        _id: DecisionId,
    ) -> Result<Route, Response<RelayBody>> {
        Ok(Route::new(facts, port))
    }
}

/// Serves `listener` until the runtime ends; relays to `upstream`.
pub async fn relay(listener: TcpListener, upstream: SocketAddr) {
    relay_judged(listener, upstream, Unjudged).await;
}

/// As [`relay`], but `judge` has its say first.
///
/// # Panics
/// Never: the names are valid.
pub async fn relay_judged(listener: TcpListener, upstream: SocketAddr, judge: impl Judge) {
    let tenant = TenantId::new("acme").expect("a valid tenant");
    let name = SandboxName::new("alice").expect("a valid name");
    let target = Arc::new(Loopback { key: SandboxKey { tenant, name }, upstream });
    let relay = Relay::new(RelayConfig::default());
    let handler = Arc::new(Relaying { relay, target, judge });
    serve(ServerConfig::default(), listener, None, handler, CancellationToken::new()).await;
}

/// Serves `listen` with one worker until the process ends.
///
/// # Panics
/// When these are no addresses, or nothing can listen there.
pub fn relay_here(listen: &str, upstream: &str, judge: impl Judge) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind(listen).await.expect("the port is free");
        let upstream = upstream.parse().expect("an address");
        // On the worker, as in production; this thread only waits.
        let serving = tokio::spawn(relay_judged(listener, upstream, judge));
        serving.await.expect("it serves until it is killed");
    });
}

struct Relaying<J> {
    relay: Relay,
    target: Arc<Loopback>,
    judge: J,
}

impl<J: Judge> Handler for Relaying<J> {
    async fn handle(
        self: Arc<Self>,
        request: Request<ClientBody>,
        peer: Peer,
    ) -> Response<RelayBody> {
        let id = DecisionId::random();
        let (parts, body) = request.into_parts();
        let facts = match facts(&parts, &peer, &TrustedProxies::default()) {
            Ok(facts) => Arc::new(facts),
            Err(bad) => return bad.answer(id),
        };
        let route = match self.judge.judge(facts, self.target.upstream.port(), id).await {
            Ok(route) => route,
            Err(refusal) => return refusal,
        };
        let target = Arc::clone(&self.target);
        match self.relay.forward(Request::from_parts(parts, body), route, target).await {
            Ok(response) => response,
            Err(error) => error.answer(id),
        }
    }
}

#[derive(Debug)]
struct Loopback {
    key: SandboxKey,
    upstream: SocketAddr,
}

#[async_trait]
impl Target for Loopback {
    fn sandbox(&self) -> &SandboxKey {
        &self.key
    }

    fn start(&self) -> u64 {
        1
    }

    async fn dial(&self, port: u16, _from: IpAddr) -> io::Result<Upstream> {
        let stream = TcpStream::connect((self.upstream.ip(), port)).await?;
        stream.set_nodelay(true)?;
        Ok(stream.into())
    }

    fn client_bytes(&self, _n: u64) -> Flow {
        Flow::Go
    }

    fn sandbox_bytes(&self, _n: u64) -> Flow {
        Flow::Go
    }

    fn active_bytes(&self, _n: u64) {}

    fn upgraded(&self) {}

    async fn closing(&self) -> CloseReason {
        std::future::pending().await
    }
}
