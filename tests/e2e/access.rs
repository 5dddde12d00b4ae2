//! Requests that come through Cloudflare Access, and key sets that their issuers
//! publish: `builtin:access` and `[key-sets.NAME] url`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::Method;
use serde_json::{Value, json};
use tidegate_testkit::gateway::{Answer, Ask, Gateway, Setup, SignIn, run};
use tidegate_testkit::oidc_provider::{Algorithm, OidcProvider};

const AUDIENCE: &str = "4714c1358e65fe4b408ad6d432a5f878f08194bdb4752441fd56faefa9b2b6f2";

/// The demo application behind a team's Access; `refresh` of its keys.
fn setup(team: &OidcProvider, refresh: &str) -> Setup {
    let plugin = format!(
        "[[plugin]]\nname = \"access\"\nsource = \"builtin:access\"\ndeadline = \"2s\"\n\n\
         [plugin.config]\nkey-set = \"access\"\nteam = \"{}\"\naudience = \"{AUDIENCE}\"\n\
         subject-claim = \"name\"\ntenant = \"demo\"\n\n\
         [[plugin]]\nname = \"rooms\"",
        team.issuer(),
    );
    let keys =
        format!("\n[key-sets.access]\nurl = \"{}\"\nrefresh = \"{refresh}\"\n", team.jwks_url());
    Setup::hello().replacing("[[plugin]]\nname = \"rooms\"", &plugin).adding(&keys)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs()
}

/// What Access says of Alice.
fn alice(team: &OidcProvider) -> Value {
    json!({
        "iss": team.issuer(), "aud": [AUDIENCE], "exp": now() + 600, "iat": now(),
        "type": "app", "sub": "7335d417-61da-459d-899c-0a01c76a2f94",
        "email": "alice@example.org", "name": "alice",
    })
}

async fn by_header(gateway: &Gateway, token: &str) -> Answer {
    let ask = Ask::get("alice", "/api/request").sign_in(SignIn::Nobody);
    gateway.ask(ask.header("cf-access-jwt-assertion", token)).await
}

