//! `jwt`, with real keys of every kind, and what attackers send instead.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};
use serde_json::{Value, json};
use tidegate_policy::{ClaimRules, Decision, HostConfig, KeySet, PolicyHost};
use tidegate_types::Credential;

use crate::stage::{authenticate, builtin, config, denied, granted, request, told};

struct Issuer {
    rsa: EncodingKey,
    ec: EncodingKey,
    ed: EncodingKey,
    jwks: Value,
}

const SHARED: &str = "0123456789abcdef0123456789abcdef";
const RSA_JWK: &str = include_str!("rsa-for-tests.jwk.json");

impl Issuer {
    fn new() -> Self {
        let ec = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
        let ed = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
        let (x, y) = ec.public_key_raw()[1..].split_at(32);
        let rsa: Value = serde_json::from_str(RSA_JWK).expect("a key");
        let jwks = json!({ "keys": [
            rsa,
            { "kty": "EC", "kid": "ec", "crv": "P-256", "x": base64(x), "y": base64(y) },
            { "kty": "OKP", "kid": "ed", "crv": "Ed25519", "x": base64(ed.public_key_raw()) },
        ] });
        let der: String = include_str!("rsa-for-tests.der.b64").split_whitespace().collect();
        Self {
            rsa: EncodingKey::from_rsa_der(&STANDARD.decode(der).expect("base 64")),
            ec: EncodingKey::from_ec_der(&ec.serialize_der()),
            ed: EncodingKey::from_ed_der(&ed.serialize_der()),
            jwks,
        }
    }

    fn host(&self) -> PolicyHost {
        let rules = ClaimRules {
            issuer: Some("https://issuer.example".into()),
            audience: vec!["tidegate".into()],
            ..ClaimRules::default()
        };
        let main = KeySet::from_jwks_json(&self.jwks.to_string()).expect("good").with_rules(rules);
        let key_sets =
            [("main".into(), main), ("shared".into(), KeySet::from_shared_secret(SHARED))];
        let plugin = |name: &str, key_set: &str, query_param: &str| {
            let mut spec = builtin(
                "jwt",
                json!({
                    "key-set": key_set, "tenant-claim": "org", "claims": ["email", "groups"],
                    "query-param": query_param, "cookie": query_param,
                }),
            );
            spec.name = crate::stage::plugin_name(name);
            spec
        };
        let config = HostConfig { key_sets: key_sets.into(), ..config() };
        // RSA without optimisation is slow enough to be near the usual deadline.
        let mut specs = vec![plugin("main", "main", "main"), plugin("shared", "shared", "shared")];
        for spec in &mut specs {
            spec.deadline = std::time::Duration::from_secs(2);
        }
        specs[1].config["header"] = json!(false);
        PolicyHost::new(config, specs).unwrap_or_else(|problems| panic!("{}", told(&problems)))
    }
}

fn base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn in_seconds(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    i64::try_from(now).expect("before the sun burns out") + seconds
}

fn claims() -> Value {
    json!({
        "iss": "https://issuer.example", "aud": ["other", "tidegate"], "sub": "alice",
        "org": "demo", "exp": in_seconds(600), "email": "alice@example.org",
        "groups": ["a", "b"],
    })
}

fn with(changes: Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    claims
}

fn signed(header: &Value, claims: &Value, key: &EncodingKey, algorithm: Algorithm) -> String {
    let message = format!(
        "{}.{}",
        base64(header.to_string().as_bytes()),
        base64(claims.to_string().as_bytes())
    );
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).expect("signs");
    format!("{message}.{signature}")
}

fn bearer(host: &PolicyHost, token: &str) -> Decision<tidegate_types::Principal> {
    let authorization = format!("Bearer {token}");
    authenticate(host, &request("GET http://h/", &[("authorization", &authorization)]))
}

#[test]
fn every_kind_of_key_signs_somebody_in() {
    let issuer = Issuer::new();
    let host = issuer.host();
    for (key, algorithm, name, id) in [
        (&issuer.rsa, Algorithm::RS256, "RS256", "rsa"),
        (&issuer.ec, Algorithm::ES256, "ES256", "ec"),
        (&issuer.ed, Algorithm::EdDSA, "EdDSA", "ed"),
    ] {
        let header = json!({ "alg": name, "kid": id, "typ": "JWT" });
        let principal = granted(bearer(&host, &signed(&header, &claims(), key, algorithm)));
        assert_eq!(principal.identity.subject.as_str(), "alice");
        assert_eq!(principal.identity.tenant.as_str(), "demo");
        assert_eq!(principal.identity.claim("email"), Some("alice@example.org"));
        assert_eq!(principal.identity.claim("groups"), Some("a b"));
        assert!(principal.expires_at.is_some());
    }
    let key = EncodingKey::from_secret(SHARED.as_bytes());
    let token = signed(&json!({ "alg": "HS256" }), &claims(), &key, Algorithm::HS256);
    let facts = request(&format!("GET http://h/?shared={token}"), &[]);
    let principal = granted(authenticate(&host, &facts));
    assert_eq!(principal.used, Some(Credential::QueryParam("shared".into())));
}

