//! What one part of the file says of another: upstreams of templates, and every
//! `secret:NAME`. Checked on the file as typed, so that a section with another
//! mistake in it still counts as defined.

use toml::de::DeValue;

use super::Context;
use super::value::{Fields, Value};

pub(super) fn check(file: &Fields<'_>, cx: &mut Context<'_>) {
    let secrets = names(file, "secrets");
    let upstreams = names(file, "upstreams");
    for template in entries(file, "templates", cx) {
        for env in inner(&template, "env", cx) {
            secrets_of(&env, &secrets, cx);
        }
        for name in inner(&template, "upstreams", cx) {
            let Some(text) = name.value.as_str() else { continue };
            if !upstreams.iter().any(|known| known == text) {
                let what = format!("there is no upstream `{}`", shown(text));
                let _: Option<()> = name.problem(cx, what, advice("upstreams", text, &upstreams));
            }
        }
    }
    for upstream in entries(file, "upstreams", cx) {
        for header in inner(&upstream, "headers", cx) {
            secrets_of(&header, &secrets, cx);
        }
    }
    for plugin in inner_items(file, "plugin", cx) {
        let http = table(&plugin, cx).into_iter().find(|(key, _, _)| key == "http");
        for name in http.map(|(_, _, http)| inner(&http, "secrets", cx)).unwrap_or_default() {
            if let Some(text) = name.value.as_str() {
                secret(text, &name, &secrets, cx);
            }
        }
        for credential in inner(&plugin, "credentials", cx) {
            if credential.value.as_str().is_some_and(|text| text.starts_with("secret:")) {
                secrets_of(&credential, &secrets, cx);
            }
        }
    }
    for key_set in entries(file, "key-sets", cx) {
        for (key, _, value) in table(&key_set, cx) {
            if let Some(name) = value.value.as_str().filter(|_| key == "hs256") {
                secret(name, &value, &secrets, cx);
            }
        }
    }
}

/// Every `secret:NAME` in a text, by the rule of
/// [`fill_in`](tidegate_types::secret::fill_in).
fn secrets_of(value: &Value<'_>, known: &[String], cx: &mut Context<'_>) {
    let Some(text) = value.value.as_str() else { return };
    for after in text.split("secret:").skip(1) {
        let legible = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let name = after.split(|c| !legible(c)).next().unwrap_or("");
        secret(name, value, known, cx);
    }
}

fn secret(name: &str, at: &Value<'_>, known: &[String], cx: &mut Context<'_>) {
    if !known.iter().any(|it| it == name) {
        let what = format!("there is no secret `{}`", shown(name));
        let _: Option<()> = at.problem(cx, what, advice("secrets", name, known));
    }
}

fn advice(section: &str, typed: &str, known: &[String]) -> String {
    let nearest = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(typed, name), name))
        .min()
        .filter(|(distance, name)| *distance <= name.len().div_ceil(3));
    match nearest {
        Some((_, name)) => format!("Did you mean `{name}`?"),
        None => format!("Define it in `[{section}.NAME]`"),
    }
}

/// Cut short: somebody may have put the secret itself where its name belongs.
fn shown(name: &str) -> String {
    if name.chars().count() <= 40 {
        return name.chars().flat_map(char::escape_debug).collect();
    }
    name.chars().take(8).flat_map(char::escape_debug).chain(['…']).collect()
}

fn names(file: &Fields<'_>, section: &'static str) -> Vec<String> {
    match file.find(section).map(|value| value.value) {
        Some(DeValue::Table(table)) => table.keys().map(|key| key.get_ref().to_string()).collect(),
        _ => Vec::new(),
    }
}

fn entries<'a>(file: &Fields<'a>, section: &'static str, cx: &mut Context<'_>) -> Vec<Value<'a>> {
    let Some(value) = file.find(section) else { return Vec::new() };
    table(&value, cx).into_iter().map(|(_, _, entry)| entry).collect()
}

/// The items of an array of tables.
fn inner_items<'a>(file: &Fields<'a>, key: &'static str, cx: &mut Context<'_>) -> Vec<Value<'a>> {
    let array = file.find(key).filter(|value| value.value.is_array());
    array.and_then(|value| value.items(cx)).unwrap_or_default()
}

/// What stands in the table or array `key` of a table.
fn inner<'a>(value: &Value<'a>, key: &str, cx: &mut Context<'_>) -> Vec<Value<'a>> {
    let found = table(value, cx).into_iter().find(|(name, _, _)| name == key);
    match found.map(|(_, _, value)| value) {
        Some(value) if value.value.is_array() => value.items(cx).unwrap_or_default(),
        Some(value) => table(&value, cx).into_iter().map(|(_, _, entry)| entry).collect(),
        None => Vec::new(),
    }
}

/// The entries of a table; of anything else none, which was reported when it was read.
fn table<'a>(
    value: &Value<'a>,
    cx: &mut Context<'_>,
) -> Vec<(String, std::ops::Range<usize>, Value<'a>)> {
    if value.value.is_table() { value.entries(cx).unwrap_or_default() } else { Vec::new() }
}
