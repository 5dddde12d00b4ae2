//! What is used, counted against what policy allows.
//!
//! | file | idea |
//! |---|---|
//! | `metered.rs` | what one request may use while it lasts |
//! | `awake.rs` | which sandboxes are awake, and on whose account |
//! | `sampler.rs` | what they use while nobody asks, once a second |
//! | `fields.rs` | limits as header fields |
//!
//! Who has which limits is a plugin's answer; how counting works is the crate
//! `quota`'s.

mod awake;
mod fields;
mod metered;
mod sampler;

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use tidegate_policy::{Generation, Hook};
use tidegate_quota::{Account, Exceeded, Quotas};
use tidegate_sandbox::{Phase, Registry, Sandbox};
use tidegate_types::meter::Counter;
use tidegate_types::{DecisionId, Event, EventKind, Identity, LimitKind, Meter, SandboxKey, Scope};

use self::awake::Awake;
pub(crate) use self::awake::Waking;
pub(crate) use self::fields::rate_limit;
pub(crate) use self::metered::Metered;
pub(crate) use self::sampler::sample;
use crate::observe::Observer;

/// Counts what everybody uses. One per gateway.
#[derive(Debug)]
pub(crate) struct Usage {
    pub(crate) quotas: Arc<Quotas>,
    awake: Awake,
    exceeded: Exceedings,
    observer: Arc<Observer>,
}

/// A limit that is reached, with what the client is told about it.
#[derive(Debug)]
pub(crate) struct OverLimit {
    pub(crate) exceeded: Exceeded,
    pub(crate) fields: Vec<(HeaderName, HeaderValue)>,
}

impl OverLimit {
    fn of(account: &Account, exceeded: Exceeded) -> Self {
        Self { exceeded, fields: rate_limit(account, exceeded.meter) }
    }

    /// For the client: which limit.
    pub(crate) fn detail(&self) -> String {
        let whose = match self.exceeded.scope {
            Scope::Subject => "you",
            Scope::Tenant => "your tenant",
        };
        format!("The limit of {} for {whose} is reached.", self.exceeded.meter)
    }
}

/// Why nothing may be used.
#[derive(Debug)]
pub(crate) enum Barred {
    /// A limit is reached.
    OverLimit(Box<OverLimit>),
    /// A plugin could not say what the limits are. The policy host has logged it.
    Policy,
}

impl Usage {
    pub(crate) fn new(quotas: Arc<Quotas>, observer: Arc<Observer>) -> Arc<Self> {
        let awake = Awake::new(Arc::clone(&quotas));
        Arc::new(Self { quotas, awake, exceeded: Exceedings::default(), observer })
    }

    /// Counts a request in, and the WebSocket that it is to become. Where no plugin
    /// sets limits this costs nothing, and nothing is counted.
    pub(crate) async fn begin(
        self: &Arc<Self>,
        policy: &Generation,
        who: &Arc<Identity>,
        websocket: bool,
        id: DecisionId,
    ) -> Result<Arc<Metered>, Barred> {
        if !policy.serves(Hook::Quota) {
            return Ok(Arc::default());
        }
        let limits = policy.limits(who, id).await.map_err(|_| Barred::Policy)?;
        let account = self.quotas.account(who, &limits);
        let counted = account.take(Meter::Requests, 1).and_then(|()| {
            websocket.then(|| account.enter(Meter::WebsocketConnections)).transpose()
        });
        match counted {
            Ok(socket) => Ok(Arc::new(Metered::new(Arc::clone(self), account, socket, id))),
            Err(exceeded) => Err(self.refuse(&account, exceeded, id)),
        }
    }

    /// Counts a sandbox as awake, before it is woken: for as long as the answer is
    /// held, and then until it rests. One that starts already is joined.
    pub(crate) fn before_wake(
        &self,
        registry: &Registry,
        sandbox: &Sandbox,
        metered: &Metered,
    ) -> Result<Option<Waking>, Barred> {
        let Some((account, id)) = metered.account() else { return Ok(None) };
        if matches!(sandbox.phase(), Phase::Starting | Phase::Running) {
            self.awake.used_by(sandbox.key(), account);
            return Ok(None);
        }
        let woken = self.awake.wake(registry, sandbox.key(), account);
        woken.map(Some).map_err(|exceeded| self.refuse(account, exceeded, id))
    }

    /// Notes who uses a sandbox that is awake: it is on their account from now on.
    pub(crate) fn used_by(&self, key: &SandboxKey, metered: &Metered) {
        if let Some((account, _)) = metered.account() {
            self.awake.used_by(key, account);
        }
    }

    fn refuse(&self, account: &Account, exceeded: Exceeded, id: DecisionId) -> Barred {
        self.reached(account, exceeded, id);
        Barred::OverLimit(Box::new(OverLimit::of(account, exceeded)))
    }

    /// Counts and tells that a limit was reached.
    fn reached(&self, account: &Account, exceeded: Exceeded, id: DecisionId) {
        self.exceeded.count(exceeded.meter);
        self.observer.emit(|| {
            let amount = match exceeded.limit {
                LimitKind::Rate { amount, .. } | LimitKind::Ceiling(amount) => amount,
            };
            let event = Event {
                tenant: Some(account.tenant().clone()),
                subject: account.subject().cloned(),
                decision: Some(id),
                ..Event::now(EventKind::Quota)
            };
            let event = event
                .with("meter", exceeded.meter.as_str())
                .with("scope", exceeded.scope.as_str())
                .with("amount", amount.to_string());
            match exceeded.limit {
                LimitKind::Rate { per, .. } => event.with("per-ms", per.as_millis().to_string()),
                LimitKind::Ceiling(_) => event,
            }
        });
    }

    /// How often each limit was reached.
    pub(crate) fn exceeded(&self) -> impl Iterator<Item = (Meter, u64)> {
        Meter::ALL.iter().zip(&self.exceeded.0).map(|(meter, count)| (*meter, count.get()))
    }
}

/// One counter for each meter.
#[derive(Debug, Default)]
struct Exceedings([Counter; Meter::ALL.len()]);

impl Exceedings {
    fn count(&self, meter: Meter) {
        // INVARIANT: meters are numbered in the order of `Meter::ALL`.
        if let Some(counter) = self.0.get(meter as usize) {
            counter.add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_meter_has_a_counter_of_its_own() {
        let exceeded = Exceedings::default();
        for (n, meter) in Meter::ALL.iter().enumerate() {
            exceeded.count(*meter);
            assert!(exceeded.0.iter().enumerate().all(|(i, it)| (it.get() == 1) == (i <= n)));
        }
    }
}