#[test]
fn what_a_token_must_say_is_checked_with_a_code_for_each() {
    let issuer = Issuer::new();
    let host = issuer.host();
    let check = |header: Value, claims: Value, code: &str| {
        let token = signed(&header, &claims, &issuer.ed, Algorithm::EdDSA);
        let denial = denied(bearer(&host, &token));
        assert_eq!(
            (denial.status.as_u16(), denial.code.as_str()),
            (401, code),
            "{header} {claims}"
        );
    };
    let ed = || json!({ "alg": "EdDSA", "kid": "ed" });
    check(ed(), with(json!({ "exp": in_seconds(-120) })), "token-expired");
    check(ed(), with(json!({ "nbf": in_seconds(120) })), "token-not-yet-valid");
    check(ed(), with(json!({ "iss": "https://other.example" })), "token-wrong-issuer");
    check(ed(), with(json!({ "iss": ["https://issuer.example"] })), "token-wrong-issuer");
    check(ed(), with(json!({ "aud": "other" })), "token-wrong-audience");
    check(ed(), with(json!({ "aud": null })), "token-wrong-audience");
    check(ed(), with(json!({ "exp": null })), "token-malformed");
    check(ed(), with(json!({ "exp": "tomorrow" })), "token-malformed");
    check(ed(), with(json!({ "sub": null })), "token-incomplete");
    check(ed(), with(json!({ "org": {} })), "token-incomplete");
    check(json!({ "alg": "EdDSA", "kid": "unknown" }), claims(), "token-unknown-key");
    check(json!({ "alg": "EdDSA" }), claims(), "token-unknown-key");
    check(json!({ "alg": "EdDSA", "kid": "ec" }), claims(), "token-forbidden-algorithm");
    check(json!({ "alg": "EdDSA", "kid": "ed", "crit": ["b64"] }), claims(), "token-malformed");
    check(json!({ "alg": "EdDSA", "kid": "ed", "typ": "dpop+jwt" }), claims(), "token-malformed");
    check(json!(["EdDSA"]), claims(), "token-malformed");
}

#[test]
fn clocks_may_differ_by_a_minute() {
    let issuer = Issuer::new();
    let host = issuer.host();
    for changes in [json!({ "exp": in_seconds(-30) }), json!({ "nbf": in_seconds(30) })] {
        let header = json!({ "alg": "EdDSA", "kid": "ed" });
        granted(bearer(&host, &signed(&header, &with(changes), &issuer.ed, Algorithm::EdDSA)));
    }
}

#[test]
fn a_token_cannot_choose_how_it_is_verified() {
    let issuer = Issuer::new();
    let host = issuer.host();
    let code = |token: &str| denied(bearer(&host, token)).code;
    // No signature at all.
    for alg in ["none", "None", "NONE", ""] {
        let header = base64(json!({ "alg": alg, "kid": "rsa" }).to_string().as_bytes());
        let body = base64(claims().to_string().as_bytes());
        assert_eq!(code(&format!("{header}.{body}.")), "token-forbidden-algorithm");
    }
    // The public key, which everybody knows, as if it were a shared secret.
    let rsa: Value = serde_json::from_str(RSA_JWK).expect("a key");
    let modulus = rsa["n"].as_str().expect("n");
    for known in [modulus.as_bytes().to_vec(), URL_SAFE_NO_PAD.decode(modulus).expect("base 64")] {
        let key = EncodingKey::from_secret(&known);
        let header = json!({ "alg": "HS256", "kid": "rsa" });
        let token = signed(&header, &claims(), &key, Algorithm::HS256);
        assert_eq!(code(&token), "token-forbidden-algorithm");
    }
    // Another key of the same set, or nobody's.
    let header = json!({ "alg": "EdDSA", "kid": "ed" });
    let token = signed(&header, &claims(), &Issuer::new().ed, Algorithm::EdDSA);
    assert_eq!(code(&token), "token-bad-signature");
    // A genuine signature under other claims.
    let genuine = signed(&header, &claims(), &issuer.ed, Algorithm::EdDSA);
    let mut parts: Vec<_> = genuine.split('.').map(str::to_owned).collect();
    parts[1] = base64(with(json!({ "sub": "root" })).to_string().as_bytes());
    assert_eq!(code(&parts.join(".")), "token-bad-signature");
    // Larger than any token is.
    let large = with(json!({ "pad": "x".repeat(20_000) }));
    let token = signed(&header, &large, &issuer.ed, Algorithm::EdDSA);
    assert_eq!(code(&token), "token-malformed");
}

