//! WebSockets that are relayed message by message, through a gate.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, SystemTime};

use futures_util::{SinkExt as _, StreamExt as _};
use tidegate_relay::{GateFailed, Judging, MessageGate, Messages, RelayConfig};
use tidegate_testkit::http_raw::RawClient;
use tidegate_testkit::websocket::{EchoWebSocket, Ended};
use tidegate_types::{DecisionId, Message as Judged, MessageVerdict, Way};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{Frame, FrameHeader};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Message, Utf8Bytes};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use crate::harness::{Gateway, Options};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Does what a text message says.
#[derive(Debug)]
struct Told {
    decision: DecisionId,
    /// Judgements that may be given; one is used up by each.
    may_judge: Semaphore,
    asked: AtomicU64,
    longest: AtomicU64,
    abandoned: AtomicBool,
}

impl Told {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            decision: DecisionId::random(),
            may_judge: Semaphore::new(1 << 20),
            asked: AtomicU64::new(0),
            longest: AtomicU64::new(0),
            abandoned: AtomicBool::new(false),
        })
    }
}

struct Abandoned<'a>(Option<&'a Told>);

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        if let Some(told) = self.0 {
            told.abandoned.store(true, SeqCst);
        }
    }
}

impl MessageGate for Told {
    fn on_message(&self, way: Way, message: Judged) -> Judging<'_> {
        self.asked.fetch_add(1, SeqCst);
        self.longest.fetch_max(message.len() as u64, SeqCst);
        Box::pin(async move {
            let mut abandoned = Abandoned(Some(self));
            self.may_judge.acquire().await.unwrap().forget();
            abandoned.0 = None;
            let Judged::Text(text) = &message else { return Ok(MessageVerdict::Forward(message)) };
            let (to, order) = text.split_once(' ').unwrap_or(("", text));
            let mine = match way {
                Way::ToSandbox => to == "in",
                Way::ToClient => to == "out",
            };
            Ok(match order {
                "redact" if mine => MessageVerdict::Forward(Judged::Text("[redacted]".to_owned())),
                "binary" if mine => {
                    MessageVerdict::Forward(Judged::Binary(Bytes::from_static(b"\xff\x00")))
                }
                "discard" if mine => MessageVerdict::Discard,
                "close" if mine => {
                    MessageVerdict::Close { code: 4321, reason: "not on my watch".to_owned() }
                }
                "fail" if mine => return Err(GateFailed { decision: self.decision }),
                _ => MessageVerdict::Forward(message),
            })
        })
    }
}

struct Stage {
    server: EchoWebSocket,
    gateway: Gateway,
    gate: Arc<Told>,
}

impl Stage {
    async fn new() -> Self {
        Self::with(RelayConfig::default(), None).await
    }

    async fn with(relay: RelayConfig, lasts: Option<Duration>) -> Self {
        let server = EchoWebSocket::start().await;
        let gate = Told::new();
        let told = Arc::clone(&gate);
        let options = Options {
            relay,
            route: Box::new(move |route| {
                let gate: Arc<dyn MessageGate> = Arc::clone(&told) as _;
                route.messages = Some(Messages { gate, max_message: 1 << 20 });
                route.expires_at = lasts.map(|lasts| SystemTime::now() + lasts);
            }),
            ..Options::default()
        };
        let gateway = Gateway::with(server.address, options).await;
        Self { server, gateway, gate }
    }

    async fn connect(&self) -> Socket {
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        let url = format!("ws://{}/socket", self.gateway.address);
        connect_async_with_config(url, Some(config), true).await.unwrap().0
    }

    async fn over(&self, n: usize) -> Vec<Ended> {
        let ended = self.server.ended(n).await;
        self.gateway.sandbox.idle().await;
        ended
    }
}

/// Reads to the end; the close frame's code and reason.
async fn farewell(socket: &mut Socket) -> Option<(u16, String)> {
    let mut said = None;
    while let Some(message) = socket.next().await {
        if let Ok(Message::Close(frame)) = message {
            said = Some(frame.map_or((1005, String::new()), |frame| {
                (frame.code.into(), frame.reason.to_string())
            }));
        }
    }
    said
}

async fn said(socket: &mut Socket) -> Message {
    socket.next().await.unwrap().unwrap()
}

