//! What the operator says.

use std::collections::BTreeMap;

use serde::Deserialize;
use tidegate_plugin::claims::{Claims, Naming};
use tidegate_plugin::prelude::*;
use tidegate_plugin::text::Millis;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Config {
    /// The provider's name, exactly as its tokens have it in `iss`.
    pub(crate) issuer: String,
    pub(crate) client_id: String,
    /// Name of a secret; without one the client is public, and PKCE alone protects it.
    pub(crate) client_secret: Option<String>,
    /// What ID tokens are verified against: the provider's own keys.
    pub(crate) key_set: String,
    /// Name of the secret that cookies are sealed with.
    pub(crate) session_secret: String,
    #[serde(default = "usual_scopes")]
    pub(crate) scopes: Vec<String>,
    #[serde(flatten)]
    pub(crate) naming: Naming,
    /// Who may come in; all of them must hold, and nothing said is everybody.
    #[serde(default)]
    pub(crate) allowed_emails: Vec<String>,
    #[serde(default)]
    pub(crate) allowed_domains: Vec<String>,
    #[serde(default)]
    pub(crate) allowed_claims: BTreeMap<String, Vec<String>>,
    /// Whether an address counts only when the provider says that it verified it.
    #[serde(default = "yes")]
    pub(crate) verified_email: bool,
    #[serde(default = "callback")]
    pub(crate) callback_path: String,
    #[serde(default = "sign_out")]
    pub(crate) sign_out_path: String,
    #[serde(default = "cookie")]
    pub(crate) cookie: String,
    /// How long a session lasts, renewed or not.
    #[serde(default = "twelve_hours")]
    pub(crate) session: Millis,
    /// Whether a session is renewed at the provider when its tokens run out.
    #[serde(default = "yes")]
    pub(crate) renew: bool,
}

fn usual_scopes() -> Vec<String> {
    ["openid", "email", "profile"].map(Into::into).into()
}

fn yes() -> bool {
    true
}

fn callback() -> String {
    "/.tidegate/sign-in".into()
}

fn sign_out() -> String {
    "/.tidegate/sign-out".into()
}

fn cookie() -> String {
    "tidegate-session".into()
}

fn twelve_hours() -> Millis {
    Millis(12 * 3_600_000)
}

impl Config {
    /// What the schema can't say.
    pub(crate) fn tidy(&mut self) -> Result<(), ConfigError> {
        let wrong = |path: &str, message: &str| {
            Err(ConfigError { path: path.into(), message: message.into() })
        };
        if !self.scopes.iter().any(|scope| scope == "openid") {
            return wrong("/scopes", "without `openid` there is no ID token");
        }
        if self.callback_path == self.sign_out_path {
            return wrong("/sign-out-path", "is the callback's path too");
        }
        for address in self.allowed_emails.iter_mut().chain(&mut self.allowed_domains) {
            address.make_ascii_lowercase();
        }
        Ok(())
    }

    /// Whether somebody with these claims may come in.
    pub(crate) fn allows(&self, claims: &Claims) -> bool {
        let required = self.allowed_claims.iter().all(|(name, values)| {
            let theirs = claims.items(name);
            values.iter().any(|value| theirs.contains(value))
        });
        if self.allowed_emails.is_empty() && self.allowed_domains.is_empty() {
            return required;
        }
        let verified = !self.verified_email || claims.is_true("email_verified");
        let email = claims.text("email").filter(|_| verified).map(|it| it.to_ascii_lowercase());
        let Some(email) = email else { return false };
        // The last `@`: what stands before it may be quoted and contain another.
        let domain = email.rsplit_once('@').map(|(_, domain)| domain.to_owned());
        let named = self.allowed_emails.contains(&email)
            || domain.is_some_and(|domain| self.allowed_domains.contains(&domain));
        required && named
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn config(more: &str) -> Config {
        let json = format!(
            r#"{{"issuer":"https://id.example.org","client-id":"us","key-set":"k",
                "session-secret":"S","tenant":"t"{more}}}"#
        );
        serde_json::from_str(&json).expect("a configuration")
    }

    #[test]
    fn only_verified_addresses_count_and_a_domain_is_what_follows_the_last_at() {
        let mut config = config(r#","allowed-domains":["Example.org"]"#);
        config.tidy().expect("in order");
        let allows = |json| config.allows(&Claims::parse(json).expect("claims"));
        assert!(allows(r#"{"email":"a@EXAMPLE.org","email_verified":true}"#));
        for refused in [
            r#"{"email":"a@example.org"}"#,
            r#"{"email":"a@example.org","email_verified":false}"#,
            r#"{"email":"a@sub.example.org","email_verified":true}"#,
            r#"{"email":"a@example.org@evil.org","email_verified":true}"#,
            r#"{"email":"example.org","email_verified":true}"#,
            r#"{"email_verified":true}"#,
        ] {
            assert!(!allows(refused), "{refused}");
        }
    }

    #[test]
    fn a_claim_must_have_one_of_its_values() {
        let config = config(r#","allowed-claims":{"groups":["staff","ops"]}"#);
        let allows = |json| config.allows(&Claims::parse(json).expect("claims"));
        assert!(allows(r#"{"groups":["guests","ops"]}"#) && allows(r#"{"groups":"staff"}"#));
        assert!(!allows(r#"{"groups":["guests"]}"#) && !allows("{}"));
        assert!(!allows(r#"{"groups":"staff ops"}"#));
    }
}
