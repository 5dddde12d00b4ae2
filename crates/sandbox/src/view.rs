//! A sandbox as operators see it. Looking never wakes.

use std::sync::Arc;
use std::time::SystemTime;

use tidegate_types::{Incarnation, SandboxKey, TemplateName};

use crate::cause::Cause;
use crate::driver::Exit;
use crate::error::StartFailure;
use crate::lifecycle::Phase;

/// What is known of one sandbox at one instant, without asking the machine.
#[derive(Debug, Clone)]
pub struct View {
    /// Which.
    pub key: SandboxKey,
    /// Which life of it.
    pub incarnation: Incarnation,
    /// Its recipe at the next start; while it runs, usually also of this one.
    pub template: TemplateName,
    /// Who makes it real.
    pub driver: String,
    /// What it is doing.
    pub phase: Phase,
    /// Since when.
    pub since: SystemTime,
    /// What keeps it awake.
    pub why_awake: WhyAwake,
    /// When it goes to sleep if nobody uses it until then; `None` while it isn't
    /// running, is in use, or never sleeps.
    pub rests_at: Option<SystemTime>,
    /// How its application ended, the last time that it did by itself.
    pub last_exit: Option<Exit>,
    /// How many starts failed in a row.
    pub attempts: u32,
    /// Why the last one failed.
    pub failure: Option<Arc<StartFailure>>,
    /// When the next attempt may be made.
    pub retry_at: Option<SystemTime>,
    /// The placement's labels.
    pub labels: Vec<(String, String)>,
}

/// What keeps a sandbox awake; nothing of it when it is about to sleep.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WhyAwake {
    /// Requests in flight.
    pub in_flight: u32,
    /// Open WebSockets and other upgraded connections; they don't keep it awake,
    /// their bytes do.
    pub attached: u32,
    /// Requests in progress that are no reason to be awake.
    pub visitors: u32,
    /// Who used it last, and how: up to a second older than `last_active`. While it
    /// starts, what it starts for.
    pub cause: Option<Arc<Cause>>,
    /// When the last byte came from a client, or the last request ended.
    pub last_active: Option<SystemTime>,
    /// It never sleeps by itself.
    pub keep_alive: bool,
}
