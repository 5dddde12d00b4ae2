//! WebSockets and other upgrades: raw bytes, and what the relay knows of them.

use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, SystemTime};

use futures_util::{SinkExt as _, StreamExt as _};
use tidegate_testkit::http_raw::RawClient;
use tidegate_testkit::tls::Certificate;
use tidegate_testkit::websocket::{EchoWebSocket, Ended};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{Frame, FrameHeader};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use crate::harness::{Gateway, Options};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn connect(gateway: &Gateway) -> Socket {
    let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
    let url = format!("ws://{}/socket", gateway.address);
    connect_async_with_config(url, Some(config), true).await.unwrap().0
}

/// Reads to the end, which answers a close frame, and returns the code.
async fn close_code(socket: &mut Socket) -> Option<u16> {
    let mut code = None;
    while let Some(message) = socket.next().await {
        if let Ok(Message::Close(frame)) = message {
            code = frame.map(|frame| frame.code.into());
        }
    }
    code
}

#[tokio::test]
async fn messages_of_every_size_come_back_as_they_were_sent() {
    let server = EchoWebSocket::start().await;
    let gateway = Gateway::start(server.address).await;
    let mut socket = connect(&gateway).await;
    for size in [0, 1, 125, 126, 65_535, 65_536, 1 << 20, (16 << 20) + 7] {
        let sent = Message::Binary(Bytes::from(vec![0x89; size]));
        let (mut to, mut from) = socket.split();
        let (sending, got) = tokio::join!(to.send(sent.clone()), from.next());
        sending.unwrap();
        assert!(got.unwrap().unwrap() == sent, "{size} bytes");
        socket = to.reunite(from).unwrap();
    }
    assert_eq!(gateway.sandbox.upgraded.load(SeqCst), 1);
    assert_eq!(gateway.meters.upgrades_open(), 1);
}

#[tokio::test]
async fn fragments_with_a_ping_between_them_arrive() {
    let server = EchoWebSocket::start().await;
    let gateway = Gateway::start(server.address).await;
    let mut socket = connect(&gateway).await;
    let frame = |opcode, last, payload: &'static [u8]| {
        let header = FrameHeader { is_final: last, opcode, ..FrameHeader::default() };
        Message::Frame(Frame::from_payload(header, Bytes::from_static(payload)))
    };
    socket.send(frame(OpCode::Data(Data::Text), false, b"one ")).await.unwrap();
    socket.send(Message::Ping(Bytes::from_static(b"p"))).await.unwrap();
    socket.send(frame(OpCode::Data(Data::Continue), false, b"two ")).await.unwrap();
    socket.send(frame(OpCode::Data(Data::Continue), true, b"three")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::Pong(Bytes::from_static(b"p")));
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("one two three"));
}

#[tokio::test]
async fn the_sub_protocol_is_the_ends_affair() {
    let server = EchoWebSocket::start().await;
    let gateway = Gateway::start(server.address).await;
    let mut request = format!("ws://{}/", gateway.address).into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "chat.v2, chat".parse().unwrap());
    let (_, response) = connect_async_with_config(request, None, true).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "chat.v2");
}

/// A compressed message is a frame with a reserved bit set, agreed on by a header
/// field; neither is the relay's affair.
#[tokio::test]
async fn extensions_and_reserved_bits_pass_untouched() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = Gateway::start(listener.local_addr().unwrap()).await;
    let mut client = TcpStream::connect(gateway.address).await.unwrap();
    let offer = "permessage-deflate; client_max_window_bits";
    let request = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Extensions: {offer}\r\n\r\n"
    );
    client.write_all(request.as_bytes()).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    let head = read_head(&mut server).await;
    assert!(head.contains(&format!("sec-websocket-extensions: {offer}\r\n")), "{head}");
    let answer = "HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\n\
                  Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
    server.write_all(answer.as_bytes()).await.unwrap();
    let head = read_head(&mut client).await;
    assert!(head.contains("sec-websocket-extensions: permessage-deflate\r\n"), "{head}");
    // "Hello", compressed: the example of RFC 7692 §7.2.3.1.
    let frame = [0xc1, 0x07, 0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    server.write_all(&frame).await.unwrap();
    let mut got = [0; 9];
    client.read_exact(&mut got).await.unwrap();
    assert_eq!(got, frame);
}

