//! The head of an answer on its way out of a sandbox.
//!
//! A sandbox is one tenant's; the browser, its cookie jar and the gateway's host
//! name are shared with others. What could reach beyond the sandbox's own pages
//! is removed here.

use http::header::{CONTENT_LENGTH, SET_COOKIE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::Route;
use crate::request_headers::remove_hop_by_hop;

/// Fields that a sandbox may not send, each with the reason.
const NOT_THE_SANDBOXES: [(&str, &str); 8] = [
    ("strict-transport-security", "binds the host name, which is the gateway's, for months"),
    ("public-key-pins", "as above, in browsers that still heed it"),
    ("alt-svc", "sends the browser to another server under the same name"),
    ("x-accel-redirect", "commands to an nginx in front of the gateway"),
    ("x-accel-expires", "as above: it would keep one user's answer for all"),
    ("x-sendfile", "commands to an Apache or lighttpd in front of the gateway"),
    ("x-tidegate-decision", "the gateway's own word"),
    ("proxy-authenticate", "asks for credentials as if it were the gateway"),
];

const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");

/// Makes the head that the client gets out of what the sandbox sent.
pub(crate) fn outward(headers: &mut HeaderMap, route: &Route) {
    // RFC 9112 §6.3: the encoding was what framed it; a length that says otherwise
    // would now be believed.
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    remove_hop_by_hop(headers);
    for (name, _reason) in NOT_THE_SANDBOXES {
        headers.remove(name);
    }
    clear_site_data(headers);
    set_cookies(headers, &route.session_cookies);
    for edit in &route.response_headers {
        edit.apply(headers);
    }
}

/// Removes from a trailer what belongs into the head.
pub(crate) fn outward_trailers(trailers: &mut HeaderMap) {
    remove_hop_by_hop(trailers);
    trailers.remove(SET_COOKIE);
    trailers.remove(CONTENT_LENGTH);
    trailers.remove(CLEAR_SITE_DATA);
    for (name, _reason) in NOT_THE_SANDBOXES {
        trailers.remove(name);
    }
}

/// `"cookies"` and `"*"` reach the whole registrable domain: the gateway's session
/// and the sibling tenants'. The other directives stay within the origin.
fn clear_site_data(headers: &mut HeaderMap) {
    const WITHIN_ORIGIN: [&str; 3] = ["\"cache\"", "\"storage\"", "\"executionContexts\""];
    if !headers.contains_key(CLEAR_SITE_DATA) {
        return;
    }
    let kept: Vec<String> = headers
        .get_all(CLEAR_SITE_DATA)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|directive| directive.trim().to_owned())
        .filter(|directive| WITHIN_ORIGIN.contains(&directive.as_str()))
        .collect();
    headers.remove(CLEAR_SITE_DATA);
    if !kept.is_empty()
        && let Ok(value) = HeaderValue::try_from(kept.join(", "))
    {
        headers.insert(CLEAR_SITE_DATA, value);
    }
}

/// Cookies become host-only, and the gateway's own cannot be set.
fn set_cookies(headers: &mut HeaderMap, gateways: &[String]) {
    let must_change = |value: &HeaderValue| {
        let value = value.as_bytes();
        sets_one_of(value, gateways) || attributes(value).any(is_domain)
    };
    if !headers.get_all(SET_COOKIE).iter().any(must_change) {
        return;
    }
    let kept: Vec<HeaderValue> = headers
        .get_all(SET_COOKIE)
        .iter()
        .filter(|value| !sets_one_of(value.as_bytes(), gateways))
        .filter_map(|value| without_domain(value.as_bytes()))
        .collect();
    headers.remove(SET_COOKIE);
    for value in kept {
        headers.append(SET_COOKIE, value);
    }
}

