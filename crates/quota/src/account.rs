//! One identity with its limits, as the request path asks it.

use std::sync::Arc;

use tidegate_types::{Limit, Meter, Scope, SubjectId, TenantId};

use crate::books::Holdings;
use crate::bucket::Reach;
use crate::exceeded::Exceeded;
use crate::level::Level;
use crate::shelf::{Held, Owner, ShelfKey};
use crate::usage::Rate;

/// What one identity may use. Cheap to make, to clone and to ask; any number of
/// them share what they count.
///
/// None of its methods wait or do I/O.
#[derive(Debug, Clone)]
pub struct Account {
    holdings: Arc<Holdings>,
}

impl Account {
    pub(crate) fn new(holdings: Arc<Holdings>) -> Self {
        Self { holdings }
    }

    /// Whose it is.
    #[must_use]
    pub fn tenant(&self) -> &TenantId {
        &self.holdings.owner.tenant
    }

    /// Whose it is.
    #[must_use]
    pub fn subject(&self) -> Option<&SubjectId> {
        self.holdings.owner.subject.as_ref()
    }

    /// The limits that it has.
    #[must_use]
    pub fn limits(&self) -> &[Limit] {
        &self.holdings.limits
    }

    /// Whether this is the same identity under the same limits, as the same account.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.holdings, &other.holdings)
    }

    /// Whether there is any limit of `meter`: whether counting it matters.
    #[must_use]
    pub fn limits_any(&self, meter: Meter) -> bool {
        self.of(meter).next().is_some()
    }

    /// Takes `n` of `meter` before it is used: from every limit of it, or from none.
    ///
    /// Exact while others take at the same time. Only while a take that one limit
    /// allowed and another refused is being undone may somebody else be refused who
    /// would otherwise just have had it.
    ///
    /// # Errors
    /// The limit that has too little.
    pub fn take(&self, meter: Meter, n: u64) -> Result<(), Exceeded> {
        self.draw(meter, n, Reach::Whole)
    }

    /// Counts `n` of `meter` that are there already, bytes that were read: allowed
    /// while anything is left, so that a limit is overdrawn by one chunk at most.
    ///
    /// # Errors
    /// The limit of which nothing is left; `n` is not counted then and must not be
    /// passed on.
    pub fn spend(&self, meter: Meter, n: u64) -> Result<(), Exceeded> {
        self.draw(meter, n, Reach::Debt)
    }

    /// Counts `n` of `meter` that were used, allowed or not. Makes no debt: what is
    /// used while nothing is left is not held against anyone later.
    pub fn charge(&self, meter: Meter, n: u64) {
        let now = self.now();
        for held in self.of(meter) {
            held.gate.bucket.iter().for_each(|bucket| bucket.charge(n, now));
        }
        self.charge_others(meter, n, now);
    }

    /// One more of `meter` that lasts until the answer is dropped. Counted for the
    /// subject and the tenant, limited or not; a rate of the meter limits how many
    /// are begun.
    ///
    /// # Errors
    /// The limit that is reached; nothing is counted then.
    pub fn enter(&self, meter: Meter) -> Result<Level, Exceeded> {
        let level = self.level(meter, |scope| self.ceiling(meter, scope))?;
        self.take(meter, 1)?;
        Ok(level)
    }

    /// As [`enter`](Self::enter) for what is there already, whatever the limits say.
    #[must_use]
    pub fn occupy(&self, meter: Meter) -> Option<Level> {
        // Without a ceiling nothing refuses.
        self.level(meter, |_| None).ok()
    }

    /// Whether there is something left of `meter`: of its rates one, below its
    /// ceilings one. Takes nothing.
    ///
    /// # Errors
    /// The limit that is reached.
    pub fn check(&self, meter: Meter) -> Result<(), Exceeded> {
        let now = self.now();
        for held in self.of(meter) {
            if let Some(bucket) = &held.gate.bucket {
                bucket.check(now).map_err(|short| held.exceeded(short.retry_after))?;
            }
            if held.ceiling().is_some_and(|most| held.shelf.level() >= most) {
                return Err(held.exceeded(None));
            }
        }
        Ok(())
    }

    /// The rates of `meter` and what is left of them, the shortest period first.
    pub fn rates(&self, meter: Meter) -> impl Iterator<Item = Rate> {
        let now = self.now();
        let mut rates: Vec<Rate> = self.of(meter).filter_map(|held| Rate::of(held, now)).collect();
        rates.sort_by_key(|rate| (rate.scope, rate.per));
        rates.into_iter()
    }

    fn now(&self) -> u64 {
        self.holdings.clock.micros()
    }

    fn of(&self, meter: Meter) -> impl Iterator<Item = &Held> {
        self.holdings.held.iter().filter(move |held| held.meter() == meter)
    }

    fn draw(&self, meter: Meter, n: u64, reach: Reach) -> Result<(), Exceeded> {
        let mut asked = self.of(meter).peekable();
        if asked.peek().is_none() {
            return Ok(());
        }
        let now = self.now();
        self.draw_from(&mut asked, n, now, reach)?;
        self.charge_others(meter, n, now);
        Ok(())
    }

    /// As deep as there are limits of one meter: a few.
    fn draw_from<'a>(
        &self,
        rest: &mut impl Iterator<Item = &'a Held>,
        n: u64,
        now: u64,
        reach: Reach,
    ) -> Result<(), Exceeded> {
        let Some(held) = rest.next() else { return Ok(()) };
        let took = held.take(n, now, reach)?;
        self.draw_from(rest, n, now, reach).inspect_err(|_| held.give_back(took, self.now()))
    }

    /// Limits that are not of this account, of the same owners: made for another
    /// set of claims, or before a reload. See `shelf.rs`.
    fn charge_others(&self, meter: Meter, n: u64, now: u64) {
        for held in self.of(meter).filter(|held| self.is_first_of_its_shelf(held)) {
            let own = self.of(meter).filter(|it| Arc::ptr_eq(&it.shelf, &held.shelf)).count();
            if held.shelf.gate_count() > own {
                held.shelf.charge_others(n, now, &self.holdings.held);
            }
        }
    }

    fn is_first_of_its_shelf(&self, held: &Held) -> bool {
        let mut of_shelf =
            self.holdings.held.iter().filter(|it| Arc::ptr_eq(&it.shelf, &held.shelf));
        of_shelf.next().is_some_and(|first| std::ptr::eq(first, held))
    }

    fn ceiling(&self, meter: Meter, scope: Scope) -> Option<u64> {
        let of_scope = self.of(meter).filter(|held| held.shelf.key.owner.scope() == scope);
        of_scope.filter_map(Held::ceiling).min()
    }

    fn level(
        &self,
        meter: Meter,
        ceiling: impl Fn(Scope) -> Option<u64>,
    ) -> Result<Level, Exceeded> {
        let owner = &self.holdings.owner;
        let tenant = Owner { tenant: owner.tenant.clone(), subject: None };
        let both = [(owner.clone(), Scope::Subject), (tenant, Scope::Tenant)];
        // Without books the gateway has ended, and nothing is counted any more.
        let books = self.holdings.books.upgrade();
        let shelves = books.iter().flat_map(|books| {
            both.clone()
                .map(|(owner, scope)| (books.shelf(ShelfKey { owner, meter }), ceiling(scope)))
        });
        Level::on(shelves).map_err(|shelf| {
            let scope = shelf.key.owner.scope();
            let most = self.ceiling(meter, scope).unwrap_or(0);
            Exceeded {
                meter,
                scope,
                limit: tidegate_types::LimitKind::Ceiling(most),
                retry_after: None,
            }
        })
    }
}
