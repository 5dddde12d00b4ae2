//! `[key-sets.NAME]`

use std::time::Duration;

use tidegate_types::SecretName;

use super::value::Value;
use super::{Context, Entry, read};
use crate::{KeySet, KeySetSource};

/// A clock that is off by more should be put right instead.
const MAX_SKEW: Duration = Duration::from_secs(600);

pub(super) fn key_set(entry: &Entry<'_>, cx: &mut Context<'_>) -> Option<(String, KeySet)> {
    let fields = &entry.fields;
    let file = fields.read_if_given("file", cx, read::path);
    let jwks = fields.read_if_given("jwks", cx, jwks);
    let hs256 = fields.read_if_given("hs256", cx, read::owned_text);
    let issuer = fields.read_if_given("issuer", cx, read::owned_text);
    let audience = fields.read_if_given("audience", cx, read::owned_text);
    let skew = fields.read("skew", cx, skew);
    let source = match (file?, jwks?, hs256?) {
        (Some(path), None, None) => KeySetSource::File(path),
        (None, Some(text), None) => KeySetSource::Inline(text),
        (None, None, Some(name)) => KeySetSource::Hs256(SecretName::new(&name)),
        _ => {
            return fields.at.problem(
                cx,
                "a key set has exactly one source",
                "Give one of `file`, `jwks` and `hs256`",
            );
        }
    };
    let set = KeySet { source, issuer: issuer?, audience: audience?, skew: skew? };
    Some((entry.name.clone(), set))
}

fn jwks(value: &Value<'_>, cx: &mut Context<'_>) -> Option<String> {
    let text = read::text(value, cx)?;
    let advice = "Paste the whole document: '''{\"keys\": […]}'''";
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(json) if json.get("keys").is_some_and(serde_json::Value::is_array) => {
            Some(text.to_owned())
        }
        Ok(_) => value.problem(cx, "this JSON has no `keys` array", advice),
        Err(error) => value.problem(cx, format!("this is not JSON: {error}"), advice),
    }
}

fn skew(value: &Value<'_>, cx: &mut Context<'_>) -> Option<Duration> {
    let skew = read::duration(value, cx)?;
    if skew <= MAX_SKEW {
        return Some(skew);
    }
    value.problem(cx, format!("{skew:?} is too long: expired tokens would pass"), "Use 10m at most")
}
