//! HTTP/2: the rules that HTTP/1's filter has, where they apply.

use std::convert::Infallible;

use ::http::{Request, Response, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tidegate_testkit::http::EchoServer;
use tokio::net::TcpStream;

use crate::harness::Gateway;

type Body = http_body_util::combinators::BoxBody<Bytes, Infallible>;

fn whole(content: &'static str) -> Body {
    Full::new(Bytes::from_static(content.as_bytes())).boxed()
}

async fn send(
    gateway: &Gateway,
    request: Request<Body>,
) -> Result<Response<Incoming>, hyper::Error> {
    let stream = TcpStream::connect(gateway.address).await.unwrap();
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let driving = tokio::spawn(connection);
    let answer = sender.send_request(request).await;
    driving.abort();
    answer
}

#[tokio::test]
async fn a_request_over_http2_is_http_1_to_the_sandbox() {
    let server = EchoServer::start().await;
    let gateway = Gateway::start(server.address).await;
    let request = Request::post("http://a.example/b/../c?q")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("te", "trailers")
        .body(whole("hello"))
        .unwrap();
    let answer = send(&gateway, request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let seen = server.seen().remove(0);
    assert_eq!(seen.target, "/c?q");
    assert_eq!(seen.header("host"), Some("a.example"));
    assert_eq!(seen.header("cookie"), Some("a=1; b=2"));
    assert_eq!(seen.header("content-length"), Some("5"));
    gateway.sandbox.idle().await;
}

#[tokio::test]
async fn host_and_authority_must_agree() {
    let server = EchoServer::start().await;
    let gateway = Gateway::start(server.address).await;
    for (host, status) in [("a.example", 200), ("b.example", 400)] {
        let request = Request::get("http://a.example/").header("host", host);
        let answer = send(&gateway, request.body(whole("")).unwrap()).await.unwrap();
        assert_eq!(answer.status(), status, "{host}");
    }
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_body_of_another_length_than_announced_is_no_request() {
    let server = EchoServer::start().await;
    let gateway = Gateway::start(server.address).await;
    let frames = [Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"hello")))];
    let body = StreamBody::new(futures_util::stream::iter(frames)).boxed();
    let request = Request::post("http://a/").header("content-length", "3").body(body).unwrap();
    let answer = send(&gateway, request).await;
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status().is_client_error()));
    gateway.sandbox.idle().await;
}

#[tokio::test]
async fn connect_and_trace_are_refused() {
    let server = EchoServer::start().await;
    let gateway = Gateway::start(server.address).await;
    let request = Request::builder().method("TRACE").uri("http://a/").body(whole("")).unwrap();
    assert_eq!(send(&gateway, request).await.unwrap().status(), 405);
    let request = Request::builder().method("CONNECT").uri("a:443").body(whole("")).unwrap();
    let answer = send(&gateway, request).await;
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status() == 405));
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn many_streams_share_a_connection() {
    let server = EchoServer::start().await;
    let gateway = Gateway::start(server.address).await;
    let stream = TcpStream::connect(gateway.address).await.unwrap();
    let (sender, connection) =
        http2::handshake::<_, _, Body>(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let driving = tokio::spawn(connection);
    let requests = (0..50).map(|_| {
        let mut sender = sender.clone();
        async move {
            let request = Request::get("http://a/bytes/100000").body(whole("")).unwrap();
            let answer = sender.send_request(request).await.unwrap();
            answer.into_body().collect().await.unwrap().to_bytes().len()
        }
    });
    let lengths = futures_util::future::join_all(requests).await;
    assert!(lengths.iter().all(|length| *length == 100_000));
    driving.abort();
    gateway.sandbox.idle().await;
}
