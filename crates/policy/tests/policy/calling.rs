//! Plugins that call out, with a service that does what each test wants: `oidc`
//! asks its provider for the addresses when a person opens a page.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use serde_json::json;
use tidegate_policy::{
    Decision, HostConfig, HttpGrant, HttpOutcome, KeySet, Outgoing, PluginSpec, PolicyHost,
    Secrets, SendError, Sending,
};
use tidegate_types::{DecisionId, Principal, Secret};

use crate::stage::{at_once, builtin, config, denied, failed, header, request, told};

const ISSUER: &str = "https://id.example.org";

/// A provider that answers with its discovery document, or never.
#[derive(Debug, Default)]
struct Service {
    silent: AtomicBool,
    asked: AtomicUsize,
    abandoned: AtomicUsize,
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
            let path = request.uri().path();
            if path != "/.well-known/openid-configuration" {
                return Err(SendError::Unreachable(format!("there is no `{path}`")));
            }
            let document = json!({
                "issuer": ISSUER, "authorization_endpoint": format!("{ISSUER}/authorize"),
                "token_endpoint": format!("{ISSUER}/token"),
            });
            Ok(Response::new(Bytes::from(document.to_string())))
        })
    }
}

fn spec(hosts: &[&str]) -> PluginSpec {
    let config = json!({
        "issuer": ISSUER, "client-id": "us", "key-set": "k", "session-secret": "SEAL",
        "tenant": "demo",
    });
    let grant = HttpGrant {
        hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        secrets: BTreeSet::new(),
        timeout: Duration::from_secs(5),
        max_body: 1 << 20,
    };
    PluginSpec { http: Some(grant), ..builtin("oidc", config) }
}

fn host(service: &Arc<Service>, spec: PluginSpec) -> PolicyHost {
    let keys = KeySet::from_shared_secret("0123456789abcdef0123456789abcdef");
    let seal = Secret::new("a secret to seal with, of 32 bytes or more".into());
    let config = HostConfig {
        secrets: Arc::new(Secrets::from_iter([("SEAL".to_owned(), seal)])),
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
