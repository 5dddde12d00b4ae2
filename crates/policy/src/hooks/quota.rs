//! How much may this identity use?

use std::time::Duration;

use tidegate_types::{Limit, LimitKind, Meter, Scope};
use wasmtime::component::Resource;

use super::{Answer, Implausible, Question, the};
use crate::Hook;
use crate::bindings::exports::tidegate::policy::quota as raw;
use crate::instance::{HookFunc, Hooks};
use crate::interfaces::IdentityHandle;

const MAX_LIMITS: usize = 64;
/// Rates over longer times aren't rates any more.
const MAX_PER: Duration = Duration::from_secs(366 * 86_400);

/// The question `quota`.
pub(crate) struct HowMuch;

impl Question for HowMuch {
    type Params = (Resource<IdentityHandle>,);
    type Raw = Vec<raw::Limit>;
    type Value = Vec<Limit>;

    const HOOK: Hook = Hook::Quota;

    fn of(hooks: &Hooks) -> Option<HookFunc<Self::Params, Self::Raw>> {
        hooks.quota
    }

    fn params(&self) -> Self::Params {
        (the(),)
    }

    fn believe(&self, raw: Vec<raw::Limit>) -> Result<Answer<Vec<Limit>>, Implausible> {
        if raw.len() > MAX_LIMITS {
            return Err(Implausible(format!(
                "{} limits; at most {MAX_LIMITS} are kept",
                raw.len()
            )));
        }
        raw.into_iter().map(limit).collect::<Result<_, _>>().map(Answer::Granted)
    }
}

fn limit(raw: raw::Limit) -> Result<Limit, Implausible> {
    let raw::Limit { meter, amount, per_ms, burst, scope } = raw;
    let meter = meter_of(meter);
    let kind = match per_ms.map(Duration::from_millis) {
        None if burst.is_some() => {
            return Err(Implausible(format!("a ceiling of `{meter}` with a burst")));
        }
        None => LimitKind::Ceiling(amount),
        Some(per) if per.is_zero() || per > MAX_PER => {
            return Err(Implausible(format!("a rate of `{meter}` per {} ms", per.as_millis())));
        }
        Some(per) => {
            let burst = burst.unwrap_or(amount);
            if burst == 0 && amount > 0 {
                return Err(Implausible(format!("a rate of `{meter}` with a burst of 0")));
            }
            LimitKind::Rate { amount, per, burst }
        }
    };
    let scope = match scope {
        raw::Scope::Subject => Scope::Subject,
        raw::Scope::Tenant => Scope::Tenant,
    };
    Ok(Limit { meter, kind, scope })
}

const fn meter_of(raw: raw::Meter) -> Meter {
    match raw {
        raw::Meter::Requests => Meter::Requests,
        raw::Meter::WebsocketConnections => Meter::WebsocketConnections,
        raw::Meter::WebsocketMessages => Meter::WebsocketMessages,
        raw::Meter::IngressBytes => Meter::IngressBytes,
        raw::Meter::EgressBytes => Meter::EgressBytes,
        raw::Meter::StorageBytes => Meter::StorageBytes,
        raw::Meter::StorageObjects => Meter::StorageObjects,
        raw::Meter::Sandboxes => Meter::Sandboxes,
        raw::Meter::RunningMs => Meter::RunningMs,
        raw::Meter::CpuMs => Meter::CpuMs,
        raw::Meter::MemoryBytes => Meter::MemoryBytes,
        raw::Meter::Processes => Meter::Processes,
    }
}
