//! Every hook answers what can't be, and dies of everything there is to die of: each
//! time a failure that names hook and field, and the next call is fine.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tidegate_policy::{
    Decision, FailureReason, Hook, PluginSource, PluginSpec, PolicyFailure, PolicyHost,
};
use tidegate_types::{
    DecisionId, Destination, Event, EventKind, Identity, Message, ObjectOperation, Protocol,
    RequestFacts, SandboxFacts, SandboxKey, SandboxName, Way,
};

use crate::stage::{at_once, built, host, plugin_name, problem, request, test_plugin, who};

fn saboteur() -> PluginSpec {
    // Debug builds compute slowly; what loops loops this long.
    PluginSpec { deadline: Duration::from_millis(100), ..test_plugin("saboteur", json!({})) }
}

/// Everything that hooks are about, with an order for the plugin in each.
struct Sabotage {
    facts: Arc<RequestFacts>,
    who: Arc<Identity>,
    target: Arc<SandboxFacts>,
}

impl Sabotage {
    fn new(order: &str) -> Self {
        let facts = request("GET http://h/", &[("sabotage", order)]);
        let claims = vec![("sabotage".into(), order.to_owned())];
        let who = Identity { claims: claims.clone(), ..Identity::clone(&who("demo", "alice")) };
        let key = SandboxKey {
            tenant: who.tenant.clone(),
            name: SandboxName::new("box").expect("a name"),
        };
        let target = SandboxFacts {
            key,
            subject: who.subject.clone(),
            template: "hello".parse().expect("a name"),
            labels: claims,
        };
        Self { facts, who: Arc::new(who), target: Arc::new(target) }
    }

    /// Asks one hook; the failure, if it is one.
    fn ask(&self, host: &PolicyHost, hook: Hook) -> Option<PolicyFailure> {
        let Self { facts, who, target } = self;
        let (policy, id) = (host.current(), DecisionId::random());
        match hook {
            Hook::Authenticate => failure(at_once(policy.authenticate(facts, id))),
            Hook::Quota => at_once(policy.limits(who, id)).err(),
            Hook::Resolve => failure(at_once(policy.resolve(facts, who, id))),
            Hook::Activity => at_once(policy.classify(facts, target, id)).err(),
            Hook::Messages => {
                let message = Message::Text("hello".into());
                at_once(policy.on_message(who, target, Way::ToSandbox, message, id)).err()
            }
            Hook::Mounts => at_once(policy.mounts(target, id)).err(),
            Hook::Objects => {
                let operation = Arc::new(ObjectOperation {
                    action: "GetObject".into(),
                    bucket: "data".into(),
                    key: "k".into(),
                    copy_source: None,
                    size: None,
                });
                failure(at_once(policy.authorize_object(target, &operation, id)))
            }
            Hook::Egress => {
                let to = Arc::new(Destination {
                    host: "example.com".into(),
                    port: 443,
                    protocol: Protocol::Tls,
                    addresses: Vec::new(),
                    http: None,
                });
                failure(at_once(policy.authorize_egress(target, &to, id)))
            }
            Hook::Observe => None,
        }
    }
}

fn failure<T>(decision: Decision<T>) -> Option<PolicyFailure> {
    match decision {
        Decision::Failed(failure) => Some(failure),
        _ => None,
    }
}

const ASKED: &[Hook] = &[
    Hook::Authenticate,
    Hook::Quota,
    Hook::Resolve,
    Hook::Activity,
    Hook::Messages,
    Hook::Mounts,
    Hook::Objects,
    Hook::Egress,
];

#[test]
fn every_hook_dies_of_everything_and_the_next_call_is_fine() {
    let host = host(vec![saboteur()]);
    let nothing = Sabotage::new("");
    for hook in ASKED {
        for (how, reason) in [
            ("trap", FailureReason::Trap),
            ("loop", FailureReason::TimedOut),
            ("overflow-the-stack", FailureReason::StackOverflow),
            ("eat-memory", FailureReason::OutOfMemory),
            ("fail", FailureReason::Declared),
        ] {
            let order = format!("{} {how}", hook.as_str());
            let failure = Sabotage::new(&order).ask(&host, *hook).expect(&order);
            assert_eq!((failure.hook, failure.reason), (*hook, reason), "{order}: {failure}");
            assert_eq!(failure.plugin.as_str(), "saboteur");
            assert!(nothing.ask(&host, *hook).is_none(), "after {order}");
        }
        let status = host.status();
        let told = status[0].hooks.iter().find(|it| it.hook == *hook).expect("it serves all");
        let counted: HashSet<_> = told.failures.iter().map(|(reason, _)| *reason).collect();
        assert_eq!(counted.len(), 5, "{hook:?}: {:?}", told.failures);
    }
}

