//! Whoever wants to know what plugins refuse and where they fail, and which
//! generation serves.

use std::fmt;

use tidegate_types::{DecisionId, Denial, PluginName, SandboxName, SubjectId, TenantId};

use crate::state::About;
use crate::{FailureReason, Generation, Hook};

/// Is told of every refusal and failure, as it happens, by the thread it happens on.
pub trait Witness: Send + Sync + fmt::Debug {
    /// A plugin refused or failed. Must not wait for anything. Never told of `observe`
    /// itself: what came of telling would have to be told again.
    fn refused(&self, refused: &Refused<'_>);

    /// Another generation serves from now on.
    fn serves(&self, generation: &Generation);
}

/// A refusal or a failure, and whom it concerned as far as that was known.
#[derive(Debug, Clone, Copy)]
pub struct Refused<'a> {
    /// Who was asked.
    pub plugin: &'a PluginName,
    /// What was asked.
    pub hook: Hook,
    /// What came of it.
    pub how: How<'a>,
    /// Whose the request or the sandbox is.
    pub tenant: Option<&'a TenantId>,
    /// Who asked.
    pub subject: Option<&'a SubjectId>,
    /// In which sandbox.
    pub sandbox: Option<&'a SandboxName>,
    /// Which decision.
    pub decision: Option<DecisionId>,
}

/// What came of asking.
#[derive(Debug, Clone, Copy)]
pub enum How<'a> {
    /// The plugin refused.
    Denied(&'a Denial),
    /// The plugin could not decide; the text is for operators.
    Failed(FailureReason, &'a str),
}

impl<'a> Refused<'a> {
    pub(crate) fn new(plugin: &'a PluginName, hook: Hook, how: How<'a>, about: &'a About) -> Self {
        let sandbox = about.sandbox.as_ref();
        let subject = about.identity.as_ref().map(|who| &who.subject);
        Self {
            plugin,
            hook,
            how,
            tenant: about.tenant(),
            subject: subject.or_else(|| sandbox.map(|sandbox| &sandbox.subject)),
            sandbox: sandbox.map(|sandbox| &sandbox.key.name),
            decision: about.id,
        }
    }
}
