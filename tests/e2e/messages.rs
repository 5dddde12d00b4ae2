//! WebSockets whose messages a plugin judges.

use futures_util::{SinkExt as _, StreamExt as _};
use http::StatusCode;
use tidegate_testkit::gateway::{Ask, Gateway, Setup};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Bytes, Message};

use crate::built;

type Socket = WebSocketStream<TcpStream>;

const PLACED: &str = "port = 3000\nsandbox";

fn judged() -> Setup {
    let plugin = built::component("chaperone");
    Setup::hello().replacing(PLACED, "port = 3000\nrelay = \"messages\"\nsandbox").adding(&format!(
        "\n[[plugin]]\nname = \"chaperone\"\nsource = {:?}\ndeadline = \"100ms\"\n\
             [plugin.config]\nmark = \"[first]\"\n",
        plugin.display().to_string()
    ))
}

async fn open(gateway: &Gateway, user: &str) -> Socket {
    gateway.websocket(Ask::get(user, "/ws")).await.expect("it opens")
}

async fn say(socket: &mut Socket, text: &str) {
    socket.send(Message::text(text)).await.expect("it is sent");
}

/// The next message that isn't a ping.
async fn heard(socket: &mut Socket) -> Message {
    loop {
        let message = socket.next().await.expect("something").expect("a message");
        if !message.is_ping() {
            return message;
        }
    }
}

/// Reads to the end; what the close frame says.
async fn farewell(socket: &mut Socket) -> Option<(u16, String)> {
    let mut said = None;
    while let Some(message) = socket.next().await {
        if let Ok(Message::Close(Some(frame))) = message {
            said = Some((frame.code.into(), frame.reason.to_string()));
        }
    }
    said
}

#[tokio::test]
async fn a_plugin_replaces_discards_and_closes_in_both_directions() {
    let gateway = Gateway::start(judged()).await;
    let mut socket = open(&gateway, "alice").await;
    for (said, answer) in [
        ("hello", "hello"),
        ("in redact", "[first]"),
        ("out redact", "[first]"),
        ("in who", "alice in user-alice"),
        ("out who", "alice in user-alice"),
    ] {
        say(&mut socket, said).await;
        assert_eq!(heard(&mut socket).await, Message::text(answer), "{said}");
    }
    for discarded in ["in discard", "out discard"] {
        say(&mut socket, discarded).await;
        say(&mut socket, "next").await;
        assert_eq!(heard(&mut socket).await, Message::text("next"), "{discarded}");
    }
    let binary = Message::binary(Bytes::from_static(b"\x00\xff"));
    socket.send(binary.clone()).await.expect("it is sent");
    assert_eq!(heard(&mut socket).await, binary);
    for closing in ["in close", "out close"] {
        let mut socket = open(&gateway, "alice").await;
        say(&mut socket, closing).await;
        let expected = Some((4100, "that is enough".to_owned()));
        assert_eq!(farewell(&mut socket).await, expected, "{closing}");
    }
    // What was judged with one user goes on; what isn't a WebSocket isn't judged.
    say(&mut socket, "still here").await;
    assert_eq!(heard(&mut socket).await, Message::text("still here"));
    assert_eq!(gateway.get("alice", "/api/whoami").await.status, StatusCode::OK);
}

#[tokio::test]
async fn whatever_a_plugin_does_wrong_closes_one_websocket_with_1011_and_its_decision() {
    let gateway = Gateway::start(judged()).await;
    let mut bystander = open(&gateway, "bob").await;
    for wrong in ["in fail", "out trap", "in loop", "out hoard", "in forbidden-close"] {
        let mut socket = open(&gateway, "alice").await;
        say(&mut socket, wrong).await;
        let (code, decision) = farewell(&mut socket).await.expect("a close frame");
        assert_eq!(code, 1011, "{wrong}");
        let told = || gateway.log().lines().any(|line| line.contains(&decision));
        assert!(!decision.is_empty() && told(), "{wrong}: the log knows `{decision}`");
        say(&mut bystander, wrong.get(4..).unwrap_or_default()).await;
        heard(&mut bystander).await;
    }
}

#[tokio::test]
async fn a_reload_reaches_a_websocket_that_is_open() {
    let gateway = Gateway::start(judged()).await;
    let mut socket = open(&gateway, "alice").await;
    say(&mut socket, "in redact").await;
    assert_eq!(heard(&mut socket).await, Message::text("[first]"));
    let change = |what: &str, with: &str| {
        let text = std::fs::read_to_string(gateway.config()).expect("it is there");
        assert!(text.contains(what), "{text}");
        let fresh = gateway.config().with_extension("new");
        std::fs::write(&fresh, text.replace(what, with)).expect("it is written");
        std::fs::rename(&fresh, gateway.config()).expect("it is put in place");
        gateway.reload();
    };
    change("mark = \"[first]\"", "mark = \"[second]\"");
    let mut heard_now = Message::text("[first]");
    while heard_now == Message::text("[first]") {
        say(&mut socket, "in redact").await;
        heard_now = heard(&mut socket).await;
    }
    assert_eq!(heard_now, Message::text("[second]"));

    // Nobody is left who judges: nothing passes unjudged, and nothing new is placed.
    let text = std::fs::read_to_string(gateway.config()).expect("it is there");
    let from = text.find("[[plugin]]\nname = \"chaperone\"").expect("it stands there");
    let plugin = text.get(from..).unwrap_or_default().to_owned();
    change(&plugin, "");
    let closed = loop {
        if socket.send(Message::text("anything")).await.is_err() {
            break None;
        }
        match socket.next().await {
            Some(Ok(Message::Close(frame))) => break frame,
            Some(Ok(_)) => {}
            _ => break None,
        }
    };
    assert_eq!(closed.map(|frame| frame.code.into()), Some(1011_u16));
    let refused = gateway.websocket(Ask::get("alice", "/ws")).await;
    assert_eq!(refused.err(), Some(StatusCode::SERVICE_UNAVAILABLE));
}

#[tokio::test]
async fn long_messages_are_bounded_and_a_user_who_sends_them_harms_nobody() {
    let setup = judged().replacing("[server]", "[server]\nmax-message = \"64KiB\"");
    let gateway = Gateway::start(setup).await;
    let mut bystander = open(&gateway, "bob").await;
    let mut hoarders = Vec::new();
    for _ in 0..50 {
        let mut socket = open(&gateway, "alice").await;
        let longest = Message::binary(Bytes::from(vec![7; 64 << 10]));
        socket.send(longest.clone()).await.expect("it is sent");
        assert_eq!(heard(&mut socket).await, longest);
        hoarders.push(socket);
    }
    for mut socket in hoarders {
        let _ = socket.send(Message::binary(Bytes::from(vec![7; (64 << 10) + 1]))).await;
        let said = farewell(&mut socket).await;
        assert_eq!(said, Some((1009, "the message is too long".to_owned())));
    }
    say(&mut bystander, "hello").await;
    assert_eq!(heard(&mut bystander).await, Message::text("hello"));
}

#[tokio::test]
async fn silence_lets_a_sandbox_sleep_and_the_socket_is_told() {
    let gateway = Gateway::start(judged().with("sleep-after", "\"1s\"")).await;
    let mut socket = open(&gateway, "alice").await;
    say(&mut socket, "hello").await;
    heard(&mut socket).await;
    assert_eq!(farewell(&mut socket).await.map(|said| said.0), Some(1012));
    gateway.until("alice", "stopped").await;
}
