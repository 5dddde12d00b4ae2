//! Plugins that call out, with a service that does what each test wants: `oidc`
//! asks its provider for the addresses when a person opens a page.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use jsonwebtoken::EncodingKey;
use serde_json::json;
use tidegate_policy::{
    Decision, HostConfig, HttpGrant, HttpOutcome, KeySet, Outgoing, PluginSpec, PolicyHost,
    Secrets, SendError, Sending,
};
use tidegate_types::{Credential, DecisionId, Denial, Principal, Secret};

use crate::stage::{at_once, builtin, config, denied, failed, granted, header, request, told};

const ISSUER: &str = "https://id.example.org";

/// A provider that answers with its discovery document, or never.
#[derive(Debug, Default)]
struct Service {
    silent: AtomicBool,
    asked: AtomicUsize,
    abandoned: AtomicUsize,
    /// What `/token` gives.
    id_token: Mutex<String>,
}

struct Abandoned<'s>(&'s Service, bool);

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        if !self.1 {
            self.0.abandoned.fetch_add(1, SeqCst);
        }
    }
}

impl Outgoing for Service {
    fn send(&self, request: Request<Bytes>, within: Duration, most: usize) -> Sending<'_> {
        self.asked.fetch_add(1, SeqCst);
        assert_eq!((within, most), (Duration::from_secs(5), 1 << 20));
        Box::pin(async move {
            let mut dropped = Abandoned(self, false);
            if self.silent.load(SeqCst) {
                std::future::pending::<()>().await;
            }
            dropped.1 = true;
            let answer = match request.uri().path() {
                "/.well-known/openid-configuration" => json!({
                    "issuer": ISSUER, "authorization_endpoint": format!("{ISSUER}/authorize"),
                    "token_endpoint": format!("{ISSUER}/token"),
                }),
                "/token" => {
                    let form = std::str::from_utf8(request.body()).expect("a form");
                    assert!(form.contains("&code=c%26d&"), "{form}");
                    // What was filled in, and what only looks like it.
                    assert!(form.ends_with("&client_secret=s%2Bs"), "{form}");
                    json!({ "id_token": self.id_token.lock().expect("not poisoned").clone() })
                }
                path => return Err(SendError::Unreachable(format!("there is no `{path}`"))),
            };
            Ok(Response::new(Bytes::from(answer.to_string())))
        })
    }
}

fn spec(hosts: &[&str]) -> PluginSpec {
    let config = json!({
        "issuer": ISSUER, "client-id": "us", "key-set": "k", "session-secret": "SEAL",
        "tenant": "demo", "client-secret": "CLIENT", "claims": ["groups"],
    });
    let grant = HttpGrant {
        hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        secrets: BTreeSet::from(["CLIENT".to_owned()]),
        timeout: Duration::from_secs(5),
        max_body: 1 << 20,
    };
    PluginSpec { http: Some(grant), ..builtin("oidc", config) }
}

fn host(service: &Arc<Service>, spec: PluginSpec) -> PolicyHost {
    let keys = KeySet::from_shared_secret("0123456789abcdef0123456789abcdef");
    let secret = |name: &str, value: &str| (name.to_owned(), Secret::new(value.into()));
    let seal = secret("SEAL", "a secret to seal with, of 32 bytes or more");
    let config = HostConfig {
        secrets: Arc::new(Secrets::from_iter([seal, secret("CLIENT", "s+s")])),
        key_sets: [("k".to_owned(), keys)].into(),
        outgoing: Some(Arc::clone(service) as Arc<dyn Outgoing>),
        ..config()
    };
    PolicyHost::new(config, vec![spec]).unwrap_or_else(|problems| panic!("{}", told(&problems)))
}

fn opening(host: &PolicyHost) -> impl Future<Output = Decision<Principal>> {
    let facts = request("GET https://a.example.org/", &[("accept", "text/html")]);
    let generation = host.current();
    async move { generation.authenticate(&facts, DecisionId::random()).await }
}

fn outcomes(host: &PolicyHost) -> Vec<(HttpOutcome, u64)> {
    host.status().remove(0).http
}

#[test]
fn a_plugin_calls_the_hosts_it_was_granted_and_no_other() {
    let service = Arc::new(Service::default());
    let granted = host(&service, spec(&["id.example.org"]));
    let sent = denied(at_once(opening(&granted)));
    assert!(header(&sent, "location").starts_with("https://id.example.org/authorize?"));
    assert_eq!(outcomes(&granted), [(HttpOutcome::Answered, 1)]);

    let another = host(&service, spec(&["other.example.org"]));
    let why = failed(at_once(opening(&another)));
    assert!(why.contains("isn't allowed"), "{why}");
    assert_eq!(outcomes(&another), [(HttpOutcome::NotAllowed, 1)]);

    let nothing = host(&service, spec(&[]));
    let why = failed(at_once(opening(&nothing)));
    assert!(why.contains("isn't allowed"), "{why}");
    assert_eq!(service.asked.load(SeqCst), 1);
}

/// The `NAME=VALUE`s of all `set-cookie`s, as a browser sends them.
fn cookies(denial: &Denial) -> String {
    let set = denial.headers.iter().filter(|(name, _)| name == "set-cookie");
    let pairs = set.filter_map(|(_, value)| value.to_str().ok()?.split(';').next());
    let pairs: Vec<_> = pairs.filter(|pair| !pair.ends_with('=')).collect();
    pairs.join("; ")
}