#[tokio::test]
async fn close_codes_pass_untouched_in_both_directions() {
    let server = EchoWebSocket::start().await;
    let gateway = Gateway::start(server.address).await;
    let mut ours = connect(&gateway).await;
    let frame = CloseFrame { code: 4321.into(), reason: "mine".into() };
    ours.close(Some(frame)).await.unwrap();
    assert_eq!(close_code(&mut ours).await, Some(4321));
    assert_eq!(server.ended(1).await, [Ended::Close(4321)]);
    let mut theirs = connect(&gateway).await;
    theirs.send(Message::text("close 3999")).await.unwrap();
    assert_eq!(close_code(&mut theirs).await, Some(3999));
    drop((ours, theirs));
    gateway.sandbox.idle().await;
}

#[tokio::test]
async fn a_server_that_drops_the_connection_ends_it_for_the_client() {
    let server = EchoWebSocket::start().await;
    let gateway = Gateway::start(server.address).await;
    let mut socket = connect(&gateway).await;
    socket.send(Message::text("bye")).await.unwrap();
    assert!(socket.next().await.is_none_or(|message| message.is_err()));
    drop(socket);
    gateway.sandbox.idle().await;
}

#[tokio::test]
async fn pings_are_no_activity_but_data_and_close_are() {
    let server = EchoWebSocket::start().await;
    let gateway = Gateway::start(server.address).await;
    let mut socket = connect(&gateway).await;
    let counted = || gateway.sandbox.active_bytes.load(SeqCst);
    for _ in 0..10 {
        socket.send(Message::Ping(Bytes::from_static(b"heartbeat"))).await.unwrap();
        assert!(matches!(socket.next().await, Some(Ok(Message::Pong(_)))));
        socket.send(Message::Pong(Bytes::new())).await.unwrap();
    }
    assert_eq!(counted(), 0);
    socket.send(Message::text("hello")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("hello"));
    // Two bytes of header, four of mask, five of text.
    assert_eq!(counted(), 11);
    socket.close(None).await.unwrap();
    assert_eq!(server.ended(1).await, [Ended::Close(1005)]);
    assert_eq!(counted(), 17);
}

#[tokio::test]
async fn an_expired_credential_closes_with_4401() {
    let server = EchoWebSocket::start().await;
    let options = Options {
        route: Box::new(|route| {
            route.expires_at = Some(SystemTime::now() + Duration::from_millis(200));
        }),
        ..Options::default()
    };
    let gateway = Gateway::with(server.address, options).await;
    let mut socket = connect(&gateway).await;
    assert_eq!(close_code(&mut socket).await, Some(4401));
    // The application hears a proper end too.
    assert_eq!(server.ended(1).await, [Ended::Close(1001)]);
    gateway.sandbox.idle().await;
}

#[tokio::test]
async fn a_sandbox_that_goes_to_rest_closes_with_1012() {
    let server = EchoWebSocket::start().await;
    let gateway = Gateway::start(server.address).await;
    let mut socket = connect(&gateway).await;
    gateway.sandbox.closing.send_replace(true);
    assert_eq!(close_code(&mut socket).await, Some(1012));
    gateway.sandbox.idle().await;
}

#[tokio::test]
async fn a_drain_closes_with_1012() {
    let server = EchoWebSocket::start().await;
    let gateway = Gateway::start(server.address).await;
    let mut socket = connect(&gateway).await;
    let (code, ()) = tokio::join!(close_code(&mut socket), gateway.drained());
    assert_eq!(code, Some(1012));
}

/// Scenario: the server has sent half of a frame, the sandbox stops, the server
/// sends the other half. The close frame comes after the frame, never within it.
#[tokio::test]
async fn a_close_frame_of_the_gateway_waits_for_the_frame_under_way() {
    let (gateway, mut client, mut server) = upgraded("websocket").await;
    // A binary frame of 6 bytes, of which 3 come.
    server.write_all(b"\x82\x06abc").await.unwrap();
    let mut got = [0; 5];
    client.read_exact(&mut got).await.unwrap();
    gateway.sandbox.closing.send_replace(true);
    // The gateway closes once it sees the rest; a whole frame more is not relayed.
    server.write_all(b"def\x82\x01x").await.unwrap();
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    let text = b"the sandbox went to rest";
    let mut close = b"def\x88".to_vec();
    close.push(text.len() as u8 + 2);
    close.extend_from_slice(&1012_u16.to_be_bytes());
    close.extend_from_slice(text);
    // How far the server's bytes had come when the close began is up to the
    // machine; a whole frame before it is fine, half of one is not.
    let also_fine = [b"def\x82\x01x", &close[3..]].concat();
    assert!(rest == close || rest == also_fine, "{:?}", String::from_utf8_lossy(&rest));
}