#[tokio::test]
async fn who_comes_through_access_is_let_in_and_its_token_stays_outside() {
    let team = OidcProvider::start(Algorithm::Rs256).await;
    let gateway = Gateway::start(setup(&team, "1h")).await;
    let token = team.token(&alice(&team));
    let answer = by_header(&gateway, &token).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(!answer.text().contains(&token), "{}", answer.text());

    let cookie = format!("CF_Authorization={token}");
    let by_cookie = || Ask::get("alice", "/api/request").sign_in(SignIn::Nobody);
    let answer = gateway.ask(by_cookie().header("cookie", &cookie)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(!answer.text().contains(&token), "{}", answer.text());
    let twice = format!("{cookie}; {cookie}");
    assert_eq!(gateway.ask(by_cookie().header("cookie", twice)).await.status, 401);

    // A person's token is their browser's, whichever place it came in.
    let posted = by_cookie().method(Method::POST).header("cf-access-jwt-assertion", &token);
    assert_eq!(gateway.ask(posted.clone()).await.status, 403);
    let own = format!("http://{}", gateway.host("alice"));
    assert_ne!(gateway.ask(posted.header("origin", own)).await.status, 403);

    let with = |change: Value| {
        let mut claims = alice(&team);
        for (name, value) in change.as_object().expect("an object") {
            claims[name] = value.clone();
        }
        team.token(&claims)
    };
    // Services have no address, and no browser that could be misled.
    let service = with(json!({ "common_name": "robot", "sub": "", "email": null }));
    let posted = by_cookie().method(Method::POST).header("cf-access-jwt-assertion", service);
    assert_ne!(gateway.ask(posted).await.status, 403);
    for (token, code) in [
        (with(json!({ "aud": ["another application"] })), "token-wrong-audience"),
        (with(json!({ "iss": "https://another.cloudflareaccess.com" })), "token-wrong-issuer"),
        (with(json!({ "exp": now() - 3600 })), "token-expired"),
        (with(json!({ "name": "" })), "token-incomplete"),
        (token.replacen("eyJ", "eyK", 1), "token-malformed"),
    ] {
        let answer = by_header(&gateway, &token).await;
        if code == "token-incomplete" {
            assert!(answer.status.is_client_error() || answer.status == 503, "{}", answer.text());
            continue;
        }
        assert_eq!(answer.status, 401, "{code}: {}", answer.text());
        assert_eq!(answer.json()["code"], code);
    }
}

#[tokio::test]
async fn a_thousand_requests_fetch_no_keys_and_new_keys_are_fetched_once() {
    let team = OidcProvider::start(Algorithm::Rs256).await;
    let gateway = Gateway::start(setup(&team, "1h")).await;
    let old = team.token(&alice(&team));
    for _ in 0..1_000 {
        assert_eq!(by_header(&gateway, &old).await.status, 200);
    }
    assert_eq!(team.asked().jwks, 1);

    team.rotate_keys();
    let new = team.token(&alice(&team));
    let first = by_header(&gateway, &new).await;
    assert_eq!((first.status.as_u16(), &first.json()["code"]), (401, &json!("token-unknown-key")));
    until(async || by_header(&gateway, &new).await.status == 200).await;
    assert_eq!(by_header(&gateway, &old).await.status, 401, "its key was taken back");

    // Made-up keys have nothing fetched for half a minute.
    team.rotate_keys();
    team.rotate_keys();
    let unknown = team.token(&alice(&team));
    for _ in 0..1_000 {
        assert_eq!(by_header(&gateway, &unknown).await.status, 401);
    }
    assert_eq!(by_header(&gateway, &new).await.status, 200);
    let fetched = team.asked().jwks;
    assert!((2..=3).contains(&fetched), "{fetched}");
}

#[tokio::test]
async fn keys_change_on_time_and_the_last_good_ones_outlive_their_issuer() {
    let team = OidcProvider::start(Algorithm::Es256).await;
    let mut gateway = Gateway::start(setup(&team, "1s")).await;
    let old = team.token(&alice(&team));
    assert_eq!(by_header(&gateway, &old).await.status, 200);
    team.rotate_keys();
    until(async || by_header(&gateway, &old).await.status == 401).await;
    let new = team.token(&alice(&team));
    assert_eq!(by_header(&gateway, &new).await.status, 200);

    // Away while it runs, and away when it starts.
    team.behave(|it| it.down = true);
    let failed = r#"tidegate_key_set_fetches_total{key_set="access",outcome="failed"} "#;
    until(async || {
        let (_, metrics) = gateway.control(Method::GET, "/metrics").await;
        let line = metrics.lines().find_map(|line| line.strip_prefix(failed));
        line.is_some_and(|count| count != "0")
    })
    .await;
    assert_eq!(by_header(&gateway, &new).await.status, 200);
    gateway.kill().await;
    gateway.start_again().await;
    assert_eq!(by_header(&gateway, &new).await.status, 200);
    assert!(gateway.log().contains("the last good copy serves"), "{}", gateway.log());

    // Nothing to go by: said, with what to do.
    gateway.kill().await;
    std::fs::remove_dir_all(gateway.state_dir().join("key-sets")).expect("it is there");
    let config = gateway.config().display().to_string();
    let (code, said) = run(&["serve", "--config", &config]).await;
    assert_ne!(code, Some(0));
    assert!(said.contains("key-sets.access.url") && said.contains("503"), "{said}");
    team.behave(|it| it.down = false);
    gateway.start_again().await;
    assert_eq!(by_header(&gateway, &new).await.status, 200);
}

/// Asks again and again; there is nothing to be told by.
async fn until(mut happened: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !happened().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asking).await.expect("it happens");
}
