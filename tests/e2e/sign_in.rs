use futures_util::{SinkExt as _, StreamExt as _};
use http::{Method, StatusCode};
use tidegate_testkit::gateway::{Ask, Gateway, Setup, SignIn};
use tokio_tungstenite::tungstenite::Message;

#[tokio::test]
async fn a_token_in_the_address_becomes_a_cookie_and_leaves_the_address_bar() {
    let gateway = Gateway::start(Setup::hello()).await;
    let token = gateway.token("alice").to_owned();
    let path = format!("/api/request?a=%2F1&token={token}&b=2");
    let ask = Ask::get("alice", &path).sign_in(SignIn::Nobody).header("accept", "text/html");
    let answer = gateway.ask(ask).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
    assert_eq!(answer.header("location"), "/api/request?a=%2F1&b=2");
    let cookie = answer.header("set-cookie").to_owned();
    for attribute in ["HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert!(!cookie.contains("Domain"), "{cookie}");

    let pair = cookie.split(';').next().expect("a cookie has a name and a value");
    let ask = Ask::get("alice", "/api/whoami").sign_in(SignIn::Nobody).header("cookie", pair);
    assert_eq!(gateway.ask(ask).await.json()["user"], "alice");
}

#[tokio::test]
async fn a_wrong_token_in_the_address_is_refused_and_sets_no_cookie() {
    let gateway = Gateway::start(Setup::hello()).await;
    let ask = Ask::get("alice", "/?token=wrong").sign_in(SignIn::Nobody);
    let answer = gateway.ask(ask.header("accept", "text/html")).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{}", answer.text());
    assert_eq!(answer.header("set-cookie"), "");
}

#[tokio::test]
async fn a_cookie_planted_beside_the_real_one_makes_both_worthless() {
    let gateway = Gateway::start(Setup::hello()).await;
    let (alice, bob) = (gateway.token("alice"), gateway.token("bob"));
    let ask = Ask::get("alice", "/api/whoami")
        .sign_in(SignIn::Nobody)
        .header("cookie", format!("tidegate={bob}; tidegate={alice}"));
    let answer = gateway.ask(ask).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{}", answer.text());
}

#[tokio::test]
async fn a_websocket_signed_in_by_cookie_must_come_from_its_own_origin() {
    let gateway = Gateway::start(Setup::hello()).await;
    let own = format!("http://{}", gateway.host("alice"));
    let sibling = format!("http://{}", gateway.host("bob"));
    let ask = || Ask::get("alice", "/ws").sign_in(SignIn::Cookie);
    for origin in [sibling.as_str(), "http://evil.example", "null"] {
        let refused = gateway.websocket(ask().header("origin", origin)).await;
        assert_eq!(refused.err(), Some(StatusCode::FORBIDDEN), "origin {origin}");
    }
    let refused = gateway.websocket(ask()).await;
    assert_eq!(refused.err(), Some(StatusCode::FORBIDDEN), "no origin at all");

    let mut socket = gateway.websocket(ask().header("origin", own)).await.expect("its own origin");
    socket.send(Message::text("hello")).await.expect("it is sent");
    let echo = socket.next().await.expect("it is answered").expect("without error");
    assert_eq!(echo, Message::text("hello"));
}

#[tokio::test]
async fn an_unsafe_method_signed_in_by_cookie_must_come_from_its_own_origin() {
    let gateway = Gateway::start(Setup::hello()).await;
    let own = format!("http://{}", gateway.host("alice"));
    let ask = || Ask::get("alice", "/api/request").method(Method::POST);
    let cases = [
        (ask().sign_in(SignIn::Cookie).header("origin", "http://evil.example"), 403),
        (ask().sign_in(SignIn::Cookie), 403),
        (ask().sign_in(SignIn::Cookie).header("origin", own), 200),
        // A header can't be sent by a foreign page.
        (ask().header("origin", "http://evil.example"), 200),
    ];
    for (ask, status) in cases {
        let answer = gateway.ask(ask.clone()).await;
        assert_eq!(answer.status, status, "{ask:?}: {}", answer.text());
    }
}
