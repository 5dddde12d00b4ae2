//! What the operator grants one plugin beyond answering: `http` and `journal`.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use tidegate_types::SecretName;

use super::value::{Fields, Value};
use super::{Context, read};
use crate::{PluginHttp, PluginJournal};

const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60);
const MAX_BODY: RangeInclusive<u64> = 1 << 10..=64 << 20;
const MAX_SIZE: RangeInclusive<u64> = 4 << 10..=16 << 30;

pub(super) fn http(fields: &Fields<'_>, cx: &mut Context<'_>) -> Option<PluginHttp> {
    let hosts = fields.read("hosts", cx, host_patterns);
    let secrets = fields.read("secrets", cx, secret_names);
    let timeout = fields.read("timeout", cx, timeout);
    let max_body = fields.read("max-body", cx, max_body);
    Some(PluginHttp {
        hosts: hosts?,
        secrets: secrets?,
        timeout: timeout?,
        max_body: usize::try_from(max_body?).unwrap_or(usize::MAX),
    })
}

pub(super) fn journal(fields: &Fields<'_>, cx: &mut Context<'_>) -> Option<PluginJournal> {
    let file = fields.read("file", cx, file_name);
    let max_size = fields.read("max-size", cx, max_size);
    let keep = fields.read("keep", cx, read::integer);
    let keep = u32::try_from(keep?).unwrap_or(u32::MAX);
    Some(PluginJournal { file: file?, max_size: max_size?, keep })
}

/// Whether two journals would write one file: the older files of `audit.jsonl` are
/// called `audit.jsonl.1` and so on.
pub(super) fn same_files(one: &str, other: &str) -> bool {
    let older = |name: &str, of: &str| {
        let number = name.strip_prefix(of).and_then(|rest| rest.strip_prefix('.'));
        number.is_some_and(|it| !it.is_empty() && it.bytes().all(|b| b.is_ascii_digit()))
    };
    one == other || older(one, other) || older(other, one)
}

fn host_patterns(value: &Value<'_>, cx: &mut Context<'_>) -> Option<Vec<String>> {
    let mut hosts = Vec::new();
    for item in value.items(cx)? {
        match item.value.as_str().map(str::to_ascii_lowercase) {
            Some(host) if is_host_pattern(&host) => hosts.push(host),
            _ => return item.unexpected(cx),
        }
    }
    Some(hosts)
}

/// Whether they exist is checked later.
fn secret_names(value: &Value<'_>, cx: &mut Context<'_>) -> Option<BTreeSet<SecretName>> {
    let mut names = BTreeSet::new();
    for item in value.items(cx)? {
        match item.value.as_str() {
            Some(name) => names.insert(SecretName::new(name)),
            None => return item.unexpected(cx),
        };
    }
    Some(names)
}

/// A name, an IPv4 address or a bracketed IPv6 one; `http://` and `*.` before a
/// name; a port.
fn is_host_pattern(text: &str) -> bool {
    let text = text.strip_prefix("http://").unwrap_or(text);
    let Ok(authority) = text.strip_prefix("*.").unwrap_or(text).parse::<http::uri::Authority>()
    else {
        return false;
    };
    let host = authority.host();
    let named = host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
        && host.split('.').all(|label| !label.is_empty());
    let bracketed = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok());
    let port = authority.as_str().strip_prefix(host).unwrap_or_default();
    let port_fine = port.is_empty() || authority.port_u16().is_some_and(|port| port != 0);
    !text.contains('@') && (named || (bracketed && !text.starts_with("*."))) && port_fine
}

fn file_name(value: &Value<'_>, cx: &mut Context<'_>) -> Option<String> {
    let text = read::text(value, cx)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let fine = text.len() <= 200 && !text.starts_with('.') && text.chars().all(plain);
    if fine { Some(text.to_owned()) } else { value.unexpected(cx) }
}

fn timeout(value: &Value<'_>, cx: &mut Context<'_>) -> Option<Duration> {
    let timeout = read::duration(value, cx)?;
    if TIMEOUT.contains(&timeout) {
        return Some(timeout);
    }
    value.problem(cx, format!("{timeout:?} is out of range"), "Use 10ms to 60s")
}

fn max_body(value: &Value<'_>, cx: &mut Context<'_>) -> Option<u64> {
    let bytes = read::size(value, cx)?;
    if MAX_BODY.contains(&bytes) {
        return Some(bytes);
    }
    value.problem(cx, format!("{bytes} bytes are out of range"), "Use 1KiB to 64MiB")
}

fn max_size(value: &Value<'_>, cx: &mut Context<'_>) -> Option<u64> {
    let bytes = read::size(value, cx)?;
    if MAX_SIZE.contains(&bytes) {
        return Some(bytes);
    }
    value.problem(cx, format!("{bytes} bytes are out of range"), "Use 4KiB to 16GiB")
}

#[cfg(test)]
mod tests {
    use super::{is_host_pattern, same_files};

    #[test]
    fn no_journal_is_called_like_an_older_file_of_another() {
        let check = |one: &str, other: &str, same: bool| {
            assert_eq!((same_files(one, other), same_files(other, one)), (same, same), "{other}");
        };
        check("audit.jsonl", "audit.jsonl", true);
        check("audit.jsonl", "audit.jsonl.1", true);
        check("audit.jsonl", "audit.jsonl.12", true);
        check("audit.jsonl", "audit.jsonl.", false);
        check("audit.jsonl", "audit.jsonl.1.1", false);
        check("audit.jsonl", "audit.jsonl1", false);
        check("audit.jsonl", "other.jsonl", false);
        check("audit.1", "audit.2", false);
    }

    #[test]
    fn a_host_pattern_is_a_host_with_a_star_before_and_a_port_behind() {
        for fine in
            ["id.example.org", "*.x.org:8443", "127.0.0.1:80", "[::1]:8080", "http://localhost"]
        {
            assert!(is_host_pattern(fine), "{fine}");
        }
        for wrong in [
            "",
            "*",
            "*.",
            "a.*.org",
            "**.x.org",
            "https://x.org",
            "http://http://x.org",
            "http://x.org/",
            "x.org/a",
            "u@x.org",
            "x.org:0",
            "x.org:",
            "x.org:a",
            "x..org",
            ".x.org",
            "*.[::1]",
            "[::1",
            "a b",
        ] {
            assert!(!is_host_pattern(wrong), "{wrong}");
        }
    }
}
