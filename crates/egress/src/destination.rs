//! Which upstream a request means, and which path of it.
//!
//! What could be read in two ways is refused, so that no server behind an
//! upstream reads it in the other.

use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, Uri, header};
use tidegate_types::UpstreamName;

use crate::upstream::DOMAIN;

/// Why a request's destination is not acceptable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    NoHost,
    TwoHosts,
    Unnamed,
    Form,
    DotSegment,
}

impl Refused {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::NoHost => "it names no host",
            Self::TwoHosts => "it names two hosts",
            Self::Unnamed => "its host is not the name of an upstream",
            Self::Form => "its target is not a path of an upstream",
            Self::DotSegment => "its path has `.` or `..` for a segment, or a control character",
        }
    }
}

/// The upstream that a request means by its target or `Host` field.
pub(crate) fn upstream(uri: &Uri, headers: &HeaderMap) -> Result<UpstreamName, Refused> {
    let mut fields = headers.get_all(header::HOST).iter();
    let field = fields.next().map(|value| value.to_str().map_err(|_| Refused::Unnamed));
    if fields.next().is_some() {
        return Err(Refused::TwoHosts);
    }
    let field = field.transpose()?;
    let host = match (uri.authority(), field) {
        (Some(authority), field) => {
            if uri.scheme() != Some(&Scheme::HTTP) {
                return Err(Refused::Form);
            }
            // RFC 9112 §3.2.2 lets the target win; a well-meaning client sends the same.
            if field.is_some_and(|field| !field.eq_ignore_ascii_case(authority.as_str())) {
                return Err(Refused::TwoHosts);
            }
            authority.as_str()
        }
        (None, Some(field)) => field,
        (None, None) => return Err(Refused::NoHost),
    };
    let host = host.strip_suffix(":80").unwrap_or(host).to_ascii_lowercase();
    let name = host.strip_suffix(DOMAIN).and_then(|rest| rest.strip_suffix('.'));
    name.and_then(|name| UpstreamName::new(name).ok()).ok_or(Refused::Unnamed)
}

/// The path and query towards the upstream: the request's, below `base`.
pub(crate) fn path(uri: &Uri, base: &str) -> Result<PathAndQuery, Refused> {
    let path = uri.path();
    if !path.starts_with('/') {
        return Err(Refused::Form);
    }
    if climbs(path) {
        return Err(Refused::DotSegment);
    }
    let mut target = String::with_capacity(base.len() + path.len() + 16);
    target.push_str(base);
    target.push_str(path);
    if let Some(query) = uri.query() {
        target.push('?');
        target.push_str(query);
    }
    target.parse().map_err(|_| Refused::Form)
}

/// How often a path is decoded: servers behind servers decode again.
const DECODINGS: usize = 4;

/// Whether some server might take a segment of `path` for `.` or `..`: as it
/// stands, percent-decoded once or several times, with backslashes for slashes,
/// or cut at a `;`. Encoded slashes by themselves are fine.
fn climbs(path: &str) -> bool {
    let mut path = path.as_bytes().to_vec();
    for _ in 0..DECODINGS {
        let dots = path.split(|b| matches!(b, b'/' | b'\\')).any(|segment| {
            let name = segment.split(|b| *b == b';').next().unwrap_or_default();
            matches!(name, b"." | b"..")
        });
        if dots || path.iter().any(|b| b.is_ascii_control()) {
            return true;
        }
        let decoded = percent_decode(&path);
        if decoded == path {
            return false;
        }
        path = decoded;
    }
    // Nobody means well who encodes that often.
    true
}

fn percent_decode(path: &[u8]) -> Vec<u8> {
    let hex = |byte: Option<&u8>| byte.and_then(|b| char::from(*b).to_digit(16));
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let [first, tail @ ..] = rest {
        rest = tail;
        let digits = (hex(tail.first()), hex(tail.get(1)));
        match (first, digits) {
            (b'%', (Some(high), Some(low))) => {
                decoded.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                rest = tail.get(2..).unwrap_or_default();
            }
            _ => decoded.push(*first),
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn named(target: &str, hosts: &[&str]) -> Result<String, Refused> {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(header::HOST, HeaderValue::from_str(host).expect("a value"));
        }
        let uri: Uri = target.parse().expect(target);
        upstream(&uri, &headers).map(|name| name.to_string())
    }

    #[test]
    fn the_host_names_the_upstream() {
        let ok = |target, hosts: &[&str]| {
            assert_eq!(named(target, hosts), Ok("models".to_owned()), "{target} {hosts:?}");
        };
        ok("/", &["models.upstream.internal"]);
        ok("/", &["Models.Upstream.INTERNAL:80"]);
        ok("http://models.upstream.internal/v1", &["models.upstream.internal"]);
        ok("http://models.upstream.internal/v1", &[]);
    }

    #[test]
    fn a_host_that_is_no_upstreams_or_not_just_one_is_refused() {
        let refused = |target, hosts: &[&str], why| {
            assert_eq!(named(target, hosts), Err(why), "{target} {hosts:?}");
        };
        refused("/", &[], Refused::NoHost);
        refused("/", &["a.upstream.internal", "a.upstream.internal"], Refused::TwoHosts);
        refused("http://a.upstream.internal/", &["b.upstream.internal"], Refused::TwoHosts);
        refused("https://a.upstream.internal/", &[], Refused::Form);
        for host in [
            "upstream.internal",
            ".upstream.internal",
            "example.com",
            "a.b.upstream.internal",
            "a.upstream.internal.example.com",
            "aupstream.internal",
            "a.upstream.internal:8080",
            "a.upstream.internal.",
            "100.64.0.2",
            "x@a.upstream.internal",
            "a.upstream.internal#",
        ] {
            refused("/", &[host], Refused::Unnamed);
        }
        refused("http://x@a.upstream.internal/", &[], Refused::Unnamed);
    }

    fn at(target: &str, base: &str) -> Result<String, Refused> {
        let uri: Uri = target.parse().expect(target);
        path(&uri, base).map(|path| path.to_string())
    }

    #[test]
    fn a_path_stays_below_the_base() {
        let ok = |target, base, expected: &str| assert_eq!(at(target, base), Ok(expected.into()));
        ok("/", "", "/");
        ok("/chat?x=/../y", "/v1", "/v1/chat?x=/../y");
        ok("/models/org%2Fname", "/v1", "/v1/models/org%2Fname");
        ok("//etc", "/v1", "/v1//etc");
        ok("/a..b/...", "/v1", "/v1/a..b/...");
        ok("http://models.upstream.internal/a%20b", "/v1", "/v1/a%20b");
    }

    #[test]
    fn a_path_that_might_climb_is_refused() {
        for target in [
            "/..",
            "/../admin",
            "/a/../../admin",
            "/./x",
            "/%2e%2e/admin",
            "/.%2E/admin",
            "/%2e%2e%2fadmin",
            "/a%2f..%2f..%2fadmin",
            "/..%5cadmin",
            "/%252e%252e/admin",
            "/%25252e%25252e/admin",
            "/..;/admin",
            "/..;x=y/admin",
            "/%2e%2e%3b/admin",
            "/a%00",
            "/a%0d%0ax",
            "/%25252525252561",
        ] {
            assert_eq!(at(target, "/v1"), Err(Refused::DotSegment), "{target}");
        }
        assert_eq!(at("*", "/v1"), Err(Refused::Form));
    }
}
