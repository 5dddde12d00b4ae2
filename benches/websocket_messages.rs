//! Claim: judging a WebSocket's messages costs less than one more hop over
//! loopback, plugin included, as long as messages are small.
//!
//! Four ways over the same echo server: `direct`; `raw`, through the relay as
//! bytes; `messages`, through a gate that lets everything pass; `plugin`, through
//! one that asks a WASM plugin about each message, both ways: two calls per round
//! trip. The second group sends many messages before it reads any.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_util::{SinkExt as _, StreamExt as _};
use http::Response;
use tidegate_benches::relayed::{Judge, relay, relay_judged};
use tidegate_policy::{Generation, HostConfig, PluginSource, PluginSpec, PolicyHost};
use tidegate_relay::{GateFailed, Judging, MessageGate, Messages, RelayBody, Route};
use tidegate_testkit::websocket::EchoWebSocket;
use tidegate_types::{
    DecisionId, Identity, Message, MessageVerdict, PluginName, RequestFacts, SandboxFacts,
    SandboxKey, SandboxName, SubjectId, TemplateName, TenantId, Way,
};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::Mutex;
use tokio_tungstenite::connect_async_with_config;
use tokio_tungstenite::tungstenite::{self, Bytes};

/// Lets everything pass.
#[derive(Debug)]
struct LetPass;

impl MessageGate for LetPass {
    fn on_message(&self, _way: Way, message: Message) -> Judging<'_> {
        Box::pin(async { Ok(MessageVerdict::Forward(message)) })
    }
}

/// Asks a plugin, as the gateway does.
#[derive(Debug)]
struct Ask {
    policy: Arc<Generation>,
    who: Arc<Identity>,
    target: Arc<SandboxFacts>,
}

impl MessageGate for Ask {
    fn on_message(&self, way: Way, message: Message) -> Judging<'_> {
        Box::pin(async move {
            let decision = DecisionId::random();
            let judged = self.policy.on_message(&self.who, &self.target, way, message, decision);
            judged.await.map_err(|_| GateFailed { decision })
        })
    }
}

fn ask() -> Ask {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let toolchain = tidegate_plugin_build::toolchain().expect("a compiler for WASM");
    let scratch = root.join("target/plugins");
    let built =
        tidegate_plugin_build::build(&toolchain, &root.join("plugins"), &scratch, &["chaperone"]);
    let component = built.expect("builds").remove(0).into();
    let source = PluginSource::Builtin { name: "chaperone".into(), component };
    let name = PluginName::new("chaperone").expect("a name");
    let host = PolicyHost::new(HostConfig::default(), vec![PluginSpec::new(name, source)]);
    let tenant = TenantId::new("acme").expect("a tenant");
    let subject = SubjectId::new("alice").expect("a subject");
    let name = SandboxName::new("user-alice").expect("a name");
    Ask {
        policy: host.expect("loads").current(),
        who: Arc::new(Identity {
            subject: subject.clone(),
            tenant: tenant.clone(),
            claims: Vec::new(),
        }),
        target: Arc::new(SandboxFacts {
            key: SandboxKey { tenant, name },
            subject,
            template: TemplateName::new("app").expect("a name"),
            labels: Vec::new(),
        }),
    }
}

struct Gated(Arc<dyn MessageGate>);

impl Judge for Gated {
    async fn judge(
        &self,
        facts: Arc<RequestFacts>,
        port: u16,
        _id: DecisionId,
    ) -> Result<Route, Response<RelayBody>> {
        let messages = Messages { gate: Arc::clone(&self.0), max_message: 1 << 20 };
        Ok(Route { messages: Some(messages), ..Route::new(facts, port) })
    }
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket");
    (listener, address)
}

async fn gated(server: SocketAddr, gate: impl MessageGate) -> SocketAddr {
    let (listener, address) = listen().await;
    tokio::spawn(relay_judged(listener, server, Gated(Arc::new(gate))));
    address
}

fn exchanges(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let (_server, ways) = runtime.block_on(async {
        let server = EchoWebSocket::start().await;
        let (listener, raw) = listen().await;
        tokio::spawn(relay(listener, server.address));
        let messages = gated(server.address, LetPass).await;
        let plugin = gated(server.address, ask()).await;
        let ways =
            [("direct", server.address), ("raw", raw), ("messages", messages), ("plugin", plugin)];
        (server, ways)
    });
    for (size, count) in [(64, 1), (64 << 10, 1), (1 << 10, 256)] {
        let name = format!("WebSocket, {count} of {size} bytes there and back");
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Bytes((size * count) as u64));
        let message = tungstenite::Message::Binary(Bytes::from(vec![7; size]));
        for (way, address) in ways {
            let connecting = connect_async_with_config(format!("ws://{address}/"), None, true);
            let (socket, _) = runtime.block_on(connecting).expect("the server agrees");
            let halves = Mutex::new(socket.split());
            group.bench_function(way, |bencher| {
                bencher.to_async(&runtime).iter(async || {
                    let (to, from) = &mut *halves.lock().await;
                    let sending = async {
                        for _ in 0..count {
                            to.feed(message.clone()).await.expect("the server reads");
                        }
                        to.flush().await.expect("the server reads");
                    };
                    let reading = async {
                        for _ in 0..count {
                            from.next().await.expect("an echo").expect("a message");
                        }
                    };
                    tokio::join!(sending, reading)
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, exchanges);
criterion_main!(benches);
