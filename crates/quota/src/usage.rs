//! What is shown of use and limits.

use std::time::Duration;

use tidegate_types::{LimitKind, Meter, Scope, SubjectId, TenantId};

use crate::shelf::{Held, Shelf};

/// One rate and what is left of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Of what.
    pub meter: Meter,
    /// Who shares it.
    pub scope: Scope,
    /// Units per [`per`](Self::per).
    pub amount: u64,
    /// The period.
    pub per: Duration,
    /// Whole units that are there now.
    pub remaining: u64,
    /// When as many as ever are there, if none is used until then.
    pub full_in: Duration,
}

impl Rate {
    /// `None` where the limit is no rate.
    pub(crate) fn of(held: &Held, now: u64) -> Option<Self> {
        let LimitKind::Rate { amount, per, .. } = held.gate.kind else { return None };
        let bucket = held.gate.bucket.as_ref()?;
        Some(Self {
            meter: held.meter(),
            scope: held.shelf.key.owner.scope(),
            amount,
            per,
            remaining: bucket.remaining(now),
            full_in: bucket.full_in(now).unwrap_or(Duration::MAX),
        })
    }
}

/// One limit that somebody has, and how much of it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// Whose.
    pub tenant: TenantId,
    /// Whose; `None` where the tenant's subjects share it.
    pub subject: Option<SubjectId>,
    /// Of what.
    pub meter: Meter,
    /// The limit; `None` where something is counted that has none.
    pub limit: Option<LimitKind>,
    /// Units in use, or used and not there again yet.
    pub used: u64,
    /// Units that are left now; 0 where there is no limit.
    pub remaining: u64,
    /// When all of it is there again if none is used until then. `None`: time does
    /// not give it back.
    pub full_in: Option<Duration>,
}

/// What stands on one shelf.
pub(crate) fn on(shelf: &Shelf, now: u64) -> Vec<Usage> {
    let key = &shelf.key;
    let level = shelf.level();
    let line = |limit, used, remaining, full_in| Usage {
        tenant: key.owner.tenant.clone(),
        subject: key.owner.subject.clone(),
        meter: key.meter,
        limit,
        used,
        remaining,
        full_in,
    };
    let gates = shelf.gates();
    let mut lines: Vec<Usage> = gates
        .iter()
        .map(|gate| match (&gate.bucket, gate.kind) {
            (Some(bucket), kind) => {
                line(Some(kind), bucket.lacks(now), bucket.remaining(now), bucket.full_in(now))
            }
            (None, LimitKind::Ceiling(most)) => {
                line(Some(gate.kind), level, most.saturating_sub(level), None)
            }
            // INVARIANT: every rate has a bucket.
            (None, kind @ LimitKind::Rate { .. }) => line(Some(kind), 0, 0, None),
        })
        .collect();
    let has_ceiling = gates.iter().any(|gate| gate.bucket.is_none());
    if level > 0 && !has_ceiling {
        lines.push(line(None, level, 0, None));
    }
    lines
}
