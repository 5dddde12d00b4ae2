//! Limits that hold: requests, WebSockets, bytes, time and sandboxes.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{Method, StatusCode};
use serde_json::Value;
use tidegate_testkit::gateway::{Answer, Ask, Gateway, Setup, SignIn, run};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

/// Alice and Bob under these limits, of the one tier there is.
fn limited(limits: &str) -> Setup {
    Setup::hello().adding(&tiers(limits))
}

fn tiers(limits: &str) -> String {
    format!(
        "\n[[plugin]]\nname = \"tiers\"\nsource = \"builtin:tiers\"\n\
         [plugin.config]\ndefault = \"free\"\n\
         [plugin.config.tiers.free]\nlimits = [\n{limits}\n]\n"
    )
}

// A limit by the year: nothing that matters flows in, however long a busy machine
// lets a test wait.

const WHO: &str = "/api/whoami";

fn refused(answer: &Answer, detail: &str) {
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{}", answer.text());
    let problem = answer.json();
    assert_eq!(problem["code"], "quota-exceeded", "{problem}");
    assert_eq!(problem["detail"], detail, "{problem}");
}

/// What is used of a limit, as the control API says.
async fn usage(gateway: &Gateway, meter: &str) -> Value {
    let (status, body) = gateway.control(Method::GET, "/v1/usage?tenant=demo").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let listing: Value = serde_json::from_str(&body).expect("JSON");
    let lines = listing["usage"].as_array().expect("a list");
    lines.iter().find(|line| line["meter"] == meter).cloned().unwrap_or(Value::Null)
}

/// Asks until it is so; there is nothing to be told by.
async fn until<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let limit = Duration::from_secs(60);
    assert!(tokio::time::timeout(limit, wait).await.is_ok(), "never: {what}");
}

/// The value of a metric's sample; 0 when there is none.
async fn metric(gateway: &Gateway, sample: &str) -> u64 {
    let (_, text) = gateway.control(Method::GET, "/metrics").await;
    let value = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    value.map_or(0, |value| value.parse().expect("a number"))
}

#[tokio::test]
async fn a_user_gets_so_many_requests_and_is_told_which_and_when() {
    let limits = r#"{ meter = "requests", amount = 4, per = "1h" }"#;
    let gateway = Gateway::start(limited(limits)).await;
    for left in [3, 2, 1, 0] {
        let answer = gateway.get("alice", WHO).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        assert_eq!(answer.header("ratelimit-policy"), "\"requests\";q=4;w=3600");
        let limit = answer.header("ratelimit");
        assert!(limit.starts_with(&format!("\"requests\";r={left};t=")), "{limit}");
    }
    let answer = gateway.get("alice", WHO).await;
    refused(&answer, "The limit of requests for you is reached.");
    assert_eq!(answer.header("ratelimit-policy"), "\"requests\";q=4;w=3600");
    assert!(answer.header("ratelimit").starts_with("\"requests\";r=0;t="));
    let after: u64 = answer.header("retry-after").parse().expect("seconds");
    assert!((1..=900).contains(&after), "{after}");

    // Bob has a limit of his own.
    assert_eq!(gateway.get("bob", WHO).await.status, StatusCode::OK);
    let counted = "tidegate_quota_exceeded_total{meter=\"requests\"}";
    assert_eq!(metric(&gateway, counted).await, 1);
    let used = usage(&gateway, "requests").await;
    assert_eq!(
        (&used["subject"], &used["amount"], &used["used"]),
        (&"alice".into(), &4.into(), &4.into())
    );
    let config = gateway.config().display().to_string();
    let (code, said) = run(&["usage", "--config", &config]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("demo\talice\trequests\t4 per 1h\t4\t0\t"), "{said}");
}

#[tokio::test]
async fn a_tenants_limit_is_shared_by_its_users() {
    let limits = r#"{ meter = "requests", amount = 3, per = "1h", scope = "tenant" }"#;
    let gateway = Gateway::start(limited(limits)).await;
    for user in ["alice", "bob", "alice"] {
        assert_eq!(gateway.get(user, WHO).await.status, StatusCode::OK);
    }
    for user in ["alice", "bob"] {
        let answer = gateway.get(user, WHO).await;
        refused(&answer, "The limit of requests for your tenant is reached.");
        assert_eq!(answer.header("ratelimit-policy"), "\"tenant-requests\";q=3;w=3600");
    }
}

