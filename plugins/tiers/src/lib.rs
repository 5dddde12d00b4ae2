//! `builtin:tiers`: how much an identity may use, by a claim that names its tier.

mod limit;

use std::collections::BTreeMap;

use serde::Deserialize;
use tidegate_plugin::prelude::*;

use limit::Written;

struct Tiers {
    claim: String,
    /// Whose claim names none of them.
    others: Others,
    tiers: BTreeMap<String, Vec<Limit>>,
    tenant: Vec<Limit>,
}

/// What holds for who has no claim, and for who has one that names no tier.
struct Others {
    without: Vec<Limit>,
    unknown: Vec<Limit>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Config {
    #[serde(default = "plan")]
    claim: String,
    default: Option<String>,
    #[serde(default)]
    unknown: Unknown,
    #[serde(default)]
    tiers: BTreeMap<String, Tier>,
    #[serde(default)]
    tenant: Vec<Written>,
}

#[derive(Deserialize)]
struct Tier {
    #[serde(default)]
    limits: Vec<Written>,
}

#[derive(Deserialize, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Unknown {
    Default,
    #[default]
    Deny,
}

fn plan() -> String {
    "plan".into()
}

/// Not a single request.
fn nothing() -> Vec<Limit> {
    vec![Limit {
        meter: Meter::Requests,
        amount: 0,
        per_ms: None,
        burst: None,
        scope: Scope::Subject,
    }]
}

impl Plugin for Tiers {
    type Config = Config;

    fn manifest() -> Manifest {
        let version = env!("CARGO_PKG_VERSION");
        let about = "Limits by a claim that names the tier.";
        manifest("tiers", version, about, include_str!("../config.schema.json"))
    }

    fn new(config: Config) -> Result<Self, ConfigError> {
        let Config { claim, default, unknown, tiers, tenant } = config;
        let tiers = tiers
            .into_iter()
            .map(|(name, tier)| {
                let at = format!("/tiers/{}/limits", escaped(&name));
                Ok((name, limit::all(&tier.limits, &at, Scope::Subject)?))
            })
            .collect::<Result<BTreeMap<_, _>, ConfigError>>()?;
        let tenant = limit::all(&tenant, "/tenant", Scope::Tenant)?;
        let wrong = |path: &str, message: String| ConfigError { path: path.into(), message };
        let without = match &default {
            Some(name) => tiers.get(name).cloned().ok_or_else(|| {
                let known: Vec<_> = tiers.keys().map(|name| format!("`{name}`")).collect();
                let known = known.join(", ");
                wrong("/default", format!("`{name}` is no tier; there are: {known}"))
            })?,
            None if tiers.is_empty() => Vec::new(),
            None => nothing(),
        };
        let unknown = match (unknown, &default) {
            (Unknown::Default, None) => {
                let message = "says `default`, and no `default` is named".into();
                return Err(wrong("/unknown", message));
            }
            (Unknown::Default, Some(_)) => without.clone(),
            (Unknown::Deny, _) if tiers.is_empty() => Vec::new(),
            (Unknown::Deny, _) => nothing(),
        };
        Ok(Self { claim, others: Others { without, unknown }, tiers, tenant })
    }
}

/// As RFC 6901 writes a name in a pointer.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

impl Tiers {
    /// The limits of who has this claim.
    fn of(&self, claim: Option<&str>) -> Vec<Limit> {
        let own = match claim {
            None => &self.others.without,
            Some(tier) => self.tiers.get(tier).unwrap_or(&self.others.unknown),
        };
        [own.as_slice(), &self.tenant].concat()
    }
}

impl Quota for Tiers {
    fn limits(&self, who: &Identity) -> Result<Vec<Limit>, Failure> {
        // Nobody is asked for a claim that changes nothing.
        let claim = if self.tiers.is_empty() { None } else { who.claim(&self.claim) };
        Ok(self.of(claim.as_deref()))
    }
}

