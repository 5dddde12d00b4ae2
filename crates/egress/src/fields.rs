//! Which header fields pass, either way.
//!
//! Cookies pass in neither direction: a session of the operator's account is a
//! credential, and a sandbox's jar is not the place for it.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::upstream::Target;

/// Of this connection only (RFC 9110 §7.6.1), or set anew by who sends them on.
const OF_THE_CONNECTION: [&str; 14] = [
    "connection",
    "content-length", // framing is made anew, so two can't disagree about it
    "expect",         // answered here, by reading the body
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What says where a request came from: nobody's affair outside.
const OF_THE_ROUTE: [&str; 4] = ["forwarded", "via", "x-real-ip", "cookie"];

pub(crate) fn is_of_the_connection(name: &HeaderName) -> bool {
    OF_THE_CONNECTION.contains(&name.as_str())
}

/// Edits a request's fields for their way out: the upstream's own are put in, and
/// no other of that name is left, under whichever spelling.
pub(crate) fn outward(headers: &mut HeaderMap, target: &Target) {
    remove_named_by_connection(headers);
    let leave: Vec<HeaderName> = headers
        .keys()
        .filter(|name| {
            is_of_the_connection(name)
                || OF_THE_ROUTE.contains(&name.as_str())
                || name.as_str().starts_with("x-forwarded-")
                || target.headers.iter().any(|(own, _)| alike(own, name))
        })
        .cloned()
        .collect();
    for name in leave {
        headers.remove(name);
    }
    for (name, value) in &target.headers {
        headers.append(name, value.clone());
    }
}

/// Edits an answer's fields for their way in.
pub(crate) fn inward(headers: &mut HeaderMap, target: &Target) {
    remove_named_by_connection(headers);
    let tells = |value: &HeaderValue| {
        target.needles.iter().any(|needle| contains(value.as_bytes(), needle))
    };
    let leave: Vec<HeaderName> = headers
        .iter()
        .filter(|(name, value)| {
            // The length of an answer to HEAD is a fact about it, not framing.
            (is_of_the_connection(name) && *name != header::CONTENT_LENGTH)
                || *name == header::SET_COOKIE
                || name.as_str() == "set-cookie2"
                || tells(value)
        })
        .map(|(name, _)| name.clone())
        .collect();
    for name in leave {
        headers.remove(name);
    }
}

fn remove_named_by_connection(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
}

/// Whether some server might take one name for the other: `x_api_key` becomes
/// `X-API-KEY` where fields are environment variables.
fn alike(own: &HeaderName, other: &HeaderName) -> bool {
    let (own, other) = (own.as_str().as_bytes(), other.as_str().as_bytes());
    let fold = |byte: &u8| if *byte == b'_' { b'-' } else { *byte };
    own.len() == other.len() && own.iter().map(fold).eq(other.iter().map(fold))
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len().max(1)).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidegate_types::{Secret, UpstreamName};

    use super::*;
    use crate::upstream::Upstream;

    fn target() -> Target {
        let upstream = Upstream {
            name: UpstreamName::new("models").expect("valid"),
            url: "https://api.example.com".parse().expect("valid"),
            headers: vec![
                (header::AUTHORIZATION, Secret::new("Bearer sk-0123456789".into())),
                (HeaderName::from_static("x-api-key"), Secret::new("key-0123456789".into())),
            ],
        };
        Target::new(&upstream, Arc::default()).expect("usable")
    }

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name: HeaderName = name.parse().expect("a name");
            headers.append(name, HeaderValue::from_str(value).expect("a value"));
        }
        headers
    }

    fn show(headers: &HeaderMap) -> Vec<String> {
        let text = |v: &HeaderValue| String::from_utf8_lossy(v.as_bytes()).into_owned();
        let mut all: Vec<_> = headers.iter().map(|(n, v)| format!("{n}: {}", text(v))).collect();
        all.sort();
        all
    }

    #[test]
    fn nothing_that_a_sandbox_sends_stands_beside_a_credential() {
        let mut headers = map(&[
            ("Authorization", "Bearer mine"),
            ("authorization", "Bearer mine too"),
            ("X-API-Key", "mine"),
            ("x_api_key", "mine"),
            ("x-api_key", "mine"),
            ("accept", "text/event-stream"),
        ]);
        outward(&mut headers, &target());
        assert_eq!(
            show(&headers),
            [
                "accept: text/event-stream",
                "authorization: Bearer sk-0123456789",
                "x-api-key: key-0123456789"
            ]
        );
    }

    #[test]
    fn fields_of_the_connection_and_of_the_route_stay_inside() {
        let mut headers = map(&[
            ("connection", "close, X-Secret-Hop, authorization"),
            ("x-secret-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("content-length", "5"),
            ("te", "trailers"),
            ("upgrade", "websocket"),
            ("forwarded", "for=1.2.3.4"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-whatever", "x"),
            ("cookie", "a=b"),
            ("expect", "100-continue"),
            ("proxy-authorization", "Basic x"),
            ("host", "models.upstream.internal"),
            ("user-agent", "app"),
        ]);
        outward(&mut headers, &target());
        let sent = show(&headers);
        assert_eq!(sent.len(), 3, "{sent:?}");
        assert!(sent.contains(&"authorization: Bearer sk-0123456789".to_owned()), "{sent:?}");
        assert!(sent.contains(&"user-agent: app".to_owned()), "{sent:?}");
    }

    #[test]
    fn an_answer_brings_neither_credentials_nor_cookies() {
        let mut headers = map(&[
            ("x-echo", "you sent Bearer sk-0123456789!"),
            ("x-echo-key", "key-0123456789"),
            ("set-cookie", "session=operator"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("content-type", "text/plain"),
            ("content-length", "3"),
            ("location", "https://elsewhere.example.com/"),
        ]);
        inward(&mut headers, &target());
        assert_eq!(
            show(&headers),
            [
                "content-length: 3",
                "content-type: text/plain",
                "location: https://elsewhere.example.com/"
            ]
        );
    }
}
