//! Signing in at an OpenID provider: `builtin:oidc`, against a real one.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::json;
use tidegate_testkit::browser::{self, Browser};
use tidegate_testkit::gateway::{Answer, Ask, Gateway, Setup, SignIn};
use tidegate_testkit::oidc_provider::{Algorithm, CLIENT, OidcProvider, PASSWORD};

/// The demo application behind a sign-in at `provider`; more of the plugin's
/// configuration in `more`.
fn setup(provider: &OidcProvider, more: &str) -> Setup {
    let plugin = format!(
        "[[plugin]]\nname = \"people\"\nsource = \"builtin:oidc\"\n\
         http = {{ hosts = [\"{issuer}\"], secrets = [\"CLIENT\"], timeout = \"10s\" }}\n\
         deadline = \"2s\"\n\n\
         [plugin.config]\nissuer = \"{issuer}\"\nclient-id = \"{}\"\n\
         client-secret = \"CLIENT\"\nkey-set = \"people\"\nsession-secret = \"SESSIONS\"\n\
         subject-claim = \"name\"\ntenant = \"demo\"\nclaims = [\"email\"]\n{more}\n\
         [[plugin]]\nname = \"rooms\"",
        CLIENT.0,
        issuer = provider.issuer(),
    );
    let keys = format!(
        "\n[key-sets.people]\nurl = \"{}\"\nissuer = \"{}\"\n",
        provider.jwks_url(),
        provider.issuer()
    );
    Setup::hello()
        .replacing("[[plugin]]\nname = \"rooms\"", &plugin)
        .with_secret("CLIENT", CLIENT.1)
        .with_secret("SESSIONS", "a session secret of at least 32 bytes 0123456789")
        .adding(&keys)
}

/// A browser at one user's address, without its eyes: it keeps cookies.
#[derive(Clone)]
struct Visitor<'g> {
    gateway: &'g Gateway,
    at: &'g str,
    jar: BTreeMap<String, String>,
}

impl<'g> Visitor<'g> {
    fn new(gateway: &'g Gateway, at: &'g str) -> Self {
        Self { gateway, at, jar: BTreeMap::new() }
    }

    fn cookie(&self) -> String {
        let pairs = self.jar.iter().map(|(name, value)| format!("{name}={value}"));
        pairs.collect::<Vec<_>>().join("; ")
    }

