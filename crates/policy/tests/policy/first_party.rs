//! `token`, `per-user` and `sub-domain`, as the binary embeds them.

use std::sync::Arc;

use serde_json::json;
use tidegate_policy::{Decision, HostConfig, Secrets};
use tidegate_types::{Credential, Lifetime, Secret, WhenAsleep};

use crate::stage::{
    authenticate, builtin, config, denied, granted, header, host, problem, request, resolve,
};

fn tokens() -> tidegate_policy::PluginSpec {
    builtin(
        "token",
        json!({
            "tokens": [
                { "secret": "ALICE_TOKEN", "subject": "alice", "tenant": "demo",
                  "claims": { "role": "admin" } },
                { "secret": "BOB_TOKEN", "subject": "bob", "tenant": "demo" },
            ],
            "query-param": "token",
            "cookie": "tidegate",
        }),
    )
}

fn per_user() -> tidegate_policy::PluginSpec {
    builtin(
        "per-user",
        json!({
            "template": "hello",
            "port": 18789,
            "host": "{subject}.localhost",
            "sleep-after": "10m",
            "when-asleep": "page",
            "env": { "OWNER": "{tenant}/{subject}" },
            "request-headers": { "x-forwarded-user": "{subject}" },
        }),
    )
}

const HTML: (&str, &str) = ("accept", "text/html");

#[test]
fn a_bearer_token_says_who_it_is_and_is_reported_as_used() {
    let host = host(vec![tokens(), per_user()]);
    let facts = request("GET http://bob.localhost:80/", &[("authorization", "Bearer bob-token")]);
    let principal = granted(authenticate(&host, &facts));
    assert_eq!(principal.identity.subject.as_str(), "bob");
    assert_eq!(principal.identity.tenant.as_str(), "demo");
    assert_eq!(principal.used, Some(Credential::Header(http::header::AUTHORIZATION)));
    let consumed = [
        Credential::Header(http::header::AUTHORIZATION),
        Credential::QueryParam("token".into()),
        Credential::Cookie("tidegate".into()),
        Credential::Cookie("__Host-tidegate".into()),
    ];
    assert_eq!(principal.consumed, consumed);
}

#[test]
fn a_token_that_matched_before_is_its_holders_until_the_secret_changes() {
    let host = host(vec![tokens()]);
    let asked = |token: &str| {
        let bearer = format!("Bearer {token}");
        authenticate(&host, &request("GET http://h/", &[("authorization", &bearer)]))
    };
    for _ in 0..3 {
        for subject in ["alice", "bob"] {
            let principal = granted(asked(&format!("{subject}-token")));
            assert_eq!(principal.identity.subject.as_str(), subject);
        }
        assert_eq!(denied(asked("nope")).code, "token-invalid");
    }
    let renewed = [("ALICE_TOKEN", "renewed"), ("BOB_TOKEN", "bob-token")];
    let secrets = renewed.map(|(name, value)| (name.to_owned(), Secret::new(value.into())));
    let config = HostConfig { secrets: Arc::new(Secrets::from_iter(secrets)), ..config() };
    host.reload(config, vec![tokens()]).expect("reloads");
    assert_eq!(denied(asked("alice-token")).code, "token-invalid");
    assert_eq!(granted(asked("renewed")).identity.subject.as_str(), "alice");
}

#[test]
fn claims_of_a_token_reach_the_identity() {
    let host = host(vec![tokens()]);
    let facts = request("GET http://h/", &[("authorization", "Bearer alice-token")]);
    assert_eq!(granted(authenticate(&host, &facts)).identity.claim("role"), Some("admin"));
}

#[test]
fn a_wrong_token_is_a_401_wherever_it_stands_and_none_is_left_to_the_next() {
    let host = host(vec![tokens()]);
    let check = |line: &str, headers: &[(&str, &str)]| {
        let denial = denied(authenticate(&host, &request(line, headers)));
        assert_eq!((denial.status.as_u16(), denial.code.as_str()), (401, "token-invalid"));
        assert_eq!(header(&denial, "www-authenticate"), "Bearer realm=\"tidegate\"");
    };
    check("GET http://h/", &[("authorization", "Bearer nope")]);
    check("GET http://h/", &[("authorization", "Bearer ")]);
    check("GET http://h/?token=nope", &[HTML]);
    check("GET http://h/?token=", &[HTML]);
    check("GET http://h/", &[("cookie", "tidegate=nope")]);
    let nothing = authenticate(&host, &request("GET http://h/?tokens=alice-token", &[]));
    assert!(matches!(nothing, Decision::Unanswered), "{nothing:?}");
}

