//! May this sandbox do this to this object?

use std::hash::{Hash as _, Hasher};
use std::sync::Arc;

use tidegate_plausible::Implausible;
use tidegate_types::ObjectOperation;
use wasmtime::component::Resource;

use super::plausible::denial;
use super::{Answer, Question, the};
use crate::Hook;
use crate::bindings::exports::tidegate::policy::objects as raw;
use crate::bindings::tidegate::policy::types::Verdict;
use crate::instance::{HookFunc, Hooks};
use crate::interfaces::SandboxHandle;

/// The question `objects`.
pub(crate) struct MayTouch<'o>(pub(crate) &'o Arc<ObjectOperation>);

impl Question for MayTouch<'_> {
    type Params = (Resource<SandboxHandle>, raw::Operation);
    type Raw = Verdict;
    type Value = ();

    const HOOK: Hook = Hook::Objects;

    fn of(hooks: &Hooks) -> Option<HookFunc<Self::Params, Self::Raw>> {
        hooks.objects
    }

    fn params(&self) -> Self::Params {
        let ObjectOperation { action, bucket, key, copy_source, size } = &**self.0;
        let operation = raw::Operation {
            action: action.clone(),
            bucket: bucket.clone(),
            key: key.clone(),
            copy_source: copy_source.clone(),
            size: *size,
        };
        (the(), operation)
    }

    fn given(&self, mut into: &mut dyn Hasher) {
        let ObjectOperation { action, bucket, key, copy_source, size } = &**self.0;
        (action, bucket, key, copy_source, size).hash(&mut into);
    }

    fn believe(&self, raw: Verdict) -> Result<Answer<()>, Implausible> {
        Ok(match raw {
            Verdict::Allow => Answer::Granted(()),
            Verdict::Deny(refusal) => Answer::Denied(denial(refusal)?),
            Verdict::Abstain => Answer::Abstained,
        })
    }
}