#[tokio::test]
async fn messages_of_every_size_come_back_as_they_were_sent() {
    let stage = Stage::new().await;
    let mut socket = stage.connect().await;
    for size in [0, 1, 125, 126, 8_191, 8_192, 65_535, 65_536, 1 << 20] {
        for sent in [
            Message::Binary(Bytes::from(vec![0x89; size])),
            Message::Text("ü".repeat(size / 2).into()),
        ] {
            let (mut to, mut from) = socket.split();
            let (sending, got) = tokio::join!(to.send(sent.clone()), from.next());
            sending.unwrap();
            assert!(got.unwrap().unwrap() == sent, "{size} bytes");
            socket = to.reunite(from).unwrap();
        }
    }
    assert_eq!(stage.gate.asked.load(SeqCst), 36);
    assert_eq!(stage.gateway.meters.messages_in.get(), 18);
    assert_eq!(stage.gateway.meters.messages_out.get(), 18);
}

#[tokio::test]
async fn a_message_is_replaced_in_either_direction() {
    let stage = Stage::new().await;
    let mut socket = stage.connect().await;
    for order in ["in redact", "out redact"] {
        socket.send(Message::text(order)).await.unwrap();
        assert_eq!(said(&mut socket).await, Message::text("[redacted]"), "{order}");
    }
    for order in ["in binary", "out binary"] {
        socket.send(Message::text(order)).await.unwrap();
        assert_eq!(said(&mut socket).await, Message::binary(&b"\xff\x00"[..]), "{order}");
    }
}

#[tokio::test]
async fn a_discarded_message_goes_nowhere_and_the_next_one_comes() {
    let stage = Stage::new().await;
    let mut socket = stage.connect().await;
    for order in ["in discard", "out discard"] {
        socket.send(Message::text(order)).await.unwrap();
        socket.send(Message::text("next")).await.unwrap();
        assert_eq!(said(&mut socket).await, Message::text("next"), "{order}");
    }
}

#[tokio::test]
async fn the_gate_closes_both_sides_with_one_code() {
    for order in ["in close", "out close"] {
        let stage = Stage::new().await;
        let mut socket = stage.connect().await;
        socket.send(Message::text(order)).await.unwrap();
        let expected = Some((4321, "not on my watch".to_owned()));
        assert_eq!(farewell(&mut socket).await, expected, "{order}");
        assert_eq!(stage.over(1).await, [Ended::Close(4321)]);
    }
}

#[tokio::test]
async fn a_gate_that_fails_closes_with_1011_and_the_decision() {
    for order in ["in fail", "out fail"] {
        let stage = Stage::new().await;
        let mut socket = stage.connect().await;
        socket.send(Message::text(order)).await.unwrap();
        let expected = Some((1011, stage.gate.decision.to_string()));
        assert_eq!(farewell(&mut socket).await, expected, "{order}");
        assert_eq!(stage.over(1).await, [Ended::Close(1011)]);
    }
}

#[tokio::test]
async fn close_codes_and_reasons_pass_both_ways() {
    let stage = Stage::new().await;
    let mut socket = stage.connect().await;
    let reason = Utf8Bytes::from_static("that was all");
    socket.close(Some(CloseFrame { code: 4000.into(), reason })).await.unwrap();
    assert_eq!(farewell(&mut socket).await, Some((4000, "that was all".to_owned())));
    let mut socket = stage.connect().await;
    socket.close(None).await.unwrap();
    assert_eq!(farewell(&mut socket).await, Some((1005, String::new())));
    assert_eq!(stage.over(2).await, [Ended::Close(4000), Ended::Close(1005)]);

    let mut socket = stage.connect().await;
    socket.send(Message::text("close 3001")).await.unwrap();
    assert_eq!(farewell(&mut socket).await, Some((3001, "as asked".to_owned())));
    // Nobody's close frame: neither side is told one that was never said.
    let mut socket = stage.connect().await;
    socket.send(Message::text("bye")).await.unwrap();
    assert_eq!(farewell(&mut socket).await, None);
    drop(stage.connect().await);
    let ended = stage.over(5).await;
    assert_eq!(ended[4], Ended::Broken);
}

