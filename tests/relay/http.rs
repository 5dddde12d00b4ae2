//! HTTP through the relay: streaming, framing, header rules, failures.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use serde_json::Value;
use tidegate_relay::{Route, ServerConfig, TrustedProxies};
use tidegate_testkit::http::{EchoServer, Seen};
use tidegate_testkit::http_raw::RawClient;
use tidegate_types::Credential;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{Gateway, Options};

/// One request on a connection of its own; the whole answer as text.
async fn exchange(gateway: &Gateway, request: &str) -> String {
    let mut client = RawClient::connect(gateway.address).await.unwrap();
    client.send(request).await.unwrap();
    client.rest().await.unwrap()
}

async fn get(gateway: &Gateway, target: &str) -> String {
    let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    exchange(gateway, &request).await
}

async fn started() -> (EchoServer, Gateway) {
    let server = EchoServer::start().await;
    let gateway = Gateway::start(server.address).await;
    (server, gateway)
}

async fn with_route(route: impl Fn(&mut Route) + Send + Sync + 'static) -> (EchoServer, Gateway) {
    let server = EchoServer::start().await;
    let options = Options { route: Box::new(route), ..Options::default() };
    let gateway = Gateway::with(server.address, options).await;
    (server, gateway)
}

fn problem(answer: &str) -> Value {
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.contains("application/problem+json"), "{answer}");
    serde_json::from_str(body).expect("problem details are JSON")
}