    fn asking<'a>(&self, path: &'a str) -> Ask<'a>
    where
        'g: 'a,
    {
        let ask = Ask::get(self.at, path).sign_in(SignIn::Nobody);
        if self.jar.is_empty() { ask } else { ask.header("cookie", self.cookie()) }
    }

    /// A person opens an address.
    async fn open(&mut self, path: &str) -> Answer {
        let ask = self.asking(path).header("accept", "text/html").header("sec-fetch-site", "none");
        self.keep(self.gateway.ask(ask.header("sec-fetch-mode", "navigate")).await)
    }

    /// A page fetches something.
    async fn fetch(&mut self, path: &str) -> Answer {
        let ask = self.asking(path).header("sec-fetch-mode", "cors");
        self.keep(self.gateway.ask(ask).await)
    }

    fn keep(&mut self, answer: Answer) -> Answer {
        for set in answer.headers.get_all("set-cookie") {
            let set = set.to_str().expect("text");
            let (name, rest) = set.split_once('=').expect("a cookie");
            let value = rest.split(';').next().unwrap_or_default();
            if rest.contains("Max-Age=0") {
                self.jar.remove(name);
            } else {
                self.jar.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    /// Opens `path`, signs in as `who`; returns where that came back to, as a path.
    async fn begin(&mut self, provider: &OidcProvider, who: &str, path: &str) -> String {
        let sent = self.open(path).await;
        assert_eq!(sent.status, StatusCode::SEE_OTHER, "{}", sent.text());
        self.path(&provider.consent(sent.header("location"), who))
    }

    /// The same to its end: where the person is at last.
    async fn sign_in(&mut self, provider: &OidcProvider, who: &str, path: &str) -> String {
        let back = self.begin(provider, who, path).await;
        let answer = self.open(&back).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
        answer.header("location").to_owned()
    }

    /// A URL at this visitor's address, without the address.
    fn path(&self, url: &str) -> String {
        let here = format!("http://{}", self.gateway.host(self.at));
        url.strip_prefix(&here).unwrap_or_else(|| panic!("{url} is not at {here}")).to_owned()
    }
}

#[tokio::test]
async fn a_person_signs_in_in_a_browser_comes_back_and_signs_out() {
    let program = match Browser::find() {
        Ok(program) => program,
        Err(why) => return crate::skipped("a_person_signs_in_in_a_browser", &why),
    };
    let provider = OidcProvider::start(Algorithm::Es256).await;
    let mut gateway = Gateway::start(setup(&provider, "")).await;
    let host = gateway.host("alice");
    let mut browser = Browser::start(&program).await;
    let mut page = browser.open(&format!("http://{host}/api/whoami?a=1#there")).await;

    page.until("document.querySelector('#user')").await;
    fill(&mut page, "#user", "alice").await;
    fill(&mut page, "#password", PASSWORD).await;
    page.press_enter().await;
    page.until("/alice/.test(document.body.innerText) && location.pathname == '/api/whoami'").await;
    assert_eq!(page.evaluate("location.search").await, "?a=1");
    assert_eq!(page.evaluate("document.cookie").await, "", "scripts see no session");

    // The session is in the cookie, not in the gateway.
    gateway.kill().await;
    gateway.start_again().await;
    let again = "fetch('/api/whoami').then((answer) => answer.status)";
    assert_eq!(page.evaluate(again).await, 200);
    assert_eq!(provider.asked().codes, 1);

    page.evaluate("location.href = '/.tidegate/sign-out'").await;
    page.until("location.pathname == '/.tidegate/sign-out/done'").await;
    page.until("/signed out/i.test(document.body.innerText)").await;
    assert_eq!(page.evaluate(again).await, 401);
    // Not at the provider either: it asks again.
    page.evaluate("location.href = '/api/whoami'").await;
    page.until("document.querySelector('#user')").await;
}

async fn fill(page: &mut browser::Page<'_>, selector: &str, text: &str) {
    page.evaluate(&format!("document.querySelector('{selector}').focus()")).await;
    page.type_text(text).await;
}

#[tokio::test]
async fn who_signed_in_is_let_in_without_asking_the_provider_and_others_are_not() {
    let provider = OidcProvider::start(Algorithm::Es256).await;
    let gateway = Gateway::start(setup(&provider, "")).await;
    let mut alice = Visitor::new(&gateway, "alice");

    // Only who opens a page is sent to sign in.
    assert_eq!(alice.fetch("/api/whoami").await.status, 401);
    let socket = gateway.websocket(alice.asking("/ws")).await;
    assert_eq!(socket.err(), Some(StatusCode::UNAUTHORIZED));

    assert_eq!(
        alice.sign_in(&provider, "alice", "/api/request?a=%2F1").await,
        "/api/request?a=%2F1"
    );
    let asked = provider.asked();
    assert_eq!((asked.discovery, asked.codes), (1, 1));
    for _ in 0..20 {
        let answer = alice.fetch("/api/request").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(!answer.text().contains("tidegate-session"), "{}", answer.text());
    }
    assert_eq!(provider.asked(), asked);
    let own = format!("http://{}", gateway.host("alice"));
    let socket = gateway.websocket(alice.asking("/ws").header("origin", own)).await;
    assert!(socket.is_ok());
    let foreign = alice.asking("/ws").header("origin", "http://evil.example");
    assert_eq!(gateway.websocket(foreign).await.err(), Some(StatusCode::FORBIDDEN));

    // Bob's sandbox is Bob's, and Alice's cookie isn't one at his address.
    let mut at_bobs = Visitor { at: "bob", ..alice.clone() };
    assert_eq!(at_bobs.fetch("/api/whoami").await.status, 401);
    at_bobs.jar.clear();
    at_bobs.sign_in(&provider, "alice", "/").await;
    assert_eq!(at_bobs.fetch("/api/whoami").await.status, 403);

    // A cookie with any other byte in it, or a second one, is none.
    let (name, value) = alice.jar.first_key_value().expect("a session");
    let (name, value) = (name.clone(), value.clone());
    for changed in [
        value.replacen(&value[9..10], if &value[9..10] == "A" { "B" } else { "A" }, 1),
        value[..value.len() - 4].to_owned(),
        format!("2{}", &value[1..]),
        "1.".to_owned(),
        format!("{value}; {name}={value}"),
    ] {
        let ask = Ask::get("alice", "/api/whoami").sign_in(SignIn::Nobody);
        let answer = gateway.ask(ask.header("cookie", format!("{name}={changed}"))).await;
        assert_eq!(answer.status, 401, "{changed}: {}", answer.text());
        assert_eq!(answer.json()["code"], "session-expired", "{}", answer.text());
    }
}

#[tokio::test]
async fn a_sign_in_that_was_not_begun_here_or_was_used_signs_nobody_in() {
    let provider = OidcProvider::start(Algorithm::Es256).await;
    let gateway = Gateway::start(setup(&provider, "allowed-domains = [\"example.org\"]\n")).await;
    let mut alice = Visitor::new(&gateway, "alice");

    // A code that somebody else's browser got.
    let mut mallory = Visitor::new(&gateway, "alice");
    let planted = mallory.begin(&provider, "mallory", "/").await;
    let answer = alice.open(&planted).await;
    assert_eq!((answer.status.as_u16(), answer.header("set-cookie")), (400, ""));

    // A state that isn't the flow's.
    let back = alice.begin(&provider, "alice", "/").await;
    let answer = alice.open(&back.replace("state=", "state=x")).await;
    assert_eq!(answer.status, 400, "{}", answer.text());

    // Two tabs at once, either of which can be finished.
    let mut tabs = Vec::new();
    for path in ["/one", "/two"] {
        tabs.push((path, alice.begin(&provider, "alice", path).await));
    }
    let flows = alice.clone();
    for (path, back) in &tabs {
        assert_eq!(alice.open(back).await.header("location"), *path);
    }

    // A code works once, though its flow's cookie were kept.
    let mut thief = flows.clone();
    let answer = thief.open(&tabs[0].1).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(answer.text().contains("invalid_grant"), "{}", answer.text());

    // Another sign-in's token.
    let mut other = Visitor::new(&gateway, "alice");
    provider.behave(|it| it.nonce = Some("another".into()));
    let back = other.begin(&provider, "alice", "/").await;
    let answer = other.open(&back).await;
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert!(answer.text().contains("token-wrong-nonce"), "{}", answer.text());
    provider.behave(|it| it.nonce = None);

    // Tokens for others, by others, and people who may not come in.
    for (claims, code) in [
        (json!({ "aud": "another" }), "token-wrong-audience"),
        (json!({ "aud": ["tidegate", "another"] }), "token-wrong-audience"),
        (json!({ "azp": "another" }), "token-wrong-audience"),
        (json!({ "iss": "https://another.example" }), "token-wrong-issuer"),
        (json!({ "exp": 1 }), "token-expired"),
        (json!({ "name": null }), "token-incomplete"),
        (json!({ "email": "a@another.example" }), "account-not-allowed"),
        (json!({ "email_verified": false }), "account-not-allowed"),
    ] {
        provider.behave(|it| it.claims = claims.clone());
        let back = other.begin(&provider, "alice", "/").await;
        let answer = other.open(&back).await;
        assert_eq!(answer.status, 403, "{claims}: {}", answer.text());
        assert!(answer.text().contains(code), "{claims}: {}", answer.text());
        assert_eq!(other.fetch("/api/whoami").await.status, 401);
    }
    provider.behave(|it| it.claims = json!({}));

    // What the provider refuses is said, in its own short word alone.
    let back = other.begin(&provider, "alice", "/").await;
    let state = back.split("state=").nth(1).expect("a state");
    let refused = format!("/.tidegate/sign-in?error=access_denied%3Cb%3E&state={state}");
    let answer = other.open(&refused).await;
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert!(answer.text().contains("access_denied&lt;b&gt;"), "{}", answer.text());
}

#[tokio::test]
async fn nobody_is_sent_to_another_host_after_signing_in() {
    let provider = OidcProvider::start(Algorithm::Es256).await;
    let gateway = Gateway::start(setup(&provider, "")).await;
    for (path, to) in [
        ("//evil.example/", "/.//evil.example/"),
        ("/%5Cevil.example/", "/%5Cevil.example/"),
        ("/a?next=https://evil.example/", "/a?next=https://evil.example/"),
        ("/.tidegate/sign-in?to=https://evil.example", "/"),
    ] {
        let mut visitor = Visitor::new(&gateway, "alice");
        if path.starts_with("/.tidegate") {
            assert_eq!(visitor.open(path).await.status, 400);
            continue;
        }
        assert_eq!(visitor.sign_in(&provider, "alice", path).await, to);
    }
    let mut visitor = Visitor::new(&gateway, "alice");
    let long = format!("/{}", "x".repeat(3_000));
    assert_eq!(visitor.sign_in(&provider, "alice", &long).await, "/");
    // Another site can't sign anybody out.
    let ask = visitor.asking("/.tidegate/sign-out").header("sec-fetch-site", "cross-site");
    assert_eq!(gateway.ask(ask).await.status, 403);
    assert_eq!(visitor.fetch("/api/whoami").await.status, 200);
}

#[tokio::test]
async fn a_session_is_renewed_once_for_all_requests_and_ends_when_it_cannot_be() {
    let provider = OidcProvider::start(Algorithm::Es256).await;
    provider.behave(|it| it.life = 2);
    let gateway = Gateway::start(setup(&provider, "")).await;
    let mut alice = Visitor::new(&gateway, "alice");
    alice.sign_in(&provider, "alice", "/").await;
    assert_eq!(alice.fetch("/api/whoami").await.status, 200);

    // Many come at once, again and again, until one of them renews.
    provider.behave(|it| it.life = 3600);
    let before = alice.cookie();
    until(async || {
        let all = join_all((0..20).map(|_| gateway.ask(alice.asking("/api/whoami")))).await;
        for answer in all {
            assert_eq!(answer.status, 200, "{}", answer.text());
            alice.keep(answer);
        }
        provider.asked().refreshes > 0
    })
    .await;
    assert_ne!(alice.cookie(), before);
    for _ in 0..20 {
        assert_eq!(alice.fetch("/api/whoami").await.status, 200);
    }
    assert_eq!(provider.asked().refreshes, 1);

    // A provider that is away ends no session by itself; one that says no does.
    provider.behave(|it| it.life = 1);
    let mut carol = Visitor::new(&gateway, "alice");
    carol.sign_in(&provider, "alice", "/").await;
    provider.behave(|it| it.down = true);
    until(async || {
        assert_eq!(carol.fetch("/api/whoami").await.status, 200);
        gateway_metric(&gateway, "tidegate_plugin_http_total").await > 4
    })
    .await;
    provider.behave(|it| it.down = false);
    provider.revoke();
    until(async || {
        let answer = carol.fetch("/api/whoami").await;
        answer.status == 401 && answer.json()["code"] == "session-expired"
    })
    .await;
    // A person is sent to sign in again instead.
    assert_eq!(carol.open("/").await.status, 303);
}

#[tokio::test]
async fn a_session_ends_and_a_provider_that_is_away_is_no_refusal() {
    let provider = OidcProvider::start(Algorithm::Es256).await;
    let gateway = Gateway::start(setup(&provider, "session = \"2s\"\n")).await;
    provider.behave(|it| it.down = true);
    let mut alice = Visitor::new(&gateway, "alice");
    let answer = alice.open("/").await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    provider.behave(|it| it.down = false);

    alice.sign_in(&provider, "alice", "/").await;
    assert_eq!(alice.fetch("/api/whoami").await.status, 200);
    until(async || {
        let answer = alice.fetch("/api/whoami").await;
        answer.status == 401 && answer.json()["code"] == "session-expired"
    })
    .await;

    // Keys change: the first sign-in has them fetched and is begun again by itself.
    provider.rotate_keys();
    let back = alice.begin(&provider, "alice", "/there").await;
    let mut sent = alice.open(&back).await;
    if sent.header("location").starts_with(provider.issuer()) {
        let back = alice.path(&provider.consent(sent.header("location"), "alice"));
        sent = alice.open(&back).await;
    }
    assert_eq!(sent.header("location"), "/there", "{}", sent.text());
    assert_eq!(alice.fetch("/api/whoami").await.status, 200);
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

/// The sum of a metric's samples.
async fn gateway_metric(gateway: &Gateway, name: &str) -> u64 {
    let (_, text) = gateway.control(http::Method::GET, "/metrics").await;
    let samples = text.lines().filter(|line| line.starts_with(name));
    samples.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}
