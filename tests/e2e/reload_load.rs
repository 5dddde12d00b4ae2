//! Plugins are replaced again and again under steady load: no request fails, none is
//! answered by two editions, and memory stays where it was.
//!
//! A hundred reloads; `TIDEGATE_RELOADS=1000` makes it a thousand. How long requests
//! took, with reloads and without, is printed and not judged: machines differ.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tidegate_testkit::gateway::{Gateway, Setup};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::built;

const MARK: &[u8] = b"edition-00000000";
/// Requests come in at this pace on each connection, whatever the gateway does.
const PACE: Duration = Duration::from_millis(10);
const CONNECTIONS: usize = 4;
const WEBSOCKETS: usize = 2;
/// Reloads before memory is looked at.
const WARM: usize = 101;
const PATIENCE: Duration = Duration::from_secs(60);

/// Two components that differ in what they call themselves.
struct Editions {
    file: PathBuf,
    components: [(String, Vec<u8>); 2],
}

impl Editions {
    fn make(directory: &Path) -> Self {
        let component = std::fs::read(built::component("editions")).expect("the component");
        let at = component.windows(MARK.len()).position(|it| it == MARK).expect("its mark");
        let components = [1, 2].map(|number| {
            let name = format!("edition-{number:08}");
            let mut bytes = component.clone();
            bytes[at..at + MARK.len()].copy_from_slice(name.as_bytes());
            (name, bytes)
        });
        Self { file: directory.join("editions.wasm"), components }
    }

    /// Saves one as an editor does; answers what it calls itself.
    fn save(&self, number: usize) -> &str {
        let (name, component) = &self.components[number % 2];
        let fresh = self.file.with_extension("new");
        std::fs::write(&fresh, component).expect("it is written");
        std::fs::rename(&fresh, &self.file).expect("it is put in place");
        name
    }
}

async fn gateway(editions: &Editions) -> Gateway {
    editions.save(0);
    let sign_in = "[[plugin]]\nname = \"sign-in\"";
    let first = format!(
        "[[plugin]]\nname = \"editions\"\nsource = {:?}\n[plugin.config]\n\
         template = \"hello\"\nport = 3000\n\n{sign_in}",
        editions.file.display().to_string()
    );
    Gateway::start(Setup::hello().replacing(sign_in, &first)).await
}

type Http = Client<HttpConnector, Empty<Bytes>>;

fn client() -> Http {
    Client::builder(TokioExecutor::new()).build(HttpConnector::new())
}

/// The edition that answered all of what one request asks.
fn edition(headers: &HeaderMap) -> String {
    let says = |name: &str| {
        let value = headers.get(name).unwrap_or_else(|| panic!("no `{name}`: {headers:?}"));
        value.to_str().expect("text").to_owned()
    };
    let who = says("x-authenticated-by");
    assert_eq!(who, says("x-claimed-by"), "two generations answered one request");
    assert_eq!(who, says("x-resolved-by"), "two generations answered one request");
    who
}

async fn ask(client: &Http, gateway: &Gateway) -> String {
    let url = format!("http://{}/api/whoami", gateway.address());
    let request = Request::get(url).header("x-user", "ann").body(Empty::new()).expect("a request");
    let answer = client.request(request).await.expect("an answer");
    let (head, body) = answer.into_parts();
    let body = body.collect().await.expect("a whole body").to_bytes();
    assert_eq!(head.status, StatusCode::OK, "{}", String::from_utf8_lossy(&body));
    edition(&head.headers)
}

async fn open(gateway: &Gateway) -> WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(gateway.address()).await.expect("the gateway listens");
    let url = format!("ws://{}/ws", gateway.address());
    let mut request = url.into_client_request().expect("a request");
    request.headers_mut().insert("x-user", header::HeaderValue::from_static("ann"));
    let (socket, answer) =
        tokio_tungstenite::client_async(request, stream).await.expect("an upgrade");
    edition(answer.headers());
    socket
}

async fn echo(socket: &mut WebSocketStream<TcpStream>, text: &str) {
    socket.send(Message::text(text)).await.expect("sent");
    loop {
        match socket.next().await.expect("open").expect("a message") {
            Message::Text(back) if back.as_str() == text => return,
            Message::Text(other) => panic!("{other} came back for {text}"),
            _ => {}
        }
    }
}

/// What requests and messages took while something went on.
#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    fn at(&mut self, per_cent: usize) -> Duration {
        self.0.sort();
        self.0.get(self.0.len() * per_cent / 100).copied().unwrap_or_default()
    }
}