#[tokio::test]
async fn other_protocols_are_relayed_as_raw_bytes_with_half_closes() {
    let (gateway, mut client, mut server) = upgraded("custom/1").await;
    client.write_all(b"\x89anything").await.unwrap();
    client.shutdown().await.unwrap();
    let mut got = Vec::new();
    server.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"\x89anything");
    server.write_all(b"and back").await.unwrap();
    drop(server);
    let mut got = Vec::new();
    client.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"and back");
    gateway.sandbox.idle().await;
    assert_eq!(gateway.sandbox.active_bytes.load(SeqCst), 9);
}

/// Both ends of a connection that was upgraded through a gateway; the server's
/// first byte follows its 101 in the same packet, the client's its request.
async fn upgraded(protocol: &str) -> (Gateway, TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = Gateway::start(listener.local_addr().unwrap()).await;
    let mut client = TcpStream::connect(gateway.address).await.unwrap();
    let request =
        format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    read_head(&mut server).await;
    let answer = format!("HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: {protocol}\r\n\r\n");
    server.write_all(answer.as_bytes()).await.unwrap();
    let head = read_head(&mut client).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    (gateway, client, server)
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn bytes_that_come_with_the_handshake_are_not_lost() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = Gateway::start(listener.local_addr().unwrap()).await;
    let mut client = TcpStream::connect(gateway.address).await.unwrap();
    // A client that does not wait for the 101 …
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\nearly")
        .await
        .unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    read_head(&mut server).await;
    // … and a server whose first bytes stand in the same packet as it.
    server
        .write_all(b"HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\nfirst")
        .await
        .unwrap();
    read_head(&mut client).await;
    let (mut at_server, mut at_client) = ([0; 5], [0; 5]);
    server.read_exact(&mut at_server).await.unwrap();
    client.read_exact(&mut at_client).await.unwrap();
    assert_eq!((&at_server, &at_client), (b"early", b"first"));
    assert_eq!(gateway.sandbox.active_bytes.load(SeqCst), 5);
}

#[tokio::test]
async fn an_upgrade_that_nobody_asked_for_is_a_bad_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = Gateway::start(listener.local_addr().unwrap()).await;
    let mut client = RawClient::connect(gateway.address).await.unwrap();
    client
        .send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: a\r\n\r\n")
        .await
        .unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    read_head(&mut server).await;
    let answer = b"HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: b\r\n\r\n";
    server.write_all(answer).await.unwrap();
    let got = client.until("\r\n\r\n").await.unwrap();
    assert!(got.starts_with("HTTP/1.1 502"), "{got}");
}

#[tokio::test]
async fn a_refused_handshake_is_relayed_as_any_answer() {
    let server = tidegate_testkit::http::EchoServer::start().await;
    let gateway = Gateway::start(server.address).await;
    let url = format!("ws://{}/status/403", gateway.address);
    let refused = connect_async_with_config(url, None, true).await.unwrap_err();
    assert!(refused.to_string().contains("403"), "{refused}");
    gateway.sandbox.idle().await;
    assert_eq!(gateway.sandbox.upgraded.load(SeqCst), 0);
}

#[tokio::test]
async fn an_encrypted_websocket_is_relayed_too() {
    let directory = tempfile::tempdir().unwrap();
    let certificate = Certificate::make(directory.path(), &["localhost"]).unwrap();
    let server = EchoWebSocket::start().await;
    let options = Options { tls: Some(certificate.clone()), ..Options::default() };
    let gateway = Gateway::with(server.address, options).await;
    let stream =
        tidegate_testkit::tls::connect(gateway.address, "localhost", &certificate).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async("ws://localhost/", stream).await.unwrap();
    for size in [5, 3 << 20] {
        let sent = Message::Binary(Bytes::from(vec![7; size]));
        let (mut to, mut from) = socket.split();
        let (sending, got) = tokio::join!(to.send(sent.clone()), from.next());
        sending.unwrap();
        assert!(got.unwrap().unwrap() == sent, "{size} bytes");
        socket = to.reunite(from).unwrap();
    }
}