#[tokio::test]
async fn an_event_arrives_before_the_answer_ends() {
    let (server, gateway) = started().await;
    let mut client = RawClient::connect(gateway.address).await.unwrap();
    client.send("GET /events HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    client.until("data: 0\n\n").await.unwrap();
    server.release();
    client.until("data: 1\n\n").await.unwrap();
    client.until("\r\n0\r\n\r\n").await.unwrap();
    gateway.sandbox.idle().await;
}

/// Reads a meter until small requests beside it no longer see it move.
async fn settled(gateway: &Gateway, meter: impl Fn() -> u64) -> u64 {
    let mut last = 0;
    loop {
        for _ in 0..50 {
            get(gateway, "/status/204").await;
        }
        let now = meter();
        if now == last && now > 0 {
            return now;
        }
        last = now;
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_the_sandbox_back() {
    let (_server, gateway) = started().await;
    let mut client = TcpStream::connect(gateway.address).await.unwrap();
    client.write_all(b"GET /bytes/1073741824 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let out = settled(&gateway, || gateway.meters.bytes_out.get()).await;
    // The system's own buffers; a gateway that buffered would have all of it.
    assert!(out < 32 << 20, "{out} bytes were taken from the sandbox");
    drop(client);
    gateway.sandbox.idle().await;
}

#[tokio::test]
async fn a_sandbox_that_does_not_read_holds_the_client_back() {
    let (server, gateway) = started().await;
    let client = TcpStream::connect(gateway.address).await.unwrap();
    let (mut read, mut write) = client.into_split();
    let sending = tokio::spawn(async move {
        let head = b"POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 1073741824\r\n\r\n";
        write.write_all(head).await.unwrap();
        let piece = vec![0; 1 << 20];
        while write.write_all(&piece).await.is_ok() {}
    });
    let came = settled(&gateway, || gateway.meters.bytes_in.get()).await;
    assert!(came < 32 << 20, "{came} bytes were taken from the client");
    server.release();
    let mut status = [0; 12];
    read.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    sending.abort();
    drop(read);
    gateway.sandbox.idle().await;
}

#[tokio::test]
async fn a_body_comes_back_while_it_is_still_being_sent() {
    let (_server, gateway) = started().await;
    let mut client = RawClient::connect(gateway.address).await.unwrap();
    client
        .send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        .await
        .unwrap();
    client.until("one").await.unwrap();
    client.send("3\r\ntwo\r\n0\r\n\r\n").await.unwrap();
    client.until("two\r\n0\r\n\r\n").await.unwrap();
    assert_eq!(gateway.sandbox.active_bytes.load(SeqCst), 6);
}

#[tokio::test]
async fn a_large_body_goes_both_ways_whole() {
    let (_server, gateway) = started().await;
    let size = 24 << 20;
    let client = TcpStream::connect(gateway.address).await.unwrap();
    let (mut read, mut write) = client.into_split();
    let sending = tokio::spawn(async move {
        let head = format!(
            "POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n"
        );
        write.write_all(head.as_bytes()).await.unwrap();
        let body: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
        write.write_all(&body).await.unwrap();
        // Kept open: a client that closes its side counts as gone.
        write
    });
    let mut got = Vec::new();
    read.read_to_end(&mut got).await.unwrap();
    let _write = sending.await.unwrap();
    let body = decoded(&got);
    assert_eq!(body.len(), size);
    assert!(body.iter().enumerate().all(|(n, byte)| *byte == (n % 251) as u8));
}

/// The body of an answer, out of its chunks if it has any.
fn decoded(answer: &[u8]) -> Vec<u8> {
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let mut rest = &answer[end..];
    if !head.contains("transfer-encoding") {
        return rest.to_vec();
    }
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|w| w == b"\r\n").unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&rest[line + 2..line + 2 + size]);
        rest = &rest[line + 4 + size..];
    }
}

#[tokio::test]
async fn trailers_pass_in_both_directions() {
    let (_server, gateway) = started().await;
    let answer = exchange(
        &gateway,
        "GET /trailers HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: close, TE\r\n\r\n",
    )
    .await;
    assert!(answer.ends_with("0\r\nx-sum: 42\r\n\r\n"), "{answer}");
    let answer = exchange(
        &gateway,
        "POST /echo HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: close, TE\r\nTrailer: X-A, X-Forwarded-For\r\n\
         Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-A: 1\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n",
    )
    .await;
    assert!(answer.contains("x-a: 1"), "{answer}");
    assert!(!answer.contains("6.6.6.6"), "{answer}");
}

#[tokio::test]
async fn a_client_that_waits_for_100_gets_it_when_the_sandbox_takes_the_body() {
    let (_server, gateway) = started().await;
    let mut client = RawClient::connect(gateway.address).await.unwrap();
    client
        .send("POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        .await
        .unwrap();
    client.until("HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
    client.send("abc").await.unwrap();
    client.until("\"body\":3").await.unwrap();
    let other = "POST /x HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\nConnection: close\r\n\r\n";
    assert!(exchange(&gateway, other).await.starts_with("HTTP/1.1 417"));
}

#[tokio::test]
async fn answers_without_a_body_have_none() {
    let (_server, gateway) = started().await;
    let head = "HEAD /bytes/5000 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answer = exchange(&gateway, head).await;
    assert!(answer.contains("content-length: 5000") && answer.ends_with("\r\n\r\n"), "{answer}");
    for status in ["204", "304"] {
        let answer = get(&gateway, &format!("/status/{status}")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert!(answer.ends_with("\r\n\r\n") && !answer.contains("chunked"), "{answer}");
    }
    gateway.sandbox.idle().await;
}

#[tokio::test]
async fn an_http_1_0_client_gets_no_chunks() {
    let (_server, gateway) = started().await;
    let answer = exchange(&gateway, "GET /chunks/3/2 HTTP/1.0\r\nHost: a\r\n\r\n").await;
    assert!(!answer.contains("chunked") && answer.ends_with("\r\n\r\ncccccc"), "{answer}");
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_its_request() {
    let (server, gateway) = started().await;
    let mut client = RawClient::connect(gateway.address).await.unwrap();
    client.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    while server.seen().is_empty() {
        tokio::task::yield_now().await;
    }
    drop(client);
    server.abandoned(1).await;
    gateway.sandbox.idle().await;
}

#[tokio::test]
async fn one_connection_serves_many_requests_but_none_of_another_start() {
    let (server, gateway) = started().await;
    for _ in 0..10 {
        get(&gateway, "/x").await;
    }
    assert_eq!((server.connections(), gateway.meters.reuses.get()), (1, 9));
    gateway.sandbox.start.store(2, SeqCst);
    get(&gateway, "/x").await;
    assert_eq!(server.connections(), 2);
    get(&gateway, "/last").await;
    get(&gateway, "/x").await;
    assert_eq!(server.connections(), 3);
}

/// Scenario: a server answers one request on a connection, takes the next one,
/// and closes without an answer.
#[tokio::test]
async fn a_request_that_met_a_closed_connection_is_sent_again_if_that_is_safe() {
    for (method, expected) in [("GET", "200"), ("PUT", "200"), ("POST", "502")] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gateway = Gateway::start(listener.local_addr().unwrap()).await;
        let server = tokio::spawn(async move {
            let mut requests = 0;
            while let Ok((mut stream, _)) = listener.accept().await {
                for nth in 0..2 {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        let Ok(byte) = stream.read_u8().await else { break };
                        head.push(byte);
                    }
                    requests += 1;
                    if nth == 1 {
                        break;
                    }
                    let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                    stream.write_all(ok).await.unwrap();
                }
                if requests >= 3 {
                    break;
                }
            }
        });
        assert!(get(&gateway, "/first").await.starts_with("HTTP/1.1 200"));
        let second = format!("{method} /second HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let answer = exchange(&gateway, &second).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected}")), "{method}: {answer}");
        server.abort();
    }
}

#[tokio::test]
async fn a_sandbox_that_fails_is_a_problem_with_a_decision_and_never_a_hang() {
    let server = EchoServer::start().await;
    let mut options = Options::default();
    options.relay.answer_timeout = Duration::from_millis(100);
    let gateway = Gateway::with(server.address, options).await;
    let check = async |target: &str, status: u16, code: &str| {
        let answer = get(&gateway, target).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{target}: {answer}");
        let problem = problem(&answer);
        assert_eq!(problem["code"], code);
        let decision = problem["decision"].as_str().unwrap();
        assert!(answer.contains(&format!("x-tidegate-decision: {decision}")), "{answer}");
    };
    check("/reset", 502, "sandbox-closed-connection").await;
    check("/hold", 504, "sandbox-answer-timeout").await;
    gateway.sandbox.refuse.store(true, SeqCst);
    gateway.sandbox.start.store(2, SeqCst);
    check("/x", 502, "sandbox-unreachable").await;
    gateway.sandbox.idle().await;
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_a_bad_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = Gateway::start(listener.local_addr().unwrap()).await;
    let server = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut some = [0; 1024];
            let _ = stream.read(&mut some).await;
            let _ = stream.write_all(b"SSH-2.0-hello\r\n").await;
        }
    });
    let answer = get(&gateway, "/").await;
    assert_eq!(problem(&answer)["code"], "sandbox-bad-answer", "{answer}");
    server.abort();
}

