//! Signed tokens instead of static ones: `builtin:jwt`.

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use tidegate_testkit::gateway::{Ask, Gateway, Setup, SignIn};

const KEY: &str = "a-signing-key-of-at-least-32-bytes-0123456789";

fn setup() -> Setup {
    let signed = "[[plugin]]\nname = \"signed\"\nsource = \"builtin:jwt\"\n\n\
                  [plugin.config]\nkey-set = \"main\"\ntenant = \"demo\"\n\n\
                  [[plugin]]\nname = \"sign-in\"";
    Setup::hello()
        .replacing("[[plugin]]\nname = \"sign-in\"", signed)
        .with_secret("SIGNING", KEY)
        .adding("\n[key-sets.main]\nhs256 = \"SIGNING\"\nissuer = \"tests\"\n")
}

fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    bytes
        .chunks(3)
        .flat_map(|chunk| {
            let padded = [chunk[0], *chunk.get(1).unwrap_or(&0), *chunk.get(2).unwrap_or(&0)];
            let bits = u32::from_be_bytes([0, padded[0], padded[1], padded[2]]);
            (0..=chunk.len()).map(move |at| DIGITS[(bits >> (18 - 6 * at)) as usize & 63] as char)
        })
        .collect()
}

/// A token with these claims, signed with `key` as `alg` says.
fn token(alg: &str, claims: &Value, key: &str) -> String {
    let header = json!({ "alg": alg, "typ": "JWT" }).to_string();
    let signed =
        format!("{}.{}", base64url(header.as_bytes()), base64url(claims.to_string().as_bytes()));
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("any length will do");
    mac.update(signed.as_bytes());
    let signature = if alg == "none" { Vec::new() } else { mac.finalize().into_bytes().to_vec() };
    format!("{signed}.{}", base64url(&signature))
}

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("it is after 1970").as_secs()
}

#[tokio::test]
async fn a_signed_token_names_its_subject_and_a_bad_one_nobody() {
    let gateway = Gateway::start(setup()).await;
    let claims = |exp: u64| json!({ "sub": "alice", "iss": "tests", "exp": exp });
    let good = token("HS256", &claims(now() + 600), KEY);
    let answer = gateway.ask(Ask::get("alice", "/api/request").sign_in(SignIn::As(&good))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(!answer.text().contains(&good), "the token stays outside: {}", answer.text());
    assert!(answer.text().contains("alice"), "{}", answer.text());

    let stranger = json!({ "sub": "alice", "iss": "others", "exp": now() + 600 });
    let bad = [
        ("expired", token("HS256", &claims(now() - 3600), KEY)),
        (
            "another key",
            token("HS256", &claims(now() + 600), "another-key-of-32-bytes-at-the-least"),
        ),
        ("no signature", token("none", &claims(now() + 600), KEY)),
        ("another algorithm", token("HS512", &claims(now() + 600), KEY)),
        ("another issuer", token("HS256", &stranger, KEY)),
        ("no token at all", "a.b.c".to_owned()),
    ];
    for (what, token) in bad {
        let answer = gateway.ask(Ask::get("alice", "/").sign_in(SignIn::As(&token))).await;
        assert_eq!(answer.status, 401, "{what}: {}", answer.text());
    }
    let ask = Ask::get("bob", "/").sign_in(SignIn::As(&good));
    assert_eq!(gateway.ask(ask).await.status, 403, "Alice's token at Bob's address");
}
