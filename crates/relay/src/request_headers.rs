//! The head of a request on its way into a sandbox.

use std::net::IpAddr;

use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, SEC_WEBSOCKET_EXTENSIONS, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use tidegate_types::{Credential, HeaderEdit, RequestFacts};

use crate::Route;
use crate::seen_inside::seen_inside;

/// Meant for the next hop only (RFC 9110 §7.6.1), or answered by the gateway
/// itself. `TE` and `Upgrade` are set anew where they apply.
const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authorization"),
    HeaderName::from_static("http2-settings"), // asks for HTTP/2 behind the gateway's back
    EXPECT,                                    // the gateway says 100 itself
    TE,
    TRANSFER_ENCODING, // hyper frames the message anew
    UPGRADE,
];

/// Said by the gateway alone, or by nobody: a client's own are removed in every
/// spelling.
const GATEWAYS_OWN: [&str; 10] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-forwarded-server",
    "x-forwarded-ssl",
    "x-real-ip",
    "x-original-url", // some frameworks take it for the path, which was judged already
    "x-rewrite-url",  // as above
];

/// Fields that frame or route a message: no edit and no `Connection` reaches them.
fn is_framing(name: &HeaderName) -> bool {
    *name == HOST || *name == CONTENT_LENGTH || HOP_BY_HOP.contains(name)
}

/// Removes what is meant for one hop: the fixed list and what `Connection` names.
pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|b| *b == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .filter(|name| *name != HOST && *name != CONTENT_LENGTH)
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Makes the head that the sandbox gets out of what the client sent.
pub(crate) fn inward(headers: &mut HeaderMap, route: &Route, upgrade: Option<&HeaderValue>) {
    let trailers = headers
        .get_all(TE)
        .iter()
        .any(|te| te.as_bytes().split(|b| *b == b',').any(|t| t.trim_ascii() == b"trailers"));
    remove_hop_by_hop(headers);
    remove_own(headers, route);
    for credential in &route.strip {
        match credential {
            Credential::Header(name) => remove_in_every_spelling(headers, &[name.as_str()]),
            Credential::Cookie(name) => remove_cookie(headers, name),
            // In the target, not here.
            Credential::QueryParam(_) => {}
        }
    }
    forwarded(headers, &route.facts);
    for edit in &route.request_headers {
        if !is_framing(edit.name()) {
            edit.apply(headers);
        }
    }
    // Last, so that nothing above can say who the user is.
    for (name, value) in &route.identity_headers {
        match value {
            Some(value) => {
                headers.insert(name, value.clone());
            }
            None => {
                headers.remove(name);
            }
        }
    }
    join_cookies(headers);
    if !headers.contains_key(HOST)
        && let Ok(host) = HeaderValue::from_str(&route.facts.authority)
    {
        // HTTP/2 has `:authority` instead.
        headers.insert(HOST, host);
    }
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if let Some(protocol) = upgrade {
        headers.insert(UPGRADE, protocol.clone());
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
    if route.messages.is_some() {
        headers.remove(SEC_WEBSOCKET_EXTENSIONS);
    }
}

/// Removes from a trailer what could be taken for a field of the head.
pub(crate) fn inward_trailers(trailers: &mut HeaderMap, route: &Route) {
    remove_hop_by_hop(trailers);
    remove_own(trailers, route);
    for name in [HOST, CONTENT_LENGTH, TRAILER, COOKIE] {
        trailers.remove(name);
    }
    for credential in &route.strip {
        if let Credential::Header(name) = credential {
            remove_in_every_spelling(trailers, &[name.as_str()]);
        }
    }
}

fn remove_own(headers: &mut HeaderMap, route: &Route) {
    remove_in_every_spelling(headers, &GATEWAYS_OWN);
    for (name, _) in &route.identity_headers {
        remove_in_every_spelling(headers, &[name.as_str()]);
    }
    // What a placement sets or removes, an application may rely on as much.
    for edit in &route.request_headers {
        match edit {
            HeaderEdit::Set(name, _) | HeaderEdit::Remove(name) if !is_framing(name) => {
                remove_in_every_spelling(headers, &[name.as_str()]);
            }
            _ => {}
        }
    }
}

/// CGI and its heirs (WSGI, Rack, PHP) see `X_User` and `X-User` as one: a field
/// counts as `names` if it equals one after `_` became `-`.
fn remove_in_every_spelling(headers: &mut HeaderMap, names: &[&str]) {
    let same = |known: &str, name: &str| {
        known.len() == name.len()
            && known.bytes().zip(name.bytes()).all(|(k, n)| {
                let dash = |b: u8| if b == b'_' { b'-' } else { b };
                dash(k) == dash(n)
            })
    };
    let present: Vec<HeaderName> = headers
        .keys()
        .filter(|name| names.iter().any(|known| same(known, name.as_str())))
        .cloned()
        .collect();
    for name in present {
        headers.remove(name);
    }
}

/// Removes the cookies called `name`; the others keep their order and spelling.
fn remove_cookie(headers: &mut HeaderMap, name: &str) {
    let is_it = |pair: &[u8]| {
        let pair = pair.trim_ascii();
        let end = pair.iter().position(|b| *b == b'=').unwrap_or(pair.len());
        pair.get(..end).is_some_and(|n| n.trim_ascii() == name.as_bytes())
    };
    let touched = headers
        .get_all(COOKIE)
        .iter()
        .any(|value| value.as_bytes().split(|b| *b == b';').any(is_it));
    if !touched {
        return;
    }
    let mut kept: Vec<HeaderValue> = Vec::new();
    for value in headers.get_all(COOKIE) {
        let pairs: Vec<&[u8]> =
            value.as_bytes().split(|b| *b == b';').filter(|pair| !is_it(pair)).collect();
        let joined = pairs.join(&b';');
        let joined = joined.trim_ascii();
        if !joined.is_empty()
            && let Ok(value) = HeaderValue::from_bytes(joined)
        {
            kept.push(value);
        }
    }
    headers.remove(COOKIE);
    for value in kept {
        headers.append(COOKIE, value);
    }
}

/// HTTP/2 clients may send one field per cookie; HTTP/1.1 has one (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let values: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if values.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&values.join(&b"; "[..]))
    {
        headers.insert(COOKIE, joined);
    }
}

