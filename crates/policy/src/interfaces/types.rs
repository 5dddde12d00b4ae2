//! `types`: the getters through which a plugin reads a request and an identity.
//! Nothing is copied that isn't read.
//!
//! There is at most one request, one identity and one sandbox per call, and a plugin
//! can't keep a borrowed handle beyond it; so the handles carry nothing, and the
//! state says what they mean.
#![expect(unreachable_pub, reason = "the generated contract re-exports the handles")]

use std::borrow::Cow;

use http::header;
use tidegate_types::{Identity, RequestFacts, SandboxFacts};
use wasmtime::component::Resource;
use wasmtime::format_err;

use crate::bindings::tidegate::policy::types::{Host, HostIdentity, HostRequest, HostSandbox};
use crate::reads::Getter;
use crate::state::State;

/// A plugin's handle on the request of its call.
pub struct RequestHandle(());
/// A plugin's handle on the identity of its call.
pub struct IdentityHandle(());
/// A plugin's handle on the sandbox of its call.
pub struct SandboxHandle(());

impl State {
    fn facts(&self) -> wasmtime::Result<&RequestFacts> {
        self.call
            .about
            .facts
            .as_deref()
            .ok_or_else(|| format_err!("there is no request in this call"))
    }

    fn who(&self) -> wasmtime::Result<&Identity> {
        let who = self.call.about.identity.as_deref();
        who.ok_or_else(|| format_err!("there is no identity in this call"))
    }

    fn sandbox(&self) -> wasmtime::Result<&SandboxFacts> {
        let sandbox = self.call.about.sandbox.as_deref();
        sandbox.ok_or_else(|| format_err!("there is no sandbox in this call"))
    }
}

impl State {
    /// Answers a getter of the request's, and remembers that it was used.
    fn of_request<T>(
        &mut self,
        what: Getter,
        answer: impl FnOnce(&RequestFacts) -> T,
    ) -> wasmtime::Result<T> {
        self.reads_by_name(what, String::new())?;
        self.facts().map(answer)
    }

    /// As [`State::of_request`], for a getter that takes a name.
    fn of_request_by<T>(
        &mut self,
        what: Getter,
        name: String,
        answer: impl FnOnce(&RequestFacts, &str) -> T,
    ) -> wasmtime::Result<T> {
        let answered = self.facts().map(|facts| answer(facts, &name))?;
        self.reads_by_name(what, name)?;
        Ok(answered)
    }

    fn reads_by_name(&mut self, what: Getter, name: String) -> wasmtime::Result<()> {
        self.host_call()?;
        self.reads.note(what, name);
        Ok(())
    }
}

impl Host for State {}

impl HostRequest for State {
    fn method(&mut self, _: Resource<RequestHandle>) -> wasmtime::Result<String> {
        self.of_request(Getter::Method, |facts| facts.method.as_str().to_owned())
    }

    fn scheme(&mut self, _: Resource<RequestHandle>) -> wasmtime::Result<String> {
        self.of_request(Getter::Scheme, |facts| facts.scheme().to_owned())
    }

    fn authority(&mut self, _: Resource<RequestHandle>) -> wasmtime::Result<String> {
        self.of_request(Getter::Authority, |facts| facts.authority.clone())
    }

    fn path(&mut self, _: Resource<RequestHandle>) -> wasmtime::Result<String> {
        self.of_request(Getter::Path, |facts| facts.path.clone())
    }

    fn query(&mut self, _: Resource<RequestHandle>) -> wasmtime::Result<Option<String>> {
        self.of_request(Getter::Query, |facts| facts.query.clone())
    }

    fn query_param(
        &mut self,
        _: Resource<RequestHandle>,
        name: String,
    ) -> wasmtime::Result<Option<String>> {
        self.of_request_by(Getter::QueryParam, name, |facts, name| {
            query_param(facts, name).map(Cow::into_owned)
        })
    }

    fn header(
        &mut self,
        _: Resource<RequestHandle>,
        name: String,
    ) -> wasmtime::Result<Option<String>> {
        self.of_request_by(Getter::Header, name, |facts, name| header(facts, name).map(Into::into))
    }

    fn header_values(
        &mut self,
        _: Resource<RequestHandle>,
        name: String,
    ) -> wasmtime::Result<Vec<Vec<u8>>> {
        self.of_request_by(Getter::HeaderValues, name, |facts, name| {
            facts.headers.get_all(name).iter().map(|value| value.as_bytes().to_vec()).collect()
        })
    }

    fn header_names(&mut self, _: Resource<RequestHandle>) -> wasmtime::Result<Vec<String>> {
        self.of_request(Getter::HeaderNames, |facts| {
            facts.headers.keys().map(|name| name.as_str().to_owned()).collect()
        })
    }

    fn cookie(
        &mut self,
        _: Resource<RequestHandle>,
        name: String,
    ) -> wasmtime::Result<Option<String>> {
        self.of_request_by(Getter::Cookie, name, |facts, name| cookie(facts, name).map(Into::into))
    }

    fn client_ip(&mut self, _: Resource<RequestHandle>) -> wasmtime::Result<String> {
        self.of_request(Getter::ClientIp, |facts| facts.client.to_string())
    }

    fn is_websocket(&mut self, _: Resource<RequestHandle>) -> wasmtime::Result<bool> {
        self.of_request(Getter::IsWebsocket, |facts| facts.websocket)
    }

    fn client_certificate_subject(
        &mut self,
        _: Resource<RequestHandle>,
    ) -> wasmtime::Result<Option<String>> {
        self.of_request(Getter::CertificateSubject, |facts| {
            facts.client_certificate_subject.clone()
        })
    }

