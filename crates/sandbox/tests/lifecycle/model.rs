//! Whatever happens in whichever order, what was promised holds:
//!
//! - one start at a time, whatever the number of wakes (the driver notes misuse);
//! - who is let in finds the application running, and it isn't put to sleep while
//!   a request is in flight;
//! - nobody who asks is forgotten: each request gets a permit or an error.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tidegate_sandbox::driver::Exit;
use tidegate_sandbox::{Permit, Phase, Sandbox};
use tidegate_types::Lifetime;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::house::{House, alice, key, until};

const IDLE: Duration = Duration::from_secs(20);

/// What happens next. Holders are requests that were let in.
#[derive(Debug, Clone)]
enum Step {
    /// Requests come, as many as this at once.
    Ask(u8),
    /// The oldest request ends.
    Leave,
    /// The oldest request becomes a WebSocket.
    Upgrade,
    /// Everyone who is attached or visits sends something.
    Byte,
    /// Someone comes who is no reason to be awake.
    Visit,
    /// The latest visitor becomes a WebSocket.
    VisitorUpgrades,
    VisitorLeaves,
    /// Time passes.
    Pass(Duration),
    Sleep,
    Stop,
    Destroy,
    /// The application ends by itself.
    Die,
    /// The next starts fail, or don't.
    Starts(bool),
    /// The next removals fail, or don't.
    Removals(bool),
    /// The gateway ends and another begins.
    Again,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (1..20_u8).prop_map(Step::Ask),
        6 => Just(Step::Leave),
        2 => Just(Step::Upgrade),
        2 => Just(Step::Byte),
        4 => Just(Step::Visit),
        1 => Just(Step::VisitorUpgrades),
        2 => Just(Step::VisitorLeaves),
        6 => (0..200_u64).prop_map(|ms| Step::Pass(Duration::from_millis(ms))),
        4 => (0..30_u64).prop_map(|s| Step::Pass(Duration::from_secs(s))),
        2 => Just(Step::Sleep),
        2 => Just(Step::Stop),
        1 => Just(Step::Destroy),
        2 => Just(Step::Die),
        1 => any::<bool>().prop_map(Step::Starts),
        1 => any::<bool>().prop_map(Step::Removals),
        1 => Just(Step::Again),
    ];
    prop::collection::vec(step, 1..40)
}

struct World {
    house: House,
    asking: JoinSet<Option<Permit>>,
    asked: usize,
    answered: usize,
    /// Let in and not gone; with the count of ends that weren't the sandbox's own
    /// choice, as it was then.
    inside: Vec<(Permit, usize)>,
    attached: Vec<Permit>,
    visitors: Vec<Permit>,
    /// Stops, removals and deaths so far: after one, requests inside may find
    /// nothing running.
    interruptions: usize,
    operators: JoinSet<()>,
}

impl World {
    async fn new(lifetime: Lifetime) -> Self {
        Self {
            house: House::with(lifetime).await,
            asking: JoinSet::new(),
            asked: 0,
            answered: 0,
            inside: Vec::new(),
            attached: Vec::new(),
            visitors: Vec::new(),
            interruptions: 0,
            operators: JoinSet::new(),
        }
    }

    fn sandbox(&self) -> Arc<Sandbox> {
        self.house.sandbox("a")
    }

    fn collect(&mut self) {
        while let Some(answer) = self.asking.try_join_next() {
            self.answered += 1;
            if let Some(permit) = answer.expect("no panic") {
                self.inside.push((permit, self.interruptions));
            }
        }
        while let Some(done) = self.operators.try_join_next() {
            done.expect("no panic");
        }
    }