/// What stands behind `name=` in a query.
fn param(url: &str, name: &str) -> String {
    let (_, query) = url.split_once('?').expect("a query");
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).expect("the parameter").1.to_owned()
}

#[test]
fn a_session_that_fills_several_cookies_is_whole_and_needs_no_call() {
    let service = Arc::new(Service::default());
    let host = host(&service, spec(&["id.example.org"]));
    let sent = denied(at_once(opening(&host)));
    let url = header(&sent, "location");
    let (state, nonce) = (param(url, "state"), param(url, "nonce"));
    let groups: Vec<_> = (0..700).map(|n| format!("group-{n:04}")).collect();
    let claims = json!({
        "iss": ISSUER, "aud": "us", "sub": "alice", "nonce": nonce, "exp": 4_000_000_000_u64,
        "groups": groups,
    });
    let key = EncodingKey::from_secret(b"0123456789abcdef0123456789abcdef");
    let token = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key);
    *service.id_token.lock().expect("not poisoned") = token.expect("signs");

    let callback = format!("GET https://a.example.org/.tidegate/sign-in?code=c%26d&state={state}");
    let came_back = request(&callback, &[("cookie", &cookies(&sent))]);
    let ask = |facts| at_once(host.current().authenticate(&facts, DecisionId::random()));
    let signed_in = denied(ask(came_back));
    assert_eq!((signed_in.status.as_u16(), header(&signed_in, "location")), (303, "/"));
    let session = cookies(&signed_in);
    let names: Vec<_> = session.split("; ").filter_map(|pair| pair.split('=').next()).collect();
    let name = "__Host-tidegate-session";
    assert_eq!(names, [name, &format!("{name}-1"), &format!("{name}-2")]);

    let calls = service.asked.load(SeqCst);
    let with = |cookie: &str| request("GET https://a.example.org/x", &[("cookie", cookie)]);
    let who = granted(ask(with(&session)));
    assert_eq!(who.identity.subject.as_str(), "alice");
    assert_eq!(who.identity.claims, [("groups".to_owned(), groups.join(" "))]);
    assert_eq!(who.used, Some(Credential::Cookie(name.to_owned())));
    for piece in names.iter().map(|name| Credential::Cookie((*name).to_owned())) {
        assert!(who.consumed.contains(&piece), "{piece:?}");
    }
    // A piece that is missing or another's makes it none.
    let without = session.replace("-session-2=", "-session-7=");
    assert_eq!(denied(ask(with(&without))).code, "session-expired");
    let elsewhere = request("GET https://b.example.org/x", &[("cookie", session.as_str())]);
    assert_eq!(denied(ask(elsewhere)).code, "session-expired");
    let unencrypted = session.replace("__Host-", "");
    let plain = request("GET https://a.example.org/x", &[("cookie", unencrypted.as_str())]);
    assert!(matches!(ask(plain), Decision::Unanswered), "without its prefix it is nobody's");
    assert_eq!(service.asked.load(SeqCst), calls);
}

#[test]
fn a_call_whose_client_left_is_dropped_and_the_next_one_is_served_by_another_instance() {
    let service = Arc::new(Service::default());
    let host = host(&service, spec(&["id.example.org"]));
    service.silent.store(true, SeqCst);
    for left in 1..=3 {
        let mut waiting = Box::pin(opening(&host));
        let polled = futures_util::FutureExt::now_or_never(&mut waiting);
        assert!(polled.is_none(), "it waits for the service");
        drop(waiting);
        assert_eq!(service.abandoned.load(SeqCst), left);
    }
    service.silent.store(false, SeqCst);
    denied(at_once(opening(&host)));
    let expected = [(HttpOutcome::Answered, 1), (HttpOutcome::Abandoned, 3)];
    assert_eq!(outcomes(&host), expected);
}

#[test]
fn as_many_calls_as_may_be_under_way_are_and_the_next_fails_at_once() {
    let service = Arc::new(Service::default());
    let host = host(&service, spec(&["id.example.org"]));
    service.silent.store(true, SeqCst);
    let mut waiting: Vec<_> = (0..64).map(|_| Box::pin(opening(&host))).collect();
    for call in &mut waiting {
        assert!(futures_util::FutureExt::now_or_never(call).is_none());
    }
    let why = failed(at_once(opening(&host)));
    assert!(why.contains("under way already"), "{why}");
    drop(waiting);
    service.silent.store(false, SeqCst);
    denied(at_once(opening(&host)));
}

#[test]
fn a_grant_that_cannot_be_kept_is_refused_at_load() {
    let service = Arc::new(Service::default());
    for (hosts, secrets, expected) in [
        (vec!["https://id.example.org"], vec![], "`https://id.example.org`, which is no host"),
        (vec!["id.example.org"], vec!["NOPE"], "`NOPE`, which is no secret"),
    ] {
        let mut spec = spec(&hosts);
        let grant = spec.http.as_mut().expect("a grant");
        grant.secrets = secrets.into_iter().map(Into::into).collect();
        let config =
            HostConfig { outgoing: Some(Arc::clone(&service) as Arc<dyn Outgoing>), ..config() };
        let problems = PolicyHost::new(config, vec![spec]).expect_err("refused");
        assert!(told(&problems).contains(expected), "{}", told(&problems));
    }
}
