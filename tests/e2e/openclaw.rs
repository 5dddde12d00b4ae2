//! The real application: one OpenClaw per user, spoken to in its own protocol.

use http::StatusCode;
use serde_json::json;
use tidegate_testkit::gateway::{Ask, Gateway, Setup};
use tidegate_testkit::model::Model;
use tidegate_testkit::openclaw::{Client, Installation};

const KEY: &str = "sk-test-0b6f3a9e7c2d4815";

/// Wakes a user's OpenClaw, waits until it takes work, and says hello.
async fn talk_to(gateway: &Gateway, user: &str) -> Client {
    loop {
        let answer = gateway.get(user, "/readyz").await;
        if answer.status == StatusCode::OK {
            break;
        }
        // It says so itself while it starts. Anything else won't get better.
        let starting = answer.json()["ready"] == false;
        assert!(starting, "{} {}", answer.status, answer.text());
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let socket = gateway.websocket(Ask::get(user, "/")).await.expect("its WebSocket opens");
    Client::connect(socket).await
}

#[tokio::test]
async fn two_users_talk_to_two_openclaws_that_sleep_and_wake() {
    let installation = match Installation::find() {
        Ok(installation) => installation,
        Err(why) => return crate::skipped("two_users_talk_to_two_openclaws", &why),
    };
    let model = Model::start(&installation, KEY).await;
    let gateway = Gateway::start(Setup::openclaw(&model, KEY)).await;

    let (mut alice, mut bob) = tokio::join!(talk_to(&gateway, "alice"), talk_to(&gateway, "bob"));
    for client in [&mut alice, &mut bob] {
        assert!(client.hello()["server"]["version"].is_string(), "{}", client.hello());
        client.call("sessions.list", json!({})).await;
    }
    let answer = alice.chat("the tide is high").await;
    assert!(answer.text.starts_with("You said: the tide is high"), "{answer:?}");
    assert!(answer.deltas > 1, "the answer streams: {answer:?}");
    let answer = bob.chat("the tide is low").await;
    assert!(answer.text.starts_with("You said: the tide is low"), "{answer:?}");
    assert!(!bob.history().await.concat().contains("high"), "conversations are apart");

    assert!(!gateway.find_inside("added-by-the-gateway").is_empty(), "the search works");
    assert_eq!(gateway.find_inside(KEY), Vec::<String>::new(), "no key is inside");
    let token = gateway.token("alice");
    assert_eq!(gateway.find_inside(token), Vec::<String>::new(), "no token is inside");

    gateway.tell("alice", "sleep").await;
    assert_eq!(gateway.sandbox("alice").await.state(), "stopped");
    let mut alice = talk_to(&gateway, "alice").await;
    let history = alice.history().await.concat();
    assert!(history.contains("the tide is high"), "the conversation outlives sleep: {history}");
}

#[tokio::test]
async fn openclaw_lets_in_nobody_whom_the_gateway_did_not_name() {
    let installation = match Installation::find() {
        Ok(installation) => installation,
        Err(why) => return crate::skipped("openclaw_lets_in_nobody", &why),
    };
    let model = Model::start(&installation, KEY).await;
    let gateway = Gateway::start(Setup::openclaw(&model, KEY)).await;
    let bob = gateway.token("bob").to_owned();
    use tidegate_testkit::gateway::SignIn;
    for sign_in in [SignIn::Nobody, SignIn::As(&bob)] {
        let ask = Ask::get("alice", "/").sign_in(sign_in).header("x-forwarded-user", "alice");
        let refused = gateway.websocket(ask).await.err();
        let expected = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];
        assert!(refused.is_some_and(|status| expected.contains(&status)), "{refused:?}");
    }
    assert!(gateway.sandboxes().await.is_empty(), "nobody was woken");
}
