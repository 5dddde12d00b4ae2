//! The claims of a signed token, and which of them say who it is.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::plugin::{Principal, principal};
use crate::worlds::plugin::tidegate::host::tokens::Invalid;

/// What a verified token says.
#[derive(Debug, Clone)]
pub struct Claims(Map<String, Value>);

impl Claims {
    /// Reads what `tokens.verify-jwt` returned; `None` when it isn't an object.
    #[must_use]
    pub fn parse(json: &str) -> Option<Self> {
        serde_json::from_str(json).ok().map(Self)
    }

    /// A claim as text; a list becomes its items with spaces between.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).and_then(text)
    }

    /// The items of a claim that is a list; one that isn't has one.
    #[must_use]
    pub fn items(&self, name: &str) -> Vec<String> {
        match self.0.get(name) {
            Some(Value::Array(items)) => items.iter().filter_map(text).collect(),
            Some(value) => text(value).into_iter().collect(),
            None => Vec::new(),
        }
    }

    /// Whether a claim is true, or the text `true`, as some issuers write it.
    #[must_use]
    pub fn is_true(&self, name: &str) -> bool {
        self.text(name).is_some_and(|text| text == "true")
    }

    /// RFC 7519's NumericDate, seconds with or without a fraction, in milliseconds
    /// of Unix time.
    #[must_use]
    pub fn time_ms(&self, name: &str) -> Option<u64> {
        let seconds = self.0.get(name)?.as_f64().filter(|s| (0.0..1e15).contains(s))?;
        // In range by the line above.
        Some((seconds * 1_000.0) as u64)
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
        Value::Bool(bool) => Some(bool.to_string()),
        Value::Array(items) => {
            items.iter().map(text).collect::<Option<Vec<_>>>().map(|items| items.join(" "))
        }
        _ => None,
    }
}

/// Which claims say who it is. Part of a plugin's configuration (`serde(flatten)`).
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Naming {
    /// The claim that holds the subject; the plugin's own choice without it.
    pub subject_claim: Option<String>,
    /// The claim that holds the tenant; otherwise `tenant` is everybody's.
    pub tenant_claim: Option<String>,
    /// Everybody's tenant.
    pub tenant: Option<String>,
    /// Claims that resolvers and templates may see.
    #[serde(default)]
    pub claims: Vec<String>,
}

impl Naming {
    /// Who the claims are about, until the token expires. The subject is in the claim
    /// that the operator names, or in the first of `usually` that is there and not
    /// empty. `None` when subject or tenant isn't said, or is nothing that the host
    /// takes as one: claims are often for people to choose, and what they choose is
    /// no failure of the plugin.
    #[must_use]
    pub fn principal(&self, claims: &Claims, usually: &[&str]) -> Option<Principal> {
        let subject = match &self.subject_claim {
            Some(name) => claims.text(name)?,
            None => usually
                .iter()
                .filter_map(|name| claims.text(name))
                .find(|subject| !subject.is_empty())?,
        };
        let tenant = match &self.tenant_claim {
            Some(name) => claims.text(name)?,
            None => self.tenant.clone()?,
        };
        if !(is_name(&subject) && is_name(&tenant)) {
            return None;
        }
        let passed_on = self.claims.iter();
        Some(Principal {
            claims: passed_on.filter_map(|name| Some((name.clone(), claims.text(name)?))).collect(),
            expires_at_ms: claims.time_ms("exp"),
            ..principal(&subject, &tenant)
        })
    }
}

/// What the host takes as a subject or a tenant.
fn is_name(text: &str) -> bool {
    (1..=256).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// Why a token is refused: a stable code, and a sentence for a person.
#[must_use]
pub fn refusal(invalid: &Invalid) -> (&'static str, &'static str) {
    match invalid {
        Invalid::Malformed => ("token-malformed", "That isn't a token this gateway can read."),
        Invalid::UnknownKey(_) => ("token-unknown-key", "The token's key isn't known here."),
        Invalid::BadSignature => ("token-bad-signature", "The token's signature is wrong."),
        Invalid::Expired => ("token-expired", "The token has expired."),
        Invalid::NotYetValid => ("token-not-yet-valid", "The token isn't valid yet."),
        Invalid::WrongIssuer => ("token-wrong-issuer", "The token was issued by somebody else."),
        Invalid::WrongAudience => ("token-wrong-audience", "The token is meant for somebody else."),
        Invalid::ForbiddenAlgorithm => {
            ("token-forbidden-algorithm", "The token is signed in a way that isn't accepted.")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naming(subject_claim: Option<&str>) -> Naming {
        Naming {
            subject_claim: subject_claim.map(Into::into),
            tenant_claim: Some("org".into()),
            tenant: None,
            claims: vec!["groups".into(), "absent".into()],
        }
    }

    #[test]
    fn the_first_usual_claim_that_says_something_is_the_subject() {
        let json = r#"{"sub":"","email":"a@x.org","org":7,"groups":["b","c"],"exp":1.5}"#;
        let claims = Claims::parse(json).expect("an object");
        let who = naming(None).principal(&claims, &["sub", "email"]).expect("somebody");
        assert_eq!((who.subject.as_str(), who.tenant.as_str()), ("a@x.org", "7"));
        assert_eq!(who.claims, [("groups".to_owned(), "b c".to_owned())]);
        assert_eq!(who.expires_at_ms, Some(1_500));
        assert!(naming(Some("name")).principal(&claims, &["email"]).is_none());
    }

    #[test]
    fn a_claim_that_is_nobodys_name_names_nobody() {
        let long = "a".repeat(257);
        for subject in ["", "al\\r\\nice", "\\u0085", &long] {
            let json = format!(r#"{{"sub":"{subject}","name":"{subject}","org":"o"}}"#);
            let claims = Claims::parse(&json).expect("an object");
            assert!(naming(None).principal(&claims, &["sub"]).is_none(), "{subject}");
            assert!(naming(Some("name")).principal(&claims, &[]).is_none(), "{subject}");
        }
        let claims = Claims::parse(r#"{"sub":"alice","org":"o\u0000"}"#).expect("an object");
        assert!(naming(None).principal(&claims, &["sub"]).is_none());
    }

    #[test]
    fn a_list_and_a_single_value_are_both_items() {
        let claims = Claims::parse(r#"{"aud":"a","also":["b","c"]}"#).expect("an object");
        assert_eq!(claims.items("aud"), ["a"]);
        assert_eq!(claims.items("also"), ["b", "c"]);
        assert!(claims.items("none").is_empty());
    }
}
