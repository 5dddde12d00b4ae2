//! Where a bearer credential may stand in a request, and how one that a person
//! opened in the address bar becomes a cookie.
//!
//! A link `…/?token=…` opens once: the answer is a redirect to the same address
//! without the parameter, with the credential in a cookie. The cookie is host-only,
//! HttpOnly and SameSite=Lax; under https its name begins with `__Host-`, which no
//! sibling sub-domain can plant. Under plain http a sibling can plant one: two of
//! the same name are refused, and a placement that ties the host to the subject
//! (as `per-user` does) refuses a single foreign one.

use serde::Deserialize;

use crate::cookies::{cookie_name, cookies, set_cookie};
use crate::facts::Facts;
use crate::plugin::{Credential, denial};
use crate::text::{Form, Millis, is_encoded, percent_decode, percent_encode};
use crate::worlds::plugin::tidegate::policy::types::Denial;

/// Where a credential may stand. Part of a plugin's configuration (`serde(flatten)`).
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Places {
    /// Whether `Authorization: Bearer …` is looked at.
    #[serde(default = "yes")]
    pub header: bool,
    /// A query parameter.
    pub query_param: Option<String>,
    /// A cookie; under https it is called `__Host-` and this.
    pub cookie: Option<String>,
    /// How long the cookie lives.
    #[serde(default = "a_week")]
    pub session: Millis,
    /// What the client is told it is signing in to.
    #[serde(default = "us")]
    pub realm: String,
}

fn yes() -> bool {
    true
}

fn a_week() -> Millis {
    Millis(7 * 86_400_000)
}

fn us() -> String {
    "tidegate".into()
}

/// What was found in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// No credential in any of the places.
    Nothing,
    /// More than one candidate in one place: which one is meant can't be known,
    /// and one of them may have been planted.
    Ambiguous(&'static str),
    /// One.
    One {
        /// The credential itself.
        token: String,
        /// Where it stood.
        place: Place,
    },
}

/// A kind of place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The query parameter.
    QueryParam,
    /// `Authorization`.
    Header,
    /// The cookie.
    Cookie,
}

impl Places {
    /// Looks in all places: the query parameter first, since a person who opens a
    /// new link means that one; then the header; then the cookie.
    pub fn find(&self, request: &impl Facts) -> Found {
        for place in [Place::QueryParam, Place::Header, Place::Cookie] {
            let candidates = match place {
                Place::QueryParam => self.in_query(request),
                Place::Header => self.in_header(request),
                Place::Cookie => self.in_cookie(request),
            };
            let mut candidates = candidates.into_iter();
            match (candidates.next(), candidates.next()) {
                (None, _) => {}
                (Some(token), None) => return Found::One { token, place },
                (Some(_), Some(_)) => {
                    return Found::Ambiguous(match place {
                        Place::QueryParam => "the query holds more than one token",
                        Place::Header => "there is more than one Authorization field",
                        Place::Cookie => "there is more than one session cookie",
                    });
                }
            }
        }
        Found::Nothing
    }

    fn in_query(&self, request: &impl Facts) -> Vec<String> {
        let Some(name) = &self.query_param else { return Vec::new() };
        let Some(query) = request.query() else { return Vec::new() };
        let named = query.split('&').filter_map(|pair| named(pair, name));
        named.map(|value| percent_decode(value, Form::Query).unwrap_or_default()).collect()
    }

    fn in_header(&self, request: &impl Facts) -> Vec<String> {
        if !self.header {
            return Vec::new();
        }
        let values = request.header_values("authorization");
        let texts = values.iter().filter_map(|value| std::str::from_utf8(value).ok());
        texts.filter_map(bearer).map(Into::into).collect()
    }

    fn in_cookie(&self, request: &impl Facts) -> Vec<String> {
        let Some(name) = &self.cookie else { return Vec::new() };
        let ours = cookie_name(name, request.is_https());
        let values = cookies(request, |name| name == ours).into_iter();
        values.map(|(_, value)| percent_decode(&value, Form::Other).unwrap_or_default()).collect()
    }

