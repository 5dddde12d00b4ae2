use futures_util::{SinkExt as _, StreamExt as _};
use http::StatusCode;
use tidegate_testkit::gateway::{Ask, Gateway, Setup};
use tokio_tungstenite::tungstenite::Message;

fn drowsy() -> Setup {
    Setup::hello().with("sleep-after", "\"1s\"")
}

#[tokio::test]
async fn an_idle_sandbox_sleeps_and_the_next_request_wakes_it_with_its_files() {
    let gateway = Gateway::start(drowsy()).await;
    gateway.get("alice", "/").await;
    gateway.until("alice", "stopped").await;
    assert!(gateway.processes("hello-app").is_empty());

    let who = gateway.json("alice", "/api/whoami").await;
    assert_eq!(who["visits"], 1, "the file written before the sleep is still there");
    assert_eq!(gateway.sandbox("alice").await.incarnation(), 1);
}

#[tokio::test]
async fn an_open_but_silent_websocket_does_not_keep_a_sandbox_awake() {
    let gateway = Gateway::start(drowsy()).await;
    let mut socket = gateway.websocket(Ask::get("alice", "/ws")).await.expect("it opens");
    socket.send(Message::text("hello")).await.expect("it is sent");
    socket.next().await.expect("it is answered").expect("without error");
    gateway.until("alice", "stopped").await;
    // The gateway says why it closes, or just closes; it doesn't stay silent.
    let end = socket.next().await;
    assert!(!matches!(end, Some(Ok(Message::Text(_) | Message::Binary(_)))), "{end:?}");
}

#[tokio::test]
async fn two_hundred_first_requests_at_once_start_one_application() {
    let command =
        r#"["/bin/sh", "-c", "echo one start; exec /opt/tidegate hello-app --port 3000"]"#;
    let gateway = Gateway::start(Setup::hello().with("command", command)).await;
    let asks = (0..200).map(|_| gateway.get("alice", "/api/whoami"));
    let answers = futures_util::future::join_all(asks).await;
    for answer in answers {
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    }
    let output = gateway.output("alice").await;
    assert_eq!(output.matches("one start").count(), 1, "{output}");
    assert_eq!(gateway.processes("hello-app").len(), 1);
}

#[tokio::test]
async fn an_operator_puts_a_sandbox_to_sleep_wakes_it_and_destroys_it() {
    let gateway = Gateway::start(Setup::hello()).await;
    gateway.get("alice", "/").await;
    gateway.tell("alice", "sleep").await;
    assert_eq!(gateway.sandbox("alice").await.state(), "stopped");
    gateway.tell("alice", "wake").await;
    assert_eq!(gateway.sandbox("alice").await.state(), "running");
    assert_eq!(gateway.json("alice", "/api/whoami").await["visits"], 1);

    gateway.destroy("alice").await;
    assert!(gateway.sandboxes().await.is_empty());
    let who = gateway.json("alice", "/api/whoami").await;
    assert_eq!(who["visits"], 0, "a destroyed sandbox's files are gone");
    assert!(gateway.sandbox("alice").await.incarnation() > 1);
}

#[tokio::test]
async fn what_a_client_sees_of_a_sleeping_sandbox_is_what_its_placement_says() {
    let page = Ask::get("alice", "/").header("accept", "text/html");
    let page = page.header("sec-fetch-mode", "navigate");

    let refuse = Setup::hello()
        .replacing("port = 3000\nsandbox", "port = 3000\nwhen-asleep = \"refuse\"\nsandbox");
    let gateway = Gateway::start(refuse).await;
    let answer = gateway.ask(page.clone()).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_ne!(answer.header("retry-after"), "");
    assert!(gateway.processes("hello-app").is_empty());

    let slow = r#"["/bin/sh", "-c", "sleep 3; exec /opt/tidegate hello-app --port 3000"]"#;
    let waking = Setup::hello()
        .with("command", slow)
        .replacing("port = 3000\nsandbox", "port = 3000\nwhen-asleep = \"page\"\nsandbox");
    let gateway = Gateway::start(waking).await;
    let answer = gateway.ask(page).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.header("content-type").starts_with("text/html"), "{:?}", answer.headers);
    gateway.until("alice", "running").await;
    assert_eq!(gateway.get("alice", "/").await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_application_that_does_not_start_is_a_502_and_then_a_503_until_it_is_tried_again() {
    let broken = Setup::hello().with("command", r#"["/bin/sh", "-c", "echo it broke; exit 3"]"#);
    let gateway = Gateway::start(broken).await;
    let first = gateway.get("alice", "/").await;
    assert_eq!(first.status, StatusCode::BAD_GATEWAY, "{}", first.text());
    assert!(!first.text().contains("it broke"), "output is for the operator: {}", first.text());
    assert!(gateway.output("alice").await.contains("it broke"));
    let second = gateway.get("alice", "/").await;
    assert_eq!(second.status, StatusCode::SERVICE_UNAVAILABLE, "{}", second.text());
    assert_ne!(second.header("retry-after"), "");
}
