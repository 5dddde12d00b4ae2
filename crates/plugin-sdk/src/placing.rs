//! Placements out of a configuration with placeholders: what the first-party
//! resolvers share, and a convenience for others.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de::Error as _};

use crate::plugin::{Lifetime, Placement, RelayMode, WhenAsleep};
use crate::text::Millis;
use crate::worlds::plugin::tidegate::policy::types::HeaderEdit;

/// Text with placeholders such as `{subject}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Value(Placeholder),
}

/// What a placeholder stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placeholder {
    /// `{subject}`
    Subject,
    /// `{tenant}`
    Tenant,
    /// `{label}`: the part of the host that names the sandbox.
    Label,
}

impl Pattern {
    /// Parses `text`.
    ///
    /// # Errors
    /// A sentence about an unknown placeholder or a brace without its partner.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(open);
            let inner = from.strip_prefix('{').and_then(|from| from.split_once('}'));
            let Some((name, after)) = inner else {
                return Err(format!("a brace in `{text}` has no partner"));
            };
            if !before.is_empty() {
                pieces.push(Piece::Text(before.into()));
            }
            pieces.push(Piece::Value(match name {
                "subject" => Placeholder::Subject,
                "tenant" => Placeholder::Tenant,
                "label" => Placeholder::Label,
                _ => {
                    return Err(format!(
                        "`{{{name}}}` is none of {{subject}}, {{tenant}}, {{label}}"
                    ));
                }
            }));
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.into()));
        }
        Ok(Self(pieces))
    }

    /// Whether `what` occurs.
    #[must_use]
    pub fn uses(&self, what: Placeholder) -> bool {
        self.0.contains(&Piece::Value(what))
    }

    /// Puts the values in.
    #[must_use]
    pub fn expand(&self, values: &Values<'_>) -> String {
        let texts = || {
            self.0.iter().map(|piece| match piece {
                Piece::Text(text) => text,
                Piece::Value(Placeholder::Subject) => values.subject,
                Piece::Value(Placeholder::Tenant) => values.tenant,
                Piece::Value(Placeholder::Label) => values.label,
            })
        };
        // Of its exact size: it crosses to the host without being moved again.
        let mut expanded = String::with_capacity(texts().map(str::len).sum());
        expanded.extend(texts());
        expanded
    }
}

impl Pattern {
    /// Puts the values in, for a sandbox's name. The host refuses names that read like
    /// paths; a subject such as `spiffe://td/ns/x` may have a sandbox all the same, so
    /// separators are percent-encoded. Different values still make different names.
    #[must_use]
    pub fn name(&self, values: &Values<'_>) -> String {
        let name = self.expand(values);
        // Nearly all are plain, and this is on every request's path.
        if !name.contains(['%', '/', '\\']) {
            return name;
        }
        name.replace('%', "%25").replace('/', "%2F").replace('\\', "%5C")
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

/// The values of the placeholders for one request.
#[derive(Debug, Clone, Copy)]
pub struct Values<'v> {
    /// `{subject}`
    pub subject: &'v str,
    /// `{tenant}`
    pub tenant: &'v str,
    /// `{label}`; empty where a resolver has none.
    pub label: &'v str,
}

/// Everything of a placement but the sandbox's name. Part of a plugin's
/// configuration (`serde(flatten)`).
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Recipe {
    /// A template of the operator's.
    pub template: String,
    /// TCP port inside the sandbox.
    pub port: u16,
    /// When it sleeps, where the template's own answer isn't wanted.
    pub sleep_after: Option<SleepAfter>,
    /// What a client sees meanwhile.
    #[serde(default)]
    pub when_asleep: Asleep,
    /// Added to the template's environment.
    #[serde(default)]
    pub env: BTreeMap<String, Pattern>,
    /// Shown to operators.
    #[serde(default)]
    pub labels: BTreeMap<String, Pattern>,
    /// Set on every request towards the sandbox; a client's own are replaced.
    #[serde(default)]
    pub request_headers: BTreeMap<String, Pattern>,
    /// How WebSockets are relayed.
    #[serde(default)]
    pub relay: Relayed,
}

/// `"10m"` or `"keep-alive"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SleepAfter(Option<Millis>);

impl<'de> Deserialize<'de> for SleepAfter {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        if text == "keep-alive" {
            return Ok(Self(None));
        }
        Millis::parse(&text).map(|after| Self(Some(after))).ok_or_else(|| {
            D::Error::custom(format!(
                "`{text}` is neither `keep-alive` nor a duration such as `10m`"
            ))
        })
    }
}

/// As the contract's `when-asleep`.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Asleep {
    /// The request waits.
    #[default]
    Hold,
    /// A page that shows progress.
    Page,
    /// 503.
    Refuse,
}

/// As the contract's `relay-mode`.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Relayed {
    /// As bytes.
    #[default]
    Raw,
    /// Message by message, through the plugins that judge them.
    Messages,
}

impl Recipe {
    /// Whether `what` occurs in any of the patterns.
    #[must_use]
    pub fn uses(&self, what: Placeholder) -> bool {
        let patterns = [&self.env, &self.labels, &self.request_headers];
        patterns.into_iter().flat_map(BTreeMap::values).any(|pattern| pattern.uses(what))
    }

    /// The placement of one request into `sandbox`.
    #[must_use]
    pub fn place(&self, sandbox: String, values: &Values<'_>) -> Placement {
        let expand = |patterns: &BTreeMap<String, Pattern>| {
            patterns.iter().map(|(name, p)| (name.clone(), p.expand(values))).collect::<Vec<_>>()
        };
        Placement {
            sandbox,
            template: self.template.clone(),
            port: self.port,
            lifetime: self.sleep_after.map(|SleepAfter(after)| match after {
                Some(Millis(after)) => Lifetime::SleepAfter(after),
                None => Lifetime::KeepAlive,
            }),
            when_asleep: match self.when_asleep {
                Asleep::Hold => WhenAsleep::Hold,
                Asleep::Page => WhenAsleep::Page,
                Asleep::Refuse => WhenAsleep::Refuse,
            },
            env: expand(&self.env),
            labels: expand(&self.labels),
            path: None,
            request_headers: self
                .request_headers
                .iter()
                .map(|(name, p)| HeaderEdit::Set((name.clone(), p.expand(values))))
                .collect(),
            response_headers: Vec::new(),
            relay: match self.relay {
                Relayed::Raw => RelayMode::Raw,
                Relayed::Messages => RelayMode::Messages,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_holds_no_separator_and_stays_different() {
        let name = |subject| {
            let pattern = Pattern::parse("user-{subject}").expect("well-formed");
            pattern.name(&Values { subject, tenant: "", label: "" })
        };
        assert_eq!(name("ann@x.org"), "user-ann@x.org");
        assert_eq!(name("spiffe://td/x"), "user-spiffe:%2F%2Ftd%2Fx");
        assert_ne!(name("a/b"), name("a%2Fb"));
    }

    #[test]
    fn placeholders_are_replaced_and_unknown_ones_refused() {
        let values = Values { subject: "alice", tenant: "{label}", label: "" };
        let expand = |text: &str| Pattern::parse(text).map(|p| p.expand(&values));
        assert_eq!(expand("user-{subject}"), Ok("user-alice".into()));
        // What a value contains isn't looked at again.
        assert_eq!(expand("{tenant}/{subject}."), Ok("{label}/alice.".into()));
        for bad in ["{user}", "{", "}", "a{subject", "{{subject}}"] {
            assert!(expand(bad).is_err(), "{bad}");
        }
    }
}