    /// What an answer that rests on a credential from `place` reports as used.
    pub fn used(&self, place: Place, request: &impl Facts) -> Option<Credential> {
        match place {
            Place::QueryParam => self.query_param.clone().map(Credential::QueryParam),
            Place::Header => Some(Credential::Header("authorization".into())),
            Place::Cookie => {
                let cookie = self.cookie.as_ref();
                cookie.map(|name| Credential::Cookie(cookie_name(name, request.is_https())))
            }
        }
    }

    /// Every place, for the host to remove before the sandbox sees the request.
    /// Both names of the cookie: the one that isn't read may hold a credential too.
    #[must_use]
    pub fn consumed(&self) -> Vec<Credential> {
        let mut places = Vec::with_capacity(4);
        if self.header {
            places.push(Credential::Header("authorization".into()));
        }
        places.extend(self.query_param.clone().map(Credential::QueryParam));
        if let Some(name) = &self.cookie {
            places.push(Credential::Cookie(cookie_name(name, false)));
            places.push(Credential::Cookie(cookie_name(name, true)));
        }
        places
    }

    /// For a person who opened a link with a valid credential in it: the redirect
    /// that puts it into a cookie and out of the address bar. `None` for every
    /// other request. `lives_ms` caps the cookie's life.
    pub fn redirect(
        &self,
        request: &impl Facts,
        place: Place,
        token: &str,
        lives_ms: Option<u64>,
    ) -> Option<Denial> {
        let (parameter, cookie) = (self.query_param.as_ref()?, self.cookie.as_ref()?);
        if place != Place::QueryParam || !request.is_navigation() {
            return None;
        }
        let name = cookie_name(cookie, request.is_https());
        let lives_ms = lives_ms.unwrap_or(u64::MAX).min(self.session.0);
        let mut redirect = denial(303, "signed-in", "Signed in; go on without the token.");
        redirect.headers = vec![
            ("location".into(), without(request, parameter)),
            set_cookie(&name, &percent_encode(token), lives_ms),
            ("cache-control".into(), "no-store".into()),
            ("referrer-policy".into(), "no-referrer".into()),
        ];
        Some(redirect)
    }

    /// The refusal of a request whose credential is missing or wrong.
    #[must_use]
    pub fn unauthorized(&self, code: &str, message: &str) -> Denial {
        let realm: String = self.realm.chars().filter(|c| !matches!(c, '"' | '\\')).collect();
        let mut refusal = denial(401, code, message);
        refusal.headers = vec![("www-authenticate".into(), format!("Bearer realm=\"{realm}\""))];
        refusal
    }
}

/// The value of a pair of a query when its name, decoded, is `name`.
fn named<'p>(pair: &'p str, name: &str) -> Option<&'p str> {
    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
    let decoded = || percent_decode(key, Form::Query);
    (key == name || is_encoded(key, Form::Query) && decoded().as_deref() == Some(name))
        .then_some(value)
}

/// The token of `Bearer TOKEN`; other schemes are somebody else's.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.trim().split_once(' ').unwrap_or((value.trim(), ""));
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// A path as a redirect's target that stays on this host: `//host/` and `/\host/`
/// name another one to a browser.
#[must_use]
pub fn own_path(path: &str) -> String {
    let elsewhere = matches!(path.as_bytes().get(1), Some(b'/' | b'\\'));
    if elsewhere { ["/.", path].concat() } else { path.into() }
}