tidegate_plugin::export!(Tiers: quota);

#[cfg(test)]
mod tests {
    use super::*;

    fn tiers(config: &str) -> Result<Tiers, String> {
        let config = serde_json::from_str(config).map_err(|error| error.to_string())?;
        Tiers::new(config).map_err(|error| format!("{}: {}", error.path, error.message))
    }

    fn told(limits: &[Limit]) -> Vec<String> {
        let told =
            |it: &Limit| format!("{:?} {} {:?} {:?}", it.meter, it.amount, it.per_ms, it.scope);
        limits.iter().map(told).collect()
    }

    const TWO: &str = r#""tiers": {
        "free": { "limits": [ { "meter": "requests", "amount": 60, "per": "1m", "burst": 20 } ] },
        "pro": {} }"#;

    #[test]
    fn a_claim_names_the_tier_and_the_tenants_limits_come_on_top() {
        let config = format!(
            r#"{{ {TWO}, "default": "free", "tenant": [ {{ "meter": "sandboxes", "amount": 3 }} ] }}"#
        );
        let tiers = tiers(&config).unwrap();
        let shared = "Meter::Sandboxes 3 None Scope::Tenant";
        let free = "Meter::Requests 60 Some(60000) Scope::Subject";
        assert_eq!(told(&tiers.of(Some("pro"))), [shared]);
        assert_eq!(told(&tiers.of(Some("free"))), [free, shared]);
        assert_eq!(told(&tiers.of(None)), [free, shared]);
        let nothing = "Meter::Requests 0 None Scope::Subject";
        assert_eq!(told(&tiers.of(Some("gold"))), [nothing, shared]);
    }

    #[test]
    fn who_has_no_known_tier_has_nothing_unless_the_operator_says_otherwise() {
        let nothing = ["Meter::Requests 0 None Scope::Subject"];
        let strict = tiers(&format!("{{ {TWO} }}")).unwrap();
        assert_eq!(told(&strict.of(None)), nothing);
        let lenient =
            tiers(&format!(r#"{{ {TWO}, "default": "pro", "unknown": "default" }}"#)).unwrap();
        assert!(lenient.of(Some("gold")).is_empty());
        let only = tiers(r#"{ "tenant": [ { "meter": "requests", "amount": 5, "per": "1s" } ] }"#);
        assert_eq!(only.unwrap().of(Some("gold")).len(), 1);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_place() {
        let check = |config: String, expected: &str| {
            let error = tiers(&config).err().unwrap_or_default();
            assert!(error.starts_with(expected), "{error}");
        };
        check(
            format!(r#"{{ {TWO}, "default": "gold" }}"#),
            "/default: `gold` is no tier; there are: `free`, `pro`",
        );
        check(format!(r#"{{ {TWO}, "unknown": "default" }}"#), "/unknown: ");
        let one =
            |limit: &str| format!(r#"{{ "tiers": {{ "a/b": {{ "limits": [ {limit} ] }} }} }}"#);
        let at = "/tiers/a~1b/limits/0";
        for (limit, field) in [
            (
                r#"{ "meter": "memory-bytes", "amount": 5, "per": "1s" }"#,
                "/per: `memory-bytes` is measured",
            ),
            (r#"{ "meter": "requests", "amount": 5, "burst": 5 }"#, "/burst: "),
            (
                r#"{ "meter": "requests", "amount": "5MiB" }"#,
                "/amount: `requests` is not counted in bytes",
            ),
            (
                r#"{ "meter": "egress-bytes", "amount": "5h" }"#,
                "/amount: `egress-bytes` is not counted in milliseconds",
            ),
            (r#"{ "meter": "running-ms", "amount": "9999999999999999999d" }"#, "/amount: "),
            (r#"{ "meter": "requests", "amount": 5, "per": "0s" }"#, "/per: "),
        ] {
            check(one(limit), &format!("{at}{field}"));
        }
    }
}
