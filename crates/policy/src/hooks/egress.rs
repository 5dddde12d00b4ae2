//! May this sandbox open this connection outwards?

use std::hash::{Hash as _, Hasher};
use std::sync::Arc;

use tidegate_plausible::{Direction, Implausible};
use tidegate_types::{Destination, EgressGrant, Protocol};
use wasmtime::component::Resource;

use super::plausible::{denial, edits};
use super::{Answer, Question, the};
use crate::Hook;
use crate::bindings::exports::tidegate::policy::egress as raw;
use crate::instance::{HookFunc, Hooks};
use crate::interfaces::SandboxHandle;

/// The question `egress`.
pub(crate) struct MayConnect<'d>(pub(crate) &'d Arc<Destination>);

impl Question for MayConnect<'_> {
    type Params = (Resource<SandboxHandle>, raw::Destination);
    type Raw = raw::Outcome;
    type Value = EgressGrant;

    const HOOK: Hook = Hook::Egress;

    fn of(hooks: &Hooks) -> Option<HookFunc<Self::Params, Self::Raw>> {
        hooks.egress
    }

    fn params(&self) -> Self::Params {
        let Destination { host, port, protocol, addresses, http } = &**self.0;
        let http = http
            .as_ref()
            .map(|(method, path)| raw::HttpHead { method: method.clone(), path: path.clone() });
        let destination = raw::Destination {
            host: host.clone(),
            port: *port,
            protocol: match protocol {
                Protocol::Tcp => raw::Protocol::Tcp,
                Protocol::Tls => raw::Protocol::Tls,
                Protocol::Http => raw::Protocol::Http,
                Protocol::Https => raw::Protocol::Https,
            },
            addresses: addresses.iter().map(ToString::to_string).collect(),
            http,
        };
        (the(), destination)
    }

    fn given(&self, mut into: &mut dyn Hasher) {
        let Destination { host, port, protocol, addresses, http } = &**self.0;
        (host, port, protocol, addresses, http).hash(&mut into);
    }

    fn believe(&self, raw: raw::Outcome) -> Result<Answer<EgressGrant>, Implausible> {
        Ok(match raw {
            raw::Outcome::Allow(raw::Grant { request_headers, max_bytes }) => {
                let request_headers =
                    edits(request_headers, Direction::Request, "grant.request-headers")?;
                Answer::Granted(EgressGrant { request_headers, max_bytes })
            }
            raw::Outcome::Denied(refusal) => Answer::Denied(denial(refusal)?),
            raw::Outcome::Abstain => Answer::Abstained,
        })
    }
}