/// Whether a browser could send the cookie back under one of `names`: a nameless
/// cookie `=name=value` comes back as `name=value`. In any case, because servers
/// differ on it.
fn sets_one_of(value: &[u8], names: &[String]) -> bool {
    let pair = value.split(|b| *b == b';').next().unwrap_or_default();
    let start =
        pair.iter().position(|b| *b != b'=' && !b.is_ascii_whitespace()).unwrap_or(pair.len());
    let pair = pair.get(start..).unwrap_or_default();
    let end = pair.iter().position(|b| *b == b'=').unwrap_or(pair.len());
    let name = pair.get(..end).unwrap_or_default().trim_ascii();
    names.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

fn attributes(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|b| *b == b';').skip(1)
}

fn is_domain(attribute: &[u8]) -> bool {
    let name = attribute.split(|b| *b == b'=').next().unwrap_or_default();
    name.trim_ascii().eq_ignore_ascii_case(b"domain")
}

fn without_domain(value: &[u8]) -> Option<HeaderValue> {
    let mut parts = value.split(|b| *b == b';');
    let mut clean = parts.next()?.to_vec();
    for attribute in parts.filter(|attribute| !is_domain(attribute)) {
        clean.push(b';');
        clean.extend_from_slice(attribute);
    }
    HeaderValue::from_bytes(&clean).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn cookies_become_host_only_and_the_gateways_own_are_dropped() {
        let names = [String::from("__Host-tidegate")];
        let check = |set: &str, expected: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(SET_COOKIE, set.parse().unwrap());
            set_cookies(&mut headers, &names);
            let got = headers.get(SET_COOKIE).map(|v| v.to_str().unwrap().to_owned());
            assert_eq!(got.as_deref(), expected, "{set}");
        };
        check("a=1; Path=/", Some("a=1; Path=/"));
        check("a=1; Domain=example.org; Path=/", Some("a=1; Path=/"));
        check("a=1;domain = .example.org;DOMAIN=x", Some("a=1"));
        check("a=domain=x; Path=/", Some("a=domain=x; Path=/"));
        check("__Host-tidegate=x; Path=/", None);
        check(" __host-TIDEGATE =x", None);
        check("=__Host-tidegate=x", None);
        check("__Host-tidegate", None);
        check("__Host-tidegate2=x", Some("__Host-tidegate2=x"));
    }

    #[test]
    fn only_the_sandboxes_own_origin_can_be_cleared() {
        let mut headers = HeaderMap::new();
        headers.insert(CLEAR_SITE_DATA, "\"cache\", \"cookies\", \"*\"".parse().unwrap());
        clear_site_data(&mut headers);
        assert_eq!(headers[CLEAR_SITE_DATA], "\"cache\"");
        headers.insert(CLEAR_SITE_DATA, "\"*\"".parse().unwrap());
        clear_site_data(&mut headers);
        assert!(!headers.contains_key(CLEAR_SITE_DATA));
    }

    #[test]
    fn a_length_beside_an_encoding_says_nothing() {
        let route = Route::new(Arc::new(crate::request_headers::example_facts()), 80);
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("3"));
        outward(&mut headers, &route);
        assert_eq!(headers[CONTENT_LENGTH], "3");
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        outward(&mut headers, &route);
        assert!(headers.is_empty());
    }

    #[test]
    fn the_operators_edits_come_last() {
        let facts = crate::request_headers::example_facts();
        let mut route = Route::new(Arc::new(facts), 80);
        let hsts = HeaderName::from_static("strict-transport-security");
        let ours = HeaderValue::from_static("max-age=1");
        route.response_headers = vec![tidegate_types::HeaderEdit::Set(hsts.clone(), ours)];
        let mut headers = HeaderMap::new();
        headers.insert(hsts.clone(), HeaderValue::from_static("max-age=9; includeSubDomains"));
        headers.insert("alt-svc", HeaderValue::from_static("h2=\"evil:443\""));
        outward(&mut headers, &route);
        assert_eq!(headers[hsts], "max-age=1");
        assert!(!headers.contains_key("alt-svc"));
    }
}