#[test]
fn an_observer_dies_of_everything_and_is_told_the_next_time() {
    for how in ["trap", "loop", "overflow-the-stack", "eat-memory", "fail"] {
        let order = json!({ "always": format!("observe {how}") });
        let host = host(vec![PluginSpec { config: order, ..saboteur() }]);
        let name = plugin_name("saboteur");
        let events = [Event::now(EventKind::Quota)];
        for _ in 0..2 {
            assert!(!at_once(host.current().observe_by(&name, &events)), "{how}");
        }
        // What it does there has no bearing on what it is asked elsewhere.
        assert!(Sabotage::new("").ask(&host, Hook::Authenticate).is_none());
    }
}

/// `HOOK HOW WITH` → what is said of it.
const NONSENSE: &[(&str, &str)] = &[
    // Refusals.
    ("authenticate status 200", "`denial.status`: 200 is neither a 4xx nor"),
    ("authenticate status 503", "`denial.status`: 503 is neither"),
    ("authenticate status 302", "`denial.status`: 302 without a `location` in `headers`"),
    ("authenticate code two words", "`denial.code`: `two words` isn't a word"),
    ("authenticate message a\\nb", "`denial.message`: it contains control characters"),
    ("authenticate long-message 2000", "`denial.message`: 2000 bytes; at most 1024"),
    ("authenticate header a b=1", "`denial.headers[0].name`: `a b` is no header field"),
    (
        "authenticate header x-a=1\\r\\nset-cookie: a=b",
        "`denial.headers[0].value`: it contains characters that no header field may have",
    ),
    ("authenticate header content-length=0", "only the relay sets `content-length`"),
    ("authenticate headers 65", "`denial.headers`: 65 header fields; at most 64"),
    ("resolve status 200", "`denial.status`: 200"),
    ("objects status 200", "`denial.status`: 200"),
    ("objects header connection=close", "`denial.headers[0].name`"),
    ("egress status 500", "`denial.status`: 500"),
    // Principals.
    ("authenticate tenant ", "`principal.tenant`: `` isn't a tenant"),
    ("authenticate subject ", "`principal.subject`: `` isn't a subject"),
    ("authenticate long-subject 257", "`principal.subject`: `mmm"),
    ("authenticate claim =nameless", "`principal.claims[1]`: it is called ``"),
    ("authenticate claims 129", "`principal.claims`: 129 of them; at most 128"),
    ("authenticate set te=trailers", "`principal.response-headers[0].name`: only the relay"),
    ("authenticate remove sec-websocket-accept", "`principal.response-headers[0].name`"),
    ("authenticate used-cookie a;b", "`principal.used.cookie`: `a;b` isn't a cookie's name"),
    ("authenticate header-read host", "`principal.consumed[0].header`: only the relay"),
    ("authenticate parameter-read ", "`principal.consumed[0].query-param`: `` isn't a name"),
    ("authenticate places 65", "`principal.consumed`: 65 places for credentials; at most 64"),
    // Placements.
    ("resolve sandbox ", "`placement.sandbox`: `` isn't a sandbox name"),
    ("resolve sandbox ../../etc", "`placement.sandbox`: `../../etc` reads like a path"),
    ("resolve sandbox a/b", "`placement.sandbox`: `a/b` reads like a path"),
    ("resolve template other", "`placement.template`: there is no template `other`"),
    ("resolve template ../x", "`placement.template`: `../x` isn't a template name"),
    ("resolve port 0", "`placement.port`: 0 isn't a port"),
    ("resolve sleep-after 0", "`placement.lifetime.sleep-after`: 0 ms"),
    ("resolve sleep-after 18446744073709551615", "`placement.lifetime.sleep-after`"),
    ("resolve env =1", "`placement.env[1]`: a variable can't be called ``"),
    ("resolve nul A", "`placement.env[0]`: a NUL in the value of `A`"),
    ("resolve variables 257", "`placement.env`: 257 variables"),
    ("resolve label =x", "`placement.labels[0]`"),
    ("resolve labels 65", "`placement.labels`: 65 of them; at most 64"),
    ("resolve path no-slash", "`placement.path`: `no-slash` isn't a path"),
    ("resolve path /a/../b", "`placement.path`"),
    ("resolve path /a<b", "`placement.path`"),
    ("resolve set host=elsewhere", "`placement.request-headers[0].name`: only the relay"),
    ("resolve remove transfer-encoding", "`placement.request-headers[0].name`"),
    ("resolve append x-a=1\\n", "`placement.response-headers[0].value`"),
    ("resolve edits 65", "`placement.request-headers`: 65 edits of header fields"),
    // Limits.
    ("quota rate 1,0", "`limits[1].per-ms`: 0 ms"),
    ("quota rate 1,18446744073709551615", "`limits[1].per-ms`: 18446744073709551615 ms"),
    ("quota rate 1,1000,0", "`limits[1].burst`: 0"),
    ("quota rate 1,-,5", "`limits[1].burst`: a ceiling has none"),
    ("quota many 65", "`limits`: 65 of them; at most 64"),
    // Messages.
    ("messages code 200", "`close.code`: 200 is none of 1000, 1008 and 3000 to 4999"),
    ("messages code 1006", "`close.code`: 1006"),
    ("messages code 1012", "`close.code`: 1012"),
    ("messages reason 124", "`close.reason`: 124 bytes; at most 123"),
    ("messages replace 2000000", "`replace`: 2000000 bytes; at most 1048576"),
    // Mounts.
    ("mounts bucket Data", "`mounts[1].bucket`: `Data` isn't a bucket's name"),
    ("mounts prefix users/42", "`mounts[1].prefix`: `users/42` doesn't end with `/`"),
    ("mounts prefix users/../41/", "`mounts[1].prefix`"),
    ("mounts prefix users/%2e%2e/41/", "`mounts[1].prefix`"),
    ("mounts prefix /", "`mounts[1].prefix`"),
    ("mounts path data", "`mounts[1].path`: `data` isn't absolute"),
    ("mounts path /data/../etc", "`mounts[1].path`"),
    ("mounts path /proc/self", "`mounts[1].path`: `/proc/self` is the system's own"),
    ("mounts path /fine", "`mounts[1].path`: `/fine` and `mounts[0].path`, `/fine`, lie in"),
    ("mounts path /fine/er", "`mounts[1].path`"),
    ("mounts many 65", "`mounts`: 65 of them; at most 64"),
    // Egress grants.
    ("egress set host=elsewhere", "`grant.request-headers[0].name`: only the relay"),
    ("egress set x-key=a\\r\\nb", "`grant.request-headers[0].value`"),
    ("egress remove content-length", "`grant.request-headers[0].name`"),
];

