//! Takes orders and carries the phases out: the only one that changes a phase,
//! opens the gate, or closes it for good.
//!
//! It exists while there is something to own: a start, a running application, an
//! end. A sandbox that rests has none.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tidegate_types::Lifetime;
use tidegate_types::fault::chain;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep_until};

use super::start::{Mode, Serving, bring_up, ended};
use super::table::{Event, Phase, next};
use super::{Order, Reply, Unserved, Waiter, backoff, rest};
use crate::driver::{Exit, Files};
use crate::error::{ControlError, StartFailure, WakeError};
use crate::permit::Permit;
use crate::sandbox::Sandbox;
use crate::watch::Change;

/// The least time between two looks at a sandbox that is in use.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Owns `sandbox` until there is nothing to own or the gateway ends. In the latter
/// case the sandbox is left as it is: the next gateway finds it.
pub(crate) async fn run(sandbox: Arc<Sandbox>, orders: UnboundedReceiver<Order>) {
    let leaving = sandbox.services.leaving.clone();
    let actor = Actor {
        sandbox,
        orders,
        waiters: Vec::new(),
        sleepers: Vec::new(),
        stoppers: Vec::new(),
        destroyers: Vec::new(),
        serving: Vec::new(),
        exit: None,
        early_deaths: 0,
        running_since: None,
        stopped_by_order: false,
    };
    tokio::select! {
        biased;
        () = leaving.cancelled() => {}
        () = actor.live() => {}
    }
}

struct Actor {
    sandbox: Arc<Sandbox>,
    orders: UnboundedReceiver<Order>,
    /// Requests that wait for it to run.
    waiters: Vec<Waiter>,
    sleepers: Vec<Reply>,
    stoppers: Vec<Reply>,
    destroyers: Vec<Reply>,
    serving: Serving,
    /// How the application ended, when it did by itself and isn't cleared away yet.
    exit: Option<Exit>,
    /// Ends in a row, each soon after its start.
    early_deaths: u32,
    running_since: Option<Instant>,
    /// Whether it rests because someone said so: then it isn't kept alive.
    stopped_by_order: bool,
}

impl Actor {
    async fn live(mut self) {
        loop {
            let event = match self.sandbox.phase() {
                Phase::Starting => self.start().await,
                Phase::Running => self.attend().await,
                Phase::Stopping => self.wind_down().await,
                Phase::Destroying => match self.remove().await {
                    Event::Removed => return self.depart(),
                    event => event,
                },
                Phase::Absent | Phase::Stopped | Phase::Failed => match self.rest().await {
                    Some(event) => event,
                    None => return,
                },
            };
            self.enter(event);
        }
    }

    /// Moves to the phase that `event` leads to.
    fn enter(&mut self, event: Event) {
        let clock = self.sandbox.services.clock;
        let from = self.sandbox.phase();
        let Some(to) = next(from, event) else {
            // INVARIANT: each phase's function returns only events that it has a row for.
            tracing::error!(sandbox = %self.sandbox.id.key, ?from, ?event, "no such transition");
            return;
        };
        tracing::debug!(sandbox = %self.sandbox.id.key, ?from, ?event, ?to, "transition");
        let now = clock.wall(clock.now());
        self.tell(from, to, event, now);
        self.sandbox.status.send_modify(|status| {
            status.phase = to;
            status.since = now;
            if matches!(to, Phase::Running | Phase::Stopped) {
                status.attempts = 0;
                status.failure = None;
                status.retry_at = None;
            }
        });
    }

    /// Tells whoever watches, before anybody else sees the change.
    fn tell(&self, from: Phase, to: Phase, event: Event, now: SystemTime) {
        let sandbox = &self.sandbox;
        let Some(watch) = sandbox.services.watch.get() else { return };
        let status = sandbox.status.borrow().clone();
        watch.changed(&Change {
            key: &sandbox.id.key,
            incarnation: sandbox.id.incarnation,
            template: &sandbox.recipe.load().template_name,
            from,
            to,
            why: event.as_str(),
            after: now.duration_since(status.since).unwrap_or_default(),
            failure: status.failure.as_deref().filter(|_| to == Phase::Failed),
            exit: self.exit.filter(|_| event == Event::Died),
        });
    }

