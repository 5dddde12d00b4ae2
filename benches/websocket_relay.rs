//! Claim: a WebSocket message through the relay costs two more hops over loopback
//! and nothing else. `direct` is the same round trip without the relay.

use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::{SinkExt as _, StreamExt as _};
use tidegate_benches::relayed::relay;
use tidegate_testkit::websocket::EchoWebSocket;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::Mutex;
use tokio_tungstenite::connect_async_with_config;
use tokio_tungstenite::tungstenite::{Bytes, Message};

fn round_trips(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let (server, relayed) = runtime.block_on(async {
        let server = EchoWebSocket::start().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let relayed = listener.local_addr().expect("a bound socket");
        tokio::spawn(relay(listener, server.address));
        (server, relayed)
    });
    for size in [64, 64 << 10] {
        let mut group = criterion.benchmark_group(format!("WebSocket round trip of {size} bytes"));
        let message = Message::Binary(Bytes::from(vec![7; size]));
        for (way, address) in [("direct", server.address), ("relayed", relayed)] {
            let url = format!("ws://{address}/");
            let connecting = connect_async_with_config(url, None, true);
            let (socket, _) = runtime.block_on(connecting).expect("the server agrees");
            let socket = Mutex::new(socket);
            group.bench_function(way, |bencher| {
                bencher.to_async(&runtime).iter(async || {
                    let mut socket = socket.lock().await;
                    socket.send(message.clone()).await.expect("the server reads");
                    socket.next().await.expect("an echo").expect("a message")
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, round_trips);
criterion_main!(benches);