#[tokio::test]
async fn an_answer_that_breaks_off_breaks_off_for_the_client_too() {
    let (_server, gateway) = started().await;
    let answer = get(&gateway, "/close-early").await;
    assert!(answer.contains("content-length: 100"), "{answer}");
    assert!(decoded(answer.as_bytes()).len() <= 10, "{answer}");
    gateway.sandbox.idle().await;
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_body_reaches_the_client() {
    let (_server, gateway) = started().await;
    let mut client = TcpStream::connect(gateway.address).await.unwrap();
    client
        .write_all(b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
        .await
        .unwrap();
    client.write_all(&[0; 1000]).await.unwrap();
    let mut status = [0; 12];
    client.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 413");
    drop(client);
    gateway.sandbox.idle().await;
}

#[tokio::test]
async fn a_body_that_stands_still_is_given_up() {
    let server = EchoServer::start().await;
    let options = Options {
        server: ServerConfig { idle_timeout: Duration::from_millis(100), ..Default::default() },
        ..Options::default()
    };
    let gateway = Gateway::with(server.address, options).await;
    let request = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc";
    // The client may still be told why; what matters is that it is let go.
    let _ = exchange(&gateway, request).await;
    gateway.sandbox.idle().await;
}

#[tokio::test]
async fn the_sandbox_sees_what_was_decided_and_no_credential() {
    let (server, gateway) = with_route(|route| {
        route.strip = vec![
            Credential::Header("authorization".parse().unwrap()),
            Credential::Cookie("sid".to_owned()),
            Credential::QueryParam("token".to_owned()),
        ];
        let user = "x-forwarded-user".parse().unwrap();
        route.identity_headers = vec![(user, Some("alice".parse().unwrap()))];
    })
    .await;
    exchange(
        &gateway,
        "GET /a/../b?x=%2F&tok%65n=secret&y HTTP/1.1\r\nHost: Alice.Example:80\r\nAuthorization: Bearer secret\r\n\
         Cookie: a=1; sid=secret; b=2\r\nX_Forwarded_User: root\r\nX-Forwarded-For: 6.6.6.6\r\nConnection: close\r\n\r\n",
    )
    .await;
    let seen: Seen = server.seen().remove(0);
    assert_eq!(seen.target, "/b?x=%2F&y");
    assert_eq!(seen.header("host"), Some("Alice.Example:80"));
    assert_eq!(seen.header("cookie"), Some("a=1; b=2"));
    assert_eq!(seen.header("x-forwarded-user"), Some("alice"));
    assert_eq!(
        seen.header("x-forwarded-for"),
        Some("100.64.0.3"),
        "loopback would be the sandbox itself"
    );
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.header("x-forwarded-host"), Some("alice.example:80"));
    let all = format!("{seen:?}");
    assert!(!all.contains("secret") && !all.contains("root") && !all.contains("6.6.6.6"), "{all}");
}

#[tokio::test]
async fn a_trusted_proxy_says_who_the_client_is() {
    let server = EchoServer::start().await;
    let options =
        Options { trusted: TrustedProxies::parse(["127.0.0.0/8"]).unwrap(), ..Options::default() };
    let gateway = Gateway::with(server.address, options).await;
    let request = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6, 203.0.113.9\r\n\
                   X-Forwarded-Proto: https\r\nConnection: close\r\n\r\n";
    exchange(&gateway, request).await;
    let seen = server.seen().remove(0);
    assert_eq!(seen.header("x-forwarded-for"), Some("203.0.113.9"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
}

#[tokio::test]
async fn an_application_cannot_reach_beyond_its_own_pages() {
    let (_server, gateway) =
        with_route(|route| route.session_cookies = [String::from("sid")].into()).await;
    let answer = get(
        &gateway,
        "/headers?set-cookie=a=1%3BDomain=example.org%3BPath=/&set-cookie=sid=x&alt-svc=x\
         &strict-transport-security=max-age=9&keep-alive=9&x-own=kept&x-tidegate-decision=forged",
    )
    .await;
    assert!(answer.contains("set-cookie: a=1;Path=/\r\n"), "{answer}");
    assert!(answer.contains("x-own: kept"), "{answer}");
    for gone in ["sid=", "alt-svc", "strict-transport", "keep-alive", "forged"] {
        assert!(!answer.contains(gone), "{gone}: {answer}");
    }
}

#[tokio::test]
async fn a_drain_finishes_what_is_under_way_and_accepts_nothing_new() {
    let (server, gateway) = started().await;
    let address = gateway.address;
    let mut client = RawClient::connect(address).await.unwrap();
    client.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    while server.seen().is_empty() {
        tokio::task::yield_now().await;
    }
    let idle = RawClient::connect(address).await.unwrap();
    let ends = async {
        gateway.drain.cancel();
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        server.release();
        let answer = client.rest().await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("released"), "{answer}");
    };
    ends.await;
    // A connection that never asked anything does not hold the drain up.
    gateway.drained().await;
    drop(idle);
}

#[tokio::test]
async fn a_head_that_does_not_end_is_given_up() {
    let server = EchoServer::start().await;
    let options = Options {
        server: ServerConfig { head_timeout: Duration::from_millis(100), ..Default::default() },
        ..Options::default()
    };
    let gateway = Gateway::with(server.address, options).await;
    for beginning in ["", "GET", "GET / HTTP/1.1\r\nHost: a\r\nX-Slow: "] {
        let mut client = RawClient::connect(gateway.address).await.unwrap();
        client.send(beginning).await.unwrap();
        client.rest().await.expect("the gateway closes");
    }
    assert!(server.seen().is_empty());
}

/// Scenario: the application answers, and while its connection is idle sends what
/// could be taken for the answer to the next request.
#[tokio::test]
async fn an_answer_that_nobody_asked_for_is_never_taken_for_one() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = Gateway::start(listener.local_addr().unwrap()).await;
    let server = tokio::spawn(async move {
        let forged = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged";
        let answers = [["first ", forged].concat(), "second".to_owned()];
        let mut kept = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut some = [0; 4096];
            assert!(stream.read(&mut some).await.unwrap() > 0);
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n{answer}");
            stream.write_all(answer.as_bytes()).await.unwrap();
            kept.push(stream);
        }
        kept
    });
    assert!(get(&gateway, "/1").await.ends_with("first "));
    assert!(get(&gateway, "/2").await.ends_with("second"));
    server.await.unwrap();
}
