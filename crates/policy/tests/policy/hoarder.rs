//! A plugin that hoards whatever it is told and tells it to whoever asks next: what
//! it gets to know of others, hook by hook.

use std::sync::Arc;

use serde_json::json;
use tidegate_policy::{Decision, Generation, Isolation, PluginSpec, PolicyHost};
use tidegate_types::{
    Activity, DecisionId, Destination, Event, EventKind, Identity, LimitKind, Message,
    MessageVerdict, ObjectOperation, Protocol, RequestFacts, SandboxFacts, SandboxKey, SandboxName,
    SubjectId, TemplateName, TenantId, Way,
};

use crate::stage::{at_once, authenticate, denied, granted, host, request, test_plugin};

pub(crate) fn hoarder() -> PluginSpec {
    test_plugin("hoarder", json!({}))
}

pub(crate) fn who(tenant: &str, die: &str) -> Arc<Identity> {
    Arc::new(Identity {
        subject: SubjectId::new("user").expect("a subject"),
        tenant: TenantId::new(tenant).expect("a tenant"),
        claims: vec![("die".into(), die.into())],
    })
}

pub(crate) fn sandbox(tenant: &str, die: &str) -> Arc<SandboxFacts> {
    Arc::new(SandboxFacts {
        key: SandboxKey {
            tenant: TenantId::new(tenant).expect("a tenant"),
            name: SandboxName::new("box").expect("a name"),
        },
        subject: SubjectId::new("user").expect("a subject"),
        template: TemplateName::new("hello").expect("a template"),
        labels: vec![("die".into(), die.into())],
    })
}

pub(crate) fn operation(key: &str) -> Arc<ObjectOperation> {
    Arc::new(ObjectOperation {
        action: "GetObject".into(),
        bucket: "b".into(),
        key: key.into(),
        copy_source: None,
        size: None,
    })
}

pub(crate) fn destination(host: &str) -> Arc<Destination> {
    Arc::new(Destination {
        host: host.into(),
        port: 443,
        protocol: Protocol::Tls,
        addresses: vec![[192, 0, 2, 1].into()],
        http: None,
    })
}

fn id() -> DecisionId {
    DecisionId::random()
}

/// How many other tenants each hook that has a tenant knows of, when `tenant` asks.
fn known(generation: &Generation, tenant: &str) -> Vec<(&'static str, usize)> {
    let facts: Arc<RequestFacts> = request("GET http://h/", &[]);
    let (who, sandbox) = (who(tenant, ""), sandbox(tenant, ""));
    let limit = at_once(generation.limits(&who, id())).expect("limits").remove(0);
    let LimitKind::Ceiling(quota) = limit.kind else { panic!("{limit:?}") };
    let placement = granted(at_once(generation.resolve(&facts, &who, id())));
    let resolve = placement.labels.iter().find(|(name, _)| name == "known").expect("known");
    let meaning = at_once(generation.classify(&facts, &sandbox, id())).expect("a meaning");
    let message = Message::Text("hello".into());
    let message = generation.on_message(&who, &sandbox, Way::ToSandbox, message, id());
    let Ok(MessageVerdict::Forward(Message::Text(messages))) = at_once(message) else {
        panic!("no message")
    };
    let mount = at_once(generation.mounts(&sandbox, id())).expect("mounts").remove(0);
    let object = denied(at_once(generation.authorize_object(&sandbox, &operation("k"), id())));
    let egress = denied(at_once(generation.authorize_egress(&sandbox, &destination("h"), id())));
    let number = |text: &str| text.parse::<usize>().expect("a number");
    vec![
        ("quota", usize::try_from(quota).expect("a small number")),
        ("resolve", number(&resolve.1)),
        ("activity", usize::from(meaning == Activity::Passive)),
        ("messages", number(&messages)),
        ("mounts", number(mount.prefix.trim_end_matches('/'))),
        ("objects", number(object.code.trim_start_matches("known-"))),
        ("egress", number(egress.code.trim_start_matches("known-"))),
    ]
}

fn claim(host: &PolicyHost, tenant: &str, name: &str) -> String {
    let principal = granted(authenticate(host, &request("GET http://h/", &[("x-tenant", tenant)])));
    principal.identity.claim(name).expect("claimed").to_owned()
}