/// Steady load for as long as `work` takes: connections that are kept, WebSockets
/// that stay open throughout, and one that is opened anew each time.
async fn under_load<T>(gateway: &Gateway, work: impl Future<Output = T>) -> (Times, T) {
    let stop = AtomicBool::new(false);
    let messages = AtomicU64::new(0);
    let ticks = || {
        let mut ticks = interval(PACE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        ticks
    };
    let requests = async || {
        let (client, mut ticks, mut times) = (client(), ticks(), Vec::new());
        while !stop.load(Ordering::Relaxed) {
            ticks.tick().await;
            let began = Instant::now();
            ask(&client, gateway).await;
            times.push(began.elapsed());
        }
        times
    };
    let talk = async || {
        let (mut socket, mut ticks) = (open(gateway).await, ticks());
        while !stop.load(Ordering::Relaxed) {
            ticks.tick().await;
            let number = messages.fetch_add(1, Ordering::Relaxed);
            echo(&mut socket, &format!("message {number}")).await;
        }
    };
    let come_and_go = async || {
        let mut ticks = interval(PACE * 5);
        while !stop.load(Ordering::Relaxed) {
            ticks.tick().await;
            let mut socket = open(gateway).await;
            echo(&mut socket, "hello").await;
            socket.close(None).await.expect("closed");
        }
    };
    let work = async {
        let done = work.await;
        stop.store(true, Ordering::Relaxed);
        done
    };
    let all = futures_util::future::join_all((0..CONNECTIONS).map(|_| requests()));
    let sockets = futures_util::future::join_all((0..WEBSOCKETS).map(|_| talk()));
    let (times, _, (), done) = tokio::join!(all, sockets, come_and_go(), work);
    assert!(messages.load(Ordering::Relaxed) > 0, "nobody said anything");
    (Times(times.into_iter().flatten().collect()), done)
}

/// Saves edition after edition, each once the one before is seen to serve; answers
/// how long that took, from the file saved to the first answer.
async fn replace(gateway: &Gateway, editions: &Editions, from: usize, to: usize) -> Vec<Duration> {
    let client = client();
    let mut live = Vec::new();
    for number in from..to {
        let began = Instant::now();
        let name = editions.save(number);
        while ask(&client, gateway).await != name {
            assert!(began.elapsed() < PATIENCE, "{name} never served:\n{}", gateway.log());
        }
        live.push(began.elapsed());
    }
    live
}

/// Bytes of memory that the gateway holds.
async fn memory(gateway: &Gateway) -> u64 {
    let (_, about) = gateway.control(Method::GET, "/v1/about").await;
    let about: serde_json::Value = serde_json::from_str(&about).expect("JSON");
    let status = std::fs::read_to_string(format!("/proc/{}/status", about["pid"]));
    let status = status.expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("its memory");
    let kib = line.split_whitespace().nth(1).and_then(|it| it.parse::<u64>().ok());
    kib.expect("a number") << 10
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plugins_are_replaced_under_load_and_nobody_notices() {
    let reloads = std::env::var("TIDEGATE_RELOADS").ok().and_then(|it| it.parse().ok());
    let reloads: usize = reloads.unwrap_or(100);
    let directory = tempfile::tempdir().expect("a directory");
    let editions = Editions::make(directory.path());
    let gateway = gateway(&editions).await;
    ask(&client(), &gateway).await;

    // Until every thread and pool has what it keeps.
    under_load(&gateway, replace(&gateway, &editions, 1, WARM)).await;
    let before = memory(&gateway).await;
    let began = Instant::now();
    let (mut with, mut live) =
        under_load(&gateway, replace(&gateway, &editions, WARM, reloads + WARM)).await;
    let took = began.elapsed();
    let after = memory(&gateway).await;
    let (mut without, ()) = under_load(&gateway, tokio::time::sleep(took)).await;

    live.sort();
    eprintln!(
        "{reloads} reloads in {took:.1?}: live after {:.1?} (p50), {:.1?} (p99)\n\
         {} requests with reloads: p50 {:.2?}, p99 {:.2?}\n\
         {} requests without:      p50 {:.2?}, p99 {:.2?}\n\
         memory: {} KiB, then {} KiB",
        live[live.len() / 2],
        live[live.len() * 99 / 100],
        with.0.len(),
        with.at(50),
        with.at(99),
        without.0.len(),
        without.at(50),
        without.at(99),
        before >> 10,
        after >> 10,
    );
    // What a generation holds is given back: a leak of its component alone would be
    // far above this.
    let leak = after.saturating_sub(before) / reloads as u64;
    assert!(leak < 16 << 10, "{leak} bytes stay behind for each reload");
    assert_eq!(gateway.processes("hello-app").len(), 1, "nothing was restarted");
}