    // ---- starting ----

    async fn start(&mut self) -> Event {
        let mode = self.sandbox.take_mode();
        let starting = bring_up(Arc::clone(&self.sandbox), mode);
        tokio::pin!(starting);
        let outcome = loop {
            tokio::select! {
                biased;
                outcome = &mut starting => break outcome,
                Some(order) = self.orders.recv() => match order {
                    Order::Wake(waiter) => self.waiters.extend(waiter),
                    Order::Sleep(reply) => self.refuse_sleep(reply),
                    Order::Stop(reply) => {
                        self.stoppers.push(reply);
                        return Event::Stop;
                    }
                    Order::Destroy(reply) => {
                        self.destroyers.push(reply);
                        return Event::Destroy;
                    }
                    Order::Reconsider => {}
                },
            }
        };
        match outcome {
            Ok(serving) => {
                self.serving = serving;
                self.open();
                Event::Ready
            }
            Err(reason) => {
                self.fail(reason).await;
                Event::StartFailed
            }
        }
    }

    /// Lets in everyone who waited, before anyone could find the sandbox idle.
    fn open(&mut self) {
        self.running_since = Some(Instant::now());
        self.stopped_by_order = false;
        self.sandbox.note_activity();
        self.sandbox.word.open();
        for waiter in self.waiters.drain(..) {
            admit(&self.sandbox, waiter);
        }
    }

    /// Clears away what the failed start left, notes why, and tells everyone.
    async fn fail(&mut self, reason: StartFailure) {
        let sandbox = &self.sandbox;
        let key = &sandbox.id.key;
        if let Some(driver) = sandbox.driver()
            && let Err(error) = rest::empty(sandbox, &driver, Files::Keep).await
        {
            tracing::warn!(sandbox = %key, %error, "a failed start could not be cleared away");
            sandbox.set_mode(Mode::AfterTrouble);
        }
        self.note_failure(reason);
        let status = self.sandbox.status.borrow().clone();
        let Some(reason) = status.failure else { return };
        tracing::warn!(sandbox = %key, attempts = status.attempts, reason = %chain(&*reason), "a start failed");
        let error = WakeError::Failed {
            key: key.clone(),
            attempts: status.attempts,
            retry_after: backoff::after(status.attempts),
            log: self.sandbox.driver().map(|driver| driver.log_path(key)),
            reason,
        };
        for waiter in self.waiters.drain(..) {
            // Who waited may have gone.
            let _ = waiter.send(Err(Unserved::Failed(error.clone())));
        }
    }

    fn note_failure(&self, reason: StartFailure) {
        let now = self.sandbox.services.clock.now();
        self.sandbox.status.send_modify(|status| {
            status.attempts = status.attempts.saturating_add(1);
            status.failure = Some(Arc::new(reason));
            status.retry_at = Some(now + millis(backoff::after(status.attempts)));
        });
    }

    // ---- running ----

