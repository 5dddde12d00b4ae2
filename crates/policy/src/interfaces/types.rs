//! `types`: the getters through which a plugin reads a request and an identity.
//! Nothing is copied that isn't read.
//!
//! There is at most one request, one identity and one sandbox per call, and a plugin can't keep
//! a borrowed handle beyond it; so the handles carry nothing, and the state says
//! what they mean.
#![expect(unreachable_pub, reason = "the generated contract re-exports the handles")]

use std::borrow::Cow;

use http::header;
use tidegate_types::{Identity, RequestFacts, SandboxFacts};
use wasmtime::component::Resource;
use wasmtime::format_err;

use crate::bindings::tidegate::policy::types::{Host, HostIdentity, HostRequest, HostSandbox};
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

impl Host for State {}

impl HostRequest for State {
    fn method(&mut self, _: Resource<RequestHandle>) -> wasmtime::Result<String> {
        Ok(self.facts()?.method.as_str().to_owned())
    }

    fn scheme(&mut self, _: Resource<RequestHandle>) -> wasmtime::Result<String> {
        Ok(self.facts()?.scheme().to_owned())
    }

    fn authority(&mut self, _: Resource<RequestHandle>) -> wasmtime::Result<String> {
        Ok(self.facts()?.authority.clone())
    }

    fn path(&mut self, _: Resource<RequestHandle>) -> wasmtime::Result<String> {
        Ok(self.facts()?.path.clone())
    }

    fn query(&mut self, _: Resource<RequestHandle>) -> wasmtime::Result<Option<String>> {
        Ok(self.facts()?.query.clone())
    }

    fn query_param(
        &mut self,
        _: Resource<RequestHandle>,
        name: String,
    ) -> wasmtime::Result<Option<String>> {
        let query = self.facts()?.query.as_deref().unwrap_or_default();
        Ok(query.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key)? == name).then(|| decode(value).map(Cow::into_owned))?
        }))
    }

    fn header(
        &mut self,
        _: Resource<RequestHandle>,
        name: String,
    ) -> wasmtime::Result<Option<String>> {
        let values = self.facts()?.headers.get_all(name.as_str());
        Ok(values.iter().find_map(|v| std::str::from_utf8(v.as_bytes()).ok()).map(Into::into))
    }

    fn header_values(
        &mut self,
        _: Resource<RequestHandle>,
        name: String,
    ) -> wasmtime::Result<Vec<Vec<u8>>> {
        let values = self.facts()?.headers.get_all(name.as_str());
        Ok(values.iter().map(|value| value.as_bytes().to_vec()).collect())
    }

    fn header_names(&mut self, _: Resource<RequestHandle>) -> wasmtime::Result<Vec<String>> {
        Ok(self.facts()?.headers.keys().map(|name| name.as_str().to_owned()).collect())
    }

    fn cookie(
        &mut self,
        _: Resource<RequestHandle>,
        name: String,
    ) -> wasmtime::Result<Option<String>> {
        let fields = self.facts()?.headers.get_all(header::COOKIE).iter();
        let texts = fields.filter_map(|field| std::str::from_utf8(field.as_bytes()).ok());
        let mut pairs = texts.flat_map(|text| text.split(';'));
        Ok(pairs.find_map(|pair| {
            let (key, value) = pair.trim().split_once('=')?;
            (key == name).then(|| value.to_owned())
        }))
    }

    fn client_ip(&mut self, _: Resource<RequestHandle>) -> wasmtime::Result<String> {
        Ok(self.facts()?.client.to_string())
    }

    fn is_websocket(&mut self, _: Resource<RequestHandle>) -> wasmtime::Result<bool> {
        Ok(self.facts()?.websocket)
    }

    fn client_certificate_subject(
        &mut self,
        _: Resource<RequestHandle>,
    ) -> wasmtime::Result<Option<String>> {
        Ok(self.facts()?.client_certificate_subject.clone())
    }

    fn drop(&mut self, _: Resource<RequestHandle>) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl HostIdentity for State {
    fn subject(&mut self, _: Resource<IdentityHandle>) -> wasmtime::Result<String> {
        Ok(self.who()?.subject.as_str().to_owned())
    }

    fn tenant(&mut self, _: Resource<IdentityHandle>) -> wasmtime::Result<String> {
        Ok(self.who()?.tenant.as_str().to_owned())
    }

    fn claim(
        &mut self,
        _: Resource<IdentityHandle>,
        name: String,
    ) -> wasmtime::Result<Option<String>> {
        Ok(self.who()?.claim(&name).map(Into::into))
    }

    fn drop(&mut self, _: Resource<IdentityHandle>) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl HostSandbox for State {
    fn id(&mut self, _: Resource<SandboxHandle>) -> wasmtime::Result<String> {
        Ok(self.sandbox()?.key.name.as_str().to_owned())
    }

    fn tenant(&mut self, _: Resource<SandboxHandle>) -> wasmtime::Result<String> {
        Ok(self.sandbox()?.key.tenant.as_str().to_owned())
    }

    fn subject(&mut self, _: Resource<SandboxHandle>) -> wasmtime::Result<String> {
        Ok(self.sandbox()?.subject.as_str().to_owned())
    }

    fn template(&mut self, _: Resource<SandboxHandle>) -> wasmtime::Result<String> {
        Ok(self.sandbox()?.template.as_str().to_owned())
    }

    fn label(
        &mut self,
        _: Resource<SandboxHandle>,
        name: String,
    ) -> wasmtime::Result<Option<String>> {
        Ok(self.sandbox()?.label(&name).map(Into::into))
    }

    fn drop(&mut self, _: Resource<SandboxHandle>) -> wasmtime::Result<()> {
        Ok(())
    }
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
    fn a_query_is_decoded_once() {
        let check = |text, decoded: Option<&str>| assert_eq!(decode(text).as_deref(), decoded);
        check("plain", Some("plain"));
        check("a%20b+c", Some("a b c"));
        check("%2541", Some("%41"));
        check("%4", Some("%4"));
        check("%ff", None);
    }
}
