//! What happened, as `observe` is told.

use std::borrow::Cow;
use std::time::SystemTime;

use crate::{DecisionId, SandboxName, SubjectId, TenantId};

/// One thing that happened. Holds no secret and no credential.
#[derive(Debug, Clone)]
pub struct Event {
    /// When.
    pub at: SystemTime,
    /// What kind of thing.
    pub kind: EventKind,
    /// Whose, where that is known.
    pub tenant: Option<TenantId>,
    /// By whom, where that is known.
    pub subject: Option<SubjectId>,
    /// In which sandbox, where there is one.
    pub sandbox: Option<SandboxName>,
    /// Of which decision, where there was one.
    pub decision: Option<DecisionId>,
    /// More, by name; names are stable.
    pub fields: Vec<(&'static str, Cow<'static, str>)>,
}

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A request was answered, whatever the answer.
    Request,
    /// A plugin refused or failed.
    Decision,
    /// A sandbox changed its state.
    Sandbox,
    /// An object was read or written from inside.
    Object,
    /// A sandbox opened a connection outwards, or was kept from it.
    Egress,
    /// A limit was reached.
    Quota,
}

impl EventKind {
    /// Stable name, as the contract with plugins spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Decision => "decision",
            Self::Sandbox => "sandbox",
            Self::Object => "object",
            Self::Egress => "egress",
            Self::Quota => "quota",
        }
    }
}