#[tokio::test]
async fn fragments_are_judged_as_one_message_and_pings_are_answered() {
    let stage = Stage::new().await;
    let mut socket = stage.connect().await;
    let frame = |opcode, last, payload: &'static [u8]| {
        let header = FrameHeader { is_final: last, opcode, ..FrameHeader::default() };
        Message::Frame(Frame::from_payload(header, Bytes::from_static(payload)))
    };
    socket.send(frame(OpCode::Data(Data::Text), false, b"in ")).await.unwrap();
    socket.send(Message::Ping(Bytes::from_static(b"p"))).await.unwrap();
    socket.send(frame(OpCode::Data(Data::Continue), false, b"red")).await.unwrap();
    assert_eq!(said(&mut socket).await, Message::Pong(Bytes::from_static(b"p")));
    assert_eq!(stage.gateway.sandbox.active_bytes.load(SeqCst), 0, "no message yet");
    socket.send(frame(OpCode::Data(Data::Continue), true, b"act")).await.unwrap();
    assert_eq!(said(&mut socket).await, Message::text("[redacted]"));
    assert_eq!(stage.gateway.sandbox.active_bytes.load(SeqCst), 9);
}

/// Sends raw frames; the code that the client is closed with, and how the
/// application saw it end.
async fn fault(frames: &[u8]) -> (Option<u16>, Ended) {
    let stage = Stage::new().await;
    let mut client = RawClient::connect(stage.gateway.address).await.unwrap();
    let head = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    client.send(head).await.unwrap();
    client.until("\r\n\r\n").await.unwrap();
    client.send(frames).await.unwrap();
    let rest = client.rest_bytes().await.unwrap();
    drop(client);
    let code = match rest.get(..4) {
        Some([0x88, _, high, low]) => Some(u16::from_be_bytes([*high, *low])),
        _ => None,
    };
    (code, stage.over(1).await[0])
}

#[tokio::test]
async fn who_breaks_the_protocol_is_told_how() {
    let masked = [0_u8; 4];
    let frame = |first: u8, payload: &[u8]| {
        [&[first, 0x80 | payload.len() as u8][..], &masked, payload].concat()
    };
    let too_long = [&[0x82, 0xff][..], &(1_048_577_u64).to_be_bytes(), &masked].concat();
    for (frames, code, what) in [
        (frame(0x81, b"\xff\xfe"), 1007, "text that is not UTF-8"),
        (frame(0x88, b"\x03\xe8\xff\xfe"), 1007, "a reason that is not UTF-8"),
        (too_long, 1009, "a frame that is too long, at its first byte"),
        (frame(0xc1, b"compressed"), 1002, "an extension that nobody agreed on"),
        (frame(0x80, b"goes on"), 1002, "the rest of no message"),
        (vec![0x81, 0x02, b'h', b'i'], 1002, "a frame without a mask"),
        (frame(0x83, b"?"), 1002, "an opcode that nobody defined"),
    ] {
        assert_eq!(fault(&frames).await, (Some(code), Ended::Close(1001)), "{what}");
    }
}

#[tokio::test]
async fn fragments_that_add_up_to_too_much_close_with_1009() {
    let stage = Stage::new().await;
    let mut socket = stage.connect().await;
    let frame = |opcode| {
        let header = FrameHeader { is_final: false, opcode, ..FrameHeader::default() };
        Message::Frame(Frame::from_payload(header, Bytes::from(vec![7; 300 << 10])))
    };
    socket.send(frame(OpCode::Data(Data::Binary))).await.unwrap();
    for _ in 0..3 {
        // The last ones may find the connection closed.
        let _ = socket.send(frame(OpCode::Data(Data::Continue))).await;
    }
    assert_eq!(farewell(&mut socket).await.map(|said| said.0), Some(1009));
    drop(socket);
    assert_eq!(stage.over(1).await, [Ended::Close(1001)]);
    assert_eq!(stage.gate.asked.load(SeqCst), 0);
}

#[tokio::test]
async fn an_application_that_breaks_the_protocol_ends_its_client_with_1011() {
    let (gateway, mut client, mut server) = upgraded("websocket", "").await;
    server.write_all(b"\x81\x02\xff\xfe").await.unwrap();
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest.get(..4), Some(&[0x88, 36, 0x03, 0xf3][..]), "{rest:?}");
    drop(client);
    let mut told = Vec::new();
    server.read_to_end(&mut told).await.unwrap();
    assert_eq!(told.first(), Some(&0x88), "{told:?}");
    drop(server);
    gateway.sandbox.idle().await;
}

#[tokio::test]
async fn no_extension_is_agreed_on_whatever_either_side_says() {
    let extension = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    let (_gateway, _client, _server) = upgraded("websocket", extension).await;
}

