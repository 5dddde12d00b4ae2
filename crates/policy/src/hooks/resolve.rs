//! Which sandbox serves this request, and how does it live?

use std::collections::HashSet;
use std::time::Duration;

use tidegate_types::{Lifetime, Placement, RelayMode, SandboxName, TemplateName, WhenAsleep};
use wasmtime::component::Resource;

use super::plausible::{self, Direction};
use super::{Answer, Implausible, Question, the};
use crate::Hook;
use crate::bindings::exports::tidegate::policy::resolve as raw;
use crate::instance::{HookFunc, Hooks};
use crate::interfaces::{IdentityHandle, RequestHandle};

/// Longer than any sandbox sleeps; clocks overflow beyond.
const MAX_SLEEP_AFTER: Duration = Duration::from_secs(366 * 86_400);
const MAX_VARIABLES: usize = 256;
const MAX_ENVIRONMENT: usize = 64 << 10;
const MAX_LABELS: usize = 64;

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
            raw::Outcome::Place(placement) => Answer::Granted(self.placement(placement)?),
            raw::Outcome::Denied(denial) => Answer::Denied(plausible::denial(denial)?),
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
        let sandbox = SandboxName::normalise(&sandbox).map_err(|e| Implausible(e.to_string()))?;
        let template = TemplateName::new(&template).map_err(|e| Implausible(e.to_string()))?;
        if !self.templates.contains(&template) {
            return Err(Implausible(format!("there is no template `{template}`")));
        }
        if port == 0 {
            return Err(Implausible("port 0".into()));
        }
        if relay == raw::RelayMode::Messages && !self.judges_messages {
            return Err(Implausible("relay `messages`, though no plugin serves `messages`".into()));
        }
        check_environment(&env)?;
        check_labels(&labels)?;
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
            request_headers: plausible::edits(request_headers, Direction::ToSandbox)?,
            response_headers: plausible::edits(response_headers, Direction::ToClient)?,
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
        raw::Lifetime::SleepAfter(ms) => {
            let after = Duration::from_millis(ms);
            if after.is_zero() || after > MAX_SLEEP_AFTER {
                return Err(Implausible(format!("sleep after {ms} ms")));
            }
            Ok(Lifetime::SleepAfter(after))
        }
    }
}

fn check_environment(env: &[(String, String)]) -> Result<(), Implausible> {
    let size: usize = env.iter().map(|(name, value)| name.len() + value.len()).sum();
    if env.len() > MAX_VARIABLES || size > MAX_ENVIRONMENT {
        return Err(Implausible(format!("{} environment variables of {size} bytes", env.len())));
    }
    for (name, value) in env {
        if name.is_empty() || name.contains(|c: char| c == '=' || c.is_control()) {
            return Err(Implausible(format!("an environment variable called `{name}`")));
        }
        if value.contains('\0') {
            return Err(Implausible(format!("a NUL in the environment variable `{name}`")));
        }
    }
    Ok(())
}

fn check_labels(labels: &[(String, String)]) -> Result<(), Implausible> {
    let odd = |text: &str| text.len() > 256 || text.contains(char::is_control);
    if labels.len() > MAX_LABELS
        || labels.iter().any(|(name, value)| name.is_empty() || odd(name) || odd(value))
    {
        return Err(Implausible("too many labels, or one that is nameless, long or odd".into()));
    }
    Ok(())
}
