//! What the host knows while a plugin's instance runs: whose it is, what it may
//! have, and the call that it works on.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidegate_types::{DecisionId, Identity, RequestFacts, SandboxFacts, TenantId};
use wasmtime::ResourceLimiter;

use crate::clock::Clock;
use crate::deadline::{Deadline, Measure};
use crate::surroundings::Surroundings;

/// The data of one instance's store.
pub(crate) struct State {
    pub(crate) around: Arc<Surroundings>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) bounds: Bounds,
    pub(crate) call: Call,
}

impl State {
    pub(crate) fn new(around: Arc<Surroundings>, clock: Arc<Clock>, memory: u64) -> Self {
        let memory = usize::try_from(memory).unwrap_or(usize::MAX);
        let bounds = Bounds { memory, used: 0, refused: false };
        Self { around, clock, bounds, call: Call::idle() }
    }
}

/// The call that an instance works on.
pub(crate) struct Call {
    pub(crate) about: About,
    pub(crate) deadline: Deadline,
    now_ms: Option<u64>,
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
        Self { about, deadline, now_ms: None, http_calls: 0 }
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

/// What an instance may have of the host's memory.
pub(crate) struct Bounds {
    memory: usize,
    /// The largest size that a memory of it has.
    used: usize,
    /// Whether it was refused more.
    pub(crate) refused: bool,
}

impl Bounds {
    /// Whether so much is gone that the instance should make way for a fresh one
    /// before it fails: memory never shrinks.
    pub(crate) fn worn(&self) -> bool {
        self.used > self.memory / 4 * 3
    }
}

impl ResourceLimiter for Bounds {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let granted = desired <= self.memory;
        if granted {
            self.used = self.used.max(desired);
        } else {
            self.refused = true;
        }
        Ok(granted)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let granted = desired <= 65_536;
        self.refused |= !granted;
        Ok(granted)
    }

    /// Adapters bring a memory of their own each; the bound is for each of them.
    fn memories(&self) -> usize {
        4
    }
}