#[test]
fn an_answer_that_cannot_be_is_refused_by_hook_and_field() {
    let host = host(vec![saboteur()]);
    for (order, expected) in NONSENSE {
        let (hook, _) = order.split_once(' ').expect("a hook");
        let asked = ASKED.iter().copied().find(|it| it.as_str() == hook).expect("a hook");
        let failure = Sabotage::new(order).ask(&host, asked).expect(order);
        assert_eq!(failure.reason, FailureReason::Nonsense, "{order}: {failure}");
        let beginning = format!("`{hook}` answered `");
        assert!(
            failure.detail.starts_with(&beginning) && failure.detail.contains(expected),
            "{order}: {failure}"
        );
        assert!(!failure.detail.contains(char::is_control), "{order}");
    }
}

#[test]
fn a_list_of_a_million_is_refused_before_the_host_has_copied_it() {
    let spec = PluginSpec { memory: 256 << 20, deadline: Duration::from_secs(10), ..saboteur() };
    let host = host(vec![spec]);
    for (hook, order) in [
        (Hook::Quota, "quota many 1000000"),
        (Hook::Authenticate, "authenticate claims 1000000"),
        (Hook::Resolve, "resolve labels 1000000"),
        (Hook::Mounts, "mounts many 100000"),
        (Hook::Messages, "messages replace 8000000"),
    ] {
        let failure = Sabotage::new(order).ask(&host, hook).expect(order);
        assert_eq!(failure.reason, FailureReason::Nonsense, "{order}: {failure}");
        assert!(Sabotage::new("").ask(&host, hook).is_none(), "after {order}");
    }
}

#[test]
fn what_abstains_and_does_nothing_is_believed() {
    let host = host(vec![saboteur()]);
    for hook in ASKED {
        assert!(Sabotage::new("").ask(&host, *hook).is_none(), "{hook:?}");
    }
    // The same answers, right.
    for order in [
        "authenticate fine",
        "quota rate 10,1000,5",
        "resolve fine",
        "messages code 4000",
        "messages replace 100",
        "mounts path /data",
        "egress set x-key=1",
        "objects status 404",
        "quota rate 0",
        "resolve path /a%20b",
    ] {
        let (hook, _) = order.split_once(' ').expect("a hook");
        let asked = ASKED.iter().copied().find(|it| it.as_str() == hook).expect("a hook");
        let failure = Sabotage::new(order).ask(&host, asked);
        assert!(failure.is_none(), "{order}: {failure:?}");
    }
}

#[test]
fn a_component_that_was_cut_off_is_refused_wherever_it_ends() {
    let whole = built("saboteur");
    let third = whole.len() / 3;
    for end in [0, 4, 8, 9, 100, third, 2 * third, whole.len() - 1] {
        let component = whole.get(..end).expect("within").into();
        let source = PluginSource::Builtin { name: "saboteur".into(), component };
        let told = problem(PluginSpec::new(plugin_name("saboteur"), source));
        assert!(told.starts_with("plugin `saboteur`: "), "{end}: {told}");
    }
}