#[test]
fn a_link_with_a_token_signs_a_browser_in() {
    let host = host(vec![tokens()]);
    let facts = request("GET http://alice.localhost:8080/a?b=%7E&token=alice-token&c", &[HTML]);
    let denial = denied(authenticate(&host, &facts));
    assert_eq!(denial.status.as_u16(), 303);
    assert_eq!(header(&denial, "location"), "/a?b=%7E&c");
    let cookie = header(&denial, "set-cookie");
    assert!(
        cookie.starts_with("tidegate=alice-token; Path=/; Max-Age=604800; HttpOnly"),
        "{cookie}"
    );

    let signed_in =
        request("GET http://alice.localhost:8080/a", &[("cookie", "tidegate=alice-token")]);
    let principal = granted(authenticate(&host, &signed_in));
    assert_eq!(principal.used, Some(Credential::Cookie("tidegate".into())));

    let https = request("GET https://alice.example/?token=alice-token", &[HTML]);
    let cookie = denied(authenticate(&host, &https));
    let cookie = header(&cookie, "set-cookie");
    assert!(cookie.starts_with("__Host-tidegate=alice-token;") && cookie.ends_with("; Secure"));
}

#[test]
fn a_program_that_sends_the_token_in_the_query_is_answered_at_once() {
    let host = host(vec![tokens()]);
    let principal = granted(authenticate(&host, &request("GET http://h/?token=alice-token", &[])));
    assert_eq!(principal.used, Some(Credential::QueryParam("token".into())));
}

#[test]
fn a_cookie_that_a_sibling_planted_beside_ones_own_signs_nobody_in() {
    let host = host(vec![tokens(), per_user()]);
    let two = request(
        "GET http://alice.localhost/",
        &[("cookie", "tidegate=bob-token; tidegate=alice-token")],
    );
    assert_eq!(denied(authenticate(&host, &two)).code, "token-ambiguous");
    // Alone, it is Bob; but Bob has no business at Alice's address.
    let one = request("GET http://alice.localhost/", &[("cookie", "tidegate=bob-token")]);
    assert_eq!(granted(authenticate(&host, &one)).identity.subject.as_str(), "bob");
    assert_eq!(denied(resolve(&host, &one, "bob")).code, "not-your-address");
    // Under https a sibling can't plant it: this name is never read there.
    let https = request("GET https://alice.localhost/", &[("cookie", "tidegate=bob-token")]);
    assert!(matches!(authenticate(&host, &https), Decision::Unanswered));
}

#[test]
fn every_user_is_placed_in_a_sandbox_of_their_own() {
    let host = host(vec![tokens(), per_user()]);
    let facts = request("GET http://alice.localhost:8080/", &[]);
    let placement = granted(resolve(&host, &facts, "alice"));
    assert_eq!(placement.sandbox.as_str(), "user-alice");
    assert_eq!((placement.template.as_str(), placement.port), ("hello", 18789));
    assert_eq!(placement.lifetime, Some(Lifetime::SleepAfter(std::time::Duration::from_secs(600))));
    assert_eq!(placement.when_asleep, WhenAsleep::Page);
    assert_eq!(placement.env, [("OWNER".to_owned(), "demo/alice".to_owned())]);
    assert_eq!(placement.request_headers.len(), 1);
}

#[test]
fn the_first_label_of_the_host_names_the_sandbox_of_those_who_may() {
    let host = host(vec![builtin(
        "sub-domain",
        json!({ "base": "example.org", "template": "hello", "port": 80, "claim": "teams" }),
    )]);
    let at = |line: &str| request(line, &[]);
    let sandbox = |line: &str| granted(resolve(&host, &at(line), "alice")).sandbox;
    assert_eq!(sandbox("GET http://alice.example.org/").as_str(), "alice");
    assert_eq!(sandbox("GET http://green.example.org:8080/").as_str(), "green");
    let refusal = |line: &str| denied(resolve(&host, &at(line), "alice")).status.as_u16();
    assert_eq!(refusal("GET http://red.example.org/"), 403);
    assert_eq!(refusal("GET http://a.alice.example.org/"), 404);
    for elsewhere in ["GET http://example.org/", "GET http://aliceexample.org/", "GET http://x/"] {
        assert!(matches!(resolve(&host, &at(elsewhere), "alice"), Decision::Unanswered));
    }
}

#[test]
fn a_wrong_configuration_is_refused_with_its_place() {
    let check = |name: &str, config, expected: &str| {
        let told = problem(builtin(name, config));
        assert!(told.contains(expected), "{told}");
    };
    check("token", json!({}), "\"tokens\" is a required property");
    check("token", json!({ "tokens": [{ "secret": "X" }] }), "`/tokens/0`");
    let holder = json!({ "secret": "NOBODY", "subject": "a", "tenant": "t" });
    check(
        "token",
        json!({ "tokens": [holder] }),
        "`/tokens/0/secret`: this names no secret; there are `ALICE_TOKEN`, ",
    );
    check("per-user", json!({ "template": "hello", "port": 0 }), "`/port`");
    check("per-user", json!({ "template": "hello", "port": 1, "colour": 1 }), "colour");
    check(
        "per-user",
        json!({ "template": "helo", "port": 1 }),
        "`/template`: there is no template `helo`; there is `hello`",
    );
    let shared = json!({ "template": "hello", "port": 1, "sandbox": "one" });
    check("per-user", shared, "`/sandbox`: must contain `{subject}`");
    check("jwt", json!({ "key-set": "main" }), "`/`");
}
