//! Whose calls a plugin computed for, and how long.

use std::collections::HashMap;
use std::time::Duration;

use tidegate_types::TenantId;

/// Tenants that one account tells apart; who spent least joins the others first.
const MAX_TENANTS: usize = 256;

/// What was computed for whom. One per shelf of a pool, so that no two threads
/// meet at it; together they tell the thousand or so that spend most apart.
#[derive(Debug, Default)]
pub(crate) struct Spent {
    tenants: HashMap<TenantId, u64>,
    /// For tenants that aren't told apart any more, and before a tenant was known.
    others: u64,
}

impl Spent {
    /// Adds `time` to what was computed for `tenant`.
    pub(crate) fn add(&mut self, tenant: Option<&TenantId>, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let Some(tenant) = tenant else {
            self.others += nanos;
            return;
        };
        if let Some(spent) = self.tenants.get_mut(tenant) {
            *spent += nanos;
            return;
        }
        if self.tenants.len() >= MAX_TENANTS {
            self.fold();
        }
        self.tenants.insert(tenant.clone(), nanos);
    }

    /// The lesser half joins the others.
    fn fold(&mut self) {
        let mut spent: Vec<u64> = self.tenants.values().copied().collect();
        let middle = spent.len() / 2;
        let (_, median, _) = spent.select_nth_unstable(middle);
        let median = *median;
        let mut folded = 0;
        let mut left = middle + 1;
        self.tenants.retain(|_, nanos| {
            let goes = *nanos <= median && left > 0;
            if goes {
                folded += *nanos;
                left -= 1;
            }
            !goes
        });
        self.others += folded;
    }

    /// Adds all of it to `sum`.
    pub(crate) fn add_to(&self, sum: &mut HashMap<TenantId, u64>, others: &mut u64) {
        for (tenant, nanos) in &self.tenants {
            *sum.entry(tenant.clone()).or_default() += nanos;
        }
        *others += self.others;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_spends_most_is_told_apart_among_any_number_of_tenants_and_nothing_is_lost() {
        let mut spent = Spent::default();
        let tenant = |name: &str| TenantId::new(name).expect("a tenant");
        let big = tenant("big");
        for n in 0..10_000 {
            spent.add(Some(&tenant(&n.to_string())), Duration::from_nanos(1));
            spent.add(Some(&big), Duration::from_nanos(2));
        }
        spent.add(None, Duration::from_nanos(5));
        let (mut sum, mut others) = (HashMap::new(), 0);
        spent.add_to(&mut sum, &mut others);
        assert!(sum.len() <= MAX_TENANTS);
        assert_eq!(sum.get(&big), Some(&20_000));
        assert_eq!(sum.values().sum::<u64>() + others, 30_005);
    }
}
