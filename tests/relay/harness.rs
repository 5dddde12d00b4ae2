//! A relay whose "sandbox" is a server of the test's own.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use ::http::{Request, Response};
use async_trait::async_trait;
use tidegate_relay::{
    ClientBody, CloseReason, Flow, Handler, Judging, MessageGate, Messages, Meters, Peer, Relay,
    RelayBody, RelayConfig, Route, ServerConfig, Target, TrustedProxies, Upstream, facts, serve,
    server_tls,
};
use tidegate_testkit::tls::Certificate;
use tidegate_types::{DecisionId, Message, MessageVerdict, SandboxKey, SandboxName, TenantId, Way};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

type Shape = Box<dyn Fn(&mut Route) + Send + Sync>;

/// What a test may change.
pub(crate) struct Options {
    pub(crate) server: ServerConfig,
    pub(crate) relay: RelayConfig,
    pub(crate) trusted: TrustedProxies,
    pub(crate) route: Shape,
    pub(crate) tls: Option<Certificate>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            server: ServerConfig::default(),
            relay: RelayConfig::default(),
            trusted: TrustedProxies::default(),
            route: Box::new(|_| {}),
            tls: None,
        }
    }
}

/// A gate that lets every message pass.
#[derive(Debug)]
struct LetPass;

impl MessageGate for LetPass {
    fn on_message(&self, _way: Way, message: Message) -> Judging<'_> {
        Box::pin(async { Ok(MessageVerdict::Forward(message)) })
    }
}

/// Relays WebSockets message by message; each is let pass.
pub(crate) fn every_message() -> Options {
    let route = |route: &mut Route| {
        // As much as the largest case of the Autobahn suite.
        route.messages = Some(Messages { gate: Arc::new(LetPass), max_message: 16 << 20 });
    };
    Options { route: Box::new(route), ..Options::default() }
}

/// A gateway that relays everything to one server.
pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    pub(crate) meters: Arc<Meters>,
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) relay: Arc<Relay>,
    pub(crate) drain: CancellationToken,
    serving: JoinHandle<()>,
}

impl Gateway {
    pub(crate) async fn start(upstream: SocketAddr) -> Self {
        Self::with(upstream, Options::default()).await
    }

    pub(crate) async fn with(upstream: SocketAddr, mut options: Options) -> Self {
        let meters = Arc::new(Meters::default());
        options.server.meters = Arc::clone(&meters);
        options.relay.meters = Arc::clone(&meters);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let sandbox = Arc::new(Sandbox::new(upstream));
        let relay = Arc::new(Relay::new(options.relay));
        let handler = Arc::new(Relaying {
            relay: Arc::clone(&relay),
            sandbox: Arc::clone(&sandbox),
            trusted: options.trusted,
            route: options.route,
        });
        let drain = CancellationToken::new();
        let tls = options.tls.map(|files| server_tls(&files.certificate, &files.key).unwrap());
        let serving = tokio::spawn(serve(options.server, listener, tls, handler, drain.clone()));
        Self { address, meters, sandbox, relay, drain, serving }
    }

