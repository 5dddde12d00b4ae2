//! Which hosts a plugin may call.
//!
//! | pattern | allows |
//! |---|---|
//! | `id.example.com` | `https://id.example.com`, on port 443 |
//! | `id.example.com:8443` | the same on that port |
//! | `*.example.com` | every name below it, but not `example.com` itself |
//! | `http://localhost:9000` | that, not encrypted; without a port: 80 |

use http::Uri;

use crate::contract::Breach;

/// What the operator allowed, parsed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Allowed(Vec<Pattern>);

#[derive(Debug, PartialEq, Eq)]
struct Pattern {
    https: bool,
    host: Host,
    port: u16,
}

#[derive(Debug, PartialEq, Eq)]
enum Host {
    Exactly(String),
    /// With its leading dot: `.example.com`.
    Below(String),
}

impl Allowed {
    /// # Errors
    /// The first that is no pattern.
    pub(crate) fn parse(patterns: &[String]) -> Result<Self, Breach> {
        let parse = |pattern: &String| {
            Pattern::parse(pattern).ok_or_else(|| {
                let what = format!("`http.hosts` names `{pattern}`, which is no host");
                (what, "write it like `id.example.com` or `*.example.com:8443`".to_owned())
            })
        };
        patterns.iter().map(parse).collect::<Result<_, _>>().map(Self)
    }

    /// Whether `uri` leads to one of the hosts: what is judged here is what is
    /// dialled, since the URI is never parsed again.
    pub(crate) fn contains(&self, uri: &Uri) -> bool {
        let https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return false,
        };
        let Some(authority) = uri.authority() else { return false };
        // Some would read the part before the `@` as the host.
        if authority.as_str().contains('@') {
            return false;
        }
        let port = match (authority.port(), authority.port_u16()) {
            (None, _) => default_port(https),
            (Some(_), Some(port)) => port,
            (Some(_), None) => return false,
        };
        let host = authority.host().to_ascii_lowercase();
        self.0
            .iter()
            .any(|allowed| allowed.https == https && allowed.port == port && allowed.host.is(&host))
    }
}

const fn default_port(https: bool) -> u16 {
    if https { 443 } else { 80 }
}

impl Pattern {
    fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let (https, rest) = match text.strip_prefix("http://") {
            Some(rest) => (false, rest),
            None => (true, text.as_str()),
        };
        let (below, rest) = match rest.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let authority = rest.parse::<http::uri::Authority>().ok()?;
        let port = match (authority.port(), authority.port_u16()) {
            (None, _) => default_port(https),
            (Some(_), Some(port)) if port > 0 => port,
            _ => return None,
        };
        let host = authority.host();
        let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
        let bracketed = host.starts_with('[') && !below;
        if rest.contains('@') || host.is_empty() || !(bracketed || host.chars().all(named)) {
            return None;
        }
        let host =
            if below { Host::Below(format!(".{host}")) } else { Host::Exactly(host.to_owned()) };
        Some(Self { https, host, port })
    }
}

impl Host {
    fn is(&self, host: &str) -> bool {
        match self {
            Self::Exactly(allowed) => allowed == host,
            Self::Below(suffix) => host
                .strip_suffix(suffix.as_str())
                .is_some_and(|label| !label.is_empty() && !label.starts_with('.')),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(patterns: &[&str]) -> Allowed {
        let patterns: Vec<_> = patterns.iter().map(|p| (*p).to_owned()).collect();
        Allowed::parse(&patterns).expect("patterns")
    }

    #[test]
    fn a_call_goes_to_an_allowed_host_and_port_in_the_allowed_way() {
        let allowed =
            allowed(&["Id.example.com", "*.x.org:8443", "http://localhost:9000", "[::1]:1"]);
        for fine in [
            "https://id.example.com/a?b",
            "https://ID.Example.Com:443/",
            "https://a.x.org:8443/",
            "https://a.b.x.org:8443/",
            "http://localhost:9000",
            "https://[::1]:1/",
        ] {
            assert!(allowed.contains(&fine.parse().expect("a URI")), "{fine}");
        }
        for refused in [
            "http://id.example.com/",
            "https://id.example.com:8443/",
            "https://id.example.com.evil.org/",
            "https://evil.org@id.example.com/",
            "https://id.example.com@evil.org/",
            "https://id.example.com./",
            "https://x.org:8443/",
            "https://ax.org:8443/",
            "https://.x.org:8443/",
            "https://a.x.org/",
            "https://localhost:9000/",
            "http://localhost/",
            "http://localhost.:9000/",
            "http://127.0.0.1:9000/",
            "/relative",
        ] {
            assert!(!allowed.contains(&refused.parse().expect("a URI")), "{refused}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_named() {
        for wrong in ["", "*", "*.", "https://x.org", "x.org/a", "u@x.org", "x.org:0", "*.[::1]"] {
            let refused = Allowed::parse(&[wrong.to_owned()]);
            assert!(refused.is_err_and(|(what, _)| what.contains(wrong)), "{wrong}");
        }
    }
}
