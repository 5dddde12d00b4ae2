//! One sandbox's handle: what a request holds of it.
//!
//! The hot path touches the atomic word, a time stamp and nothing else. Whatever
//! needs a decision goes to the actor's inbox; an actor exists only while there
//! is something to own.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tidegate_types::{Lifetime, Placement, SandboxKey, Template, TemplateName};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::cause::{Cause, LastCause};
use crate::driver::{Driver, Exit, SandboxId};
use crate::error::{ControlError, StartFailure, WakeError};
use crate::lifecycle::{self, Mode, Order, Phase, Unserved};
use crate::permit::Permit;
use crate::registry::Registry;
use crate::services::Services;
use crate::view::{View, WhyAwake};
use crate::word::{Epoch, Word};

/// One life of one sandbox. Cheap to hold; holding it keeps nothing awake.
pub struct Sandbox {
    pub(crate) id: SandboxId,
    pub(crate) services: Arc<Services>,
    registry: Weak<Registry>,
    pub(crate) word: Word,
    /// Of [`Services::clock`]: the last client byte or end of a request.
    last_active: AtomicU64,
    attached: AtomicU32,
    /// Requests in progress that keep nothing awake.
    visitors: AtomicU32,
    cause: LastCause,
    /// Notified when the last attached connection or visitor has gone.
    pub(crate) none_attached: Notify,
    /// Connections attached in this epoch or before shall close.
    told: watch::Sender<Epoch>,
    start_number: AtomicU64,
    driver: RwLock<Option<Arc<dyn Driver>>>,
    /// How the next start begins.
    mode: Mutex<Mode>,
    pub(crate) recipe: ArcSwap<Recipe>,
    pub(crate) status: watch::Sender<Status>,
    inbox: Mutex<Inbox>,
}

/// How to start it, the next time.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    /// `None` when the configuration has it no more.
    pub(crate) template: Option<Arc<Template>>,
    pub(crate) template_name: TemplateName,
    pub(crate) driver: String,
    pub(crate) lifetime: Option<Lifetime>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) labels: Vec<(String, String)>,
}

impl Recipe {
    pub(crate) fn new(placement: &Placement, template: Arc<Template>) -> Self {
        Self {
            template_name: template.name.clone(),
            driver: template.driver.clone(),
            template: Some(template),
            lifetime: placement.lifetime,
            env: placement.env.clone(),
            labels: placement.labels.clone(),
        }
    }

    fn says(&self, placement: &Placement, template: &Arc<Template>) -> bool {
        self.template.as_ref().is_some_and(|own| Arc::ptr_eq(own, template))
            && self.lifetime == placement.lifetime
            && self.env == placement.env
            && self.labels == placement.labels
    }

    /// Without a template a sandbox is only ever ended, so its lifetime is moot.
    pub(crate) fn lifetime(&self) -> Lifetime {
        let of_template = || self.template.as_ref().map(|t| t.lifetime);
        self.lifetime.or_else(of_template).unwrap_or(Lifetime::SleepAfter(Duration::ZERO))
    }

    pub(crate) fn stop_grace(&self) -> Duration {
        self.template.as_ref().map_or(Duration::from_secs(10), |template| template.stop_grace)
    }
}

/// What the actor last said.
#[derive(Debug, Clone)]
pub(crate) struct Status {
    pub(crate) phase: Phase,
    pub(crate) since: SystemTime,
    pub(crate) last_exit: Option<Exit>,
    /// Starts that failed in a row.
    pub(crate) attempts: u32,
    pub(crate) failure: Option<Arc<StartFailure>>,
    /// Of [`Services::clock`].
    pub(crate) retry_at: Option<u64>,
}

enum Inbox {
    /// No actor; whoever sends makes one.
    Idle,
    Live(mpsc::UnboundedSender<Order>),
    /// This life is over.
    Gone,
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandbox").field("id", &self.id).field("phase", &self.phase()).finish()
    }
}

impl Sandbox {
    pub(crate) fn new(
        id: SandboxId,
        recipe: Recipe,
        phase: Phase,
        since: SystemTime,
        services: Arc<Services>,
        registry: Weak<Registry>,
    ) -> Arc<Self> {
        let status =
            Status { phase, since, last_exit: None, attempts: 0, failure: None, retry_at: None };
        Arc::new(Self {
            id,
            registry,
            word: Word::new(),
            last_active: AtomicU64::new(services.clock.now()),
            attached: AtomicU32::new(0),
            visitors: AtomicU32::new(0),
            cause: LastCause::default(),
            none_attached: Notify::new(),
            told: watch::Sender::new(Epoch::default()),
            start_number: AtomicU64::new(0),
            driver: RwLock::new(None),
            mode: Mutex::new(Mode::Fresh),
            recipe: ArcSwap::from_pointee(recipe),
            status: watch::Sender::new(status),
            inbox: Mutex::new(Inbox::Idle),
            services,
        })
    }

