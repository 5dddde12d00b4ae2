//! Where the component of a plugin comes from, and what it must be:
//! the keys around `source`.

use std::ops::RangeInclusive;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::Uri;
use tidegate_types::{OciReference, OciVersion, PluginName, SecretName, Sha256Digest};

use super::plugin::within;
use super::value::{Fields, Value};
use super::{Context, read};
use crate::keys::CREDENTIALS;
use crate::{Credentials, OnMissing, PluginSource};

const POLL: RangeInclusive<Duration> = Duration::from_secs(5)..=Duration::from_secs(7 * 86400);

/// Where a component comes from, and what it must be.
pub(super) struct Origin {
    pub(super) source: PluginSource,
    pub(super) sha256: Option<Sha256Digest>,
    pub(super) verify_key: Option<[u8; 32]>,
    pub(super) poll: Duration,
    pub(super) credentials: Option<Credentials>,
    pub(super) on_missing: OnMissing,
}

pub(super) fn origin(fields: &Fields<'_>, cx: &mut Context<'_>) -> Option<Origin> {
    let source = fields.read("source", cx, source);
    let sha256 = fields.read_if_given("sha256", cx, sha256);
    let verify_key = fields.read_if_given("verify-key", cx, public_key);
    let poll = fields.read("poll", cx, poll);
    let credentials = within(fields, "credentials", &CREDENTIALS, cx, credentials);
    let on_missing = fields.read("on-missing", cx, read::choice);
    let (source, sha256) = (source?, sha256?);

    if matches!(source, PluginSource::Https(_)) && sha256.is_none() {
        return fields.find("source").and_then(|at| {
            at.problem(
                cx,
                "what a URL holds may change: this plugin needs a `sha256`",
                "Download the component, look at it, and add what `sha256sum` says of it",
            )
        });
    }
    without_meaning(fields, &source, cx)?;
    Some(Origin {
        source,
        sha256,
        verify_key: verify_key?,
        poll: poll?,
        credentials: credentials?,
        on_missing: match on_missing? {
            "closed" => OnMissing::Closed,
            _ => OnMissing::Exit,
        },
    })
}

/// Keys that this kind of source has no use for: whoever wrote them expects
/// something of them.
fn without_meaning(fields: &Fields<'_>, source: &PluginSource, cx: &mut Context<'_>) -> Option<()> {
    let useless: &[&'static str] = match source {
        PluginSource::Builtin(_) => &["sha256", "verify-key", "poll", "credentials", "on-missing"],
        PluginSource::File(_) => &["poll", "credentials"],
        PluginSource::Https(_) => &["poll"],
        PluginSource::Oci(reference) => match reference.version() {
            OciVersion::Digest(_) => &["poll"],
            OciVersion::Tag(_) => &[],
        },
    };
    for key in useless {
        if let Some(value) = fields.find(key) {
            return value.problem(cx, "this key does nothing for such a `source`", "Remove it");
        }
    }
    Some(())
}

fn source(value: &Value<'_>, cx: &mut Context<'_>) -> Option<PluginSource> {
    let text = read::text(value, cx)?;
    if let Some(name) = text.strip_prefix("builtin:") {
        let fine = PluginName::new(name).is_ok();
        return if fine {
            Some(PluginSource::Builtin(name.to_owned()))
        } else {
            value.unexpected(cx)
        };
    }
    match text.split_once("://") {
        None => Some(PluginSource::File(cx.resolve(text))),
        Some(("oci", reference)) => match reference.parse::<OciReference>() {
            Ok(reference) => Some(PluginSource::Oci(reference)),
            Err(error) => {
                let advice = format!("Write it like `oci://{}`", "ghcr.io/team/policy:1");
                value.problem(cx, format!("expected {}", error.expected), advice)
            }
        },
        Some(("https", _)) => https(text, value, cx),
        Some(("http", _)) => value.problem(
            cx,
            "plugins aren't fetched over plain `http`",
            "Use `https`, a registry, or download the component and put its path here",
        ),
        Some((scheme, _)) => value.problem(
            cx,
            format!("plugins can't be fetched by `{}`", scheme.escape_debug()),
            "Use `https://…`, `oci://…`, or the path of a component",
        ),
    }
}

fn https(text: &str, value: &Value<'_>, cx: &mut Context<'_>) -> Option<PluginSource> {
    if text.split('/').nth(2).is_some_and(|authority| authority.contains('@')) {
        // Not shown: there may be a password in it.
        return value.problem(
            cx,
            "this URL carries credentials",
            "Put them into `credentials`, the password as a secret",
        );
    }
    let url = text.parse::<Uri>().ok().filter(|url| {
        url.authority().is_some_and(|authority| !authority.host().is_empty()) && !text.contains('#')
    });
    match url {
        Some(url) => Some(PluginSource::Https(url)),
        None => {
            value.problem(cx, "this URL is none", "Write it like `https://example.org/policy.wasm`")
        }
    }
}

fn sha256(value: &Value<'_>, cx: &mut Context<'_>) -> Option<Sha256Digest> {
    read::text(value, cx)?.parse().ok().or_else(|| value.unexpected(cx))
}

fn public_key(value: &Value<'_>, cx: &mut Context<'_>) -> Option<[u8; 32]> {
    let bytes = BASE64_STANDARD.decode(read::text(value, cx)?).ok();
    bytes.and_then(|bytes| bytes.try_into().ok()).or_else(|| value.unexpected(cx))
}

fn poll(value: &Value<'_>, cx: &mut Context<'_>) -> Option<Duration> {
    let poll = read::duration(value, cx)?;
    if POLL.contains(&poll) {
        return Some(poll);
    }
    value.problem(cx, format!("{poll:?} is out of range"), "Use 5s to 7d")
}

fn credentials(fields: &Fields<'_>, cx: &mut Context<'_>) -> Option<Credentials> {
    let username = fields.read("username", cx, read::owned_text);
    let password = fields.read("password", cx, secret_text);
    Some(Credentials { username: username?, password: password? })
}

/// The name in `secret:NAME`. Never shown when it is something else: that may be
/// the secret itself.
fn secret_text(value: &Value<'_>, cx: &mut Context<'_>) -> Option<SecretName> {
    let text = value.value.as_str().unwrap_or_default();
    let legible = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    match text.strip_prefix("secret:") {
        Some(name) if !name.is_empty() && name.chars().all(legible) => Some(SecretName::new(name)),
        _ => value.problem(
            cx,
            "expected \"secret:NAME\"",
            "Put the password into `[secrets.NAME]` and name that here",
        ),
    }
}
