//! Bodies and WebSockets that a quota cuts short.

use std::sync::atomic::Ordering::SeqCst;

use futures_util::{SinkExt as _, StreamExt as _};
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tidegate_testkit::http::EchoServer;
use tidegate_testkit::http_raw::RawClient;
use tidegate_testkit::websocket::{EchoWebSocket, Ended};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::{Bytes, Message};

use crate::harness::{Gateway, Options, every_message};

async fn started() -> (EchoServer, Gateway) {
    let server = EchoServer::start().await;
    let gateway = Gateway::start(server.address).await;
    (server, gateway)
}

async fn exchange(gateway: &Gateway, request: &str) -> String {
    let mut client = RawClient::connect(gateway.address).await.unwrap();
    client.send(request).await.unwrap();
    client.rest().await.unwrap()
}

#[tokio::test]
async fn a_request_that_uses_its_quota_up_is_answered_with_429() {
    let (_server, gateway) = started().await;
    gateway.sandbox.may_send.store(1 << 20, SeqCst);
    // Never answered by the application before the body is complete.
    let mut client = TcpStream::connect(gateway.address).await.unwrap();
    let head = b"POST /anything HTTP/1.1\r\nHost: a\r\nContent-Length: 8388608\r\n\r\n";
    client.write_all(head).await.unwrap();
    let (read, mut write) = client.into_split();
    let sending = tokio::spawn(async move {
        // Ends when the gateway does not read on.
        let _ = write.write_all(&vec![b'u'; 8 << 20]).await;
        write
    });
    let mut read = tokio::io::BufReader::new(read);
    let mut line = String::new();
    tokio::io::AsyncBufReadExt::read_line(&mut read, &mut line).await.unwrap();
    assert_eq!(line, "HTTP/1.1 429 Too Many Requests\r\n");
    drop(read);
    drop(sending.await.unwrap());
    gateway.sandbox.idle().await;
    let came = gateway.meters.bytes_in.get();
    assert!(came < 4 << 20, "{came} bytes were taken from the client");
}

#[tokio::test]
async fn an_answer_that_uses_its_quota_up_never_ends_cleanly() {
    let (_server, gateway) = started().await;
    gateway.sandbox.may_get.store(100_000, SeqCst);
    let whole = "GET /bytes/50000 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answer = exchange(&gateway, whole).await;
    assert_eq!(answer.split_once("\r\n\r\n").unwrap().1.len(), 50_000);

    let long = "GET /bytes/10000000 HTTP/1.1\r\nHost: a\r\n\r\n";
    let answer = exchange(&gateway, long).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-length: 10000000"), "{head}");
    assert!(body.len() <= 50_000, "{} bytes", body.len());

    gateway.sandbox.may_get.store(10_000, SeqCst);
    let chunked = "GET /chunks/1000/1000 HTTP/1.1\r\nHost: a\r\n\r\n";
    let answer = exchange(&gateway, chunked).await;
    assert!(answer.contains("transfer-encoding: chunked"), "{answer}");
    assert!(!answer.ends_with("0\r\n\r\n"), "the last chunk must not come");
    gateway.sandbox.idle().await;
}

#[tokio::test]
async fn over_http_2_a_cut_answer_resets_its_stream_alone() {
    let (_server, gateway) = started().await;
    gateway.sandbox.may_get.store(100_000, SeqCst);
    let stream = TcpStream::connect(gateway.address).await.unwrap();
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    let connection = tokio::spawn(connection);
    let url = |path: &str| {
        let url = format!("http://{}{path}", gateway.address);
        Request::get(url).body(Empty::<Bytes>::new()).unwrap()
    };
    let long = client.send_request(url("/bytes/10000000")).await.unwrap();
    assert_eq!(long.status(), 200);
    let broken = long.into_body().collect().await.unwrap_err();
    assert!(format!("{broken:?}").contains("Reset"), "{broken:?}");
    // Others on the same connection go on.
    let other = client.send_request(url("/status/204")).await.unwrap();
    assert_eq!(other.status(), 204);
    drop(client);
    let _ = connection.await;
    gateway.sandbox.idle().await;
}

/// Reads to the end and returns what the closing frame said.
async fn farewell<S>(socket: &mut S) -> Option<(u16, String)>
where
    S: futures_util::Stream<Item = Result<Message, tokio_tungstenite::tungstenite::Error>> + Unpin,
{
    let mut said = None;
    while let Some(message) = socket.next().await {
        if let Ok(Message::Close(Some(frame))) = message {
            said = Some((frame.code.into(), frame.reason.to_string()));
        }
    }
    said
}

async fn cut_in_both_directions(options: impl Fn() -> Options) {
    for inward in [true, false] {
        let server = EchoWebSocket::start().await;
        let gateway = Gateway::with(server.address, options()).await;
        let url = format!("ws://{}/", gateway.address);
        let (mut socket, _) = connect_async(url).await.unwrap();
        let budget = if inward { &gateway.sandbox.may_send } else { &gateway.sandbox.may_get };
        budget.store(3_000, SeqCst);
        let message = Message::Binary(Bytes::from(vec![7; 1_000]));
        for _ in 0..2 {
            socket.send(message.clone()).await.unwrap();
            assert_eq!(socket.next().await.unwrap().unwrap(), message);
        }
        socket.send(message.clone()).await.unwrap();
        let said = farewell(&mut socket).await;
        assert_eq!(said, Some((1008, "quota".to_owned())), "inward: {inward}");
        // The application hears a proper end too.
        assert_eq!(server.ended(1).await, [Ended::Close(1001)]);
        drop(socket);
        gateway.sandbox.idle().await;
    }
}

#[tokio::test]
async fn a_websocket_that_uses_its_quota_up_is_closed_with_1008() {
    cut_in_both_directions(Options::default).await;
}

#[tokio::test]
async fn so_is_one_whose_messages_are_judged() {
    cut_in_both_directions(every_message).await;
}

/// Scenario: a frame longer than the quota is under way. Nothing may stand within
/// it, and it may not be finished: the connection ends.
#[tokio::test]
async fn in_the_middle_of_a_frame_a_cut_websocket_breaks_off() {
    let server = EchoWebSocket::start().await;
    let gateway = Gateway::start(server.address).await;
    let url = format!("ws://{}/", gateway.address);
    let (mut socket, _) = connect_async(url).await.unwrap();
    gateway.sandbox.may_get.store(1 << 20, SeqCst);
    socket.send(Message::Binary(Bytes::from(vec![7; 8 << 20]))).await.unwrap();
    assert_eq!(farewell(&mut socket).await, None);
    drop(socket);
    gateway.sandbox.idle().await;
    assert!(gateway.meters.bytes_out.get() <= 1 << 20);
}