#[tokio::test]
async fn another_protocol_cannot_get_past_the_gate() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway =
        Gateway::with(listener.local_addr().unwrap(), crate::harness::every_message()).await;
    let mut client = RawClient::connect(gateway.address).await.unwrap();
    let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: custom/1\r\n\r\n";
    client.send(request).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    let head = read_head(&mut server).await;
    assert!(!head.contains("upgrade"), "{head}");
    let answer = b"HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: custom/1\r\n\r\n";
    server.write_all(answer).await.unwrap();
    let got = client.until("\r\n\r\n").await.unwrap();
    assert!(got.starts_with("HTTP/1.1 502"), "{got}");
}

/// Both ends of a WebSocket through a gateway whose gate lets everything pass; the
/// client offers `extra`, and the server answers with it.
async fn upgraded(protocol: &str, extra: &str) -> (Gateway, TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway =
        Gateway::with(listener.local_addr().unwrap(), crate::harness::every_message()).await;
    let mut client = TcpStream::connect(gateway.address).await.unwrap();
    let request = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n{extra}\r\n"
    );
    client.write_all(request.as_bytes()).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    let head = read_head(&mut server).await;
    assert!(!head.contains("extensions"), "{head}");
    let answer =
        format!("HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: {protocol}\r\n{extra}\r\n");
    server.write_all(answer.as_bytes()).await.unwrap();
    let head = read_head(&mut client).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(!head.to_lowercase().contains("extensions"), "{head}");
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
async fn the_sub_protocol_is_the_ends_affair() {
    let stage = Stage::new().await;
    let mut request = format!("ws://{}/", stage.gateway.address).into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "chat.v2, chat".parse().unwrap());
    let (_, response) = connect_async_with_config(request, None, true).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "chat.v2");
}

#[tokio::test]
async fn what_comes_with_the_handshake_is_judged_too() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway =
        Gateway::with(listener.local_addr().unwrap(), crate::harness::every_message()).await;
    let mut client = TcpStream::connect(gateway.address).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\
        \x81\x82\0\0\0\0hi";
    client.write_all(request).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    read_head(&mut server).await;
    let answer = b"HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x02yo";
    server.write_all(answer).await.unwrap();
    read_head(&mut client).await;
    let mut at_client = [0; 4];
    client.read_exact(&mut at_client).await.unwrap();
    assert_eq!(&at_client, b"\x81\x02yo");
    let mut at_server = [0; 8];
    server.read_exact(&mut at_server).await.unwrap();
    assert_eq!(at_server[..2], [0x81, 0x82]);
    assert_eq!(gateway.meters.messages_in.get(), 1);
}

/// Scenario: the gate takes its time. One message of a direction is with it, the
/// rest stay where they are: the sender is held back, and the other direction and
/// pings go on.
#[tokio::test]
async fn a_slow_gate_holds_the_sender_back() {
    let stage = Stage::new().await;
    let socket = stage.connect().await;
    stage.gate.may_judge.forget_permits(usize::MAX);
    let (mut to, mut from) = socket.split();
    let sending = tokio::spawn(async move {
        let message = Message::Binary(Bytes::from(vec![7; 1 << 20]));
        // 32 MiB, if anybody took them.
        for _ in 0..32 {
            to.send(message.clone()).await.unwrap();
        }
        to
    });
    let came = || stage.gateway.meters.bytes_in.get();
    let mut last = 0;
    loop {
        // A round trip of other work tells that time has passed.
        for _ in 0..50 {
            let mut other = RawClient::connect(stage.gateway.address).await.unwrap();
            other.send("BAD\r\n\r\n").await.unwrap();
            other.rest().await.unwrap();
        }
        if came() == last && last > 0 {
            break;
        }
        last = came();
    }
    assert!(last < 4 << 20, "{last} bytes were taken");
    assert_eq!(stage.gate.asked.load(SeqCst), 1);
    stage.gate.may_judge.add_permits(1 << 20);
    for _ in 0..32 {
        assert_eq!(from.next().await.unwrap().unwrap().len(), 1 << 20);
    }
    drop(sending.await.unwrap().reunite(from).unwrap());
    assert_eq!(stage.gate.longest.load(SeqCst), 1 << 20);
}