    async fn attend(&mut self) -> Event {
        let sandbox = Arc::clone(&self.sandbox);
        let Some(driver) = sandbox.driver() else { return Event::Died };
        let end = ended(&*driver, &sandbox.id);
        tokio::pin!(end);
        loop {
            let clock = sandbox.services.clock;
            // In use, it can't be idle before it has been left alone for that long
            // from now on: looked at again then, and nobody has to tell us.
            let in_use = sandbox.word.in_flight() > 0;
            if in_use {
                sandbox.note_activity();
            }
            let idle_at = sandbox.idle_at();
            let mut due = idle_at.map_or_else(far_future, |at| clock.instant(at));
            if in_use {
                // However short its lifetime is, looking again must not become a spin.
                due = due.max(Instant::now() + LOOK_AGAIN);
            }
            tokio::select! {
                biased;
                exit = &mut end => {
                    self.exit = Some(exit);
                    sandbox.services.meters.deaths.add(1);
                    return Event::Died;
                }
                Some(order) = self.orders.recv() => match order {
                    Order::Wake(waiter) => {
                        if let Some(waiter) = waiter {
                            admit(&sandbox, waiter);
                        }
                    }
                    Order::Sleep(reply) => {
                        if rest::try_close(&sandbox, clock.now()).await {
                            self.sleepers.push(reply);
                            self.stopped_by_order = true;
                            return Event::Idle;
                        }
                        self.refuse_sleep(reply);
                    }
                    Order::Stop(reply) => {
                        self.stoppers.push(reply);
                        return Event::Stop;
                    }
                    Order::Destroy(reply) => {
                        self.destroyers.push(reply);
                        return Event::Destroy;
                    }
                    Order::Reconsider => {}
                },
                () = sleep_until(due) => {
                    let now = clock.now();
                    // The lifetime may be another than when the timer was set.
                    let still_due = sandbox.idle_at().is_some_and(|at| at <= now);
                    let last = sandbox.last_active();
                    if still_due && rest::try_close(&sandbox, last).await {
                        return Event::Idle;
                    }
                }
            }
        }
    }

    fn refuse_sleep(&self, reply: Reply) {
        let key = self.sandbox.id.key.clone();
        let in_flight = self.sandbox.word.in_flight();
        // Who asked may have gone.
        let _ = reply.send(Err(ControlError::Busy { key, in_flight }));
    }

    // ---- ending ----

    async fn wind_down(&mut self) -> Event {
        let sandbox = Arc::clone(&self.sandbox);
        let meters = &sandbox.services.meters;
        let epoch = sandbox.word.shut();
        rest::say_farewell(&sandbox, epoch).await;
        let outcome = match self.exit.take() {
            Some(exit) => {
                sandbox.status.send_modify(|status| status.last_exit = Some(exit));
                let lived = self.running_since.take().map_or(Duration::ZERO, |s| s.elapsed());
                self.early_deaths =
                    if lived < backoff::SETTLED { self.early_deaths.saturating_add(1) } else { 1 };
                rest::clear(&sandbox, exit).await
            }
            None => {
                self.early_deaths = 0;
                if self.stoppers.is_empty() {
                    meters.sleeps.add(1);
                } else {
                    self.stopped_by_order = true;
                    meters.stops.add(1);
                }
                rest::stop(&sandbox).await
            }
        };
        self.serving.clear();
        match outcome {
            Ok(()) => {
                let replies = self.sleepers.drain(..).chain(self.stoppers.drain(..));
                replies.for_each(|reply| {
                    let _ = reply.send(Ok(()));
                });
                Event::Cleaned
            }
            Err(reason) => {
                self.clean_failed(reason);
                Event::CleanFailed
            }
        }
    }

    fn clean_failed(&mut self, reason: StartFailure) {
        let key = &self.sandbox.id.key;
        tracing::error!(sandbox = %key, reason = %chain(&reason), "could not be cleaned up");
        self.sandbox.set_mode(Mode::AfterTrouble);
        self.note_failure(reason);
        let Some(reason) = self.sandbox.status.borrow().failure.clone() else { return };
        let (sleepers, stoppers) = (self.sleepers.drain(..), self.stoppers.drain(..));
        for reply in sleepers.chain(stoppers).chain(self.destroyers.drain(..)) {
            let _ = reply
                .send(Err(ControlError::Clean { key: key.clone(), reason: Arc::clone(&reason) }));
        }
    }

    async fn remove(&mut self) -> Event {
        let sandbox = Arc::clone(&self.sandbox);
        let epoch = sandbox.word.shut();
        rest::say_farewell(&sandbox, epoch).await;
        self.serving.clear();
        match rest::destroy(&sandbox).await {
            Ok(()) => {
                sandbox.services.meters.destroys.add(1);
                Event::Removed
            }
            Err(reason) => {
                self.clean_failed(reason);
                Event::CleanFailed
            }
        }
    }

