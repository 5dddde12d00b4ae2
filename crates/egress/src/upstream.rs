//! What the operator named, checked once.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use http::uri::{Authority, Scheme};
use http::{HeaderName, HeaderValue, Uri};
use tidegate_types::{Secret, UpstreamName};
use zeroize::Zeroizing;

use crate::fields;
use crate::meters::UpstreamMeters;

/// Where upstreams are served inside a sandbox. Its namespace delivers every
/// address on loopback, and this one is nobody's: shared address space (RFC 6598).
pub const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(100, 64, 0, 2)), 80);

/// What the listener at [`ADDRESS`] is called.
pub const LISTENER: &str = "upstreams";

/// What every upstream's host name inside ends with.
pub const DOMAIN: &str = "upstream.internal";

/// The host name of an upstream inside a sandbox, for its /etc/hosts.
#[must_use]
pub fn host_name(name: &UpstreamName) -> String {
    format!("{name}.{DOMAIN}")
}

/// A service outside that sandboxes may call by name.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// What it is called inside.
    pub name: UpstreamName,
    /// `http` or `https`, with a base path or none; any address that the gateway
    /// reaches, private ones included: the operator chose it.
    pub url: Uri,
    /// Fields to add, secrets filled in. What a sandbox sends under these names is
    /// removed.
    pub headers: Vec<(HeaderName, Secret)>,
}

/// Why an upstream cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("upstream `{name}`: {reason}")]
pub struct BadUpstream {
    /// Which.
    pub name: UpstreamName,
    /// What is wrong with it; without any secret.
    pub reason: String,
}

/// An upstream that can be used.
pub(crate) struct Target {
    pub(crate) name: UpstreamName,
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
    /// Without a slash at its end; empty for the root.
    pub(crate) base_path: String,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// What must not come back in an answer's fields.
    pub(crate) needles: Vec<Zeroizing<Vec<u8>>>,
    pub(crate) meters: Arc<UpstreamMeters>,
}

/// Shorter words of a credential (`Bearer`, `Basic`) are no secret.
const SECRET_LEN: usize = 8;

impl Target {
    pub(crate) fn new(
        upstream: &Upstream,
        meters: Arc<UpstreamMeters>,
    ) -> Result<Self, BadUpstream> {
        let bad =
            |reason: &str| BadUpstream { name: upstream.name.clone(), reason: reason.to_owned() };
        let url = &upstream.url;
        let scheme = match url.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS => scheme.clone(),
            _ => return Err(bad("its URL is neither http nor https")),
        };
        let authority = url.authority().ok_or_else(|| bad("its URL has no host"))?.clone();
        if authority.host().is_empty() {
            return Err(bad("its URL has no host"));
        }
        if authority.as_str().contains('@') {
            return Err(bad("its URL holds a user name; put credentials into `headers`"));
        }
        if url.query().is_some() {
            return Err(bad("its URL has a query"));
        }
        let mut headers = Vec::with_capacity(upstream.headers.len());
        let mut needles = Vec::new();
        for (name, value) in &upstream.headers {
            if fields::is_of_the_connection(name) {
                return Err(bad(&format!("the field `{name}` is the gateway's own affair")));
            }
            let mut field = HeaderValue::from_str(value.reveal()).map_err(|_| {
                bad(&format!("the value of `{name}` has characters that no field may have"))
            })?;
            field.set_sensitive(true);
            headers.push((name.clone(), field));
            let words = value.reveal().split_ascii_whitespace();
            let secret = words.filter(|word| word.len() >= SECRET_LEN);
            needles.extend(secret.map(|word| Zeroizing::new(word.as_bytes().to_vec())));
        }
        Ok(Self {
            name: upstream.name.clone(),
            scheme,
            authority,
            base_path: url.path().trim_end_matches('/').to_owned(),
            headers,
            needles,
            meters,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, header: (&str, &str)) -> Result<(), String> {
        let upstream = Upstream {
            name: UpstreamName::new("models").expect("valid"),
            url: url.parse().expect(url),
            headers: vec![(
                header.0.parse().expect("a field name"),
                Secret::new(header.1.to_owned()),
            )],
        };
        Target::new(&upstream, Arc::default()).map(|_| ()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_a_reason() {
        let key = ("authorization", "Bearer k");
        assert_eq!(check("https://api.example.com/v1/", key), Ok(()));
        assert_eq!(check("http://10.0.0.1:8080", key), Ok(()));
        let refused = |url, header, reason: &str| {
            assert_eq!(check(url, header), Err(format!("upstream `models`: {reason}")));
        };
        refused("ftp://x/", key, "its URL is neither http nor https");
        refused("/v1", key, "its URL is neither http nor https");
        refused("https://x/?a=b", key, "its URL has a query");
        refused("https://u:p@x/", key, "its URL holds a user name; put credentials into `headers`");
        refused("https://x", ("host", "y"), "the field `host` is the gateway's own affair");
        refused(
            "https://x",
            ("x-key", "a\nb"),
            "the value of `x-key` has characters that no field may have",
        );
    }
}