    /// Which sandbox.
    #[must_use]
    pub fn key(&self) -> &SandboxKey {
        &self.id.key
    }

    /// Which sandbox, and which life of it.
    #[must_use]
    pub fn id(&self) -> &SandboxId {
        &self.id
    }

    /// What it is doing.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.status.borrow().phase
    }

    /// Lets a request in if the sandbox runs: one compare-and-swap. A sandbox that
    /// is about to sleep stays awake for it.
    #[must_use]
    pub fn try_admit(self: &Arc<Self>) -> Option<Permit> {
        let epoch = self.word.admit()?;
        self.note_activity();
        Some(Permit::new(Arc::clone(self), epoch))
    }

    /// Lets a visitor in if the sandbox runs and isn't about to sleep: a request
    /// that is no reason to wake it nor to keep it awake. It leaves no trace: it
    /// holds no sleep up for longer than any open connection, calls none off, and
    /// the idle clock doesn't see it come, act or go.
    #[must_use]
    pub fn try_visit(self: &Arc<Self>) -> Option<Permit> {
        // Counted first, so that whoever closes the gate after this look waits a
        // moment for it.
        self.visitors.fetch_add(1, Ordering::SeqCst);
        match self.word.open_now() {
            Some(epoch) => Some(Permit::of_visitor(Arc::clone(self), epoch)),
            None => {
                self.end_visit();
                None
            }
        }
    }

    /// Notes what it is used by now, for [`WhyAwake::cause`]; to be called before
    /// asking to be let in. At most once a second `cause` is asked, the rest is an
    /// atomic load.
    pub fn note_cause(&self, cause: impl FnOnce() -> Cause) {
        self.cause.note(self.services.clock.now(), cause);
    }

    /// Lets a request in, and wakes the sandbox for it where it has to. Any number
    /// of requests that wait cause one start.
    ///
    /// Where the sandbox is destroyed meanwhile, the permit is for the next life
    /// of it: ask [`Permit::sandbox`].
    ///
    /// # Cancel safety
    /// Dropping it gives up waiting; the start goes on.
    ///
    /// # Errors
    /// [`WakeError`], which every request that waited for one start shares.
    pub async fn admit(self: &Arc<Self>) -> Result<Permit, WakeError> {
        let mut sandbox = Arc::clone(self);
        loop {
            match sandbox.admit_here().await {
                Ok(permit) => return Ok(permit),
                Err(Unserved::Failed(error)) => return Err(error),
                Err(Unserved::Gone) => {
                    let registry = sandbox.registry.upgrade().ok_or(WakeError::ShuttingDown)?;
                    sandbox = registry.successor(&sandbox);
                }
            }
        }
    }

    /// As [`admit`](Self::admit), for this life only.
    pub(crate) async fn admit_here(self: &Arc<Self>) -> Result<Permit, Unserved> {
        if let Some(permit) = self.try_admit() {
            return Ok(permit);
        }
        if let Some(error) = self.back_off() {
            return Err(Unserved::Failed(error));
        }
        self.services.meters.requests_held.add(1);
        let (answer, answered) = oneshot::channel();
        self.send(Order::Wake(Some(answer)))?;
        // Only an actor that was ended with the gateway drops an answer.
        answered.await.unwrap_or(Err(Unserved::Failed(WakeError::ShuttingDown)))
    }

    /// The refusal to give while the back-off of an earlier failure lasts.
    pub(crate) fn back_off(&self) -> Option<WakeError> {
        let status = self.status.borrow();
        let (reason, retry_at) = (status.failure.as_ref()?, status.retry_at?);
        let left = retry_at.checked_sub(self.services.clock.now()).filter(|left| *left > 0)?;
        if status.phase != Phase::Failed {
            return None;
        }
        self.services.meters.back_offs.add(1);
        Some(WakeError::BackOff {
            key: self.id.key.clone(),
            attempts: status.attempts,
            // Whole seconds, rounded up: who comes back after them is let in.
            retry_after: Duration::from_secs(left.div_ceil(1000)),
            reason: Arc::clone(reason),
        })
    }

    /// Remembers the latest placement and template, for the next start. Costs a
    /// comparison when nothing changed.
    pub(crate) fn refresh(self: &Arc<Self>, placement: &Placement, template: &Arc<Template>) {
        let recipe = self.recipe.load();
        if recipe.says(placement, template) {
            return;
        }
        let next = Recipe::new(placement, Arc::clone(template));
        self.replace_recipe(&recipe, next);
    }

    /// Takes a newly loaded template of the same name.
    pub(crate) fn refresh_template(self: &Arc<Self>, template: Option<&Arc<Template>>) {
        let recipe = self.recipe.load();
        let same = match (&recipe.template, template) {
            (Some(old), Some(new)) => Arc::ptr_eq(old, new),
            (None, None) => true,
            _ => false,
        };
        if !same {
            let next = Recipe {
                template: template.cloned(),
                driver: template.map_or_else(|| recipe.driver.clone(), |t| t.driver.clone()),
                ..Recipe::clone(&recipe)
            };
            self.replace_recipe(&recipe, next);
        }
    }

    fn replace_recipe(self: &Arc<Self>, old: &Recipe, new: Recipe) {
        let reconsider = old.lifetime() != new.lifetime();
        self.recipe.store(Arc::new(new));
        if reconsider && let Inbox::Live(actor) = &*self.lock_inbox() {
            // An actor that is about to end looks at the recipe once more itself.
            let _ = actor.send(Order::Reconsider);
        }
    }

    fn lock_inbox(&self) -> std::sync::MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives `order` to the actor; makes one where there is none.
    pub(crate) fn send(self: &Arc<Self>, order: Order) -> Result<(), Unserved> {
        let mut inbox = self.lock_inbox();
        let order = match &*inbox {
            Inbox::Gone => return Err(Unserved::Gone),
            Inbox::Live(actor) => match actor.send(order) {
                Ok(()) => return Ok(()),
                Err(mpsc::error::SendError(order)) => order,
            },
            Inbox::Idle => order,
        };
        if self.services.leaving.is_cancelled() {
            return Err(Unserved::Failed(WakeError::ShuttingDown));
        }
        let (actor, orders) = mpsc::unbounded_channel();
        // The receiver is right here.
        let _ = actor.send(order);
        *inbox = Inbox::Live(actor);
        let run = lifecycle::run(Arc::clone(self), orders);
        self.services.actors.spawn_on(run, &self.services.runtime);
        Ok(())
    }

    /// Lets the actor go, unless an order came in: then that.
    pub(crate) fn dismiss(&self, orders: &mut mpsc::UnboundedReceiver<Order>) -> Option<Order> {
        let mut inbox = self.lock_inbox();
        // Nobody sends while the lock is held.
        match orders.try_recv() {
            Ok(order) => Some(order),
            Err(_) => {
                *inbox = Inbox::Idle;
                None
            }
        }
    }

    /// Ends this life: it is in the registry no more and takes no orders. Orders
    /// that came too late are answered by whoever drains `orders`.
    pub(crate) fn end(self: &Arc<Self>) {
        if let Some(registry) = self.registry.upgrade() {
            registry.forget(self);
        }
        *self.lock_inbox() = Inbox::Gone;
    }

    /// Ends this life if it never began: nothing was started or recorded, nobody
    /// gave it an order. For whoever found no leave to wake it, so that names that
    /// were only ever asked for are not kept.
    ///
    /// Whoever holds it too loses nothing: a request that wakes it after all gets
    /// the next life, as after a destroy.
    pub fn forget_unless_begun(self: &Arc<Self>) {
        {
            let mut inbox = self.lock_inbox();
            // Only an actor changes the phase, and none is made while the lock is
            // held: who gave an order before is seen here, who comes after finds
            // that this life is over.
            if !matches!(*inbox, Inbox::Idle) || self.phase() != Phase::Absent {
                return;
            }
            *inbox = Inbox::Gone;
        }
        // Not under the lock: the registry takes it while it goes through its map.
        if let Some(registry) = self.registry.upgrade() {
            registry.forget(self);
        }
    }

    /// Notes that a client used it just now. Calls off a sleep that has begun.
    pub(crate) fn touch(&self) {
        self.note_activity();
        self.word.call_off();
    }

    pub(crate) fn note_activity(&self) {
        // Ordered before the look at the word that follows it, as the actor's
        // closing is ordered before its look at this: one of the two sees the other.
        self.last_active.store(self.services.clock.now(), Ordering::SeqCst);
    }

    pub(crate) fn last_active(&self) -> u64 {
        self.last_active.load(Ordering::SeqCst)
    }

    pub(crate) fn attach(&self) {
        self.attached.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn detach(&self) {
        self.attached.fetch_sub(1, Ordering::SeqCst);
        self.notify_if_alone();
    }

    pub(crate) fn end_visit(&self) {
        self.visitors.fetch_sub(1, Ordering::SeqCst);
        self.notify_if_alone();
    }

    fn notify_if_alone(&self) {
        if !self.has_company() {
            self.none_attached.notify_waiters();
        }
    }

    /// Whether anything is connected that does not count as in flight.
    pub(crate) fn has_company(&self) -> bool {
        self.attached.load(Ordering::SeqCst) > 0 || self.visitors.load(Ordering::SeqCst) > 0
    }

    /// Tells every connection attached in `epoch` or before to close.
    pub(crate) fn tell_to_close(&self, epoch: Epoch) {
        self.told.send_modify(|told| *told = (*told).max(epoch));
    }

    pub(crate) fn told(&self) -> watch::Receiver<Epoch> {
        self.told.subscribe()
    }

    pub(crate) fn start_number(&self) -> u64 {
        self.start_number.load(Ordering::Acquire)
    }

    pub(crate) fn driver(&self) -> Option<Arc<dyn Driver>> {
        self.driver.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the start that is under way uses, and its number.
    pub(crate) fn set_start(&self, driver: Arc<dyn Driver>, number: u64) {
        *self.driver.write().unwrap_or_else(PoisonError::into_inner) = Some(driver);
        self.start_number.store(number, Ordering::Release);
    }

    pub(crate) fn set_mode(&self, mode: Mode) {
        *self.mode.lock().unwrap_or_else(PoisonError::into_inner) = mode;
    }

    pub(crate) fn take_mode(&self) -> Mode {
        let mut mode = self.mode.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *mode, Mode::Fresh)
    }

    /// When it goes to sleep if nobody uses it until then, by [`Services::clock`].
    pub(crate) fn idle_at(&self) -> Option<u64> {
        match self.recipe.load().lifetime() {
            Lifetime::KeepAlive => None,
            Lifetime::SleepAfter(idle) => {
                let idle = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);
                Some(self.last_active().saturating_add(idle))
            }
        }
    }

    /// What is known of it, without asking the machine.
    #[must_use]
    pub fn view(&self) -> View {
        let status = self.status.borrow().clone();
        let recipe = self.recipe.load();
        let clock = self.services.clock;
        let running = status.phase == Phase::Running;
        let awake = running || status.phase == Phase::Starting;
        let in_flight = self.word.in_flight();
        let idle_at = self.idle_at().filter(|_| running && in_flight == 0);
        View {
            key: self.id.key.clone(),
            incarnation: self.id.incarnation,
            template: recipe.template_name.clone(),
            driver: recipe.driver.clone(),
            phase: status.phase,
            since: status.since,
            why_awake: WhyAwake {
                in_flight,
                attached: self.attached.load(Ordering::SeqCst),
                visitors: self.visitors.load(Ordering::SeqCst),
                cause: self.cause.get().filter(|_| awake),
                last_active: running.then(|| clock.wall(self.last_active())),
                keep_alive: recipe.lifetime() == Lifetime::KeepAlive,
            },
            rests_at: idle_at.map(|at| clock.wall(at)),
            last_exit: status.last_exit,
            attempts: status.attempts,
            failure: status.failure,
            retry_at: status.retry_at.map(|at| clock.wall(at)),
            labels: recipe.labels.clone(),
        }
    }

    /// Gives an order that is answered when it has been carried out.
    pub(crate) async fn order(
        self: &Arc<Self>,
        order: impl FnOnce(oneshot::Sender<Result<(), ControlError>>) -> Order,
    ) -> Result<(), ControlError> {
        let (answer, answered) = oneshot::channel();
        self.send(order(answer)).map_err(|unserved| match unserved {
            Unserved::Gone => ControlError::NotFound(self.id.key.clone()),
            Unserved::Failed(error) => ControlError::Wake(error),
        })?;
        answered.await.unwrap_or(Err(ControlError::Wake(WakeError::ShuttingDown)))
    }
}
