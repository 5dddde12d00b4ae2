//! Which object-storage prefixes does this sandbox see, and where?

use tidegate_plausible::{self as plausible, Implausible};
use tidegate_types::{Mount, MountMode};
use wasmtime::component::Resource;

use super::{Answer, Question, the};
use crate::Hook;
use crate::bindings::exports::tidegate::policy::mounts as raw;
use crate::instance::{HookFunc, Hooks};
use crate::interfaces::SandboxHandle;

/// The question `mounts`.
pub(crate) struct WhatIsSeen;

impl Question for WhatIsSeen {
    type Params = (Resource<SandboxHandle>,);
    type Raw = Vec<raw::Mount>;
    type Value = Vec<Mount>;

    const HOOK: Hook = Hook::Mounts;

    fn of(hooks: &Hooks) -> Option<HookFunc<Self::Params, Self::Raw>> {
        hooks.mounts
    }

    fn params(&self) -> Self::Params {
        (the(),)
    }

    fn believe(&self, raw: Vec<raw::Mount>) -> Result<Answer<Vec<Mount>>, Implausible> {
        let mounts = raw.into_iter().enumerate().map(|(index, mount)| {
            let raw::Mount { bucket, prefix, path, mode, read_only, max_bytes, max_objects } =
                mount;
            let mode = match mode {
                raw::MountMode::Workspace => MountMode::Workspace,
                raw::MountMode::Live => MountMode::Live,
                raw::MountMode::Endpoint => MountMode::Endpoint,
            };
            let mount = Mount { bucket, prefix, path, mode, read_only, max_bytes, max_objects };
            plausible::mount(index, mount)
        });
        let mounts = mounts.collect::<Result<Vec<_>, _>>()?;
        plausible::apart(&mounts)?;
        Ok(Answer::Granted(mounts))
    }
}
