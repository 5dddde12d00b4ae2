//! Turns a request into what policy may know of it, or says why it cannot be.

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version};
use tidegate_types::{DecisionId, RequestFacts};

use crate::strict::grammar::{is_authority, is_origin_form};
use crate::{Peer, RelayBody, TrustedProxies, problem};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Why a request that is valid HTTP is not one the gateway can judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// Neither the target nor `Host` names one host, or they name different ones.
    #[error("the request does not name one host")]
    Host,
    /// The target is not a path.
    #[error("the request target is not a path")]
    Target,
    /// CONNECT or TRACE.
    #[error("this method is not served")]
    Method,
    /// `Content-Length` is not one number.
    #[error("the length of the body is not one number")]
    Length,
}

impl BadRequest {
    /// Stable name for clients and logs.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Target => "target",
            Self::Method => "method-refused",
            Self::Length => "content-length",
        }
    }

    /// What the client gets.
    #[must_use]
    pub fn answer(self, decision: DecisionId) -> Response<RelayBody> {
        let status = match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Host | Self::Target | Self::Length => StatusCode::BAD_REQUEST,
        };
        let mut answer = problem(status, self.code(), &self.to_string(), decision);
        // What follows on this connection is not trusted either. (HTTP/2 has no
        // such field; hyper leaves it out there.)
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        answer
    }
}

/// What policy may know of a request: the host in lower case, the path without
/// dot segments, the client's address and scheme as `trusted` proxies say.
///
/// A proxy's word is taken from `X-Forwarded-For` and `X-Forwarded-Proto` alone;
/// the host is always the one of the request itself, because proxies pass a
/// client's `X-Forwarded-Host` on.
///
/// # Errors
/// Anything that two readers could understand differently.
pub fn facts(
    parts: &Parts,
    peer: &Peer,
    trusted: &TrustedProxies,
) -> Result<RequestFacts, BadRequest> {
    if parts.method == Method::CONNECT || parts.method == Method::TRACE {
        return Err(BadRequest::Method);
    }
    // HTTP/1 heads were judged before; HTTP/2 ones by h2, but for this.
    if parts.headers.get_all(CONTENT_LENGTH).iter().count() > 1 {
        return Err(BadRequest::Length);
    }
    let authority = authority(parts)?;
    let path = parts.uri.path();
    let whole = parts.uri.path_and_query().map_or(path, http::uri::PathAndQuery::as_str);
    if !is_origin_form(whole.as_bytes()) {
        return Err(BadRequest::Target);
    }
    let peer_ip = peer.address.ip().to_canonical();
    let by_proxy = trusted.contains(peer_ip);
    Ok(RequestFacts {
        method: parts.method.clone(),
        https: if by_proxy { forwarded_https(&parts.headers, peer.tls) } else { peer.tls },
        authority,
        path: without_dot_segments(path),
        query: parts.uri.query().map(str::to_owned),
        headers: parts.headers.clone(),
        client: if by_proxy {
            let chain: Vec<&str> = parts
                .headers
                .get_all(FORWARDED_FOR)
                .iter()
                .flat_map(|value| value.to_str().unwrap_or("?").split(','))
                .collect();
            trusted.client(peer_ip, chain.into_iter()).to_canonical()
        } else {
            peer_ip
        },
        websocket: upgrade_protocol(parts).is_some_and(is_websocket),
        client_certificate_subject: None,
    })
}

/// RFC 9110 §7.2: the target's authority and `Host`, which must not differ.
fn authority(parts: &Parts) -> Result<String, BadRequest> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(BadRequest::Host);
    }
    let target = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    let host = host.map(HeaderValue::as_bytes);
    let authority = match (target, host) {
        (Some(target), Some(host)) if !target.eq_ignore_ascii_case(host) => {
            return Err(BadRequest::Host);
        }
        (Some(authority), _) | (None, Some(authority)) => authority,
        (None, None) => return Err(BadRequest::Host),
    };
    if !is_authority(authority) {
        return Err(BadRequest::Host);
    }
    let authority = std::str::from_utf8(authority).map_err(|_| BadRequest::Host)?;
    Ok(authority.to_ascii_lowercase())
}

/// The last value counts: it is the trusted proxy's own.
fn forwarded_https(headers: &HeaderMap, tls: bool) -> bool {
    let last = headers.get_all(FORWARDED_PROTO).iter().next_back();
    let last = last.and_then(|value| value.to_str().ok()).and_then(|v| v.rsplit(',').next());
    match last.map(str::trim) {
        Some(proto) if proto.eq_ignore_ascii_case("https") => true,
        Some(proto) if proto.eq_ignore_ascii_case("http") => false,
        _ => tls,
    }
}

