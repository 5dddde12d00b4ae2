//! One function per [`Kind`](crate::keys::Kind) of value. Each reports what is
//! wrong and answers `None` then.

use std::net::{IpAddr, SocketAddr};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use http::Uri;
use tidegate_types::UpstreamName;
use toml::de::DeValue;

use super::Context;
use super::value::Value;
use crate::Cidr;
use crate::keys::Kind;

/// A URL or file name longer than this is a mistake.
const MAX_TEXT: usize = 64 * 1024;

/// Text that is neither empty nor holds NUL.
pub(super) fn text<'a>(value: &Value<'a>, cx: &mut Context<'_>) -> Option<&'a str> {
    match value.value {
        DeValue::String(text)
            if !text.is_empty() && text.len() <= MAX_TEXT && !text.contains('\0') =>
        {
            Some(text)
        }
        _ => value.unexpected(cx),
    }
}

pub(super) fn owned_text(value: &Value<'_>, cx: &mut Context<'_>) -> Option<String> {
    text(value, cx).map(str::to_owned)
}

pub(super) fn bool(value: &Value<'_>, cx: &mut Context<'_>) -> Option<bool> {
    value.value.as_bool().or_else(|| value.unexpected(cx))
}

pub(super) fn address(value: &Value<'_>, cx: &mut Context<'_>) -> Option<SocketAddr> {
    let text = text(value, cx)?;
    text.parse().ok().or_else(|| value.unexpected(cx))
}

/// A path, made absolute.
pub(super) fn path(value: &Value<'_>, cx: &mut Context<'_>) -> Option<PathBuf> {
    let text = text(value, cx)?;
    Some(cx.resolve(text))
}

/// An absolute path inside a sandbox.
pub(super) fn inside_path(value: &Value<'_>, cx: &mut Context<'_>) -> Option<PathBuf> {
    let path = Path::new(text(value, cx)?);
    let plain = path.is_absolute() && !path.components().any(|c| c == Component::ParentDir);
    if plain { Some(path.to_owned()) } else { value.unexpected(cx) }
}

pub(super) fn duration(value: &Value<'_>, cx: &mut Context<'_>) -> Option<Duration> {
    parse_duration(text(value, cx)?).or_else(|| value.unexpected(cx))
}

fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number.checked_mul(60)?)),
        "h" => Some(Duration::from_secs(number.checked_mul(3600)?)),
        "d" => Some(Duration::from_secs(number.checked_mul(86400)?)),
        _ => None,
    }
    // Ten years: what is longer is a mistake, and could overflow a deadline.
    .filter(|duration| *duration <= Duration::from_secs(3650 * 86400))
}

pub(super) fn size(value: &Value<'_>, cx: &mut Context<'_>) -> Option<u64> {
    parse_size(text(value, cx)?).or_else(|| value.unexpected(cx))
}

fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let shift = match unit {
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return None,
    };
    // Signed everywhere further down: rlimits, cgroup files.
    number.checked_mul(1 << shift).filter(|bytes| (1..=i64::MAX as u64).contains(bytes))
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, unit.trim_start()))
}

/// `"none"` is no limit.
#[expect(clippy::option_option, reason = "broken and unlimited are two things")]
pub(super) fn size_limit(value: &Value<'_>, cx: &mut Context<'_>) -> Option<Option<u64>> {
    if is_none(value) { Some(None) } else { size(value, cx).map(Some) }
}

/// `"none"` is no limit.
#[expect(clippy::option_option, reason = "broken and unlimited are two things")]
pub(super) fn integer_limit(value: &Value<'_>, cx: &mut Context<'_>) -> Option<Option<u64>> {
    if is_none(value) {
        return Some(None);
    }
    match whole(value).filter(|n| (1..=u64::from(u32::MAX)).contains(n)) {
        Some(number) => Some(Some(number)),
        None => value.unexpected(cx),
    }
}

/// `"none"` is no limit.
#[expect(clippy::option_option, reason = "broken and unlimited are two things")]
pub(super) fn cores_limit(value: &Value<'_>, cx: &mut Context<'_>) -> Option<Option<f64>> {
    if is_none(value) {
        return Some(None);
    }
    let cores = match value.value {
        DeValue::Float(number) => number.as_str().parse().ok(),
        DeValue::Integer(_) => whole(value).map(|n| n as f64),
        _ => None,
    };
    match cores.filter(|n: &f64| *n >= 0.01 && *n <= 65536.0) {
        Some(cores) => Some(Some(cores)),
        None => value.unexpected(cx),
    }
}

fn is_none(value: &Value<'_>) -> bool {
    value.value.as_str() == Some("none")
}

fn whole(value: &Value<'_>) -> Option<u64> {
    let number = value.value.as_integer()?;
    u64::from_str_radix(number.as_str(), number.radix()).ok()
}

pub(super) fn integer(value: &Value<'_>, cx: &mut Context<'_>) -> Option<u64> {
    let Kind::Integer(from, to) = value.kind else { return value.unexpected(cx) };
    whole(value).filter(|n| (from..=to).contains(n)).or_else(|| value.unexpected(cx))
}

pub(super) fn port(value: &Value<'_>, cx: &mut Context<'_>) -> Option<u16> {
    whole(value)
        .and_then(|n| u16::try_from(n).ok())
        .filter(|n| *n != 0)
        .or_else(|| value.unexpected(cx))
}

