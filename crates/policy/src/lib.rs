//! The plugin host: loads WASM components, asks them, and turns whatever they do
//! into a decision or a named failure.
//!
//! [`PolicyHost`] holds the current [`Generation`]; the request path takes one
//! (`host.current()`) and asks it everything that one request needs, so that a
//! reload in between can't mix two policies. The binary calls [`PolicyHost::reload`]
//! from a blocking thread whenever the configuration or a plugin file changed.
//!
//! Calls are short and pure, and run on the caller's thread from start to end; only
//! a plugin that calls out waits, on a stack of its own.
//!
//! **Not in here:** tokio, an HTTP client (see [`Outgoing`]), configuration syntax,
//! what a decision leads to.
#![deny(unsafe_code)]

mod authority;
mod bindings;
mod breaker;
mod cache;
mod calls;
mod clock;
mod configuration;
mod contract;
mod deadline;
mod decision;
mod engine;
pub mod fixtures;
mod generation;
mod hooks;
mod host;
mod inspect;
mod instance;
mod interfaces;
mod journal;
mod load;
mod outgoing;
mod plugin;
mod pool;
mod population;
mod problem;
mod reads;
mod spec;
mod spent;
mod state;
mod status;
mod surroundings;
mod sys;
mod thread;
pub mod tokens;
mod witness;

pub use calls::HttpOutcome;
pub use decision::{Chain, Decision, FailureReason, Hook, PolicyFailure};
pub use generation::Generation;
pub use host::PolicyHost;
pub use inspect::{Inspection, inspect};
pub use journal::JournalStatus;
pub use outgoing::{Outgoing, SendError, Sending};
pub use problem::{Candidate, PluginProblem};
pub use spec::{HostConfig, HttpGrant, Isolation, JournalGrant, PluginSource, PluginSpec, Secrets};
pub use status::{HookStatus, InstanceStatus, PluginStatus, TenantTime};
pub use tokens::{BadKeySet, ClaimRules, KeySet};
pub use witness::{How, Refused, Witness};