/// The one protocol that an HTTP/1.1 request without a body asks to change to.
///
/// `None` also for protocols that would carry further requests past the rules of
/// this crate: HTTP/2 in clear text, and TLS.
pub(crate) fn upgrade_protocol(parts: &Parts) -> Option<&[u8]> {
    if parts.version != Version::HTTP_11 {
        return None;
    }
    let asks = parts.headers.get_all(CONNECTION).iter().any(|value| {
        value
            .as_bytes()
            .split(|b| *b == b',')
            .any(|t| t.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
    });
    let mut protocols = parts.headers.get_all(UPGRADE).iter();
    let protocol = protocols.next()?.as_bytes().trim_ascii();
    if !asks || protocols.next().is_some() || protocol.contains(&b',') {
        return None;
    }
    let name = protocol.split(|b| *b == b'/').next().unwrap_or_default();
    let carries_requests =
        [&b"h2c"[..], b"h2", b"http", b"tls"].iter().any(|p| name.eq_ignore_ascii_case(p));
    // RFC 6455 §4.1: a handshake is a GET. One by another method would be relayed as
    // a WebSocket that nobody judged and counted as one.
    let other_method = is_websocket(protocol) && parts.method != Method::GET;
    (!carries_requests && !name.is_empty() && !other_method).then_some(protocol)
}

fn is_websocket(protocol: &[u8]) -> bool {
    protocol.eq_ignore_ascii_case(b"websocket")
}

/// RFC 3986 §5.2.4, where `%2e` is a dot as well: a path that was judged must not
/// turn into another when the application decodes it.
pub(crate) fn without_dot_segments(path: &str) -> String {
    if !path.contains("/.") && !path.contains("/%2") {
        return path.to_owned();
    }
    let mut kept: Vec<&str> = Vec::new();
    let mut ends_in_directory = false;
    for segment in path.split('/').skip(1) {
        ends_in_directory = false;
        match dots(segment) {
            Some(1) => ends_in_directory = true,
            Some(_) => {
                kept.pop();
                ends_in_directory = true;
            }
            None => kept.push(segment),
        }
    }
    let mut clean = String::with_capacity(path.len());
    for segment in kept {
        clean.push('/');
        clean.push_str(segment);
    }
    if ends_in_directory || clean.is_empty() {
        clean.push('/');
    }
    clean
}

/// 1 for `.`, 2 for `..`, in any spelling; `None` for anything else.
fn dots(mut segment: &str) -> Option<usize> {
    let mut dots = 0;
    while !segment.is_empty() {
        segment = segment
            .strip_prefix('.')
            .or_else(|| segment.strip_prefix("%2e"))
            .or_else(|| segment.strip_prefix("%2E"))?;
        dots += 1;
    }
    (1..=2).contains(&dots).then_some(dots)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn of(request: http::request::Builder, peer: &str) -> Result<RequestFacts, BadRequest> {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let peer = Peer { address: peer.parse().unwrap(), tls: false };
        facts(&parts, &peer, &TrustedProxies::parse(["10.0.0.0/8"]).unwrap())
    }

    #[test]
    fn dot_segments_are_resolved_in_every_spelling() {
        for (path, expected) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/.%2e/b/.", "/b/"),
            ("/../../x", "/x"),
            ("/a/..", "/"),
            ("/a//../b", "/a/b"),
            ("/a/.../b", "/a/.../b"),
            ("/.well-known/x", "/.well-known/x"),
            ("/a/%2f../b", "/a/%2f../b"),
            ("//a", "//a"),
        ] {
            assert_eq!(without_dot_segments(path), expected, "{path}");
        }
    }

    #[test]
    fn a_stranger_cannot_say_who_the_client_is() {
        let request = || {
            Request::get("/")
                .header("host", "A.example:80")
                .header("x-forwarded-for", "6.6.6.6")
                .header("x-forwarded-proto", "https")
                .header("x-forwarded-host", "b.example")
        };
        let stranger = of(request(), "203.0.113.1:5").unwrap();
        assert_eq!((stranger.client, stranger.https), ([203, 0, 113, 1].into(), false));
        assert_eq!(stranger.authority, "a.example:80");
        let proxied = of(request(), "10.0.0.1:5").unwrap();
        assert_eq!((proxied.client, proxied.https), ([6, 6, 6, 6].into(), true));
        assert_eq!(proxied.authority, "a.example:80");
    }

    #[test]
    fn target_and_host_must_agree() {
        let check = |uri: &str, host: Option<&str>, expected: Result<&str, BadRequest>| {
            let mut request = Request::get(uri);
            if let Some(host) = host {
                request = request.header("host", host);
            }
            let authority = of(request, "203.0.113.1:5").map(|facts| facts.authority);
            assert_eq!(authority, expected.map(str::to_owned), "{uri} {host:?}");
        };
        check("http://a/x", Some("A"), Ok("a"));
        check("http://a/x", Some("b"), Err(BadRequest::Host));
        check("/x", Some("a:1"), Ok("a:1"));
        check("/x", None, Err(BadRequest::Host));
        check("http://u@a/x", None, Err(BadRequest::Host));
    }

    #[test]
    fn only_upgrades_that_carry_no_requests_are_upgrades() {
        let check = |upgrade: &str, expected: bool| {
            let request = Request::get("/").header("connection", "keep-alive, Upgrade");
            let (parts, ()) = request.header("upgrade", upgrade).body(()).unwrap().into_parts();
            assert_eq!(upgrade_protocol(&parts).is_some(), expected, "{upgrade}");
        };
        check("websocket", true);
        check("WebSocket", true);
        check("custom/1", true);
        check("h2c", false);
        check("TLS/1.0", false);
        check("HTTP/2.0", false);
        check("websocket, h2c", false);
    }

    #[test]
    fn a_handshake_of_another_method_than_get_becomes_no_websocket() {
        for method in ["HEAD", "OPTIONS", "POST", "PUT", "get"] {
            let check = |upgrade: &str, expected: bool| {
                let request = Request::builder().method(method).uri("/");
                let request = request.header("connection", "upgrade").header("upgrade", upgrade);
                let (parts, ()) = request.body(()).unwrap().into_parts();
                assert_eq!(upgrade_protocol(&parts).is_some(), expected, "{method} {upgrade}");
            };
            check("websocket", false);
            check("WebSocket", false);
            // As container engines attach.
            check("tcp", true);
        }
    }
}
