//! Queries of death: what killed a plugin three times isn't asked again, and nobody
//! else's question is mistaken for it.

use serde_json::json;
use tidegate_policy::{Decision, FailureReason, Hook, Isolation, PluginSpec, PolicyHost};
use tidegate_types::{DecisionId, Event, EventKind, Message, Placement, Way};

use crate::hoarder::{destination, hoarder, operation, sandbox, who};
use crate::stage::{at_once, authenticate, config, host, request, test_plugin};

fn id() -> DecisionId {
    DecisionId::random()
}

fn reason<T>(decision: Decision<T>) -> Option<FailureReason> {
    match decision {
        Decision::Failed(failure) => Some(failure.reason),
        _ => None,
    }
}

fn resolved(host: &PolicyHost, path: &str, cookie: &str) -> Decision<Placement> {
    let facts = request(&format!("GET http://h{path}"), &[("cookie", cookie)]);
    at_once(host.current().resolve(&facts, &who("t", ""), id()))
}

#[test]
fn what_killed_a_plugin_three_times_is_refused_until_a_reload_and_nothing_else_is() {
    for isolation in [Isolation::Shared, Isolation::Tenant, Isolation::Call] {
        let host = host(vec![PluginSpec { isolation, ..hoarder() }]);
        let attack = || reason(resolved(&host, "/", "theme=dark; attack=trap"));
        let deaths: Vec<_> = (0..6).map(|_| attack()).collect();
        let (died, refused) = deaths.split_at(3);
        assert_eq!(died, [Some(FailureReason::Trap); 3], "{isolation:?}");
        assert_eq!(refused, [Some(FailureReason::Poisonous); 3], "{isolation:?}");
        // The same path with other cookies, or none, is everybody else's.
        for cookie in ["theme=dark", "attack=no", ""] {
            assert_eq!(reason(resolved(&host, "/", cookie)), None, "{cookie}");
        }
        // The same cookie elsewhere is another question, and is asked.
        assert_eq!(reason(resolved(&host, "/other", "attack=trap")), Some(FailureReason::Trap));
        let resolve = &host.status()[0].hooks[2];
        assert_eq!((resolve.hook, resolve.poisonous), (Hook::Resolve, 1));
        host.reload(config(), vec![PluginSpec { isolation, ..hoarder() }]).expect("good");
        assert_eq!(attack(), Some(FailureReason::Trap));
    }
}

#[test]
fn an_attacker_cannot_have_others_requests_refused_by_what_is_left_in_a_shared_instance() {
    let host = host(vec![hoarder()]);
    let mut failed = 0;
    for _ in 0..20 {
        // The attacker's request goes well and leaves the instance such that the next
        // call in it dies, having read nothing but its own path.
        assert!(matches!(resolved(&host, "/", "attack=curse"), Decision::Granted { .. }));
        match reason(resolved(&host, "/", "")) {
            None => {}
            Some(FailureReason::Trap) => failed += 1,
            Some(other) => panic!("{other:?}"),
        }
        // Whatever became of that one, the same request is asked and answered.
        while let Some(reason) = reason(resolved(&host, "/", "")) {
            assert_eq!(reason, FailureReason::Trap);
        }
    }
    assert!(failed > 0, "the attack itself doesn't work any more");
    assert_eq!(host.status()[0].hooks[2].poisonous, 0);
}

#[test]
fn whatever_it_dies_of_counts_in_every_hook() {
    let host = host(vec![PluginSpec { memory: 4 << 20, ..hoarder() }]);
    let generation = host.current();
    for how in ["trap", "loop", "overflow", "eat"] {
        let die = |hook: Hook| {
            let (calm, dying) = (sandbox("t", ""), sandbox("t", how));
            let facts = request("GET http://h/", &[("x-die", how)]);
            match hook {
                Hook::Authenticate => reason(authenticate(&host, &facts)),
                Hook::Quota => {
                    at_once(generation.limits(&who("t", how), id())).err().map(|f| f.reason)
                }
                Hook::Resolve => reason(resolved(&host, "/", &format!("attack={how}"))),
                Hook::Activity => {
                    at_once(generation.classify(&facts, &calm, id())).err().map(|f| f.reason)
                }
                Hook::Messages => {
                    let message = Message::Text(how.into());
                    let who = who("t", "");
                    let asked = generation.on_message(&who, &calm, Way::ToClient, message, id());
                    at_once(asked).err().map(|f| f.reason)
                }
                Hook::Mounts => at_once(generation.mounts(&dying, id())).err().map(|f| f.reason),
                Hook::Objects => {
                    let operation = operation(how);
                    reason(at_once(generation.authorize_object(&calm, &operation, id())))
                }
                Hook::Egress => {
                    let to = destination(how);
                    reason(at_once(generation.authorize_egress(&calm, &to, id())))
                }
                Hook::Observe => None,
            }
        };
        for hook in Hook::ALL.iter().copied().filter(|hook| *hook != Hook::Observe) {
            let deaths: Vec<_> = (0..4).filter_map(|_| die(hook)).collect();
            let [one, two, three, refused] = deaths.as_slice() else {
                panic!("{hook:?} {how}: {deaths:?}")
            };
            assert!(one == two && two == three, "{hook:?} {how}: {deaths:?}");
            assert_ne!(*one, FailureReason::Poisonous, "{hook:?} {how}");
            assert_eq!(*refused, FailureReason::Poisonous, "{hook:?} {how}: {deaths:?}");
        }
    }
    // Nobody else's question is refused.
    let calm = sandbox("t", "");
    assert!(at_once(generation.limits(&who("t", ""), id())).is_ok());
    assert!(at_once(generation.mounts(&calm, id())).is_ok());
    assert!(reason(at_once(generation.authorize_object(&calm, &operation("k"), id()))).is_none());
    let message = Message::Text("hello".into());
    let who = who("t", "");
    let asked = generation.on_message(&who, &calm, Way::ToClient, message, id());
    assert!(at_once(asked).is_ok());
}

#[test]
fn a_death_that_depended_on_more_than_the_request_has_no_consequence() {
    let host = host(vec![hoarder()]);
    for _ in 0..8 {
        let died = reason(resolved(&host, "/", "attack=count-and-trap"));
        assert_eq!(died, Some(FailureReason::Trap));
    }
}

#[test]
fn a_plugin_that_says_itself_that_it_failed_is_asked_again() {
    let host = host(vec![test_plugin("hostile", json!({}))]);
    for (attack, with) in [("fail", ""), ("deny-with-status", "200")] {
        for _ in 0..8 {
            let facts = request("GET http://h/", &[("x-attack", attack), ("x-with", with)]);
            let reason = reason(authenticate(&host, &facts)).expect("fails");
            assert_ne!(reason, FailureReason::Poisonous, "{attack}");
        }
    }
}

#[test]
fn what_observers_are_told_is_never_refused() {
    let host = host(vec![hoarder()]);
    for _ in 0..8 {
        at_once(host.current().observe(&[Event::now(EventKind::Request)]));
    }
    let observe = &host.status()[0].hooks[8];
    assert_eq!((observe.calls, observe.failures.len()), (8, 0));
}
