//! Storage and egress, asked as their crates ask.

use std::sync::Arc;

use serde_json::json;
use tidegate_policy::{PluginSpec, PolicyHost};
use tidegate_types::{
    DecisionId, Destination, EgressAuthority, HeaderEdit, ObjectOperation, Protocol, SandboxFacts,
    SandboxKey, SandboxName, StorageAuthority, SubjectId, TemplateName, TenantId, Unpermitted,
};

use crate::stage::{at_once, builtin, host, test_plugin};

fn sandbox(tenant: &str, plan: &str) -> Arc<SandboxFacts> {
    let (tenant, name) = (TenantId::new(tenant), SandboxName::new("box"));
    Arc::new(SandboxFacts {
        key: SandboxKey { tenant: tenant.expect("a tenant"), name: name.expect("a name") },
        subject: SubjectId::new("alice").expect("a subject"),
        template: TemplateName::new("hello").expect("a template"),
        labels: vec![("plan".into(), plan.into())],
    })
}

fn warden(path: &str) -> PluginSpec {
    test_plugin("warden", json!({ "hosts": ["api.example.com"], "path": path }))
}

fn operation(action: &str, key: &str) -> Arc<ObjectOperation> {
    Arc::new(ObjectOperation {
        action: action.into(),
        bucket: "user-storage".into(),
        key: key.into(),
        copy_source: None,
        size: None,
    })
}

fn id() -> DecisionId {
    DecisionId::random()
}

#[test]
fn a_sandbox_sees_the_prefix_that_a_plugin_names() {
    let host = host(vec![warden("/data")]);
    let mounts =
        |tenant, plan| at_once(StorageAuthority::mounts(&host, &sandbox(tenant, plan), id()));
    let mount = mounts("acme", "free").expect("mounted").remove(0);
    assert_eq!((mount.prefix.as_str(), mount.path.as_str()), ("acme/alice/", "/data"));
    assert!(mount.read_only);
    assert!(!mounts("acme", "pro").expect("mounted").remove(0).read_only);
}

#[test]
fn a_prefix_or_path_that_could_mean_another_keeps_the_sandbox_from_starting() {
    for tenant in ["..", ".", "a/../b", "a\\b"] {
        let host = host(vec![warden("/data")]);
        let mounts = at_once(StorageAuthority::mounts(&host, &sandbox(tenant, ""), id()));
        assert!(matches!(mounts, Err(Unpermitted::Failed)), "{tenant}: {mounts:?}");
    }
    for path in ["data", "/data/../etc", "", "/a//b"] {
        let host = host(vec![warden(path)]);
        let mounts = at_once(StorageAuthority::mounts(&host, &sandbox("acme", ""), id()));
        assert!(matches!(mounts, Err(Unpermitted::Failed)), "{path}: {mounts:?}");
    }
}

#[test]
fn two_plugins_that_mount_at_one_place_are_a_failure() {
    let mut other = warden("/data");
    other.name = crate::stage::plugin_name("other");
    let host = host(vec![warden("/data"), other]);
    let mounts = at_once(StorageAuthority::mounts(&host, &sandbox("acme", ""), id()));
    assert!(matches!(mounts, Err(Unpermitted::Failed)), "{mounts:?}");
}

#[test]
fn an_object_is_touched_only_where_a_plugin_says_so() {
    let host = host(vec![warden("/data")]);
    let who = sandbox("acme", "");
    let ask = |action, key| {
        at_once(StorageAuthority::authorize_object(&host, &who, &operation(action, key), id()))
    };
    assert!(ask("GetObject", "a").is_ok());
    assert!(
        matches!(ask("DeleteObject", "keep/a"), Err(Unpermitted::Denied(d)) if d.code == "kept")
    );
    assert!(matches!(ask("DeleteObject", "a"), Err(Unpermitted::Unanswered)));
}

#[test]
fn a_connection_is_opened_only_where_a_plugin_says_so() {
    let host = host(vec![warden("/data")]);
    let ask = |name: &str| {
        let to = Arc::new(Destination {
            host: name.into(),
            port: 443,
            protocol: Protocol::Https,
            addresses: vec![[192, 0, 2, 1].into()],
            http: Some(("GET".into(), "/v1".into())),
        });
        at_once(EgressAuthority::authorize_egress(&host, &sandbox("acme", ""), &to, id()))
    };
    let grant = ask("api.example.com").expect("allowed");
    assert_eq!(grant.max_bytes, Some(1 << 20));
    assert!(
        matches!(&grant.request_headers[..], [HeaderEdit::Set(name, _)] if name == "authorization")
    );
    assert!(matches!(ask("example.com"), Err(Unpermitted::Denied(d)) if d.code == "not-listed"));
}

#[test]
fn without_a_plugin_nothing_is_mounted_touched_or_reached() {
    let place = json!({ "template": "hello", "port": 80 });
    let host: PolicyHost = host(vec![builtin("per-user", place)]);
    let who = sandbox("acme", "");
    assert!(at_once(StorageAuthority::mounts(&host, &who, id())).expect("none").is_empty());
    let read = operation("GetObject", "a");
    let touch = StorageAuthority::authorize_object(&host, &who, &read, id());
    assert!(matches!(at_once(touch), Err(Unpermitted::Unanswered)));
}
