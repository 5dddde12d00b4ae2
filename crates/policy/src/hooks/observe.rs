//! What happened: told afterwards, in batches.

use std::time::UNIX_EPOCH;

use tidegate_plausible::Implausible;
use tidegate_types::Event;

use super::{Answer, Question};
use crate::Hook;
use crate::bindings::exports::tidegate::policy::observe as raw;
use crate::instance::{HookFunc, Hooks};

/// The hook `observe`, which answers nothing.
pub(crate) struct Told(pub(crate) Vec<raw::Event>);

impl Question for Told {
    type Params = (Vec<raw::Event>,);
    type Raw = ();
    type Value = ();

    const HOOK: Hook = Hook::Observe;
    const REPEATS: bool = false;

    fn of(hooks: &Hooks) -> Option<HookFunc<Self::Params, Self::Raw>> {
        hooks.observe
    }

    fn params(&self) -> Self::Params {
        (self.0.clone(),)
    }

    fn believe(&self, (): ()) -> Result<Answer<()>, Implausible> {
        Ok(Answer::Granted(()))
    }
}

/// As the contract has it.
pub(crate) fn told(event: &Event) -> raw::Event {
    let text = |known: Option<&str>| known.unwrap_or_default().to_owned();
    let since = event.at.duration_since(UNIX_EPOCH).unwrap_or_default();
    raw::Event {
        at_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
        kind: event.kind.as_str().to_owned(),
        tenant: text(event.tenant.as_ref().map(|tenant| tenant.as_str())),
        subject: text(event.subject.as_ref().map(|subject| subject.as_str())),
        sandbox: text(event.sandbox.as_ref().map(|sandbox| sandbox.as_str())),
        decision_id: event.decision.map(|id| id.to_string()).unwrap_or_default(),
        fields: event.fields.iter().map(|(n, v)| ((*n).to_owned(), v.clone().into())).collect(),
    }
}
