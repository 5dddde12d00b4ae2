//! Sandboxes from Linux itself: namespaces, cgroups and descriptors, no daemon.
//!
//! Called by `tidegate` when it puts the gateway together, and from then on only
//! through [`tidegate_sandbox::Driver`].
//!
//! **Not in here:** who may use a sandbox and when it sleeps (`tidegate-sandbox`),
//! what runs inside the namespaces (`tidegate-keeper`), `unsafe` (likewise).
#![forbid(unsafe_code)]

mod config;
mod driver;
mod probe;

pub use config::{Config, OpenError};
pub use driver::LinuxDriver;
pub use probe::{Finding, Probe};