/// The word that was chosen, as it stands in the table of keys.
pub(super) fn choice(value: &Value<'_>, cx: &mut Context<'_>) -> Option<&'static str> {
    let Kind::Choice(words) = value.kind else { return value.unexpected(cx) };
    let typed = value.value.as_str();
    words.iter().find(|word| typed == Some(**word)).copied().or_else(|| value.unexpected(cx))
}

/// The words that were chosen, as they stand in the table of keys.
pub(super) fn choices(value: &Value<'_>, cx: &mut Context<'_>) -> Option<Vec<&'static str>> {
    let Kind::Choices(words) = value.kind else { return value.unexpected(cx) };
    let mut chosen = Vec::new();
    for item in value.items(cx)? {
        let typed = item.value.as_str();
        match words.iter().find(|word| typed == Some(**word)) {
            Some(word) => chosen.push(*word),
            None => return item.unexpected(cx),
        }
    }
    Some(chosen)
}

pub(super) fn words(value: &Value<'_>, cx: &mut Context<'_>) -> Option<Vec<String>> {
    let mut words = Vec::new();
    for item in value.items(cx)? {
        match item.value {
            DeValue::String(word) if !word.contains('\0') => words.push(word.to_string()),
            _ => return item.unexpected(cx),
        }
    }
    if words.first().is_none_or(String::is_empty) {
        return value.unexpected(cx);
    }
    Some(words)
}

pub(super) fn cidrs(value: &Value<'_>, cx: &mut Context<'_>) -> Option<Vec<Cidr>> {
    let mut blocks = Some(Vec::new());
    for item in value.items(cx)? {
        let block = item.value.as_str().and_then(parse_cidr).or_else(|| item.unexpected(cx));
        blocks = blocks.zip(block).map(|(mut all, block)| {
            all.push(block);
            all
        });
    }
    blocks
}

/// An address alone is a block of one.
fn parse_cidr(text: &str) -> Option<Cidr> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok()?,
        Some(_) => return None,
        None => most,
    };
    (prefix <= most).then_some(Cidr { address, prefix })
}

/// Host names, in lower case.
pub(super) fn hosts(value: &Value<'_>, cx: &mut Context<'_>) -> Option<Vec<String>> {
    let is_host = |text: &&str| {
        (1..=253).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
    };
    let mut hosts = Vec::new();
    for item in value.items(cx)? {
        match item.value.as_str().filter(is_host) {
            Some(host) => hosts.push(host.to_ascii_lowercase()),
            None => return item.unexpected(cx),
        }
    }
    Some(hosts)
}

/// Names of upstreams; whether they exist is checked later.
pub(super) fn upstream_names(value: &Value<'_>, cx: &mut Context<'_>) -> Option<Vec<UpstreamName>> {
    let mut names = Vec::new();
    for item in value.items(cx)? {
        match item.value.as_str().and_then(|text| UpstreamName::new(text).ok()) {
            Some(name) if names.contains(&name) => {
                return item.problem(cx, format!("`{name}` stands here twice"), "Remove one");
            }
            Some(name) => names.push(name),
            None => return item.unexpected(cx),
        }
    }
    Some(names)
}

pub(super) fn url(value: &Value<'_>, cx: &mut Context<'_>) -> Option<Uri> {
    let text = text(value, cx)?;
    let parsed = text.parse::<Uri>().ok().filter(|url| {
        matches!(url.scheme_str(), Some("http" | "https"))
            && url.authority().is_some_and(|a| !a.as_str().contains('@') && !a.host().is_empty())
            && url.query().is_none()
            && !text.contains('#')
    });
    if parsed.is_none() && text.contains('@') {
        // Not shown: there may be a password in it.
        return value.problem(
            cx,
            "this URL carries credentials, or is none",
            "Put them into `headers`, like `authorization = \"Bearer secret:NAME\"`",
        );
    }
    parsed.or_else(|| value.unexpected(cx))
}

pub(super) fn url_path(value: &Value<'_>, cx: &mut Context<'_>) -> Option<String> {
    let text = text(value, cx)?;
    let fine = text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
    if fine { Some(text.to_owned()) } else { value.unexpected(cx) }
}

/// Any value as JSON. Dates become text, numbers that JSON has no place for are
/// reported.
pub(super) fn json(value: &Value<'_>, cx: &mut Context<'_>) -> Option<serde_json::Value> {
    use serde_json::Value as Json;
    Some(match value.value {
        DeValue::String(text) => Json::String(text.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Json::from(number),
            Err(_) => {
                return value.problem(cx, "this number is too large", "Use 64 bits at most");
            }
        },
        DeValue::Float(number) => {
            let number = number.as_str().parse().ok().and_then(serde_json::Number::from_f64);
            match number {
                Some(number) => Json::Number(number),
                None => {
                    return value.problem(cx, "JSON has no such number", "Use a finite number");
                }
            }
        }
        DeValue::Boolean(it) => Json::Bool(*it),
        DeValue::Datetime(it) => Json::String(it.to_string()),
        DeValue::Array(_) => {
            let items = value.items(cx)?;
            Json::Array(items.iter().map(|item| json(item, cx)).collect::<Option<_>>()?)
        }
        DeValue::Table(_) => {
            let entries = value.entries(cx)?;
            let pairs = entries.into_iter().map(|(name, _, it)| Some((name, json(&it, cx)?)));
            Json::Object(pairs.collect::<Option<_>>()?)
        }
    })
}
