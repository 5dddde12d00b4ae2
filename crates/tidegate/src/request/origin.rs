//! A browser attaches cookies to whatever a page asks for, its own or not. So a
//! request that rests on a cookie and could change something must come from a
//! page of the very same origin.

use http::header::ORIGIN;
use tidegate_types::{Credential, RequestFacts};

/// Whether the `Origin` of a request that rests on `used` is good enough.
///
/// Only WebSockets and unsafe methods (RFC 9110 §9.2.1) that rest on a cookie
/// need one: what a foreign page may *read* the browser's same-origin policy
/// decides, but it does not apply to WebSockets at all (RFC 6455 §10.2).
pub(crate) fn acceptable(facts: &RequestFacts, used: Option<&Credential>) -> bool {
    let by_cookie = matches!(used, Some(Credential::Cookie(_)));
    if !by_cookie || (facts.method.is_safe() && !facts.websocket) {
        return true;
    }
    let mut origins = facts.headers.get_all(ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (Some(origin), None) => same(origin.as_bytes(), facts.scheme(), &facts.authority),
        _ => false,
    }
}

/// Browsers leave a scheme's default port out of `Origin`; clients may write it
/// into `Host`.
fn same(origin: &[u8], scheme: &str, authority: &str) -> bool {
    let Ok(origin) = std::str::from_utf8(origin) else { return false };
    let Some((their_scheme, their_authority)) = origin.split_once("://") else { return false };
    let default_port = if scheme == "https" { ":443" } else { ":80" };
    let bare = |authority: &str| {
        authority.strip_suffix(default_port).unwrap_or(authority).to_ascii_lowercase()
    };
    their_scheme.eq_ignore_ascii_case(scheme) && bare(their_authority) == bare(authority)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderValue, Method};
    use std::net::{IpAddr, Ipv4Addr};

    fn check(method: Method, websocket: bool, origin: Option<&str>, cookie: bool) -> bool {
        let mut headers = HeaderMap::new();
        if let Some(origin) = origin {
            headers.insert(ORIGIN, HeaderValue::from_str(origin).expect("a header value"));
        }
        let facts = RequestFacts {
            method,
            https: false,
            authority: "alice.localhost:8080".into(),
            path: "/".into(),
            query: None,
            headers,
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            websocket,
            client_certificate_subject: None,
        };
        let used = if cookie {
            Credential::Cookie("tidegate".into())
        } else {
            Credential::Header(http::header::AUTHORIZATION)
        };
        acceptable(&facts, Some(&used))
    }

    const OWN: Option<&str> = Some("http://alice.localhost:8080");

    #[test]
    fn a_cookie_opens_a_websocket_only_from_its_own_origin() {
        assert!(check(Method::GET, true, OWN, true));
        for foreign in [
            None,
            Some("null"),
            Some("http://bob.localhost:8080"),
            Some("https://alice.localhost:8080"),
            Some("http://alice.localhost"),
            Some("http://alice.localhost:8080.evil.example"),
        ] {
            assert!(!check(Method::GET, true, foreign, true), "{foreign:?}");
        }
    }

    #[test]
    fn an_unsafe_method_by_cookie_needs_its_own_origin_and_a_safe_one_does_not() {
        assert!(!check(Method::POST, false, None, true));
        assert!(!check(Method::DELETE, false, Some("http://bob.localhost:8080"), true));
        assert!(check(Method::POST, false, OWN, true));
        assert!(check(Method::GET, false, None, true));
        assert!(check(Method::HEAD, false, Some("http://bob.localhost:8080"), true));
    }

    #[test]
    fn a_credential_that_a_browser_does_not_attach_by_itself_needs_no_origin() {
        assert!(check(Method::POST, false, None, false));
        assert!(check(Method::GET, true, Some("http://bob.localhost:8080"), false));
    }

    #[test]
    fn default_ports_may_be_left_out() {
        assert!(same(b"https://a.example", "https", "a.example:443"));
        assert!(same(b"http://A.example:80", "http", "a.example"));
        assert!(!same(b"https://a.example:80", "https", "a.example"));
    }
}
