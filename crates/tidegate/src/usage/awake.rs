//! Which sandboxes are awake, and on whose account: who used one last pays for it.
//!
//! A sandbox is counted before it is woken, under its entry's lock, so that of two
//! wakes for the last place one wins. It stays counted until it rests.
//!
//! One that nobody asked for through this process (found running at the start,
//! woken by an operator, kept alive) is on its tenant's account until somebody uses
//! it, and is counted whatever the limits say: it is awake.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry as At;
use tidegate_quota::{Account, Exceeded, Level, Quotas};
use tidegate_sandbox::{Phase, Registry};
use tidegate_types::{Meter, SandboxKey, SubjectId};

/// What a wake must leave something of, beside a place.
const NEEDED: [Meter; 4] = [Meter::RunningMs, Meter::CpuMs, Meter::MemoryBytes, Meter::Processes];

/// See the module.
#[derive(Debug)]
pub(super) struct Awake {
    quotas: Arc<Quotas>,
    sandboxes: DashMap<SandboxKey, Entry>,
}

#[derive(Debug)]
struct Entry {
    /// `None`: the tenant's.
    account: Option<Account>,
    /// Counts it among those that are awake.
    _place: Option<Level>,
    /// Requests that are about to wake it, each with a reference.
    waking: Arc<()>,
    /// Up to when its time was charged.
    charged: Instant,
    /// CPU time up to which it was charged; `None`: what it used until the first
    /// measurement was charged by somebody else, or by nobody.
    cpu: Option<Duration>,
}

/// Keeps a sandbox counted that is being woken and does not look awake yet.
#[derive(Debug)]
pub(crate) struct Waking {
    _claim: Arc<()>,
}

/// One sandbox that is awake, for whoever measures it.
pub(super) struct Running {
    pub(super) key: SandboxKey,
    pub(super) subject: Option<SubjectId>,
}

impl Entry {
    fn new(account: Option<Account>, place: Option<Level>) -> Self {
        let charged = Instant::now();
        Self { account, _place: place, waking: Arc::new(()), charged, cpu: None }
    }

    fn charge(&self, quotas: &Quotas, key: &SandboxKey, meter: Meter, n: u64) {
        match &self.account {
            Some(account) => account.charge(meter, n),
            None => quotas.charge_tenant(&key.tenant, meter, n),
        }
    }

    /// Charges the time that it was awake until `until`, in whole milliseconds.
    fn charge_time(&mut self, quotas: &Quotas, key: &SandboxKey, until: Instant) {
        let millis = until.saturating_duration_since(self.charged).as_millis();
        let millis = u64::try_from(millis).unwrap_or(u64::MAX);
        if millis > 0 {
            self.charged += Duration::from_millis(millis);
            self.charge(quotas, key, Meter::RunningMs, millis);
        }
    }
}

impl Awake {
    pub(super) fn new(quotas: Arc<Quotas>) -> Self {
        Self { quotas, sandboxes: DashMap::new() }
    }

    /// Counts a sandbox that is about to be woken for `account`.
    pub(super) fn wake(
        &self,
        registry: &Registry,
        key: &SandboxKey,
        account: &Account,
    ) -> Result<Waking, Exceeded> {
        for meter in NEEDED {
            account.check(meter)?;
        }
        match self.claim(key, account) {
            Err(exceeded) if exceeded.meter == Meter::Sandboxes => {
                // Perhaps one has gone to rest and nobody has looked since.
                self.settle(registry);
                self.claim(key, account).map_err(|_| exceeded)
            }
            claimed => claimed,
        }
    }

    fn claim(&self, key: &SandboxKey, account: &Account) -> Result<Waking, Exceeded> {
        // The shard stays locked: who comes second for one sandbox finds its entry.
        let mut entry = match self.sandboxes.entry(key.clone()) {
            // Somebody is waking it: one place is enough for both.
            At::Occupied(known) if Arc::strong_count(&known.get().waking) > 1 => {
                return Ok(Waking { _claim: Arc::clone(&known.get().waking) });
            }
            At::Occupied(mut known) => {
                let entry = known.get_mut();
                if !is_of(entry, account) {
                    let place = account.enter(Meter::Sandboxes)?;
                    entry.charge_time(&self.quotas, key, Instant::now());
                    entry._place = Some(place);
                }
                known.into_ref()
            }
            At::Vacant(free) => {
                let place = account.enter(Meter::Sandboxes)?;
                let cpu = Some(Duration::ZERO);
                free.insert(Entry { cpu, ..Entry::new(None, Some(place)) })
            }
        };
        entry.account = Some(account.clone());
        Ok(Waking { _claim: Arc::clone(&entry.waking) })
    }

