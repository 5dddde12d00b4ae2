//! What does not pass.

use std::time::Duration;

use tidegate_egress::GateConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::inside::{Inside, KEY, upstream};
use crate::service::Service;

const HOST: &str = "models.upstream.internal";

async fn house() -> (Service, Inside) {
    let service = Service::http().await;
    let upstreams = [
        upstream("models", &format!("http://{}/v1", service.at)),
        upstream("others", &format!("http://{}/others", service.at)),
    ];
    let inside = Inside::new(&upstreams, &["models"], GateConfig::default()).await;
    (service, inside)
}

#[tokio::test]
async fn only_the_upstreams_that_this_sandbox_was_given_are_reachable() {
    let (service, inside) = house().await;
    for host in [
        "others.upstream.internal",
        "unknown.upstream.internal",
        "example.com",
        "127.0.0.1",
        "100.64.0.2",
        "upstream.internal",
    ] {
        let answer = inside.get("/", host).await;
        assert_eq!(answer.status, 403, "{host}: {answer:?}");
        assert_eq!(answer.fields["content-type"], "application/problem+json");
        assert!(
            answer.body.contains(r#""allowed":["models.upstream.internal"]"#),
            "{}",
            answer.body
        );
        assert!(!answer.body.contains("others"), "{}", answer.body);
    }
    let line = format!("GET http://{}/x", service.at);
    assert_eq!(inside.send(&line, &service.at.to_string(), "", "").await.status, 403);
    assert!(service.seen().is_empty());
}

#[tokio::test]
async fn nothing_stands_beside_the_credential_and_no_answer_shows_it() {
    let (service, inside) = house().await;
    let fields = "Authorization: Bearer mine\r\nauthorization: Bearer mine-too\r\n\
                  cookie: a=b\r\nx-forwarded-for: 1.2.3.4\r\nforwarded: for=1.2.3.4\r\n\
                  proxy-authorization: Basic x\r\n";
    let answer = inside.send("GET /echo", HOST, fields, "").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "echoed"));
    assert!(!answer.text.contains(KEY), "{}", answer.text);
    assert!(!answer.fields.contains_key("set-cookie"));
    let seen = service.seen().remove(0);
    assert_eq!(seen.all("authorization"), [format!("Bearer {KEY}")]);
    for name in ["cookie", "x-forwarded-for", "forwarded", "proxy-authorization", "connection"] {
        assert!(seen.all(name).is_empty(), "{name}: {seen:?}");
    }
}

#[tokio::test]
async fn a_credential_cannot_be_removed_by_naming_it_in_connection() {
    let (service, inside) = house().await;
    let request = format!(
        "GET /x HTTP/1.1\r\nhost: {HOST}\r\nconnection: close, authorization, x-own\r\n\
         x-own: 1\r\n\r\n"
    );
    assert_eq!(inside.raw(&request).await.status, 200);
    let seen = service.seen().remove(0);
    assert_eq!(seen.all("authorization"), [format!("Bearer {KEY}")]);
    assert!(seen.all("x-own").is_empty());
}

#[tokio::test]
async fn paths_do_not_leave_the_base() {
    let (service, inside) = house().await;
    for path in [
        "/..",
        "/../others/x",
        "/a/%2e%2e/%2e%2e/others",
        "/..%2fothers",
        "/%252e%252e/others",
        "/..;/others",
        "/..%5cothers",
    ] {
        let answer = inside.get(path, HOST).await;
        assert_eq!(answer.status, 400, "{path}: {answer:?}");
    }
    assert!(service.seen().is_empty());
}

/// Whatever is said, an upstream sees nothing, or one request that was meant.
#[tokio::test]
async fn smuggled_requests_do_not_arrive() {
    let hidden = "GET /hidden HTTP/1.1\r\nhost: others.upstream.internal\r\n\r\n";
    let cases = [
        // Two lengths.
        format!(
            "POST /a HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 3\r\ncontent-length: 60\r\n\r\nabc{hidden}"
        ),
        // A length and chunks.
        format!(
            "POST /a HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"
        ),
        // Chunks that are not the last coding.
        format!(
            "POST /a HTTP/1.1\r\nhost: {HOST}\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n{hidden}"
        ),
        // A name with a space before its colon.
        format!("POST /a HTTP/1.1\r\nhost: {HOST}\r\ncontent-length : 60\r\n\r\n{hidden}"),
        // A folded line.
        format!("GET /a HTTP/1.1\r\nhost: {HOST}\r\nx-a: b\r\n c: d\r\n\r\n{hidden}"),
        // A length with a sign.
        format!("POST /a HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: +3\r\n\r\nabc{hidden}"),
        // Two hosts.
        format!(
            "GET /a HTTP/1.1\r\nhost: {HOST}\r\nhost: others.upstream.internal\r\nconnection: close\r\n\r\n"
        ),
        // No host.
        "GET /a HTTP/1.1\r\nconnection: close\r\n\r\n".to_owned(),
        // A tunnel, and an upgrade.
        format!("CONNECT {HOST}:80 HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\r\n"),
        format!(
            "GET /a HTTP/1.1\r\nhost: {HOST}\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n{hidden}"
        ),
    ];
    for case in cases {
        let (service, inside) = house().await;
        let mut stream = inside.connect().await;
        stream.write_all(case.as_bytes()).await.expect("sent");
        stream.shutdown().await.expect("half closed");
        let mut answer = Vec::new();
        // A reset after the refusal is fine too.
        let _ = stream.read_to_end(&mut answer).await;
        let seen = service.seen();
        let hidden: Vec<_> = seen.iter().filter(|s| s.target.contains("others")).collect();
        assert!(hidden.is_empty(), "{case:?} brought {hidden:?}");
        for seen in seen {
            assert_eq!(seen.target, "/v1/a", "{case:?}");
            assert!(!seen.body.contains("hidden"), "{case:?} brought {seen:?}");
            // One framing, and ours.
            assert!(seen.all("content-length").len() + seen.all("transfer-encoding").len() <= 1);
        }
    }
}

#[tokio::test]
async fn a_method_whose_answer_is_the_request_never_reaches_an_upstream() {
    for method in ["TRACE", "TRACK", "trace", "Track"] {
        let (service, inside) = house().await;
        let mut stream = inside.connect().await;
        let request = format!("{method} /a HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("answered");
        let text = String::from_utf8_lossy(&answer);
        assert!(text.starts_with("HTTP/1.1 501"), "{method}: {text}");
        assert!(service.seen().is_empty(), "{method}");
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let (service, inside) = house().await;
    let large = format!("x-large: {}\r\n", "x".repeat(200 * 1024));
    let mut stream = inside.connect().await;
    let request = format!("GET /a HTTP/1.1\r\nhost: {HOST}\r\n{large}\r\n");
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let text = String::from_utf8_lossy(&answer);
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 431"), "{text}");
    assert!(service.seen().is_empty());
}

#[tokio::test]
async fn one_connection_too_many_waits_for_another_to_end() {
    let service = Service::http().await;
    let upstreams = [upstream("models", &format!("http://{}", service.at))];
    let config = GateConfig { connections_per_sandbox: 2, ..GateConfig::default() };
    let inside = Inside::new(&upstreams, &["models"], config).await;
    let (first, _second) = (inside.connect().await, inside.connect().await);
    let waiting = inside.get("/a", HOST);
    tokio::pin!(waiting);
    let early = tokio::time::timeout(Duration::from_millis(100), &mut waiting).await;
    assert!(early.is_err(), "two are open");
    drop(first);
    assert_eq!(waiting.await.status, 200);
}