    /// Drains, and waits until no client is served any more.
    pub(crate) async fn drained(mut self) {
        self.drain.cancel();
        (&mut self.serving).await.unwrap();
        self.relay.close().await;
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

struct Relaying {
    relay: Arc<Relay>,
    sandbox: Arc<Sandbox>,
    trusted: TrustedProxies,
    route: Shape,
}

impl Handler for Relaying {
    async fn handle(
        self: Arc<Self>,
        request: Request<ClientBody>,
        peer: Peer,
    ) -> Response<RelayBody> {
        let decision = DecisionId::random();
        let (parts, body) = request.into_parts();
        let facts = match facts(&parts, &peer, &self.trusted) {
            Ok(facts) => facts,
            Err(bad) => return bad.answer(decision),
        };
        let mut route = Route::new(Arc::new(facts), self.sandbox.upstream.port());
        (self.route)(&mut route);
        let admitted = Arc::new(Admitted(Arc::clone(&self.sandbox)));
        self.sandbox.in_flight.send_modify(|n| *n += 1);
        match self.relay.forward(Request::from_parts(parts, body), route, admitted).await {
            Ok(response) => response,
            Err(error) => error.answer(decision),
        }
    }
}

/// What stands in for a sandbox: a server on loopback, and what the relay told it.
#[derive(Debug)]
pub(crate) struct Sandbox {
    key: SandboxKey,
    upstream: SocketAddr,
    pub(crate) start: AtomicU64,
    pub(crate) active_bytes: AtomicU64,
    /// Bytes that the client may still send, and get.
    pub(crate) may_send: AtomicU64,
    pub(crate) may_get: AtomicU64,
    pub(crate) refuse: AtomicBool,
    pub(crate) in_flight: watch::Sender<i64>,
    pub(crate) upgraded: AtomicU64,
    pub(crate) closing: watch::Sender<bool>,
}

impl Sandbox {
    fn new(upstream: SocketAddr) -> Self {
        Self {
            key: SandboxKey {
                tenant: TenantId::new("acme").unwrap(),
                name: SandboxName::new("alice").unwrap(),
            },
            upstream,
            start: AtomicU64::new(1),
            active_bytes: AtomicU64::new(0),
            may_send: AtomicU64::new(u64::MAX),
            may_get: AtomicU64::new(u64::MAX),
            refuse: AtomicBool::new(false),
            in_flight: watch::Sender::new(0),
            upgraded: AtomicU64::new(0),
            closing: watch::Sender::new(false),
        }
    }

    /// Waits until no request holds the sandbox any more.
    pub(crate) async fn idle(&self) {
        let mut in_flight = self.in_flight.subscribe();
        let waited = in_flight.wait_for(|n| *n == 0);
        tokio::time::timeout(Duration::from_secs(20), waited)
            .await
            .expect("every request lets go of its sandbox")
            .unwrap();
    }
}

/// Takes all of `n`, or nothing and says so.
fn spend(budget: &AtomicU64, n: u64) -> Flow {
    match budget.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(n)) {
        Ok(_) => Flow::Go,
        Err(_) => Flow::Cut,
    }
}

/// One admitted request.
#[derive(Debug)]
struct Admitted(Arc<Sandbox>);

impl Drop for Admitted {
    fn drop(&mut self) {
        self.0.in_flight.send_modify(|n| *n -= 1);
    }
}

#[async_trait]
impl Target for Admitted {
    fn sandbox(&self) -> &SandboxKey {
        &self.0.key
    }

    fn start(&self) -> u64 {
        self.0.start.load(SeqCst)
    }

    async fn dial(&self, port: u16, from: IpAddr) -> io::Result<Upstream> {
        if self.0.refuse.load(SeqCst) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let socket = TcpSocket::new_v4()?;
        // Only loopback can be a source address here; the rest is the driver's art.
        if from.is_loopback() {
            socket.bind((from, 0).into())?;
        }
        let stream = socket.connect((self.0.upstream.ip(), port).into()).await?;
        stream.set_nodelay(true)?;
        Ok(stream.into())
    }

    fn client_bytes(&self, n: u64) -> Flow {
        spend(&self.0.may_send, n)
    }

    fn sandbox_bytes(&self, n: u64) -> Flow {
        spend(&self.0.may_get, n)
    }

    fn active_bytes(&self, n: u64) {
        self.0.active_bytes.fetch_add(n, SeqCst);
    }

    fn upgraded(&self) {
        self.0.upgraded.fetch_add(1, SeqCst);
    }

    async fn closing(&self) -> CloseReason {
        let _ = self.0.closing.subscribe().wait_for(|closing| *closing).await;
        CloseReason::SandboxStops
    }
}
