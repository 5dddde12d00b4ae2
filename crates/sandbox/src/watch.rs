//! Whoever wants to know how sandboxes come and go.

use std::fmt;
use std::time::Duration;

use tidegate_types::{Incarnation, SandboxKey, TemplateName};

use crate::driver::Exit;
use crate::error::StartFailure;
use crate::lifecycle::Phase;

/// Is told of every change of a sandbox's phase, in order for each sandbox, by the
/// task that changed it.
pub trait Watch: Send + Sync + fmt::Debug {
    /// It changed just now. Must not wait for anything: the sandbox waits meanwhile.
    fn changed(&self, change: &Change<'_>);
}

/// One change of one sandbox.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// Which sandbox.
    pub key: &'a SandboxKey,
    /// Which life of it.
    pub incarnation: Incarnation,
    /// Its recipe.
    pub template: &'a TemplateName,
    /// What it did until now.
    pub from: Phase,
    /// What it does from now on.
    pub to: Phase,
    /// What happened: `wake`, `ready`, `start-failed`, `died`, `idle`, `stop`,
    /// `cleaned`, `clean-failed`, `destroy`, `removed`.
    pub why: &'static str,
    /// How long it had been in the phase before.
    pub after: Duration,
    /// Why it failed, where it did.
    pub failure: Option<&'a StartFailure>,
    /// How its application ended, where it did so by itself.
    pub exit: Option<Exit>,
}
