//! Who is asking?

use tidegate_plausible::{self as plausible, Direction, Implausible};
use tidegate_types::{Credential, Identity, Principal};
use wasmtime::component::Resource;

use super::plausible::{denial, edits};
use super::{Answer, Question, the};
use crate::Hook;
use crate::bindings::exports::tidegate::policy::authenticate as raw;
use crate::instance::{HookFunc, Hooks};
use crate::interfaces::RequestHandle;

/// The question `authenticate`.
pub(crate) struct WhoIsAsking;

impl Question for WhoIsAsking {
    type Params = (Resource<RequestHandle>,);
    type Raw = raw::Outcome;
    type Value = Principal;

    const HOOK: Hook = Hook::Authenticate;

    fn of(hooks: &Hooks) -> Option<HookFunc<Self::Params, raw::Outcome>> {
        hooks.authenticate
    }

    fn params(&self) -> Self::Params {
        (the(),)
    }

    fn believe(&self, raw: raw::Outcome) -> Result<Answer<Principal>, Implausible> {
        Ok(match raw {
            raw::Outcome::Authenticated(found) => Answer::Granted(principal(found)?),
            raw::Outcome::Denied(refusal) => Answer::Denied(denial(refusal)?),
            raw::Outcome::Abstain => Answer::Abstained,
        })
    }
}

fn principal(raw: raw::Principal) -> Result<Principal, Implausible> {
    believe(raw).map_err(|wrong| wrong.within("principal"))
}

fn believe(raw: raw::Principal) -> Result<Principal, Implausible> {
    let raw::Principal { subject, tenant, claims, expires_at_ms, response_headers, used, consumed } =
        raw;
    plausible::number_of_places(consumed.len())?;
    plausible::claims(&claims)?;
    let consumed = consumed.into_iter().enumerate().map(|(index, place)| {
        credential(place).map_err(|wrong| wrong.within(&format!("consumed[{index}]")))
    });
    Ok(Principal {
        identity: Identity {
            subject: plausible::subject(&subject)?,
            tenant: plausible::tenant(&tenant)?,
            claims,
        },
        expires_at: expires_at_ms.map(plausible::expiry).transpose()?,
        response_headers: edits(response_headers, Direction::Answer, "response-headers")?,
        used: used.map(credential).transpose().map_err(|wrong| wrong.within("used"))?,
        consumed: consumed.collect::<Result<_, _>>()?,
    })
}

fn credential(raw: raw::Credential) -> Result<Credential, Implausible> {
    Ok(match raw {
        raw::Credential::Header(name) => {
            // Whatever is consumed is removed from the request.
            Credential::Header(
                plausible::field_name(&name, Direction::Request)
                    .map_err(|wrong| Implausible { field: "header".into(), ..wrong })?,
            )
        }
        raw::Credential::Cookie(name) => Credential::Cookie(plausible::cookie(name)?),
        raw::Credential::QueryParam(name) => Credential::QueryParam(plausible::query_param(name)?),
    })
}
