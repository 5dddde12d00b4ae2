//! A plugin, as the control API shows it.

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate_control::{CandidateView, HookView, PluginView, TenantTimeView};
use tidegate_policy::{FailureReason, HookStatus, PluginStatus};
use tidegate_types::TenantId;

use super::components::Components;

/// How many tenants are told apart.
const TENANTS: usize = 5;

/// What is known of one plugin, and of where it comes from.
pub(crate) fn plugin(status: PluginStatus, components: &Components) -> PluginView {
    let taken = components.taken(&status.name);
    let failed = status.hooks.iter().flat_map(|hook| hook.failures.iter().copied());
    let fetched = components.problem(&status.name);
    let (problem, candidate) = match (status.last_problem, fetched) {
        (Some(problem), _) => (Some(problem.to_string()), problem.candidate),
        (None, Some(problem)) => (Some(format!("plugin `{}`: {problem}", status.name)), None),
        (None, None) => (None, None),
    };
    let (tenants, rest) = status.tenants.split_at(status.tenants.len().min(TENANTS));
    let rest: Duration = rest.iter().map(|it| it.time).sum();
    PluginView {
        name: status.name.to_string(),
        version: status.version,
        description: status.description,
        source: status.source,
        sha256: status.sha256,
        manifest: taken.as_ref().and_then(|it| it.manifest).map(|it| it.to_string()),
        signed: taken.as_ref().is_some_and(|it| it.signed),
        source_problem: taken.and_then(|it| it.instead).map(|it| it.to_string()),
        contract: status.contract.to_owned(),
        imports: status.imports,
        generation: status.generation,
        isolation: status.isolation.as_str().to_owned(),
        deadline_ms: millis(status.deadline),
        memory_limit_bytes: status.memory,
        memory_bytes: status.instances.memory,
        instances_busy: status.instances.leased as u64,
        instances_idle: status.instances.idle as u64,
        instances_limit: status.instances.most as u64,
        calls: status.hooks.iter().map(|hook| hook.calls).sum(),
        failures: by_reason(failed),
        hooks: status.hooks.iter().map(hook).collect(),
        tenants: tenants.iter().map(|it| time(&it.tenant, it.time)).collect(),
        others_us: micros(status.others + rest),
        candidate: candidate.map(|it| CandidateView { sha256: it.sha256, version: it.version }),
        problem,
    }
}

fn hook(status: &HookStatus) -> HookView {
    HookView {
        hook: status.hook.as_str().to_owned(),
        order: status.order as u64,
        on_failure: status.hook.on_failure().to_owned(),
        calls: status.calls,
        failures: by_reason(status.failures.iter().copied()),
        poisonous: status.poisonous as u64,
        p50_ns: status.p50().map(nanos),
        p99_ns: status.p99().map(nanos),
    }
}

fn by_reason(failures: impl Iterator<Item = (FailureReason, u64)>) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    for (reason, count) in failures {
        *all.entry(reason.as_str().to_owned()).or_default() += count;
    }
    all
}

fn time(tenant: &TenantId, time: Duration) -> TenantTimeView {
    TenantTimeView { tenant: tenant.to_string(), time_us: micros(time) }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
