//! What passes, and how.

use std::time::Duration;

use tidegate_egress::GateConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::inside::{Inside, KEY, name, upstream};
use crate::service::Service;

const HOST: &str = "models.upstream.internal";

async fn over_http() -> (Service, Inside) {
    let service = Service::http().await;
    let upstreams = [upstream("models", &format!("http://{}/v1/", service.at))];
    let inside = Inside::new(&upstreams, &["models"], GateConfig::default()).await;
    (service, inside)
}

#[tokio::test]
async fn a_request_reaches_its_upstream_with_the_operators_credential() {
    let (service, inside) = over_http().await;
    let answer = inside.send("POST /chat?a=b%2F..", HOST, "x-own: 1\r\n", "hello").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "hello"));
    let seen = service.seen().remove(0);
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/v1/chat?a=b%2F.."));
    assert_eq!(seen.all("authorization"), [format!("Bearer {KEY}")]);
    assert_eq!(seen.all("host"), [service.at.to_string()]);
    assert_eq!((seen.all("x-own"), seen.all("content-length")), (vec!["1"], vec!["5"]));
    assert_eq!(seen.body, "hello");
    let (of, meters) = inside.gate.meters().remove(0);
    assert_eq!(of, name("models"));
    assert_eq!((meters.requests.get(), meters.failures.get()), (1, 0));
    assert_eq!((meters.bytes_sent.get(), meters.bytes_received.get()), (5, 5));
}

#[tokio::test]
async fn an_encrypted_upstream_is_verified() {
    let service = Service::https().await;
    let url = format!("https://localhost:{}", service.at.port());
    let upstreams = [upstream("models", &url)];
    let extra_roots = service.root.clone().into_iter().collect();
    let trusting = GateConfig { extra_roots, ..GateConfig::default() };
    let inside = Inside::new(&upstreams, &["models"], trusting).await;
    assert_eq!(inside.get("/x", HOST).await.status, 200);
    assert_eq!(service.seen().remove(0).all("authorization"), [format!("Bearer {KEY}")]);

    let inside = Inside::new(&upstreams, &["models"], GateConfig::default()).await;
    let refused = inside.get("/x", HOST).await;
    assert_eq!(refused.status, 502);
    assert!(!refused.text.contains("localhost"), "{}", refused.text);
    assert_eq!(service.seen().len(), 1, "the credential was sent to nobody else");
}

/// Reads until `text` has come.
async fn read_until(stream: &mut TcpStream, read: &mut String, text: &str) {
    while !read.contains(text) {
        let mut chunk = [0; 1024];
        let count = stream.read(&mut chunk).await.expect("readable");
        assert!(count > 0, "it ended before `{text}`: {read}");
        read.push_str(&String::from_utf8_lossy(&chunk[..count]));
    }
}

#[tokio::test]
async fn events_pass_one_by_one_as_they_come() {
    let (service, inside) = over_http().await;
    let mut stream = inside.connect().await;
    let request = format!("GET /events HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut read = String::new();
    for event in 0..3 {
        // The upstream sends the next only when this one has arrived.
        read_until(&mut stream, &mut read, &format!("data: {event}\n\n")).await;
        assert!(!read.contains(&format!("data: {}\n\n", event + 1)));
        service.shared.go_on.notify_one();
    }
    read_until(&mut stream, &mut read, "0\r\n\r\n").await;
}

#[tokio::test]
async fn a_body_without_a_length_streams_too_and_one_connection_carries_many_requests() {
    let (service, inside) = over_http().await;
    let mut stream = inside.connect().await;
    for i in 0..3 {
        let request = format!(
            "POST /r{i} HTTP/1.1\r\nhost: {HOST}\r\ntransfer-encoding: chunked\r\n\r\n\
             3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut read = String::new();
        read_until(&mut stream, &mut read, "abcde").await;
    }
    let seen = service.seen();
    let targets: Vec<_> = seen.iter().map(|s| s.target.as_str()).collect();
    assert_eq!(targets, ["/v1/r0", "/v1/r1", "/v1/r2"]);
    assert!(seen.iter().all(|s| s.body == "abcde"));
}

#[tokio::test]
async fn redirects_go_back_and_are_not_followed() {
    let (service, inside) = over_http().await;
    let answer = inside.get("/moved", HOST).await;
    assert_eq!(answer.status, 307);
    assert_eq!(answer.fields["location"], "http://127.0.0.1:1/elsewhere");
    assert_eq!(service.seen().len(), 1);
}

#[tokio::test]
async fn other_upstreams_are_taken_without_a_restart() {
    let (service, inside) = over_http().await;
    assert_eq!(inside.get("/a", HOST).await.status, 200);
    let next = [upstream("models", &format!("http://{}/v2", service.at))];
    inside.gate.replace(&next).expect("usable");
    assert_eq!(inside.get("/a", HOST).await.status, 200);
    assert!(inside.gate.replace(&[upstream("models", "ftp://x/")]).is_err());
    assert_eq!(inside.get("/a", HOST).await.status, 200);
    let targets: Vec<_> = service.seen().into_iter().map(|s| s.target).collect();
    assert_eq!(targets, ["/v1/a", "/v2/a", "/v2/a"]);
    assert_eq!(inside.gate.meters()[0].1.requests.get(), 3);
}

#[tokio::test]
async fn an_upstream_that_is_not_there_or_says_nothing_is_said_and_never_a_hang() {
    let service = Service::http().await;
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("bound")
    };
    let upstreams = [
        upstream("gone", &format!("http://{closed}")),
        upstream("models", &format!("http://{}", service.at)),
    ];
    let config = GateConfig { head_timeout: Duration::from_millis(200), ..GateConfig::default() };
    let inside = Inside::new(&upstreams, &["gone", "models"], config).await;
    let gone = inside.get("/", "gone.upstream.internal").await;
    assert_eq!(
        (gone.status, gone.fields["content-type"].as_str()),
        (502, "application/problem+json")
    );
    assert!(!gone.text.contains("127.0.0.1"), "{}", gone.text);
    let late = inside.get("/never", HOST).await;
    assert_eq!(late.status, 504);
    assert!(late.body.contains("did not answer within"), "{}", late.body);
}

#[tokio::test]
async fn stopping_closes_what_is_open() {
    let (_service, inside) = over_http().await;
    let mut stream = inside.connect().await;
    let request = format!("GET /events HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut read = String::new();
    read_until(&mut stream, &mut read, "data: 0\n\n").await;
    inside.stop.cancel();
    inside.serving.await.expect("it ends");
    let mut rest = Vec::new();
    // An end or a reset: either way it is over.
    let _ = stream.read_to_end(&mut rest).await;
    assert!(!String::from_utf8_lossy(&rest).contains("data: 1"));
}