#[test]
fn what_is_no_token_at_all_is_left_to_the_next_authenticator() {
    let host = Issuer::new().host();
    assert!(matches!(bearer(&host, "opaque"), Decision::Unanswered));
    assert!(matches!(bearer(&host, "a.b"), Decision::Unanswered));
    assert_eq!(denied(bearer(&host, "a.b.c")).code, "token-malformed");
}

#[test]
fn a_link_with_a_signed_token_signs_a_browser_in_for_as_long_as_the_token_lives() {
    let issuer = Issuer::new();
    let host = issuer.host();
    let header = json!({ "alg": "EdDSA", "kid": "ed" });
    let token = signed(&header, &claims(), &issuer.ed, Algorithm::EdDSA);
    let html = [("accept", "text/html")];
    let facts = request(&format!("GET https://alice.example/x?main={token}"), &html);
    let denial = denied(authenticate(&host, &facts));
    assert_eq!((denial.status.as_u16(), crate::stage::header(&denial, "location")), (303, "/x"));
    let cookie = crate::stage::header(&denial, "set-cookie");
    assert!(cookie.starts_with(&format!("__Host-main={token}; Path=/; Max-Age=")), "{cookie}");
    let age = cookie.split("Max-Age=").nth(1).and_then(|a| a.split(';').next()).expect("an age");
    assert!(age.parse::<u64>().expect("a number") <= 600);
    let cookie = format!("__Host-main={token}");
    let signed_in = request("GET https://alice.example/x", &[("cookie", &cookie)]);
    granted(authenticate(&host, &signed_in));
}

#[test]
fn a_key_set_with_something_wrong_in_it_is_not_accepted() {
    let check = |jwks: Value, expected: &str| {
        let error = KeySet::from_jwks_json(&jwks.to_string()).expect_err("bad").to_string();
        assert!(error.contains(expected), "{error}");
    };
    let rsa: Value = serde_json::from_str(RSA_JWK).expect("a key");
    let changed = |name: &str, value: Value| {
        let mut key = rsa.clone();
        key[name] = value;
        key
    };
    check(json!({}), "no array `keys`");
    check(json!({ "keys": [] }), "no RS256, ES256 or EdDSA signing key");
    check(json!({ "keys": [rsa, rsa] }), "two keys are called `rsa`");
    check(json!({ "keys": [changed("d", json!("AQAB"))] }), "contains its private part");
    check(json!({ "keys": [{ "kty": "oct", "k": "AAAA" }] }), "is a shared secret");
    check(json!({ "keys": [changed("alg", json!("PS256"))] }), "states an `alg`");
    let mut nameless = rsa.clone();
    nameless.as_object_mut().expect("an object").remove("kid");
    check(json!({ "keys": [rsa, nameless] }), "has no `kid`");
    let p384 = json!({ "kty": "EC", "crv": "P-384", "x": "AA", "y": "AA" });
    check(json!({ "keys": [p384] }), "is neither RSA, P-256 nor Ed25519");
}

#[test]
fn a_key_set_that_does_not_exist_is_told_at_load() {
    let spec = builtin("jwt", json!({ "key-set": "mian", "tenant": "demo" }));
    let told = crate::stage::problem(spec);
    assert!(told.contains("`/key-set`: there is no key set `mian`; there are none"), "{told}");
}

#[test]
fn a_shared_secret_that_can_be_guessed_is_refused() {
    let key_sets = [("weak".into(), KeySet::from_shared_secret("alice-token"))];
    let config = HostConfig { key_sets: key_sets.into(), ..config() };
    let problems = PolicyHost::new(config, Vec::new()).expect_err("weak");
    assert!(told(&problems).contains("`weak` has 11 bytes"), "{}", told(&problems));
}
