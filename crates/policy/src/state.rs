//! What the host knows while a plugin's instance runs: whose it is, what it may
//! have, and the call that it works on.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidegate_types::{DecisionId, Identity, RequestFacts, SandboxFacts, TenantId};
use wasmtime::Trap;

use crate::clock::Clock;
use crate::deadline::{Deadline, Measure};
use crate::population::Place;
use crate::reads::ReadSet;
use crate::surroundings::Surroundings;

/// How many cheap calls into the host go by between two looks at the deadline.
const CHEAP: u32 = 64;

/// The data of one instance's store.
pub(crate) struct State {
    pub(crate) around: Arc<Surroundings>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) place: Place,
    /// What the call has read. Beside it, so that its room stays from call to call.
    pub(crate) reads: ReadSet,
    pub(crate) call: Call,
}

impl State {
    pub(crate) fn new(around: Arc<Surroundings>, clock: Arc<Clock>, place: Place) -> Self {
        Self { around, clock, place, reads: ReadSet::default(), call: Call::idle() }
    }

    /// Makes `call` the one that is worked on.
    pub(crate) fn begin(&mut self, call: Call) {
        self.call = call;
        self.reads.clear();
    }

    /// Where every call into the host begins whose cost its input bounds to
    /// microseconds. Plugin code is interrupted where it loops or calls; code that
    /// is one long row of calls into the host does neither.
    ///
    /// # Errors
    /// The plugin's time is up.
    pub(crate) fn host_call(&mut self) -> wasmtime::Result<()> {
        self.call.made += 1;
        if self.call.made.is_multiple_of(CHEAP) { self.costly() } else { Ok(()) }
    }

    /// Where every other call into the host begins.
    ///
    /// # Errors
    /// The plugin's time is up.
    pub(crate) fn costly(&mut self) -> wasmtime::Result<()> {
        if self.call.deadline.over() { Err(Trap::Interrupt.into()) } else { Ok(()) }
    }
}

/// The call that an instance works on.
pub(crate) struct Call {
    pub(crate) about: About,
    pub(crate) deadline: Deadline,
    /// Calls into the host.
    made: u32,
    now_ms: Option<u64>,
    /// Whether it is a hook's: `configure` may not wait for others.
    pub(crate) of_a_hook: bool,
    /// Calls to HTTP services that this call made.
    pub(crate) http_calls: u32,
}

/// What a call is about. What isn't there, its hook isn't given.
#[derive(Clone, Default)]
pub(crate) struct About {
    pub(crate) facts: Option<Arc<RequestFacts>>,
    pub(crate) identity: Option<Arc<Identity>>,
    pub(crate) sandbox: Option<Arc<SandboxFacts>>,
    pub(crate) id: Option<DecisionId>,
}

impl About {
    /// Whose call it is, where that is known.
    pub(crate) fn tenant(&self) -> Option<&TenantId> {
        let who = self.identity.as_ref().map(|who| &who.tenant);
        who.or_else(|| self.sandbox.as_ref().map(|sandbox| &sandbox.key.tenant))
    }
}

impl Call {
    /// No call: what an instance's state holds between two.
    pub(crate) fn idle() -> Self {
        Self::new(About::default(), Deadline::of(Duration::ZERO, Measure::Processor))
    }

    pub(crate) fn new(about: About, deadline: Deadline) -> Self {
        Self { about, deadline, made: 0, now_ms: None, of_a_hook: false, http_calls: 0 }
    }

    /// Lets go of what it was about.
    pub(crate) fn forget(&mut self) {
        self.about = About::default();
    }

    /// Unix time in milliseconds; the same during one call.
    pub(crate) fn now_ms(&mut self) -> u64 {
        *self.now_ms.get_or_insert_with(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
    }
}