    /// What must hold at every moment.
    fn check(&mut self) {
        self.collect();
        let interruptions = self.interruptions;
        // A permit that came before the last interruption promises nothing now.
        let entitled = self.inside.iter().any(|(_, then)| *then == interruptions);
        if entitled && self.asking.is_empty() {
            assert_eq!(self.sandbox().phase(), Phase::Running);
            assert!(self.house.fake.is_running(&key("a")));
        }
        self.house.fake.assert_used_well();
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Ask(count) => {
                for _ in 0..count {
                    let sandbox = self.sandbox();
                    self.asking.spawn(async move { sandbox.admit().await.ok() });
                    self.asked += 1;
                }
            }
            Step::Leave if !self.inside.is_empty() => drop(self.inside.remove(0)),
            Step::Upgrade if !self.inside.is_empty() => {
                let (permit, _) = self.inside.remove(0);
                permit.upgraded();
                self.attached.push(permit);
            }
            Step::Byte => {
                self.attached.iter().chain(&self.visitors).for_each(|it| it.touch(&alice()));
            }
            Step::Visit => {
                let sandbox = self.sandbox();
                let before = sandbox.view();
                let visitor = sandbox.try_visit();
                assert!(
                    visitor.is_none() || before.phase == Phase::Running,
                    "a visitor is let in to what runs, and wakes nothing"
                );
                assert_eq!(sandbox.view().rests_at, before.rests_at, "a visit is no use");
                self.visitors.extend(visitor);
            }
            Step::VisitorUpgrades => {
                if let Some(visitor) = self.visitors.last() {
                    visitor.upgraded();
                }
            }
            Step::VisitorLeaves if !self.visitors.is_empty() => {
                let before = self.sandbox().view().rests_at;
                drop(self.visitors.remove(0));
                assert_eq!(self.sandbox().view().rests_at, before, "nor is its end");
            }
            Step::Pass(time) => sleep(time).await,
            Step::Sleep => self.operate(async |house| {
                let _ = house.sleep(&key("a"), None).await;
            }),
            Step::Stop => {
                self.interruptions += 1;
                self.operate(async |house| {
                    let _ = house.stop(&key("a"), None).await;
                });
                self.settle_operators().await;
            }
            Step::Destroy => {
                self.interruptions += 1;
                self.operate(async |house| {
                    let _ = house.destroy(&key("a"), None).await;
                });
                self.settle_operators().await;
            }
            Step::Die => {
                self.interruptions += 1;
                self.house.fake.kill(&key("a"), Exit::Signal(11));
                // Until its end has been seen, whoever comes is let in to nothing.
                let sandbox = self.sandbox();
                until("the end is seen", || {
                    sandbox.phase() != Phase::Running || self.house.fake.is_running(&key("a"))
                })
                .await;
                self.settle().await;
            }
            Step::Starts(fail) => self.house.fake.script(|script| script.dies_at_once = fail),
            Step::Removals(fail) => self.house.fake.script(|script| script.destroy_fails = fail),
            Step::Leave | Step::Upgrade | Step::VisitorLeaves | Step::Again => {}
        }
    }

    fn operate<F>(&mut self, order: impl FnOnce(Arc<tidegate_sandbox::Registry>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.operators.spawn(order(Arc::clone(&self.house.registry)));
    }

    async fn settle_operators(&mut self) {
        while let Some(done) = self.operators.join_next().await {
            done.expect("no panic");
        }
        self.settle().await;
    }

    /// Who was let in before an interruption was over is promised nothing.
    async fn settle(&mut self) {
        // Everyone who was let in until now runs once and can be collected.
        sleep(Duration::from_millis(1)).await;
        self.collect();
        self.interruptions += 1;
    }

    /// The gateway ends, with everything that it holds.
    async fn again(self) -> Self {
        let Self { house, mut asking, interruptions, mut operators, .. } = self;
        house.registry.shutdown().await;
        drop((self.inside, self.attached, self.visitors));
        while let Some(answer) = asking.join_next().await {
            drop(answer.expect("nobody is forgotten"));
        }
        while operators.join_next().await.is_some() {}
        let house = house.again().await;
        let fresh = (JoinSet::new(), JoinSet::new());
        Self {
            house,
            asking: fresh.0,
            asked: 0,
            answered: 0,
            inside: Vec::new(),
            attached: Vec::new(),
            visitors: Vec::new(),
            interruptions: interruptions + 1,
            operators: fresh.1,
        }
    }

    /// Everyone who asked is answered; left alone, it goes to rest.
    async fn finish(mut self, lifetime: Lifetime) {
        self.house.fake.script(|script| {
            script.destroy_fails = false;
            script.dies_at_once = false;
        });
        while let Some(answer) = self.asking.join_next().await {
            drop(answer.expect("nobody is forgotten"));
            self.answered += 1;
        }
        assert_eq!(self.answered, self.asked);
        self.inside.clear();
        self.attached.clear();
        self.settle_operators().await;
        // Visitors may stay: they hold nothing up.
        let sandbox = self.sandbox();
        // Kept alive, it rests only where someone had it stopped or that failed.
        let kept = lifetime == Lifetime::KeepAlive;
        let rests = |phase| match phase {
            Phase::Absent | Phase::Stopped | Phase::Failed => true,
            Phase::Running => kept,
            Phase::Starting | Phase::Stopping | Phase::Destroying => false,
        };
        until("it rests", || rests(sandbox.phase())).await;
        self.visitors.clear();
        assert_eq!(sandbox.view().why_awake.visitors, 0);
        assert_eq!(sandbox.view().why_awake.in_flight, 0);
        assert_eq!(sandbox.view().why_awake.attached, 0);
        // And it can be woken, whatever it went through.
        let _ = self.house.registry.stop(&key("a"), None).await;
        drop(self.sandbox().admit().await.expect("starts"));
        self.house.fake.assert_used_well();
        self.house.registry.shutdown().await;
    }
}

fn live(lifetime: Lifetime, steps: Vec<Step>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut world = World::new(lifetime).await;
        for step in steps {
            if matches!(step, Step::Again) {
                world = world.again().await;
            } else {
                world.take(step).await;
            }
            world.check();
        }
        world.finish(lifetime).await;
    });
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 32,
        max_shrink_iters: 200,
        // Kept with the failure's output, not in files beside the source.
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_was_promised_holds_in_whichever_order_things_happen(steps in steps()) {
        live(Lifetime::SleepAfter(IDLE), steps);
    }

    #[test]
    fn so_it_does_when_the_sandbox_is_kept_alive(steps in steps()) {
        live(Lifetime::KeepAlive, steps);
    }
}
