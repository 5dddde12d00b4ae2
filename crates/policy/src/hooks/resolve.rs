//! Which sandbox serves this request, and how does it live?

use std::collections::HashSet;

use tidegate_plausible::{self as plausible, Direction, Implausible};
use tidegate_types::{Lifetime, Placement, RelayMode, TemplateName, WhenAsleep};
use wasmtime::component::Resource;

use super::plausible::{denial, edits};
use super::{Answer, Question, the};
use crate::Hook;
use crate::bindings::exports::tidegate::policy::resolve as raw;
use crate::instance::{HookFunc, Hooks};
use crate::interfaces::{IdentityHandle, RequestHandle};

/// The question `resolve`.
pub(crate) struct WhereTo<'g> {
    /// The operator's templates.
    pub(crate) templates: &'g HashSet<TemplateName>,
    /// Whether any plugin serves `messages`.
    pub(crate) judges_messages: bool,
}

impl Question for WhereTo<'_> {
    type Params = (Resource<RequestHandle>, Resource<IdentityHandle>);
    type Raw = raw::Outcome;
    type Value = Placement;

    const HOOK: Hook = Hook::Resolve;

    fn of(hooks: &Hooks) -> Option<HookFunc<Self::Params, raw::Outcome>> {
        hooks.resolve
    }

    fn params(&self) -> Self::Params {
        (the(), the())
    }

    fn believe(&self, raw: raw::Outcome) -> Result<Answer<Placement>, Implausible> {
        Ok(match raw {
            raw::Outcome::Place(placement) => {
                let believed = self.placement(placement);
                Answer::Granted(believed.map_err(|wrong| wrong.within("placement"))?)
            }
            raw::Outcome::Denied(refusal) => Answer::Denied(denial(refusal)?),
            raw::Outcome::Abstain => Answer::Abstained,
        })
    }
}

impl WhereTo<'_> {
    fn placement(&self, raw: raw::Placement) -> Result<Placement, Implausible> {
        let raw::Placement {
            sandbox,
            template,
            port,
            lifetime,
            when_asleep,
            env,
            labels,
            path,
            request_headers,
            response_headers,
            relay,
        } = raw;
        let sandbox = plausible::sandbox(&sandbox)?;
        let template = plausible::template(&template, |name| self.templates.contains(name))?;
        let port = plausible::port(port)?;
        if relay == raw::RelayMode::Messages && !self.judges_messages {
            return Err(Implausible::new("relay", "`messages`, though no plugin judges them"));
        }
        plausible::environment(&env)?;
        plausible::labels(&labels)?;
        Ok(Placement {
            sandbox,
            template,
            port,
            lifetime: lifetime.map(believe_lifetime).transpose()?,
            when_asleep: match when_asleep {
                raw::WhenAsleep::Hold => WhenAsleep::Hold,
                raw::WhenAsleep::Page => WhenAsleep::Page,
                raw::WhenAsleep::Refuse => WhenAsleep::Refuse,
            },
            env,
            labels,
            path: path.map(plausible::path).transpose()?,
            request_headers: edits(request_headers, Direction::Request, "request-headers")?,
            response_headers: edits(response_headers, Direction::Answer, "response-headers")?,
            relay: match relay {
                raw::RelayMode::Raw => RelayMode::Raw,
                raw::RelayMode::Messages => RelayMode::Messages,
            },
        })
    }
}

fn believe_lifetime(raw: raw::Lifetime) -> Result<Lifetime, Implausible> {
    match raw {
        raw::Lifetime::KeepAlive => Ok(Lifetime::KeepAlive),
        raw::Lifetime::SleepAfter(ms) => plausible::sleep_after(ms).map(Lifetime::SleepAfter),
    }
}
