//! Is this traffic a reason to wake a sleeping sandbox, or to keep it awake?

use tidegate_plausible::Implausible;
use tidegate_types::Activity;
use wasmtime::component::Resource;

use super::{Answer, Question, the};
use crate::Hook;
use crate::bindings::exports::tidegate::policy::activity as raw;
use crate::instance::{HookFunc, Hooks};
use crate::interfaces::{RequestHandle, SandboxHandle};

/// The question `activity`.
pub(crate) struct DoesItCount;

impl Question for DoesItCount {
    type Params = (Resource<RequestHandle>, Resource<SandboxHandle>);
    type Raw = raw::Meaning;
    type Value = Activity;

    const HOOK: Hook = Hook::Activity;

    fn of(hooks: &Hooks) -> Option<HookFunc<Self::Params, Self::Raw>> {
        hooks.activity
    }

    fn params(&self) -> Self::Params {
        (the(), the())
    }

    fn believe(&self, raw: raw::Meaning) -> Result<Answer<Activity>, Implausible> {
        Ok(Answer::Granted(match raw {
            raw::Meaning::Active => Activity::Active,
            raw::Meaning::Passive => Activity::Passive,
        }))
    }
}