/// Says who the client is, once in each dialect: one address, the one that policy
/// saw. A chain would leave it to the application which link to believe.
fn forwarded(headers: &mut HeaderMap, facts: &RequestFacts) {
    let host = facts.authority.as_str();
    let port = port_of(host).unwrap_or(if facts.https { "443" } else { "80" });
    let client = seen_inside(facts.client);
    let node = match client {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("\"[{v6}]\""),
    };
    let client = client.to_string();
    let scheme = facts.scheme();
    let element = format!("for={node};host=\"{host}\";proto={scheme}");
    for (name, value) in [
        ("forwarded", element.as_str()),
        ("x-forwarded-for", &client),
        ("x-real-ip", &client),
        ("x-forwarded-proto", scheme),
        ("x-forwarded-host", host),
        ("x-forwarded-port", port),
    ] {
        // All of them are visible ASCII, so this never fails.
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

fn port_of(authority: &str) -> Option<&str> {
    let after_host = authority.rfind(']').map_or(0, |at| at + 1);
    authority.get(after_host..)?.rsplit_once(':').map(|(_, port)| port)
}

/// The query without the parameters that hold credentials; the rest byte for byte.
pub(crate) fn without_credentials(query: &str, strip: &[Credential]) -> Option<String> {
    let is_credential = |pair: &&str| {
        let name = pair.split('=').next().unwrap_or_default();
        strip.iter().any(|credential| {
            matches!(credential, Credential::QueryParam(known) if decodes_to(name, known))
        })
    };
    let mut stripped = false;
    let kept: Vec<&str> = query
        .split('&')
        .filter(|pair| {
            let drop = is_credential(pair);
            stripped |= drop;
            !drop
        })
        .collect();
    // A query that was all credentials leaves no `?` behind.
    if stripped && kept.is_empty() { None } else { Some(kept.join("&")) }
}

/// Whether `name`, percent-decoded and with `+` for a space, is `known`.
fn decodes_to(name: &str, known: &str) -> bool {
    let mut rest = name.as_bytes();
    let mut known = known.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let mut decoded = if byte == b'+' { b' ' } else { byte };
        rest = after;
        if byte == b'%'
            && let [high, low, tail @ ..] = after
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            decoded = high << 4 | low;
            rest = tail;
        }
        match known.split_first() {
            Some((first, tail)) if *first == decoded => known = tail,
            _ => return false,
        }
    }
    known.is_empty()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::example_facts;