    fn drop(&mut self, _: Resource<RequestHandle>) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl HostIdentity for State {
    fn subject(&mut self, _: Resource<IdentityHandle>) -> wasmtime::Result<String> {
        self.reads_by_name(Getter::Subject, String::new())?;
        Ok(self.who()?.subject.as_str().to_owned())
    }

    fn tenant(&mut self, _: Resource<IdentityHandle>) -> wasmtime::Result<String> {
        self.reads_by_name(Getter::Tenant, String::new())?;
        Ok(self.who()?.tenant.as_str().to_owned())
    }

    fn claim(
        &mut self,
        _: Resource<IdentityHandle>,
        name: String,
    ) -> wasmtime::Result<Option<String>> {
        let claim = self.who()?.claim(&name).map(Into::into);
        self.reads_by_name(Getter::Claim, name)?;
        Ok(claim)
    }

    fn drop(&mut self, _: Resource<IdentityHandle>) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl HostSandbox for State {
    fn id(&mut self, _: Resource<SandboxHandle>) -> wasmtime::Result<String> {
        self.reads_by_name(Getter::SandboxId, String::new())?;
        Ok(self.sandbox()?.key.name.as_str().to_owned())
    }

    fn tenant(&mut self, _: Resource<SandboxHandle>) -> wasmtime::Result<String> {
        self.reads_by_name(Getter::SandboxTenant, String::new())?;
        Ok(self.sandbox()?.key.tenant.as_str().to_owned())
    }

    fn subject(&mut self, _: Resource<SandboxHandle>) -> wasmtime::Result<String> {
        self.reads_by_name(Getter::SandboxSubject, String::new())?;
        Ok(self.sandbox()?.subject.as_str().to_owned())
    }

    fn template(&mut self, _: Resource<SandboxHandle>) -> wasmtime::Result<String> {
        self.reads_by_name(Getter::SandboxTemplate, String::new())?;
        Ok(self.sandbox()?.template.as_str().to_owned())
    }

    fn label(
        &mut self,
        _: Resource<SandboxHandle>,
        name: String,
    ) -> wasmtime::Result<Option<String>> {
        let label = self.sandbox()?.label(&name).map(Into::into);
        self.reads_by_name(Getter::SandboxLabel, name)?;
        Ok(label)
    }

    fn drop(&mut self, _: Resource<SandboxHandle>) -> wasmtime::Result<()> {
        Ok(())
    }
}

/// The first value of a header that is valid UTF-8.
pub(crate) fn header<'f>(facts: &'f RequestFacts, name: &str) -> Option<&'f str> {
    let values = facts.headers.get_all(name);
    values.iter().find_map(|value| std::str::from_utf8(value.as_bytes()).ok())
}

/// The first cookie called `name`.
pub(crate) fn cookie<'f>(facts: &'f RequestFacts, name: &str) -> Option<&'f str> {
    let fields = facts.headers.get_all(header::COOKIE).iter();
    let texts = fields.filter_map(|field| std::str::from_utf8(field.as_bytes()).ok());
    let mut pairs = texts.flat_map(|text| text.split(';'));
    pairs.find_map(|pair| {
        // Not `trim`, which knows more kinds of space than RFC 6265 and browsers: a
        // sibling sub-domain could plant `__Host-` behind one.
        let (key, value) = pair.trim_matches([' ', '\t']).split_once('=')?;
        (key == name).then_some(value)
    })
}

/// The first parameter called `name`, decoded.
pub(crate) fn query_param<'f>(facts: &'f RequestFacts, name: &str) -> Option<Cow<'f, str>> {
    let query = facts.query.as_deref().unwrap_or_default();
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key)? == name).then(|| decode(value))?
    })
}

/// Decodes a query's `%41` and `+`. `None` when the result isn't UTF-8.
fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains(['%', '+']) {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        let escaped = match (byte, tail) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)),
            _ => None,
        };
        match escaped {
            Some((high, low)) => {
                bytes.push(high << 4 | low);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => bytes.push(if byte == b'+' { b' ' } else { byte }),
        }
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_other_space_than_a_browsers_hides_the_name_of_a_planted_cookie() {
        let found = |text: &str| {
            let mut headers = http::HeaderMap::new();
            let value = http::HeaderValue::from_bytes(text.as_bytes()).expect("a value");
            headers.insert(header::COOKIE, value);
            let facts = RequestFacts {
                method: http::Method::GET,
                https: true,
                authority: "a.example".into(),
                path: "/".into(),
                query: None,
                headers,
                client: std::net::Ipv4Addr::LOCALHOST.into(),
                websocket: false,
                client_certificate_subject: None,
            };
            cookie(&facts, "__Host-sid").map(str::to_owned)
        };
        assert_eq!(found("a=1; __Host-sid=2").as_deref(), Some("2"));
        assert_eq!(found("a=1;\t__Host-sid=2").as_deref(), Some("2"));
        for space in ["\u{a0}", "\u{85}", "\u{2003}", "\u{3000}", "\u{feff}"] {
            assert_eq!(found(&format!("{space}__Host-sid=planted")), None, "{space:?}");
            assert_eq!(found(&format!("__Host-sid{space}=planted")), None, "{space:?}");
        }
    }

    #[test]
    fn a_query_is_decoded_once() {
        let check = |text, decoded: Option<&str>| assert_eq!(decode(text).as_deref(), decoded);
        check("plain", Some("plain"));
        check("a%20b+c", Some("a b c"));
        check("%2541", Some("%41"));
        check("%4", Some("%4"));
        check("%ff", None);
    }
}
