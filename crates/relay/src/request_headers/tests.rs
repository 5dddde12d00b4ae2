use std::sync::Arc;

use http::Method;
use tidegate_types::HeaderEdit;

use super::*;

pub(crate) fn example_facts() -> RequestFacts {
    RequestFacts {
        method: Method::GET,
        https: true,
        authority: "alice.example:8443".to_owned(),
        path: "/".to_owned(),
        query: None,
        headers: HeaderMap::new(),
        client: [203, 0, 113, 9].into(),
        websocket: false,
        client_certificate_subject: None,
    }
}

fn route() -> Route {
    Route::new(Arc::new(example_facts()), 80)
}

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

#[test]
fn what_is_meant_for_one_hop_stays_there() {
    let mut got = headers(&[
        ("connection", "keep-alive, X-Secret, host, content-length"),
        ("x-secret", "1"),
        ("host", "a"),
        ("content-length", "3"),
        ("keep-alive", "5"),
        ("te", "trailers, deflate"),
        ("upgrade", "h2c"),
        ("http2-settings", "AAA"),
        ("accept", "*/*"),
    ]);
    inward(&mut got, &route(), None);
    for gone in ["connection", "x-secret", "keep-alive", "upgrade", "http2-settings"] {
        assert!(!got.contains_key(gone), "{gone}");
    }
    assert_eq!(got["host"], "a");
    assert_eq!(got["content-length"], "3");
    assert_eq!(got["te"], "trailers");
    assert_eq!(got["accept"], "*/*");
}

#[test]
fn the_gateway_alone_says_who_the_client_and_the_user_are() {
    let mut got = headers(&[
        ("x-forwarded-for", "6.6.6.6"),
        ("x_forwarded_for", "6.6.6.6"),
        ("forwarded", "for=6.6.6.6"),
        ("x-forwarded-user", "root"),
        ("x_forwarded_user", "root"),
        ("x-forwarded_user", "root"),
        ("x-tenant", "root"),
    ]);
    let mut route = route();
    let user = HeaderName::from_static("x-forwarded-user");
    route.identity_headers = vec![
        (user.clone(), Some(HeaderValue::from_static("alice"))),
        (HeaderName::from_static("x-tenant"), None),
    ];
    let forged = HeaderEdit::Set(user.clone(), HeaderValue::from_static("bob"));
    route.request_headers = vec![forged];
    inward(&mut got, &route, None);
    assert_eq!(got.get_all(&user).iter().collect::<Vec<_>>(), ["alice"]);
    assert_eq!(got["x-forwarded-for"], "203.0.113.9");
    assert_eq!(got["x-forwarded-proto"], "https");
    assert_eq!(got["x-forwarded-host"], "alice.example:8443");
    assert_eq!(got["x-forwarded-port"], "8443");
    assert_eq!(got["forwarded"], "for=203.0.113.9;host=\"alice.example:8443\";proto=https");
    for gone in ["x_forwarded_for", "x_forwarded_user", "x-forwarded_user", "x-tenant"] {
        assert!(!got.contains_key(gone), "{gone}");
    }
}

#[test]
fn what_a_placement_sets_or_removes_no_client_says_in_another_spelling() {
    let mut route = route();
    let name = HeaderName::from_static;
    route.request_headers = vec![
        HeaderEdit::Set(name("x-team"), HeaderValue::from_static("blue")),
        HeaderEdit::Remove(name("x-debug")),
        HeaderEdit::Append(name("x-note"), HeaderValue::from_static("ours")),
    ];
    let mut got = headers(&[
        ("x-team", "red"),
        ("x_team", "red"),
        ("x_debug", "1"),
        ("x-debug", "1"),
        ("x-note", "theirs"),
    ]);
    inward(&mut got, &route, None);
    assert_eq!(got.get_all("x-team").iter().collect::<Vec<_>>(), ["blue"]);
    assert_eq!(got.get_all("x-note").iter().collect::<Vec<_>>(), ["theirs", "ours"]);
    for gone in ["x_team", "x-debug", "x_debug"] {
        assert!(!got.contains_key(gone), "{gone}");
    }
    let mut trailers = headers(&[("x-team", "red"), ("x_team", "red"), ("digest", "abc")]);
    inward_trailers(&mut trailers, &route);
    assert_eq!(trailers, headers(&[("digest", "abc")]));
}

#[test]
fn a_credential_goes_and_its_neighbours_stay() {
    let cookie = |name: &str| Credential::Cookie(name.to_owned());
    let check = |sent: &[&str], strip: &[Credential], expected: Option<&str>| {
        let lines: Vec<(&str, &str)> = sent.iter().map(|value| ("cookie", *value)).collect();
        let mut got = headers(&lines);
        let mut route = route();
        route.strip = strip.to_vec();
        inward(&mut got, &route, None);
        assert_eq!(got.get(COOKIE).map(|v| v.to_str().unwrap()), expected, "{sent:?}");
    };
    check(&["a=1; sid=x; b=2"], &[cookie("sid")], Some("a=1; b=2"));
    check(&["sid=x"], &[cookie("sid")], None);
    check(&["sid=x;b=2"], &[cookie("sid")], Some("b=2"));
    check(&["a=1;  sid = x; sid=y; b"], &[cookie("sid")], Some("a=1; b"));
    check(&["a=1", "sid=x", "b=2"], &[cookie("sid")], Some("a=1; b=2"));
    check(&["mysid=1; sid2=2"], &[cookie("sid")], Some("mysid=1; sid2=2"));
    check(&["a=sid=x"], &[cookie("sid")], Some("a=sid=x"));
}

#[test]
fn a_query_parameter_goes_under_every_spelling_of_its_name() {
    let strip = [Credential::QueryParam("token".to_owned())];
    let check = |query: &str, expected: Option<&str>| {
        assert_eq!(without_credentials(query, &strip).as_deref(), expected, "{query}");
    };
    check("token=x", None);
    check("a=1&token=x&b=%2F+&&c", Some("a=1&b=%2F+&&c"));
    check("%74oken=x&%74%6f%6B%65%6e=y&a", Some("a"));
    check("tokens=1&toke=2&token%00=3", Some("tokens=1&toke=2&token%00=3"));
    check("", Some(""));
    check("a%zz=1", Some("a%zz=1"));
}

#[test]
fn trailers_cannot_say_what_the_head_may_not() {
    let mut route = route();
    route.identity_headers = vec![(HeaderName::from_static("x-user"), None)];
    route.strip = vec![Credential::Header(http::header::AUTHORIZATION)];
    let mut trailers = headers(&[
        ("x-user", "root"),
        ("x_user", "root"),
        ("authorization", "Bearer x"),
        ("x-forwarded-for", "6.6.6.6"),
        ("host", "b"),
        ("digest", "abc"),
    ]);
    inward_trailers(&mut trailers, &route);
    assert_eq!(trailers, headers(&[("digest", "abc")]));
}
