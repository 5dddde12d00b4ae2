//! Which object-storage prefixes does this sandbox see, and where?

use tidegate_types::{Mount, MountMode};
use wasmtime::component::Resource;

use super::{Answer, Implausible, Question, the};
use crate::Hook;
use crate::bindings::exports::tidegate::policy::mounts as raw;
use crate::instance::{HookFunc, Hooks};
use crate::interfaces::SandboxHandle;

const MAX_MOUNTS: usize = 64;
/// The longest key that S3 takes.
const MAX_PREFIX: usize = 1_024;
const MAX_PATH: usize = 4_096;

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
        if raw.len() > MAX_MOUNTS {
            return Err(Implausible(format!(
                "{} mounts; at most {MAX_MOUNTS} are made",
                raw.len()
            )));
        }
        raw.into_iter().map(mount).collect::<Result<_, _>>().map(Answer::Granted)
    }
}

fn mount(raw: raw::Mount) -> Result<Mount, Implausible> {
    let raw::Mount { bucket, prefix, path, mode, read_only, max_bytes, max_objects } = raw;
    if bucket.is_empty() || bucket.len() > 63 || bucket.contains(char::is_control) {
        return Err(Implausible(format!("a mount of the bucket `{}`", bucket.escape_debug())));
    }
    // The prefix is what keeps tenants apart: one that could mean another is refused.
    if !prefix.ends_with('/') || prefix.len() > MAX_PREFIX || !plain(&prefix[..prefix.len() - 1]) {
        return Err(Implausible(format!(
            "the prefix `{}`, which isn't like `users/42/`",
            prefix.escape_debug()
        )));
    }
    let inside = path.strip_prefix('/').filter(|rest| path.len() <= MAX_PATH && plain(rest));
    if inside.is_none() {
        return Err(Implausible(format!(
            "the path `{}`, which isn't absolute and plain",
            path.escape_debug()
        )));
    }
    let mode = match mode {
        raw::MountMode::Workspace => MountMode::Workspace,
        raw::MountMode::Live => MountMode::Live,
        raw::MountMode::Endpoint => MountMode::Endpoint,
    };
    Ok(Mount { bucket, prefix, path, mode, read_only, max_bytes, max_objects })
}

/// Segments with `/` between them, none of them empty or dots.
fn plain(path: &str) -> bool {
    !path.contains(char::is_control)
        && !path.contains('\\')
        && path.split('/').all(|segment| !matches!(segment, "" | "." | ".."))
}
