//! `[upstreams.NAME]`

use http::{HeaderName, HeaderValue};
use tidegate_types::UpstreamName;
use toml::de::DeValue;

use super::value::Value;
use super::{Context, Entry, read};
use crate::Upstream;

pub(super) fn upstream(entry: &Entry<'_>, cx: &mut Context<'_>) -> Option<Upstream> {
    let fields = &entry.fields;
    let name = UpstreamName::new(&entry.name);
    if let Err(error) = &name {
        let what = format!("an upstream can't be called `{}`", error.value);
        let advice = format!("Use {}: it becomes part of a host name", error.expected);
        cx.report(&entry.name_span, &fields.at.path, what, advice);
    }
    let url = fields.read("url", cx, read::url);
    let headers = fields.read("headers", cx, headers);
    Some(Upstream { name: name.ok()?, url: url?, headers: headers? })
}

fn headers(value: &Value<'_>, cx: &mut Context<'_>) -> Option<Vec<(HeaderName, String)>> {
    let mut headers = Some(Vec::new());
    for (name, _, field) in value.entries(cx)? {
        let field = header_name(&name, &field, cx).zip(header_text(&field, cx));
        headers = headers.zip(field).map(|(mut all, field)| {
            all.push(field);
            all
        });
    }
    headers
}

/// A header field that may be set: not one that frames the message or belongs to
/// one connection (RFC 9110 §7.6.1).
pub(super) fn header_name(name: &str, at: &Value<'_>, cx: &mut Context<'_>) -> Option<HeaderName> {
    const FRAMING: &[&str] = &[
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    let Ok(parsed) = HeaderName::from_bytes(name.as_bytes()) else {
        return at.problem(
            cx,
            "this is not the name of a header field",
            "Use letters, digits and -",
        );
    };
    if FRAMING.contains(&parsed.as_str()) {
        return at.problem(
            cx,
            "this header field can't be set: it frames the message",
            "Remove it",
        );
    }
    Some(parsed)
}

/// Never shown when it is wrong: somebody may have put the secret itself here.
fn header_text(value: &Value<'_>, cx: &mut Context<'_>) -> Option<String> {
    match value.value {
        DeValue::String(text) if HeaderValue::from_str(text).is_ok() => Some(text.to_string()),
        DeValue::String(_) => value.problem(
            cx,
            "this has characters that a header field can't have",
            "Remove line ends and control characters",
        ),
        _ => value.problem(cx, "expected text", "Write it like `\"Bearer secret:NAME\"`"),
    }
}