#[tokio::test]
async fn a_judgement_ends_with_its_websocket() {
    let stage = Stage::new().await;
    let mut socket = stage.connect().await;
    stage.gate.may_judge.forget_permits(usize::MAX);
    socket.send(Message::text("anything")).await.unwrap();
    while stage.gate.asked.load(SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    stage.gateway.sandbox.closing.send_replace(true);
    let expected = Some((1012, "the sandbox went to rest".to_owned()));
    assert_eq!(farewell(&mut socket).await, expected);
    assert_eq!(stage.over(1).await, [Ended::Close(1001)]);
    assert!(stage.gate.abandoned.load(SeqCst));
}

#[tokio::test]
async fn an_expired_credential_closes_with_4401_and_a_drain_with_1012() {
    let stage = Stage::with(RelayConfig::default(), Some(Duration::from_millis(200))).await;
    let mut socket = stage.connect().await;
    assert_eq!(farewell(&mut socket).await.map(|said| said.0), Some(4401));
    assert_eq!(stage.over(1).await, [Ended::Close(1001)]);

    let stage = Stage::new().await;
    let mut socket = stage.connect().await;
    let Stage { gateway, server: _server, gate: _gate } = stage;
    let (said, ()) = tokio::join!(farewell(&mut socket), gateway.drained());
    assert_eq!(said.map(|said| said.0), Some(1012));
}

/// Scenario: a client's machine is gone without a word. The application, whose
/// pings the gateway answers, hears of it all the same.
#[tokio::test]
async fn a_side_that_answers_no_ping_is_given_up() {
    let relay = RelayConfig { silence: Duration::from_millis(100), ..RelayConfig::default() };
    let stage = Stage::with(relay, None).await;
    // It never reads, so it never answers.
    let silent = stage.connect().await;
    assert_eq!(stage.server.ended(1).await, [Ended::Close(1001)]);
    drop(silent);
    stage.gateway.sandbox.idle().await;
    // One that answers is left alone, for longer than that.
    let mut quiet = stage.connect().await;
    for _ in 0..4 {
        assert_eq!(said(&mut quiet).await, Message::Ping(Bytes::new()));
    }
    quiet.send(Message::text("still here")).await.unwrap();
    while said(&mut quiet).await != Message::text("still here") {}
    quiet.close(None).await.unwrap();
    assert_eq!(farewell(&mut quiet).await, Some((1005, String::new())));
}

/// Scenario: a client sends pings as fast as it can and reads no answer. The
/// gateway reads on, answers what it can, and keeps the rest of the answers for
/// nobody. A message gets through behind them once the client reads.
#[tokio::test]
async fn who_sends_pings_and_reads_nothing_fills_nobodys_memory() {
    const PINGS: usize = 400_000;
    let stage = Stage::new().await;
    let mut client = TcpStream::connect(stage.gateway.address).await.unwrap();
    let head = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    read_head(&mut client).await;
    let ping = [&[0x89, 0x80 | 125, 0, 0, 0, 0][..], &[b'p'; 125]].concat();
    let many = ping.repeat(1_000);
    for _ in 0..PINGS / 1_000 {
        client.write_all(&many).await.unwrap();
    }
    client.write_all(b"\x81\x84\0\0\0\0last").await.unwrap();
    let echo = b"\x81\x04last";
    let mut answers = 0;
    let mut tail = Vec::new();
    while !tail.ends_with(echo) {
        let mut space = vec![0; 1 << 20];
        let n = client.read(&mut space).await.unwrap();
        assert!(n > 0, "it ended after {answers} bytes");
        answers += n;
        tail.extend_from_slice(&space[..n]);
        tail.drain(..tail.len().saturating_sub(echo.len()));
    }
    // The system's own buffers and the bound; not all that was answered.
    assert!(answers < PINGS * ping.len() / 2, "{answers} bytes were kept for it");
}

#[tokio::test]
async fn a_thousand_small_messages_keep_their_order() {
    let stage = Stage::new().await;
    let socket = stage.connect().await;
    let (mut to, mut from) = socket.split();
    let sending = async {
        for n in 0..1_000 {
            to.feed(Message::text(n.to_string())).await.unwrap();
        }
        to.flush().await.unwrap();
    };
    let reading = async {
        for n in 0..1_000 {
            assert_eq!(from.next().await.unwrap().unwrap(), Message::text(n.to_string()));
        }
    };
    tokio::join!(sending, reading);
}
