//! From what a plugin said to the request that is sent.
//!
//! `secret:NAME` is filled in where it stands literally in a header field's value or
//! in a form's body. Text that a plugin took from a request and percent-encoded, as
//! forms demand, says `secret%3A` and stays what it is.

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HeaderName, HeaderValue};
use http::{Method, Request, Uri};
use tidegate_types::Secret;
use tidegate_types::secret::fill_in;

use super::Allowed;
use crate::bindings::tidegate::host::http::Outgoing;

/// Bytes of a URL; of all header fields; of a body.
const MAX_URL: usize = 16 << 10;
const MAX_FIELDS: usize = 64 << 10;
const MAX_BODY: usize = 4 << 20;

/// Fields of a connection, not of a request (RFC 9110 §7.6.1), and those that the
/// URL and the body decide.
const REFUSED: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The request, or why it isn't sent. What is said goes to the plugin: no value of a
/// secret may be in it.
pub(super) fn request<'s>(
    asked: Outgoing,
    allowed: &Allowed,
    granted: impl Fn(&str) -> Option<&'s Secret>,
) -> Result<Request<Bytes>, String> {
    if asked.url.len() > MAX_URL || asked.body.len() > MAX_BODY {
        return Err("the URL or the body is too long".into());
    }
    let uri: Uri = asked.url.parse().map_err(|_| "the URL is malformed".to_owned())?;
    if !allowed.contains(&uri) {
        return Err("this host isn't allowed to this plugin".into());
    }
    let method = match Method::from_bytes(asked.method.as_bytes()) {
        Ok(method) if method != Method::CONNECT && method != Method::TRACE => method,
        _ => return Err("this method isn't sent".into()),
    };
    let mut request = Request::new(Bytes::new());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    let fields = request.headers_mut();
    let mut bytes = 0;
    for (name, value) in &asked.headers {
        bytes += name.len() + value.len();
        let (name, value) = field(name, value, &granted)?;
        fields.try_append(name, value).map_err(|_| "there are too many header fields")?;
    }
    if bytes > MAX_FIELDS {
        return Err("the header fields are too long".into());
    }
    let form = fields.get(CONTENT_TYPE).is_some_and(is_form);
    let body = if form { filled(asked.body, &granted)? } else { asked.body };
    if !body.is_empty() {
        fields.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    *request.body_mut() = Bytes::from(body);
    Ok(request)
}

fn field<'s>(
    name: &str,
    value: &str,
    granted: impl Fn(&str) -> Option<&'s Secret>,
) -> Result<(HeaderName, HeaderValue), String> {
    let name = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| "a header field's name is malformed".to_owned())?;
    if REFUSED.contains(&name.as_str()) {
        return Err(format!("the header field `{name}` can't be set"));
    }
    let filled = fill_in(value, granted).map_err(|secret| not_granted(secret.as_str()))?;
    let mut field = HeaderValue::from_str(filled.reveal())
        .map_err(|_| format!("the value of the header field `{name}` is malformed"))?;
    // Never shown when a request is printed.
    field.set_sensitive(filled.reveal() != value || name == AUTHORIZATION || name == COOKIE);
    Ok((name, field))
}

fn not_granted(name: &str) -> String {
    // Cut short: it may be anything.
    let name: String = name.chars().take(80).collect();
    format!("the secret `{name}` isn't granted to this plugin's calls")
}

fn is_form(value: &HeaderValue) -> bool {
    let kind = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// A form with its secrets, each percent-encoded.
fn filled<'s>(
    body: Vec<u8>,
    granted: impl Fn(&str) -> Option<&'s Secret>,
) -> Result<Vec<u8>, String> {
    const MARK: &str = "secret:";
    let text = String::from_utf8(body).map_err(|_| "a form isn't UTF-8".to_owned())?;
    let mut filled = String::with_capacity(text.len());
    let mut pieces = text.split(MARK);
    filled.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let legible = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let end = piece.find(|c| !legible(c)).unwrap_or(piece.len());
        let (name, rest) = piece.split_at(end);
        let secret = granted(name).ok_or_else(|| not_granted(name))?;
        for byte in secret.reveal().bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                filled.push(char::from(byte));
            } else {
                filled.push_str(&format!("%{byte:02X}"));
            }
        }
        filled.push_str(rest);
    }
    Ok(filled.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(headers: &[(&str, &str)], body: &str) -> Result<Request<Bytes>, String> {
        let granted = Secret::new("p+ä s".into());
        let asked = Outgoing {
            method: "POST".into(),
            url: "https://id.example.com/token".into(),
            headers: headers.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect(),
            body: body.into(),
            timeout_ms: 0,
        };
        let allowed = Allowed::parse(&["id.example.com".into()]).expect("a pattern");
        request(asked, &allowed, |name| (name == "CLIENT").then_some(&granted))
    }

    const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded;charset=utf-8");

    #[test]
    fn a_secret_is_filled_into_fields_and_forms_and_nowhere_else() {
        let request = sent(&[("authorization", "Bearer secret:CLIENT")], "secret:CLIENT");
        let request = request.expect("sent");
        let field = request.headers().get("authorization").expect("the field");
        assert_eq!(field.as_bytes(), "Bearer p+ä s".as_bytes());
        assert_eq!(request.body(), "secret:CLIENT");
        let request = sent(&[FORM], "a=1&client_secret=secret:CLIENT&code=secret%3ACLIENT");
        let body = "a=1&client_secret=p%2B%C3%A4%20s&code=secret%3ACLIENT";
        assert_eq!(request.expect("sent").body(), body);
    }

    #[test]
    fn a_secret_that_was_not_granted_is_not_sent() {
        for refused in [sent(&[("x", "secret:OTHER")], ""), sent(&[FORM], "a=secret:OTHER")] {
            let why = refused.expect_err("refused");
            assert_eq!(why, "the secret `OTHER` isn't granted to this plugin's calls");
        }
    }

    #[test]
    fn fields_of_the_connection_and_broken_ones_are_refused() {
        for (name, value) in [
            ("Host", "evil.example"),
            ("Transfer-Encoding", "chunked"),
            ("connection", "close"),
            ("content-length", "3"),
            ("a b", "c"),
            ("a", "b\r\nc: d"),
        ] {
            assert!(sent(&[(name, value)], "abc").is_err(), "{name}");
        }
    }
}