#[tokio::test]
async fn many_connections_together_get_the_burst_and_the_rate_and_no_more() {
    const BURST: u64 = 20;
    const PER_SECOND: u64 = 40;
    let limits =
        format!(r#"{{ meter = "requests", amount = {PER_SECOND}, per = "1s", burst = {BURST} }}"#);
    let gateway = Gateway::start(limited(&limits)).await;
    let began = Instant::now();
    // Awake first, so that all of them ask at once.
    gateway.get("alice", WHO).await;
    let asking = (0..32).map(|_| async {
        let mut served = 0_u64;
        for _ in 0..20 {
            let status = gateway.get("alice", WHO).await.status;
            let expected = [StatusCode::OK, StatusCode::TOO_MANY_REQUESTS];
            assert!(expected.contains(&status), "{status}");
            served += u64::from(status == StatusCode::OK);
        }
        served
    });
    let served = 1 + join_all(asking).await.iter().sum::<u64>();
    let micros = u64::try_from(began.elapsed().as_micros()).expect("not that long");
    let most = BURST + micros * PER_SECOND / 1_000_000;
    assert!((BURST..=most).contains(&served), "{served} of at most {most}");
}

#[tokio::test]
async fn so_many_websockets_are_open_at_once_and_one_that_closes_leaves_its_place() {
    let limits = r#"{ meter = "websocket-connections", amount = 2 }"#;
    let gateway = Gateway::start(limited(limits)).await;
    let open = || gateway.websocket(Ask::get("alice", "/ws"));
    let first = open().await.expect("the first");
    let _second = open().await.expect("the second");
    assert_eq!(open().await.err(), Some(StatusCode::TOO_MANY_REQUESTS));
    // Requests aren't WebSockets, and Bob isn't Alice.
    assert_eq!(gateway.get("alice", WHO).await.status, StatusCode::OK);
    assert!(gateway.websocket(Ask::get("bob", "/ws")).await.is_ok());
    drop(first);
    until("a place", async || open().await.is_ok()).await;
}

#[tokio::test]
async fn a_download_is_cut_in_the_middle_and_never_ends_cleanly() {
    let limits = r#"{ meter = "egress-bytes", amount = "2MiB", per = "365d" }"#;
    let gateway = Gateway::start(limited(limits)).await;
    gateway.get("alice", WHO).await;
    let mut stream = TcpStream::connect(gateway.address()).await.expect("it listens");
    let head = format!(
        "GET /api/bytes?16777216 HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\
         connection: close\r\n\r\n",
        gateway.host("alice"),
        gateway.token("alice"),
    );
    stream.write_all(head.as_bytes()).await.expect("it is sent");
    let mut got = Vec::new();
    // An error or an end: both before the length that was promised.
    let _ = stream.read_to_end(&mut got).await;
    let text = String::from_utf8_lossy(&got);
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{}", &text[..text.len().min(200)]);
    assert!(text.contains("content-length: 16777216\r\n"));
    assert!((1 << 20..4 << 20).contains(&got.len()), "{} bytes came", got.len());
    assert_eq!(usage(&gateway, "egress-bytes").await["remaining"], 0);
    assert_eq!(metric(&gateway, "tidegate_quota_exceeded_total{meter=\"egress-bytes\"}").await, 1);
    // What is left over is not given to the next one either.
    let next = Ask::get("alice", WHO);
    assert!(gateway.try_ask(next).await.is_err(), "an answer without its body");
}

#[tokio::test]
async fn an_upload_is_cut_and_answered_with_429() {
    let limits = r#"{ meter = "ingress-bytes", amount = "1MiB", per = "365d" }"#;
    let gateway = Gateway::start(limited(limits)).await;
    gateway.get("alice", WHO).await;
    let post = |bytes: usize| {
        format!(
            "POST /api/count HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\
             connection: close\r\ncontent-length: {bytes}\r\n\r\n{}",
            gateway.host("alice"),
            gateway.token("alice"),
            "u".repeat(bytes),
        )
    };
    let whole = gateway.raw(post(1000).as_bytes()).await;
    assert!(whole.contains("{\"bytes\":1000}"), "{whole}");
    let mut stream = TcpStream::connect(gateway.address()).await.expect("it listens");
    let (mut read, mut write) = stream.split();
    let bytes = post(16 << 20);
    let sending = async {
        // It does not read on once it has answered.
        let _ = write.write_all(bytes.as_bytes()).await;
    };
    let reading = async {
        let mut answer = vec![0; 64 << 10];
        let n = read.read(&mut answer).await.expect("an answer");
        String::from_utf8_lossy(&answer[..n]).into_owned()
    };
    let answer = tokio::select! {
        answer = reading => answer,
        () = async { sending.await; std::future::pending().await } => unreachable!("pending"),
    };
    assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
    assert!(answer.contains("quota-exceeded"), "{answer}");
    assert!(answer.contains("retry-after: "), "{answer}");
    assert!(answer.contains("ratelimit: \"ingress-bytes\";r=0;t="), "{answer}");
    assert_eq!(gateway.get("alice", WHO).await.status, StatusCode::OK, "it has no body");
}

#[tokio::test]
async fn a_websocket_is_closed_with_1008_when_its_bytes_are_used_up() {
    let limits = r#"{ meter = "egress-bytes", amount = 2000, per = "365d" }"#;
    let gateway = Gateway::start(limited(limits)).await;
    let mut socket = gateway.websocket(Ask::get("alice", "/ws")).await.expect("it opens");
    let mut echoed = 0;
    let code = loop {
        // It may be closed already.
        let _ = socket.send(Message::binary(Bytes::from(vec![7; 500]))).await;
        match socket.next().await {
            Some(Ok(Message::Binary(_))) => echoed += 1,
            Some(Ok(Message::Close(frame))) => break frame.map(|it| (it.code.into(), it.reason)),
            other => panic!("{other:?} after {echoed}"),
        }
    };
    let (code, reason): (u16, _) = code.expect("it says why");
    assert_eq!((code, reason.as_str()), (1008, "quota"));
    assert_eq!(echoed, 4);
}

#[tokio::test]
async fn time_that_is_used_up_keeps_a_sandbox_from_waking_and_ends_none_that_runs() {
    let limits = r#"{ meter = "running-ms", amount = "1s", per = "365d" }"#;
    let gateway = Gateway::start(limited(limits)).await;
    gateway.get("alice", WHO).await;
    until("the time is used up", async || usage(&gateway, "running-ms").await["remaining"] == 0)
        .await;
    assert_eq!(gateway.get("alice", WHO).await.status, StatusCode::OK, "it runs on");
    gateway.tell("alice", "sleep").await;
    let answer = gateway.get("alice", WHO).await;
    refused(&answer, "The limit of running-ms for you is reached.");
    assert_ne!(answer.header("retry-after"), "");
    assert!(gateway.processes("hello-app").is_empty());
    assert_eq!(gateway.get("bob", WHO).await.status, StatusCode::OK, "Bob has his own");
}

#[tokio::test]
async fn memory_and_processes_are_measured_and_keep_others_from_waking() {
    for (meter, amount) in [("memory-bytes", "1"), ("processes", "1")] {
        let limits = format!(r#"{{ meter = "{meter}", amount = {amount}, scope = "tenant" }}"#);
        let gateway = Gateway::start(limited(&limits)).await;
        assert_eq!(gateway.get("alice", WHO).await.status, StatusCode::OK);
        let stats = gateway.sandbox("alice").await;
        let field = meter.replace('-', "_");
        if stats.json()[&field].is_null() {
            crate::skipped("memory_and_processes_are_measured", "the driver measures none here");
            continue;
        }
        until("it is measured", async || usage(&gateway, meter).await["remaining"] == 0).await;
        assert_eq!(gateway.get("alice", WHO).await.status, StatusCode::OK, "it runs on");
        let answer = gateway.get("bob", WHO).await;
        refused(&answer, &format!("The limit of {meter} for your tenant is reached."));
        gateway.tell("alice", "sleep").await;
        until("a place", async || gateway.get("bob", WHO).await.status == StatusCode::OK).await;
    }
}

#[tokio::test]
async fn processor_time_that_is_used_up_keeps_a_sandbox_from_waking() {
    let limits = r#"{ meter = "cpu-ms", amount = 1, per = "365d" }"#;
    let gateway = Gateway::start(limited(limits)).await;
    assert_eq!(gateway.get("alice", WHO).await.status, StatusCode::OK);
    if gateway.sandbox("alice").await.json()["cpu_ms"].is_null() {
        return crate::skipped("processor_time_that_is_used_up", "the driver measures none here");
    }
    until("it is used up", async || usage(&gateway, "cpu-ms").await["remaining"] == 0).await;
    assert_eq!(gateway.get("alice", WHO).await.status, StatusCode::OK, "it runs on");
    gateway.tell("alice", "sleep").await;
    refused(&gateway.get("alice", WHO).await, "The limit of cpu-ms for you is reached.");
}

#[tokio::test]
async fn a_judged_websocket_is_closed_with_1008_when_its_messages_are_used_up() {
    let plugin = crate::built::component("chaperone");
    let judge = format!(
        "\n[[plugin]]\nname = \"chaperone\"\nsource = {:?}\n[plugin.config]\n",
        plugin.display().to_string()
    );
    let limits = r#"{ meter = "websocket-messages", amount = 6, per = "1h" }"#;
    let setup = limited(limits).adding(&judge);
    let placed = "port = 3000\nsandbox";
    let setup = setup.replacing(placed, "port = 3000\nrelay = \"messages\"\nsandbox");
    let gateway = Gateway::start(setup).await;
    let mut socket = gateway.websocket(Ask::get("alice", "/ws")).await.expect("it opens");
    let mut echoed = 0;
    let said = loop {
        // It may be closed already.
        let _ = socket.send(Message::text("hello")).await;
        match socket.next().await {
            Some(Ok(Message::Text(_))) => echoed += 1,
            Some(Ok(Message::Ping(_))) => {}
            Some(Ok(Message::Close(frame))) => break frame.map(|it| (it.code.into(), it.reason)),
            other => panic!("{other:?} after {echoed}"),
        }
    };
    let (code, reason): (u16, _) = said.expect("it says why");
    assert_eq!((code, reason.as_str(), echoed), (1008, "quota", 3));
}

#[tokio::test]
async fn of_two_who_wake_sandboxes_at_once_for_the_last_place_one_does() {
    let limits = r#"{ meter = "sandboxes", amount = 1, scope = "tenant" }"#;
    let gateway = Gateway::start(limited(limits)).await;
    let asked = ["alice", "bob", "alice", "bob", "alice", "bob"];
    let answers = join_all(asked.iter().map(|user| gateway.get(user, WHO))).await;
    let served: Vec<_> = asked
        .iter()
        .zip(&answers)
        .filter(|(_, answer)| answer.status == StatusCode::OK)
        .map(|(user, _)| *user)
        .collect();
    assert_eq!(served.len(), 3, "{answers:?}");
    assert!(served.iter().all(|user| *user == served[0]), "{served:?}");
    let other = if served[0] == "alice" { "bob" } else { "alice" };
    let answer = gateway.get(other, WHO).await;
    refused(&answer, "The limit of sandboxes for your tenant is reached.");
    assert_eq!(answer.header("retry-after"), "", "no time helps");
    assert_eq!(gateway.processes("hello-app").len(), 1);
    // Names that were only asked for are not kept.
    let (_, body) = gateway.control(Method::GET, "/v1/sandboxes").await;
    let listed: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(listed["sandboxes"].as_array().map(Vec::len), Some(1), "{body}");
    // The place is free as soon as the other rests.
    gateway.tell(served[0], "sleep").await;
    assert_eq!(gateway.get(other, WHO).await.status, StatusCode::OK);
    refused(
        &gateway.get(served[0], WHO).await,
        "The limit of sandboxes for your tenant is reached.",
    );
}

#[tokio::test]
async fn two_users_who_wake_one_sandbox_at_once_take_one_place() {
    let limits = r#"{ meter = "sandboxes", amount = 1, scope = "tenant" }"#;
    let mut setup = limited(limits)
        .replacing("builtin:per-user", "builtin:sub-domain")
        .replacing("sandbox = \"user-{subject}\"", "base = \"localhost\"\nclaim = \"rooms\"")
        .replacing("host = \"{subject}.localhost\"\n", "");
    for user in ["alice", "bob"] {
        let holder = format!("subject = \"{user}\", tenant = \"demo\"");
        setup = setup.replacing(&holder, &format!("{holder}, claims = {{ rooms = \"den\" }}"));
    }
    let gateway = Gateway::start(setup).await;
    let asks = ["alice", "bob", "alice", "bob"]
        .map(|user| gateway.ask(Ask::get("den", WHO).sign_in(SignIn::As(gateway.token(user)))));
    for answer in join_all(asks).await {
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    }
    assert_eq!(gateway.processes("hello-app").len(), 1);
    refused(&gateway.get("alice", WHO).await, "The limit of sandboxes for your tenant is reached.");
}

#[tokio::test]
async fn what_was_used_is_used_after_a_crash_and_what_runs_still_counts() {
    let limits = "{ meter = \"requests\", amount = 5, per = \"1h\" },\n\
                  { meter = \"sandboxes\", amount = 1, scope = \"tenant\" }";
    let mut gateway = Gateway::start(limited(limits)).await;
    for _ in 0..5 {
        assert_eq!(gateway.get("alice", WHO).await.status, StatusCode::OK);
    }
    let saves = metric(&gateway, "tidegate_quota_saves_total").await;
    // A save may have been under way; the one after it has everything.
    refused(&gateway.get("alice", WHO).await, "The limit of requests for you is reached.");
    refused(&gateway.get("bob", WHO).await, "The limit of sandboxes for your tenant is reached.");
    until("it is saved", async || metric(&gateway, "tidegate_quota_saves_total").await > saves)
        .await;
    gateway.kill().await;
    gateway.start_again().await;
    refused(&gateway.get("alice", WHO).await, "The limit of requests for you is reached.");
    // Hers was found running, and counts though nobody has asked for it since.
    refused(&gateway.get("bob", WHO).await, "The limit of sandboxes for your tenant is reached.");
    assert_eq!(gateway.processes("hello-app").len(), 1);
}

#[tokio::test]
async fn a_reload_that_changes_a_limit_gives_nobody_a_fresh_burst() {
    let limit = |amount: u64| format!(r#"{{ meter = "requests", amount = {amount}, per = "1h" }}"#);
    let gateway = Gateway::start(limited(&limit(3))).await;
    for _ in 0..3 {
        assert_eq!(gateway.get("alice", WHO).await.status, StatusCode::OK);
    }
    refused(&gateway.get("alice", WHO).await, "The limit of requests for you is reached.");
    let text = std::fs::read_to_string(gateway.config()).expect("the configuration is there");
    let fresh = gateway.config().with_extension("new");
    std::fs::write(&fresh, text.replace(&limit(3), &limit(5))).expect("it is written");
    std::fs::rename(&fresh, gateway.config()).expect("it is put in place");
    gateway.reload();
    until("the reload", async || {
        gateway.get("alice", WHO).await.header("ratelimit-policy") == "\"requests\";q=5;w=3600"
    })
    .await;
    // The one that saw it was the fourth.
    assert_eq!(gateway.get("alice", WHO).await.status, StatusCode::OK);
    refused(&gateway.get("alice", WHO).await, "The limit of requests for you is reached.");
}

#[tokio::test]
async fn who_has_no_known_plan_may_use_nothing_and_nobody_is_limited_without_a_plugin() {
    let strict = "\n[[plugin]]\nname = \"tiers\"\nsource = \"builtin:tiers\"\n\
                  [plugin.config]\n[plugin.config.tiers.pro]\nlimits = []\n";
    let gateway = Gateway::start(Setup::hello().adding(strict).replacing(
        "subject = \"bob\", tenant = \"demo\"",
        "subject = \"bob\", tenant = \"demo\", claims = { plan = \"pro\" }",
    ))
    .await;
    refused(&gateway.get("alice", WHO).await, "The limit of requests for you is reached.");
    let answer = gateway.get("bob", WHO).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("ratelimit"), "");
}
