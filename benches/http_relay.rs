//! Claim: relaying a small request, and a body of 1 MiB, costs little over asking
//! the server directly. `direct` is the same exchange without the relay.

use std::net::SocketAddr;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tidegate_benches::relayed::relay;
use tidegate_testkit::http::EchoServer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::Mutex;

/// A connection that is kept, as a browser's or a proxy's would be.
struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("the server listens");
        stream.set_nodelay(true).expect("a TCP socket");
        Self { stream, buffer: vec![0; 256 << 10] }
    }

    /// Asks for `size` bytes and reads them all.
    async fn get(&mut self, size: usize) {
        let request = format!("GET /bytes/{size} HTTP/1.1\r\nHost: a\r\n\r\n");
        self.stream.write_all(request.as_bytes()).await.expect("the server reads");
        let mut left = None;
        let mut head = Vec::new();
        while left != Some(0) {
            let n = self.stream.read(&mut self.buffer).await.expect("the server writes");
            assert!(n > 0, "the server closed");
            left = Some(match left {
                Some(left) => left - n,
                None => {
                    head.extend_from_slice(&self.buffer[..n]);
                    match head.windows(4).position(|w| w == b"\r\n\r\n") {
                        Some(end) => size - (head.len() - end - 4),
                        None => continue,
                    }
                }
            });
        }
    }
}

fn exchanges(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let (server, relayed) = runtime.block_on(async {
        let server = EchoServer::start().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let relayed = listener.local_addr().expect("a bound socket");
        tokio::spawn(relay(listener, server.address));
        (server, relayed)
    });
    for (name, size) in [("small request", 100), ("1 MiB body", 1 << 20)] {
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Bytes(size as u64));
        for (way, address) in [("direct", server.address), ("relayed", relayed)] {
            let client = Mutex::new(runtime.block_on(Client::connect(address)));
            group.bench_function(way, |bencher| {
                bencher.to_async(&runtime).iter(async || client.lock().await.get(size).await);
            });
        }
        group.finish();
    }
}

criterion_group!(benches, exchanges);
criterion_main!(benches);