#[test]
fn nothing_leaks_from_one_tenant_to_another_through_any_hook() {
    for isolation in [Isolation::Call, Isolation::Tenant] {
        let host = host(vec![PluginSpec { isolation, ..hoarder() }]);
        // Round after round, so that idle instances are there to be taken.
        for round in 0..3 {
            for tenant in ["acme", "globex", "initech", "acme"] {
                for (hook, others) in known(&host.current(), tenant) {
                    assert_eq!(others, 0, "{hook} of {tenant}, {isolation:?}, round {round}");
                }
                assert_eq!(claim(&host, tenant, "known"), "0", "authenticate");
            }
        }
    }
}

#[test]
fn the_hoarder_does_hoard_where_it_is_shared() {
    let host = host(vec![hoarder()]);
    known(&host.current(), "acme");
    let known = known(&host.current(), "globex");
    assert!(known.iter().all(|(_, others)| *others == 1), "{known:?}");
}

#[test]
fn a_batch_of_events_is_nobodys_and_is_told_to_a_fresh_instance() {
    let host = host(vec![PluginSpec { isolation: Isolation::Tenant, ..hoarder() }]);
    for tenant in ["acme", "globex", "initech"] {
        let mut event = Event::now(EventKind::Request);
        event.tenant = Some(TenantId::new(tenant).expect("a tenant"));
        at_once(host.current().observe(&[event]));
    }
    assert_eq!(claim(&host, "acme", "observed"), "0");
}

#[test]
fn many_tenants_once_each_leave_no_more_instances_than_the_plugin_may_have() {
    let spec =
        PluginSpec { isolation: Isolation::Tenant, instances: 24, memory: 4 << 20, ..hoarder() };
    let host = host(vec![spec]);
    let generation = host.current();
    for n in 0..10_000 {
        let who = who(&format!("tenant-{n}"), "");
        let limits = at_once(generation.limits(&who, id())).expect("limits");
        assert_eq!(limits.first().map(|limit| limit.kind), Some(LimitKind::Ceiling(0)));
    }
    let status = &host.status()[0];
    assert_eq!(
        (status.instances.leased, status.instances.idle, status.instances.most),
        (0, 24, 24)
    );
    assert!(status.instances.memory > 0 && status.instances.memory <= 24 * (4 << 20));
    assert_eq!(status.hooks.iter().map(|hook| hook.calls).sum::<u64>(), 10_000);
    // Time is told apart for those who used most, and is kept for all.
    assert!(status.tenants.len() <= PluginSpec::DEFAULT_INSTANCES && !status.others.is_zero());
}

#[test]
fn a_tenant_with_many_calls_at_once_does_not_drive_others_instances_out() {
    let host = host(vec![PluginSpec { isolation: Isolation::Tenant, instances: 40, ..hoarder() }]);
    let generation = host.current();
    let ask = |tenant: &str| {
        at_once(generation.limits(&who(tenant, ""), id())).expect("limits");
    };
    for n in 0..8 {
        ask(&format!("quiet-{n}"));
    }
    std::thread::scope(|threads| {
        for _ in 0..30 {
            threads.spawn(|| (0..20).for_each(|_| ask("busy")));
        }
    });
    let cores = std::thread::available_parallelism().map_or(4, |n| n.get()).clamp(2, 16);
    let idle = host.status()[0].instances.idle;
    assert!(idle <= 8 + cores, "{idle} instances are idle");
}

#[test]
fn whose_calls_a_plugin_computes_for_is_known() {
    let host = host(vec![hoarder()]);
    for _ in 0..50 {
        known(&host.current(), "busy");
    }
    known(&host.current(), "quiet");
    let status = &host.status()[0];
    let names: Vec<_> = status.tenants.iter().map(|spent| spent.tenant.as_str()).collect();
    assert_eq!(names, ["busy", "quiet"]);
    assert!(matches!(status.tenants.as_slice(), [busy, quiet] if busy.time > quiet.time));
    let order: Vec<_> = status.hooks.iter().map(|hook| hook.order).collect();
    assert_eq!(order, [1; 9]);
    assert!(status.hooks.iter().all(|hook| hook.calls == 0 || hook.p99() >= hook.p50()));
}

#[test]
fn a_row_of_long_calls_into_the_host_ends_when_the_time_is_up() {
    let host = host(vec![hoarder()]);
    let facts = request("GET http://h/", &[("x-die", "hash-in-a-row")]);
    let Decision::Failed(failure) = authenticate(&host, &facts) else { panic!("it decided") };
    assert_eq!(failure.reason.as_str(), "timed-out");
    let hashed: u32 = claim(&host, "t", "hashed").parse().expect("a number");
    assert!((1..512).contains(&hashed), "{hashed} of 512 calls were made");
}
