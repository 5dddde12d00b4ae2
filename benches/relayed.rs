//! A relay with nothing around it: every request goes to one server.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use http::{Request, Response};
use tidegate_relay::{
    ClientBody, CloseReason, Flow, Handler, Peer, Relay, RelayBody, RelayConfig, Route, ServerConfig,
    Target, TrustedProxies, Upstream, facts, serve,
};
use tidegate_types::{DecisionId, SandboxKey, SandboxName, TenantId};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// Serves `listener` until the runtime ends; relays to `upstream`.
///
/// # Panics
/// Never: the names are valid.
pub async fn relay(listener: TcpListener, upstream: SocketAddr) {
    let tenant = TenantId::new("acme").expect("a valid tenant");
    let name = SandboxName::new("alice").expect("a valid name");
    let target = Arc::new(Loopback { key: SandboxKey { tenant, name }, upstream });
    let relay = Relay::new(RelayConfig::default());
    let handler = Arc::new(Relaying { relay, target });
    serve(ServerConfig::default(), listener, None, handler, CancellationToken::new()).await;
}

struct Relaying {
    relay: Relay,
    target: Arc<Loopback>,
}

impl Handler for Relaying {
    async fn handle(
        self: Arc<Self>,
        request: Request<ClientBody>,
        peer: Peer,
    ) -> Response<RelayBody> {
        let (parts, body) = request.into_parts();
        let facts = match facts(&parts, &peer, &TrustedProxies::default()) {
            Ok(facts) => facts,
            Err(bad) => return bad.answer(DecisionId::random()),
        };
        let route = Route::new(Arc::new(facts), self.target.upstream.port());
        let target = Arc::clone(&self.target);
        match self.relay.forward(Request::from_parts(parts, body), route, target).await {
            Ok(response) => response,
            Err(error) => error.answer(DecisionId::random()),
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
