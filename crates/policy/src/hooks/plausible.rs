//! What of an answer is believed, where several hooks answer alike: refusals,
//! edits of header fields, paths.

use http::{HeaderName, HeaderValue, StatusCode, header};
use tidegate_types::{Denial, HeaderEdit};

use super::Implausible;
use crate::bindings::tidegate::policy::types as raw;

const MAX_FIELDS: usize = 64;
const MAX_MESSAGE: usize = 1_024;
const MAX_PATH: usize = 8 << 10;

/// Which message an edit is made to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    ToSandbox,
    ToClient,
}

/// Fields that are the relay's alone: they frame a message or belong to one
/// connection, and an edit would make two parties read different messages.
const RELAYS_OWN: &[&str] = &[
    "connection",        // names further fields of one connection
    "content-length",    // frames the body
    "expect",            // the relay answers it
    "keep-alive",        // of one connection
    "proxy-connection",  // the same, as old clients spell it
    "te",                // of one connection
    "trailer",           // announces part of the framing
    "transfer-encoding", // frames the body
    "upgrade",           // changes the protocol of one connection
];

/// Belongs to the WebSocket handshake, which is relayed untouched.
const HANDSHAKE: &str = "sec-websocket-";

/// A refusal that a client can be shown.
pub(super) fn denial(raw: raw::Denial) -> Result<Denial, Implausible> {
    let raw::Denial { status, code, message, headers } = raw;
    let fields = headers.len();
    if fields > MAX_FIELDS {
        return Err(Implausible(format!("a refusal with {fields} header fields")));
    }
    let headers: Vec<_> = headers
        .into_iter()
        .map(|(name, value)| Ok((editable(&name, Direction::ToClient)?, field_value(&value)?)))
        .collect::<Result<_, Implausible>>()?;
    let leads_elsewhere = headers.iter().any(|(name, _)| name == header::LOCATION);
    let status = match StatusCode::from_u16(status) {
        Ok(status) if status.is_client_error() => status,
        Ok(status) if status.is_redirection() && leads_elsewhere => status,
        _ => return Err(Implausible(format!("a refusal with status {status}"))),
    };
    let legible = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if code.is_empty() || code.len() > 64 || !code.chars().all(legible) {
        return Err(Implausible("a refusal whose code isn't a short word".into()));
    }
    if message.len() > MAX_MESSAGE || message.contains(char::is_control) {
        return Err(Implausible("a refusal whose message is long or not plain text".into()));
    }
    Ok(Denial { status, code, message, headers })
}

/// Edits that leave the framing alone.
pub(super) fn edits(
    raw: Vec<raw::HeaderEdit>,
    direction: Direction,
) -> Result<Vec<HeaderEdit>, Implausible> {
    if raw.len() > MAX_FIELDS {
        return Err(Implausible(format!("{} edits of header fields", raw.len())));
    }
    let edit = |raw| {
        Ok(match raw {
            raw::HeaderEdit::Set((name, value)) => {
                HeaderEdit::Set(editable(&name, direction)?, field_value(&value)?)
            }
            raw::HeaderEdit::Append((name, value)) => {
                HeaderEdit::Append(editable(&name, direction)?, field_value(&value)?)
            }
            raw::HeaderEdit::Remove(name) => HeaderEdit::Remove(editable(&name, direction)?),
        })
    };
    raw.into_iter().map(edit).collect()
}

/// A field's name that a plugin may set, add or remove.
pub(super) fn editable(name: &str, direction: Direction) -> Result<HeaderName, Implausible> {
    let parsed = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| Implausible(format!("a header field called `{}`", name.escape_debug())))?;
    let known = parsed.as_str();
    let host = direction == Direction::ToSandbox && parsed == header::HOST;
    if host || RELAYS_OWN.contains(&known) || known.starts_with(HANDSHAKE) {
        return Err(Implausible(format!("an edit of `{known}`, which only the relay sets")));
    }
    Ok(parsed)
}

fn field_value(value: &str) -> Result<HeaderValue, Implausible> {
    HeaderValue::from_str(value)
        .map_err(|_| Implausible("a header value with characters that aren't allowed there".into()))
}

/// A name in the form that RFC 9110 §5.6.2 calls a token: what a cookie may be called.
pub(super) fn token(name: String) -> Result<String, Implausible> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || name.len() > 256 || !name.bytes().all(allowed) {
        return Err(Implausible(format!("a cookie called `{}`", name.escape_debug())));
    }
    Ok(name)
}

/// A path that can stand in a request line.
pub(super) fn path(path: String) -> Result<String, Implausible> {
    let visible = path.bytes().all(|b| b.is_ascii_graphic());
    if !path.starts_with('/') || path.len() > MAX_PATH || !visible || path.contains(['?', '#']) {
        return Err(Implausible(format!("the path `{}`", path.escape_debug())));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, headers: &[(&str, &str)]) -> Result<Denial, Implausible> {
        let headers = headers.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
        denial(raw::Denial { status, code: "no".into(), message: "No.".into(), headers })
    }

    #[test]
    fn a_refusal_is_a_4xx_or_leads_elsewhere() {
        for status in [400, 401, 403, 404, 429, 499] {
            assert!(refusal(status, &[]).is_ok(), "{status}");
        }
        for status in [0, 99, 100, 200, 204, 302, 303, 500, 503, 600, 65_535] {
            assert!(refusal(status, &[]).is_err(), "{status}");
        }
        assert!(refusal(303, &[("Location", "/a")]).is_ok());
        assert!(refusal(200, &[("Location", "/a")]).is_err());
    }

    #[test]
    fn header_fields_that_split_or_frame_a_message_are_refused() {
        for (name, value) in [
            ("location", "/a\r\nset-cookie: x=1"),
            ("a b", "1"),
            ("", "1"),
            ("Content-Length", "0"),
            ("transfer-encoding", "chunked"),
            ("Connection", "close"),
            ("sec-websocket-accept", "x"),
        ] {
            assert!(refusal(401, &[(name, value)]).is_err(), "{name}: {value:?}");
        }
    }

    #[test]
    fn a_path_can_stand_in_a_request_line() {
        for good in ["/", "/a%20b;c=1", "//x"] {
            assert!(path(good.into()).is_ok(), "{good}");
        }
        for bad in ["", "a", "/a b", "/a?b", "/a#b", "/\r\n", "/ü"] {
            assert!(path(bad.into()).is_err(), "{bad:?}");
        }
    }
}
