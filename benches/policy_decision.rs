//! Claims, warm and in one process:
//!
//! - authenticate, quota and resolve together take less than 6 µs with a static token
//!   and instances that everybody shares;
//! - authenticating a signed token that was verified before takes less than 3 µs;
//! - one call in an instance of its own takes less than 60 µs;
//! - two threads decide at least 1.8 times as often as one;
//! - with 64 tenants, each with instances of its own, it takes at most a fifth more
//!   than with shared ones.
//!
//! Beside them the bare engine: a call of a component that does nothing, and an
//! instance of it, made and dropped. What lies between is what questions with real
//! answers cost: the strings both ways, the calls back into the host, the plausibility
//! checks. `cargo xtask bench --instructions` is the quiet twin.

use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use tidegate_benches::decisions::{Decisions, Signed, of_tenant};
use tidegate_policy::Isolation;
use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store};

fn shared(c: &mut Criterion) {
    // What a token costs doesn't grow with the number of tokens there are.
    for (name, tokens) in [("policy_decision_warm", 2), ("policy_decision_of_200_tokens", 200)] {
        let decisions = Decisions::by_token(tokens, Isolation::Shared);
        c.bench_function(name, |b| b.iter(|| black_box(decisions.decide())));
    }
}

fn signed(c: &mut Criterion) {
    for (name, signed) in
        [("policy_decision_es256", Signed::Es256), ("policy_decision_eddsa", Signed::EdDsa)]
    {
        let decisions = Decisions::by_signature(signed);
        c.bench_function(&format!("{name}_who"), |b| {
            b.iter(|| black_box(decisions.authenticate()));
        });
        c.bench_function(name, |b| b.iter(|| black_box(decisions.decide())));
    }
}

fn alone(c: &mut Criterion) {
    let decisions = Decisions::by_token(2, Isolation::Call);
    c.bench_function("policy_decision_alone_who", |b| {
        b.iter(|| black_box(decisions.authenticate()));
    });
    c.bench_function("policy_decision_alone", |b| b.iter(|| black_box(decisions.decide())));
}

fn tenants(c: &mut Criterion) {
    let tenants: Vec<_> = (0..64).map(of_tenant).collect();
    for (name, isolation) in [
        ("policy_decision_64_tenants_shared", Isolation::Shared),
        ("policy_decision_64_tenants_apart", Isolation::Tenant),
    ] {
        let decisions = Decisions::by_token(2, isolation);
        let mut next = tenants.iter().cycle();
        c.bench_function(name, |b| {
            b.iter(|| next.next().map(|who| black_box(decisions.place(who))));
        });
    }
}

/// Processor time per decision of each thread: as much as with one when nothing is
/// shared. By the clock on the wall it would tell how busy the machine is.
fn threads(c: &mut Criterion) {
    let decisions = Arc::new(Decisions::by_token(2, Isolation::Shared));
    for count in [1, 2] {
        c.bench_function(&format!("policy_decision_{count}_threads"), |b| {
            b.iter_custom(|iterations| on_threads(&decisions, count, iterations));
        });
    }
}

fn on_threads(decisions: &Arc<Decisions>, count: usize, iterations: u64) -> Duration {
    let begin = Arc::new(Barrier::new(count));
    let threads: Vec<_> = (0..count)
        .map(|_| {
            let (decisions, begin) = (Arc::clone(decisions), Arc::clone(&begin));
            std::thread::spawn(move || {
                let request = decisions.another_request();
                begin.wait();
                let began = processor_time();
                for _ in 0..iterations {
                    black_box(decisions.decide_about(&request));
                }
                processor_time().saturating_sub(began)
            })
        })
        .collect();
    let took = threads.into_iter().map(|thread| thread.join().expect("decides"));
    took.max().unwrap_or_default()
}

fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

fn bare(c: &mut Criterion) {
    let pre = empty();
    let mut store = store(&pre);
    let instance = pre.instantiate(&mut store).expect("instantiates");
    let f = instance.get_typed_func::<(), ()>(&mut store, "f").expect("exported");
    c.bench_function("policy_decision_bare_call", |b| {
        b.iter(|| f.call(&mut store, ()).expect("returns"));
    });
    c.bench_function("policy_decision_bare_instance", |b| {
        b.iter(|| {
            let mut store = self::store(&pre);
            let instance = pre.instantiate(&mut store).expect("instantiates");
            let f = instance.get_typed_func::<(), ()>(&mut store, "f").expect("exported");
            f.call(&mut store, ()).expect("returns");
        });
    });
}

/// A component that does nothing, in an engine set up as ours is.
fn empty() -> InstancePre<()> {
    const EMPTY: &str = r#"(component
        (core module $m (memory (export "m") 17) (func (export "f")))
        (core instance $i (instantiate $m))
        (func (export "f") (canon lift (core func $i "f"))))"#;
    let mut places = PoolingAllocationConfig::default();
    places.linear_memory_keep_resident(64 << 10).table_keep_resident(16 << 10);
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(places));
    let engine = Engine::new(&config).expect("an engine");
    let component = Component::new(&engine, wat::parse_str(EMPTY).expect("well-formed"));
    Linker::new(&engine).instantiate_pre(&component.expect("compiles")).expect("nothing missing")
}

fn store(pre: &InstancePre<()>) -> Store<()> {
    let mut store = Store::new(pre.engine(), ());
    store.set_epoch_deadline(1);
    store
}

criterion_group!(benches, shared, signed, alone, tenants, threads, bare);
criterion_main!(benches);
