//! What sign-in and placing read of a request, as a trait: the host's resource in
//! a plugin, a plain value in tests.

use std::cell::OnceCell;

use crate::worlds::plugin::tidegate::policy::types::Request;

/// What sign-in and placing read of a request. See `wit/policy.wit` for each.
pub trait Facts {
    /// As received, upper case.
    fn method(&self) -> String;
    /// Whether the client's side is encrypted.
    fn is_https(&self) -> bool;
    /// Host and port the client asked for; lower case.
    fn authority(&self) -> String;
    /// Percent-encoded; begins with `/`.
    fn path(&self) -> String;
    /// Without the `?`.
    fn query(&self) -> Option<String>;
    /// All values of a header field.
    fn header_values(&self, name: &str) -> Vec<Vec<u8>>;
    /// Whether the client asked to upgrade to WebSocket.
    fn is_websocket(&self) -> bool;

    /// The host that the client asked for, without its port.
    fn host(&self) -> String {
        let mut authority = self.authority();
        // The colons of an IPv6 address stand inside brackets.
        if let Some(colon) = authority.rfind(':')
            && !authority[colon..].contains(']')
        {
            authority.truncate(colon);
        }
        authority
    }

    /// Whether this is a person opening a page, as opposed to a program or a page
    /// fetching something.
    fn is_navigation(&self) -> bool {
        let says = |name: &str, what: &str| {
            self.header_values(name)
                .iter()
                .any(|value| String::from_utf8_lossy(value).to_ascii_lowercase().contains(what))
        };
        self.method() == "GET"
            && !self.is_websocket()
            && (says("sec-fetch-mode", "navigate")
                || self.header_values("sec-fetch-mode").is_empty() && says("accept", "text/html"))
    }
}

impl Facts for Request {
    fn method(&self) -> String {
        Request::method(self)
    }
    fn is_https(&self) -> bool {
        self.scheme() == "https"
    }
    fn authority(&self) -> String {
        Request::authority(self)
    }
    fn path(&self) -> String {
        Request::path(self)
    }
    fn query(&self) -> Option<String> {
        Request::query(self)
    }
    fn header_values(&self, name: &str) -> Vec<Vec<u8>> {
        Request::header_values(self, name)
    }
    fn is_websocket(&self) -> bool {
        Request::is_websocket(self)
    }
}

/// A request whose scheme is asked for at most once: each question is a call into
/// the host, and signing in asks that one several times.
#[derive(Debug)]
pub struct Remembered<'r, F> {
    request: &'r F,
    https: OnceCell<bool>,
}

impl<'r, F: Facts> Remembered<'r, F> {
    /// Nothing was asked yet.
    #[must_use]
    pub const fn new(request: &'r F) -> Self {
        Self { request, https: OnceCell::new() }
    }
}

impl<F: Facts> Facts for Remembered<'_, F> {
    fn method(&self) -> String {
        self.request.method()
    }
    fn is_https(&self) -> bool {
        *self.https.get_or_init(|| self.request.is_https())
    }
    fn authority(&self) -> String {
        self.request.authority()
    }
    fn path(&self) -> String {
        self.request.path()
    }
    fn query(&self) -> Option<String> {
        self.request.query()
    }
    fn header_values(&self, name: &str) -> Vec<Vec<u8>> {
        self.request.header_values(name)
    }
    fn is_websocket(&self) -> bool {
        self.request.is_websocket()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A request as a test writes it down.
    #[derive(Clone)]
    pub(crate) struct Asked {
        pub(crate) method: &'static str,
        pub(crate) https: bool,
        pub(crate) authority: &'static str,
        pub(crate) path: &'static str,
        pub(crate) query: Option<&'static str>,
        pub(crate) headers: Vec<(&'static str, &'static str)>,
        pub(crate) websocket: bool,
    }

    impl Asked {
        pub(crate) fn page(path: &'static str, query: Option<&'static str>) -> Self {
            Self {
                method: "GET",
                https: false,
                authority: "alice.localhost:8080",
                path,
                query,
                headers: vec![("accept", "text/html,*/*")],
                websocket: false,
            }
        }
    }

    impl Facts for Asked {
        fn method(&self) -> String {
            self.method.into()
        }
        fn is_https(&self) -> bool {
            self.https
        }
        fn authority(&self) -> String {
            self.authority.into()
        }
        fn path(&self) -> String {
            self.path.into()
        }
        fn query(&self) -> Option<String> {
            self.query.map(Into::into)
        }
        fn header_values(&self, name: &str) -> Vec<Vec<u8>> {
            let named = self.headers.iter().filter(|(n, _)| *n == name);
            named.map(|(_, value)| value.as_bytes().to_vec()).collect()
        }
        fn is_websocket(&self) -> bool {
            self.websocket
        }
    }

    #[test]
    fn the_host_is_the_authority_without_its_port() {
        let check = |authority, host: &str| {
            assert_eq!(Asked { authority, ..Asked::page("/", None) }.host(), host);
        };
        check("alice.localhost:8080", "alice.localhost");
        check("alice.localhost", "alice.localhost");
        check("[::1]:8080", "[::1]");
        check("[::1]", "[::1]");
    }

    #[test]
    fn a_page_that_fetches_html_is_not_a_navigation() {
        let mut asked = Asked::page("/", None);
        assert!(asked.is_navigation());
        asked.headers.push(("sec-fetch-mode", "cors"));
        assert!(!asked.is_navigation());
    }
}
