//! Claim: looking an identity's account up and taking one request from its limits
//! costs less than a microsecond, also when both cores do it to the same bucket.
//!
//! Beside it the bare baseline: one addition to an atomic number that both cores
//! share. What lies between is the look into the map, the clock, and one 128-bit
//! compare-and-swap per limit.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use rustix::time::{ClockId, clock_gettime};
use tidegate_quota::{QuotaConfig, Quotas};
use tidegate_types::{Identity, Limit, LimitKind, Meter, Scope, SubjectId, TenantId};

fn identity(subject: usize) -> Identity {
    Identity {
        subject: SubjectId::new(&format!("user-{subject}")).expect("a subject"),
        tenant: TenantId::new("demo").expect("a tenant"),
        claims: Vec::new(),
    }
}

/// What never runs out while it is measured.
fn limits(scopes: &[Scope]) -> Vec<Limit> {
    let kind = LimitKind::Rate {
        amount: 1_000_000_000_000,
        per: Duration::from_secs(60),
        burst: 1_000_000_000_000,
    };
    scopes.iter().map(|scope| Limit { meter: Meter::Requests, kind, scope: *scope }).collect()
}

/// `threads` of them each do `iterations` of what `work` returns for their number:
/// the processor time of whichever needed most, so that a busy machine's other
/// work does not count.
fn on<F: FnMut()>(threads: usize, iterations: u64, work: impl Fn(usize) -> F + Sync) -> Duration {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|thread| {
                let work = &work;
                scope.spawn(move || {
                    let mut each = work(thread);
                    let began = cpu_time();
                    (0..iterations).for_each(|_| each());
                    cpu_time() - began
                })
            })
            .collect();
        threads.into_iter().map(|it| it.join().expect("it ends")).max().unwrap_or_default()
    })
}

/// This thread's.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).expect("it is positive")
}

fn quota_take(c: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a directory");
    let config = QuotaConfig::new(directory.path().to_owned());
    let quotas: Arc<Quotas> = Quotas::open(config).expect("opens");
    let own = limits(&[Scope::Subject]);
    let both = limits(&[Scope::Subject, Scope::Tenant]);
    for threads in [1, 2] {
        let mut bench = |name: &str, limits: &[Limit], apart: bool| {
            c.bench_function(&format!("quota_take_{name}_{threads}_threads"), |b| {
                b.iter_custom(|iterations| {
                    on(threads, iterations, |thread| {
                        let who = identity(if apart { thread } else { 0 });
                        let quotas = &quotas;
                        move || {
                            let account = quotas.account(black_box(&who), limits);
                            account.take(Meter::Requests, 1).expect("there are");
                        }
                    })
                });
            });
        };
        bench("own_limit_of_each", &own, true);
        bench("one_limit_of_all", &own, false);
        bench("own_and_tenants", &both, true);
        let shared = AtomicU64::new(0);
        c.bench_function(&format!("quota_take_bare_atomic_{threads}_threads"), |b| {
            b.iter_custom(|iterations| {
                let shared = &shared;
                on(threads, iterations, |_| {
                    move || {
                        shared.fetch_add(black_box(1), Relaxed);
                    }
                })
            });
        });
    }
}

criterion_group!(benches, quota_take);
criterion_main!(benches);
