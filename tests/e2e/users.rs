use http::StatusCode;
use tidegate_testkit::gateway::{Ask, Gateway, Setup, SignIn};

#[tokio::test]
async fn two_users_have_two_sandboxes() {
    let gateway = Gateway::start(Setup::hello()).await;
    for user in ["alice", "bob"] {
        let who = gateway.json(user, "/api/whoami").await;
        assert_eq!(who["user"], user);
        assert_eq!(who["tenant"], "demo");
        assert_eq!(who["sandbox"], format!("user-{user}"));
    }
    let mut names: Vec<_> =
        gateway.sandboxes().await.iter().map(|sandbox| sandbox.name().to_owned()).collect();
    names.sort();
    assert_eq!(names, ["user-alice", "user-bob"]);
    assert_eq!(gateway.processes("hello-app").len(), 2);
}

#[tokio::test]
async fn what_one_user_leaves_in_their_sandbox_no_other_sees() {
    let gateway = Gateway::start(Setup::hello()).await;
    for _ in 0..3 {
        gateway.get("alice", "/").await;
    }
    assert_eq!(gateway.json("alice", "/api/whoami").await["visits"], 3);
    assert_eq!(gateway.json("bob", "/api/whoami").await["visits"], 0);
}

#[tokio::test]
async fn no_credential_is_relayed_into_a_sandbox() {
    let gateway = Gateway::start(Setup::hello()).await;
    let token = gateway.token("alice").to_owned();
    let asks = [
        Ask::get("alice", "/api/request?a=1"),
        Ask::get("alice", "/api/request?a=1").sign_in(SignIn::Cookie),
        Ask::get("alice", "/api/request?a=1").header("cookie", format!("__Host-tidegate={token}")),
    ];
    for ask in asks {
        let answer = gateway.ask(ask.clone()).await;
        assert_eq!(answer.status, StatusCode::OK, "{ask:?}: {}", answer.text());
        assert!(!answer.text().contains(&token), "{ask:?}: {}", answer.text());
        assert!(answer.text().contains("/api/request?a=1"), "{}", answer.text());
    }
    // Other cookies are the application's own affair.
    let ask = Ask::get("alice", "/api/request").sign_in(SignIn::Cookie);
    let seen = gateway.ask(ask).await.text();
    assert!(seen.contains("theme=dark") && seen.contains("lang=en"), "{seen}");
}

#[tokio::test]
async fn a_user_is_refused_at_another_users_address_and_wakes_nobody() {
    let gateway = Gateway::start(Setup::hello()).await;
    let alice = gateway.token("alice").to_owned();
    let answer = gateway.ask(Ask::get("bob", "/api/request").sign_in(SignIn::As(&alice))).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "{}", answer.text());
    assert!(gateway.sandboxes().await.is_empty());
}

#[tokio::test]
async fn who_has_no_token_or_a_wrong_one_gets_401_and_a_decision_to_ask_about() {
    let gateway = Gateway::start(Setup::hello()).await;
    for sign_in in [SignIn::Nobody, SignIn::As("not-a-token")] {
        let answer = gateway.ask(Ask::get("alice", "/").sign_in(sign_in)).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{}", answer.text());
        assert!(answer.text().contains("decision"), "{}", answer.text());
    }
    assert!(gateway.sandboxes().await.is_empty());
}

#[tokio::test]
async fn an_identity_that_a_client_claims_is_replaced_by_the_real_one() {
    let gateway = Gateway::start(Setup::hello()).await;
    let ask = Ask::get("alice", "/api/request")
        .header("x-forwarded-user", "bob")
        .header("x-forwarded-for", "203.0.113.7")
        .header("forwarded", "for=203.0.113.7");
    let seen = gateway.ask(ask).await.json();
    let fields: Vec<_> = seen["headers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|field| field[0] == "x-forwarded-user")
        .map(|field| field[1].clone())
        .collect();
    assert_eq!(fields, ["alice"], "{seen}");
    assert!(!seen.to_string().contains("203.0.113.7"), "{seen}");
}

/// A client as a trusted proxy names it.
const CLIENT: &str = "203.0.113.7";

#[tokio::test]
async fn an_application_finds_its_clients_address_where_the_template_says() {
    for (place, peer) in [("header", "100.64.0.1"), ("socket", CLIENT)] {
        let setup = Setup::hello()
            .with("client-address", &format!("{place:?}"))
            .replacing("[server]\n", "[server]\ntrusted-proxies = [\"127.0.0.0/8\"]\n");
        let gateway = Gateway::start(setup).await;
        let from = |path| Ask::get("alice", path).header("x-forwarded-for", CLIENT);
        assert_eq!(gateway.ask(from("/api/whoami")).await.json()["peer"], peer, "{place}");
        let request = gateway.ask(from("/api/request")).await.json();
        let told = request["headers"].to_string().contains(CLIENT);
        assert!(told, "{place}: the header field names it in any case: {request}");
    }
}