    /// Ends this life. Requests go to the next one.
    fn depart(mut self) {
        self.enter(Event::Removed);
        self.sandbox.end();
        while let Ok(order) = self.orders.try_recv() {
            self.take(order);
        }
        for waiter in self.waiters.drain(..) {
            let _ = waiter.send(Err(Unserved::Gone));
        }
        for reply in self.destroyers.drain(..) {
            let _ = reply.send(Ok(()));
        }
        for reply in self.sleepers.drain(..).chain(self.stoppers.drain(..)) {
            let _ = reply.send(Err(ControlError::NotFound(self.sandbox.id.key.clone())));
        }
    }

    // ---- resting ----

    /// Notes an order; says whether it wants the sandbox to run.
    fn take(&mut self, order: Order) -> bool {
        match order {
            Order::Wake(waiter) => {
                self.waiters.extend(waiter);
                return true;
            }
            Order::Sleep(reply) => self.sleepers.push(reply),
            Order::Stop(reply) => self.stoppers.push(reply),
            Order::Destroy(reply) => self.destroyers.push(reply),
            Order::Reconsider => {}
        }
        false
    }

    /// Decides what is next for a sandbox of which nothing runs; nothing is, when
    /// this actor has ended.
    async fn rest(&mut self) -> Option<Event> {
        let began = Instant::now();
        let mut wanted = false;
        loop {
            while let Ok(order) = self.orders.try_recv() {
                wanted |= self.take(order);
            }
            if !self.destroyers.is_empty() {
                return Some(Event::Destroy);
            }
            if let Some(event) = self.settle_stops() {
                return Some(event);
            }
            // Who waited while it was being stopped is served now.
            let wanted_now = wanted || !self.waiters.is_empty();
            if wanted_now && self.may_start() {
                // Whoever had it stopped has been overruled: kept alive, it is
                // tried again should this start fail.
                self.stopped_by_order = false;
                return Some(Event::Wake);
            }
            let order = match self.keep_alive_at(began) {
                Some(at) => tokio::select! {
                    biased;
                    order = self.orders.recv() => order?,
                    () = sleep_until(at) => return Some(Event::Wake),
                },
                None => self.sandbox.dismiss(&mut self.orders)?,
            };
            wanted = self.take(order);
        }
    }

    /// Answers those who want it to rest: it does.
    fn settle_stops(&mut self) -> Option<Event> {
        let asked = !(self.stoppers.is_empty() && self.sleepers.is_empty());
        self.stopped_by_order |= asked;
        for reply in self.stoppers.drain(..).chain(self.sleepers.drain(..)) {
            let _ = reply.send(Ok(()));
        }
        (asked && self.sandbox.phase() == Phase::Failed).then_some(Event::Stop)
    }

    /// Whether a start may be tried now; refuses those who wait if not.
    fn may_start(&mut self) -> bool {
        let Some(error) = self.sandbox.back_off() else { return true };
        for waiter in self.waiters.drain(..) {
            let _ = waiter.send(Err(Unserved::Failed(error.clone())));
        }
        false
    }

    /// When it is started again although nobody asks.
    fn keep_alive_at(&self, rests_since: Instant) -> Option<Instant> {
        let status = self.sandbox.status.borrow();
        let recipe = self.sandbox.recipe.load();
        let kept = recipe.lifetime() == Lifetime::KeepAlive
            && recipe.template.is_some()
            && !self.stopped_by_order
            && status.phase != Phase::Absent;
        if !kept {
            return None;
        }
        let clock = self.sandbox.services.clock;
        Some(match (status.phase, status.retry_at) {
            (Phase::Failed, Some(at)) => clock.instant(at),
            _ if self.early_deaths > 0 => rests_since + backoff::after(self.early_deaths),
            _ => rests_since,
        })
    }
}

/// Lets one in that waited; a waiter that is gone takes nothing with it.
fn admit(sandbox: &Arc<Sandbox>, waiter: Waiter) {
    let permit: Option<Permit> = sandbox.try_admit();
    let _ = waiter.send(permit.ok_or(Unserved::Gone));
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// For a timer that is not meant to fire.
fn far_future() -> Instant {
    Instant::now() + Duration::from_hours(24)
}
