//! Measures, once a second, what sandboxes use while nobody asks.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::StreamExt as _;
use futures_util::stream;
use tidegate_policy::Hook;
use tidegate_quota::Reading;
use tidegate_sandbox::Registry;
use tidegate_types::{Meter, TenantId};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::task::AbortOnDropHandle;

use super::Usage;
use super::awake::{Running, is_awake};
use crate::live::Live;

const EVERY: Duration = Duration::from_secs(1);

/// Sandboxes that became awake without any request are looked for that often, in
/// ticks: everything there is has to be looked at for it.
const LOOK_AROUND: u64 = 5;

/// How many sandboxes are measured at the same time.
const AT_ONCE: usize = 32;

/// What needs measuring, rather than counting.
const MEASURED: [Meter; 3] = [Meter::CpuMs, Meter::MemoryBytes, Meter::Processes];

/// Measures until the answer is dropped. Sandboxes that run already are counted
/// before this returns.
pub(crate) fn sample(
    usage: Arc<Usage>,
    registry: Arc<Registry>,
    live: Arc<ArcSwap<Live>>,
) -> AbortOnDropHandle<()> {
    let sampler = Sampler { usage, registry, live };
    if sampler.is_needed() {
        sampler.look_around();
    }
    AbortOnDropHandle::new(tokio::spawn(sampler.run()))
}

struct Sampler {
    usage: Arc<Usage>,
    registry: Arc<Registry>,
    live: Arc<ArcSwap<Live>>,
}

impl Sampler {
    fn is_needed(&self) -> bool {
        self.live.load().policy.serves(Hook::Quota)
    }

    async fn run(self) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for tick in 0_u64.. {
            ticks.tick().await;
            if !self.is_needed() {
                self.usage.awake.forget();
                continue;
            }
            if tick % LOOK_AROUND == 0 {
                self.look_around();
            }
            self.usage.awake.settle(&self.registry);
            self.measure().await;
        }
    }

    fn look_around(&self) {
        for view in self.registry.list() {
            if is_awake(view.phase) {
                self.usage.awake.found(&view.key);
            }
        }
    }

    /// Asks the drivers, for those tenants for whom it matters.
    async fn measure(&self) {
        let quotas = &self.usage.quotas;
        let limited: HashSet<TenantId> =
            MEASURED.iter().flat_map(|meter| quotas.limited(*meter)).collect();
        if limited.is_empty() {
            return;
        }
        let mut running = self.usage.awake.running();
        running.retain(|it| limited.contains(&it.key.tenant));
        let (mut memory, mut processes) = (Vec::new(), Vec::new());
        let mut measured = stream::iter(running)
            .map(|it| async move {
                // A driver may read files without ever waiting: requests go between.
                tokio::task::yield_now().await;
                // What cannot be measured counts as nothing: it may just have ended.
                let stats = self.registry.stats(&it.key).await.ok().flatten().unwrap_or_default();
                (it, stats)
            })
            .buffer_unordered(AT_ONCE);
        while let Some((Running { key, subject }, stats)) = measured.next().await {
            if let Some(cpu) = stats.cpu {
                self.usage.awake.charge_cpu(&key, cpu);
            }
            let reading =
                |value| Reading { tenant: key.tenant.clone(), subject: subject.clone(), value };
            memory.extend(stats.memory.map(reading));
            processes.extend(stats.pids.map(|pids| reading(u64::from(pids))));
        }
        quotas.report(Meter::MemoryBytes, &memory);
        quotas.report(Meter::Processes, &processes);
    }
}
