//! What is no reason to wake a sandbox, nor to keep it awake.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use http::StatusCode;
use tidegate_testkit::gateway::{Answer, Ask, Gateway, Setup, run};
use tokio_tungstenite::tungstenite::Message;

fn drowsy() -> Setup {
    Setup::hello().with("sleep-after", "\"2s\"").adding(
        "\n[[plugin]]\nname = \"passive\"\nsource = \"builtin:activity\"\n\
         [plugin.config]\npaths = [\"/api/who*\"]\nuser-agents = [\"our-probe\"]\n",
    )
}

const CRAWLER: &str = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";

fn assert_asleep(answer: &Answer) {
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.text());
    assert!(answer.text().contains("asleep"), "{}", answer.text());
    assert_ne!(answer.header("retry-after"), "");
}

#[tokio::test]
async fn health_checks_are_served_while_it_runs_and_neither_wake_it_nor_keep_it_awake() {
    let gateway = Gateway::start(drowsy()).await;
    let check = || gateway.get("alice", "/api/whoami");
    // Nothing is made for one either.
    assert_asleep(&check().await);
    assert!(gateway.sandboxes().await.is_empty());

    assert_eq!(gateway.get("alice", "/").await.status, StatusCode::OK);
    let mut served = 0;
    loop {
        let answer = check().await;
        if answer.status != StatusCode::OK {
            assert_asleep(&answer);
            break;
        }
        served += 1;
        // As a monitor does, if more often.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(served > 0);
    gateway.until("alice", "stopped").await;
    let crawler = Ask::get("alice", "/").header("user-agent", CRAWLER);
    for _ in 0..5 {
        assert_asleep(&check().await);
        assert_asleep(&gateway.ask(crawler.clone()).await);
    }
    assert_eq!(gateway.sandbox("alice").await.state(), "stopped");
    assert!(gateway.processes("hello-app").is_empty());
    // A person wakes it.
    assert_eq!(gateway.get("alice", "/").await.status, StatusCode::OK);
    assert_eq!(gateway.ask(crawler).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_passive_websocket_may_say_what_it_likes_and_is_closed_when_the_sandbox_rests() {
    let gateway = Gateway::start(drowsy()).await;
    gateway.get("alice", "/").await;
    let probe = Ask::get("alice", "/ws").header("user-agent", "Our-Probe/1.0");
    let mut socket = gateway.websocket(probe).await.expect("it runs");
    let mut rounds = 0;
    let code = loop {
        if socket.send(Message::text("tick")).await.is_err() {
            break None;
        }
        match socket.next().await {
            Some(Ok(Message::Close(frame))) => break frame.map(|frame| frame.code.into()),
            Some(Ok(_)) => rounds += 1,
            _ => break None,
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(rounds > 0);
    assert_eq!(code, Some(1012_u16));
    gateway.until("alice", "stopped").await;
}

#[tokio::test]
async fn ps_says_why_each_sandbox_is_awake_and_when_it_rests() {
    let gateway = Gateway::start(Setup::hello()).await;
    assert_eq!(gateway.get("alice", "/chat?q=not-shown").await.status, StatusCode::NOT_FOUND);
    let awake = |user: &'static str| async { gateway.sandbox(user).await.json()["awake"].clone() };
    let cause = awake("alice").await["cause"].clone();
    assert_eq!(cause["request"], "GET /chat", "{cause}");
    assert_eq!(cause["subject"], "alice", "{cause}");
    let mut socket = gateway.websocket(Ask::get("bob", "/ws")).await.expect("it opens");
    // The request was the cause a moment ago; then its bytes are.
    while awake("bob").await["cause"]["kind"] != "bytes" {
        socket.send(Message::text("hello")).await.expect("it is sent");
        socket.next().await.expect("an answer").expect("a message");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let config = gateway.config().display().to_string();
    let (code, said) = run(&["ps", "--config", &config]).await;
    assert_eq!(code, Some(0), "{said}");
    let line = |user: &str| said.lines().find(|line| line.contains(user)).unwrap_or_default();
    assert!(line("user-alice").contains("GET /chat by alice"), "{said}");
    assert!(line("user-bob").contains("1 websocket, websocket bytes by bob"), "{said}");
    assert!(!said.contains("not-shown"), "{said}");
    for user in ["alice", "bob"] {
        assert!(gateway.sandbox(user).await.json()["rests_at_ms"].is_u64());
    }
    drop(socket);
}