    /// Notes who uses a sandbox that is awake.
    pub(super) fn used_by(&self, key: &SandboxKey, account: &Account) {
        let same = |entry: &Entry| entry.account.as_ref().is_some_and(|it| it.is(account));
        if self.sandboxes.get(key).is_some_and(|entry| same(&entry)) {
            return;
        }
        match self.sandboxes.entry(key.clone()) {
            At::Occupied(mut known) => {
                let entry = known.get_mut();
                if !is_of(entry, account) {
                    entry.charge_time(&self.quotas, key, Instant::now());
                    entry._place = account.occupy(Meter::Sandboxes);
                }
                entry.account = Some(account.clone());
            }
            At::Vacant(free) => {
                let place = account.occupy(Meter::Sandboxes);
                free.insert(Entry::new(Some(account.clone()), place));
            }
        }
    }

    /// Notes a sandbox that is awake, should nobody have.
    pub(super) fn found(&self, key: &SandboxKey) {
        if !self.sandboxes.contains_key(key) {
            let place = || self.quotas.occupy_tenant(&key.tenant, Meter::Sandboxes);
            self.sandboxes.entry(key.clone()).or_insert_with(|| Entry::new(None, place()));
        }
    }

    /// Charges every sandbox's time, and lets go of those that rest.
    pub(super) fn settle(&self, registry: &Registry) {
        let now = Instant::now();
        self.sandboxes.retain(|key, entry| {
            let sandbox = registry.get(key);
            let phase = sandbox.as_ref().map_or(Phase::Absent, |sandbox| sandbox.phase());
            if is_awake(phase) {
                entry.charge_time(&self.quotas, key, now);
                return true;
            }
            if Arc::strong_count(&entry.waking) > 1 {
                // Not its time yet.
                entry.charged = now;
                return true;
            }
            let since = sandbox.map_or_else(SystemTime::now, |sandbox| sandbox.view().since);
            let rested = since.elapsed().unwrap_or_default();
            if let Some(until) = now.checked_sub(rested) {
                entry.charge_time(&self.quotas, key, until);
            }
            false
        });
    }

    /// Forgets everything: nobody sets limits any more.
    pub(super) fn forget(&self) {
        if !self.sandboxes.is_empty() {
            self.sandboxes.clear();
        }
    }

    /// Those that are counted.
    pub(super) fn running(&self) -> Vec<Running> {
        let running = |key: &SandboxKey, entry: &Entry| Running {
            key: key.clone(),
            subject: entry.account.as_ref().and_then(Account::subject).cloned(),
        };
        self.sandboxes.iter().map(|it| running(it.key(), it.value())).collect()
    }

    /// Charges processor time: `cpu` is what it used since its start.
    pub(super) fn charge_cpu(&self, key: &SandboxKey, cpu: Duration) {
        let Some(mut entry) = self.sandboxes.get_mut(key) else { return };
        let before = entry.cpu.unwrap_or(cpu);
        // Less than before: it was started anew.
        let used = cpu.checked_sub(before).unwrap_or(cpu);
        let millis = u64::try_from(used.as_millis()).unwrap_or(u64::MAX);
        // What is less than a millisecond is charged with the next one.
        entry.cpu = Some(cpu - (used - Duration::from_millis(millis)));
        entry.charge(&self.quotas, key, Meter::CpuMs, millis);
    }
}

/// Whether it is counted on this identity's account already.
fn is_of(entry: &Entry, account: &Account) -> bool {
    entry.account.as_ref().is_some_and(|known| known.subject() == account.subject())
}

/// Whether something of it runs, or is about to.
pub(super) fn is_awake(phase: Phase) -> bool {
    !matches!(phase, Phase::Absent | Phase::Stopped | Phase::Failed)
}