/// The request's own path and query without one parameter; the others byte for byte.
fn without(request: &impl Facts, parameter: &str) -> String {
    let mut location = own_path(&request.path());
    let query = request.query().unwrap_or_default();
    let others = query.split('&').filter(|p| !p.is_empty() && named(p, parameter).is_none());
    for (at, pair) in others.enumerate() {
        location.push(if at == 0 { '?' } else { '&' });
        location.push_str(pair);
    }
    location
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::tests::Asked;

    fn places() -> Places {
        Places {
            header: true,
            query_param: Some("token".into()),
            cookie: Some("tidegate".into()),
            session: a_week(),
            realm: us(),
        }
    }

    fn location(path: &'static str, query: &'static str) -> String {
        let asked = Asked::page(path, Some(query));
        let redirect = places().redirect(&asked, Place::QueryParam, "t", None).expect("redirect");
        redirect.headers.into_iter().find(|(n, _)| n == "location").expect("location").1
    }

    #[test]
    fn other_parameters_stay_as_they_were_byte_for_byte() {
        assert_eq!(location("/", "token=t"), "/");
        assert_eq!(location("/a%20b", "x=%7E&token=t&y"), "/a%20b?x=%7E&y");
        assert_eq!(location("/", "tok%65n=t&tokens=1"), "/?tokens=1");
    }

    #[test]
    fn no_path_makes_the_redirect_leave_this_host() {
        assert_eq!(location("//evil.example/", "token=t"), "/.//evil.example/");
        assert_eq!(location("/\\evil.example/", "token=t"), "/./\\evil.example/");
    }

    #[test]
    fn the_cookie_is_host_only_and_under_https_no_sibling_can_plant_it() {
        let cookie = |https| {
            let asked = Asked { https, ..Asked::page("/", Some("token=t")) };
            let redirect = places().redirect(&asked, Place::QueryParam, "a;b", Some(90_000));
            let headers = redirect.expect("redirect").headers;
            headers.into_iter().find(|(n, _)| n == "set-cookie").expect("cookie").1
        };
        assert_eq!(cookie(false), "tidegate=a%3Bb; Path=/; Max-Age=90; HttpOnly; SameSite=Lax");
        assert_eq!(
            cookie(true),
            "__Host-tidegate=a%3Bb; Path=/; Max-Age=90; HttpOnly; SameSite=Lax; Secure"
        );
    }

    #[test]
    fn two_cookies_of_one_name_are_ambiguous_whether_in_one_field_or_two() {
        let mut asked = Asked::page("/", None);
        asked.headers.push(("cookie", "tidegate=a; other=1; tidegate=b"));
        assert!(matches!(places().find(&asked), Found::Ambiguous(_)));
        asked.headers.pop();
        asked.headers.push(("cookie", "tidegate=a"));
        asked.headers.push(("cookie", "tidegate=b"));
        assert!(matches!(places().find(&asked), Found::Ambiguous(_)));
        asked.headers.pop();
        assert_eq!(places().find(&asked), Found::One { token: "a".into(), place: Place::Cookie });
        asked.https = true;
        assert_eq!(places().find(&asked), Found::Nothing);
    }

    #[test]
    fn no_other_space_than_a_browsers_hides_the_name_of_a_planted_cookie() {
        for space in ["\u{a0}", "\u{85}", "\u{2003}", "\u{3000}", "\u{feff}"] {
            for cookie in [format!("{space}__Host-tidegate=a"), format!("__Host-tidegate{space}=a")]
            {
                let mut asked = Asked { https: true, ..Asked::page("/", None) };
                asked.headers.push(("cookie", cookie.leak()));
                assert_eq!(places().find(&asked), Found::Nothing, "{space:?}");
            }
        }
    }

    #[test]
    fn a_link_counts_before_the_header_and_the_header_before_the_cookie() {
        let mut asked = Asked::page("/", Some("token=l%2B"));
        asked.headers.push(("authorization", "bearer h"));
        asked.headers.push(("cookie", "tidegate=c"));
        let found = |asked: &Asked| match places().find(asked) {
            Found::One { token, .. } => token,
            other => panic!("{other:?}"),
        };
        assert_eq!(found(&asked), "l+");
        asked.query = None;
        assert_eq!(found(&asked), "h");
        asked.headers.remove(1);
        assert_eq!(found(&asked), "c");
    }

    #[test]
    fn programs_are_not_redirected() {
        let mut asked = Asked::page("/", Some("token=t"));
        asked.headers.clear();
        assert!(places().redirect(&asked, Place::QueryParam, "t", None).is_none());
        let socket = Asked { websocket: true, ..Asked::page("/", Some("token=t")) };
        assert!(places().redirect(&socket, Place::QueryParam, "t", None).is_none());
    }
}
