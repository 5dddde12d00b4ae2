//! Who is asking?

use std::time::{Duration, UNIX_EPOCH};

use tidegate_types::{Credential, Identity, Principal, SubjectId, TenantId};
use wasmtime::component::Resource;

use super::plausible::{self, Direction};
use super::{Answer, Implausible, Question, the};
use crate::Hook;
use crate::bindings::exports::tidegate::policy::authenticate as raw;
use crate::instance::{HookFunc, Hooks};
use crate::interfaces::RequestHandle;

const MAX_CLAIMS: usize = 128;
const MAX_CLAIM: usize = 8 << 10;
const MAX_PLACES: usize = 64;

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
            raw::Outcome::Denied(denial) => Answer::Denied(plausible::denial(denial)?),
            raw::Outcome::Abstain => Answer::Abstained,
        })
    }
}

fn principal(raw: raw::Principal) -> Result<Principal, Implausible> {
    let raw::Principal { subject, tenant, claims, expires_at_ms, response_headers, used, consumed } =
        raw;
    if claims.len() > MAX_CLAIMS
        || claims
            .iter()
            .any(|(name, value)| name.is_empty() || name.len() + value.len() > MAX_CLAIM)
    {
        return Err(Implausible("too many claims, a nameless one or one that is too long".into()));
    }
    if consumed.len() > MAX_PLACES {
        return Err(Implausible("more places for credentials than a request has".into()));
    }
    let expires_at = match expires_at_ms {
        None => None,
        Some(ms) => {
            let at = UNIX_EPOCH.checked_add(Duration::from_millis(ms));
            Some(at.ok_or_else(|| Implausible(format!("an expiry at {ms} ms")))?)
        }
    };
    Ok(Principal {
        identity: Identity {
            subject: SubjectId::new(&subject).map_err(|e| Implausible(e.to_string()))?,
            tenant: TenantId::new(&tenant).map_err(|e| Implausible(e.to_string()))?,
            claims,
        },
        expires_at,
        response_headers: plausible::edits(response_headers, Direction::ToClient)?,
        used: used.map(credential).transpose()?,
        consumed: consumed.into_iter().map(credential).collect::<Result<_, _>>()?,
    })
}

fn credential(raw: raw::Credential) -> Result<Credential, Implausible> {
    Ok(match raw {
        raw::Credential::Header(name) => {
            // Whatever is consumed is removed from the request.
            Credential::Header(plausible::editable(&name, Direction::ToSandbox)?)
        }
        raw::Credential::Cookie(name) => Credential::Cookie(plausible::token(name)?),
        raw::Credential::QueryParam(name) if !name.is_empty() && name.len() <= 256 => {
            Credential::QueryParam(name)
        }
        raw::Credential::QueryParam(_) => {
            return Err(Implausible("a query parameter without a name or with a long one".into()));
        }
    })
}
