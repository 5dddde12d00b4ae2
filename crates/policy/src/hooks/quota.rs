//! How much may this identity use?

use tidegate_plausible::{self as plausible, Implausible};
use tidegate_types::{Limit, Meter, Scope};
use wasmtime::component::Resource;

use super::{Answer, Question, the};
use crate::Hook;
use crate::bindings::exports::tidegate::policy::quota as raw;
use crate::instance::{HookFunc, Hooks};
use crate::interfaces::IdentityHandle;

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
        plausible::number_of_limits(raw.len())?;
        let limits = raw.into_iter().enumerate().map(|(index, limit)| {
            let raw::Limit { meter, amount, per_ms, burst, scope } = limit;
            let scope = match scope {
                raw::Scope::Subject => Scope::Subject,
                raw::Scope::Tenant => Scope::Tenant,
            };
            plausible::limit(index, meter_of(meter), amount, per_ms, burst, scope)
        });
        limits.collect::<Result<_, _>>().map(Answer::Granted)
    }
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
