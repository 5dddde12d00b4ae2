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
    let url = fields.read_if_given("url", cx, read::url);
    let refresh = fields.read("refresh", cx, refresh);
    let refresh_given = fields.find("refresh");
    let file = fields.read_if_given("file", cx, read::path);
    let jwks = fields.read_if_given("jwks", cx, jwks);
    let hs256 = fields.read_if_given("hs256", cx, read::owned_text);
    let issuer = fields.read_if_given("issuer", cx, read::owned_text);
    let audience = fields.read_if_given("audience", cx, read::owned_text);
    let skew = fields.read("skew", cx, skew);
    let url = url?;
    if let (None, Some(given)) = (&url, refresh_given) {
        let advice = "Remove it: other sources are read at every reload";
        return given.problem(cx, "only a key set with `url` is fetched again", advice);
    }
    let source = match (url, file?, jwks?, hs256?) {
        (Some(url), None, None, None) => KeySetSource::Url { url, refresh: refresh? },
        (None, Some(path), None, None) => KeySetSource::File(path),
        (None, None, Some(text), None) => KeySetSource::Inline(text),
        (None, None, None, Some(name)) => KeySetSource::Hs256(SecretName::new(&name)),
        _ => {
            return fields.at.problem(
                cx,
                "a key set has exactly one source",
                "Give one of `url`, `file`, `jwks` and `hs256`",
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

fn refresh(value: &Value<'_>, cx: &mut Context<'_>) -> Option<Duration> {
    let refresh = read::duration(value, cx)?;
    if refresh >= Duration::from_secs(1) {
        return Some(refresh);
    }
    value.problem(cx, format!("{refresh:?} would keep the issuer busy"), "Use 1s at least")
}

fn skew(value: &Value<'_>, cx: &mut Context<'_>) -> Option<Duration> {
    let skew = read::duration(value, cx)?;
    if skew <= MAX_SKEW {
        return Some(skew);
    }
    value.problem(cx, format!("{skew:?} is too long: expired tokens would pass"), "Use 10m at most")
}
