//! Sandboxes as the gateway sees them: which exist, in what state, who may come in.
//!
//! Called by the request path (find or create, admit), by the control API (wake,
//! sleep, stop, destroy, list) and by nobody else.
//!
//! | file | idea |
//! |---|---|
//! | `registry.rs` | every sandbox, by tenant and name; operators' orders |
//! | `open.rs` | taking over what exists when the gateway starts |
//! | `sandbox.rs` | one sandbox's handle |
//! | `permit.rs` | a request's right to be in its sandbox |
//! | `cause.rs` | what woke it or kept it awake last |
//! | `word.rs` | the atomic word that lets requests in |
//! | `lifecycle/` | the actor that owns a sandbox's transitions, and their table |
//! | `slots.rs` | how many start at once, and who is next |
//! | `ledger.rs` | which sandboxes there are, durably |
//! | `services.rs` | what sandboxes share, and what they ask of the gateway |
//! | `watch.rs` | whoever wants to know how they come and go |
//! | `driver.rs` | the trait that makes sandboxes real |
//!
//! **Not in here:** Linux, HTTP servers, policy, configuration syntax.
#![forbid(unsafe_code)]

mod cause;
pub mod driver;
pub mod error;
mod ledger;
mod lifecycle;
pub mod meters;
mod open;
mod permit;
mod registry;
mod sandbox;
mod services;
mod slots;
pub mod view;
mod watch;
mod word;

pub use cause::{Cause, What};
pub use driver::{Driver, DriverError, SandboxId};
pub use error::{ControlError, OpenError, StartFailure, WakeError};
pub use ledger::LedgerError;
pub use lifecycle::Phase;
pub use meters::Meters;
pub use permit::Permit;
pub use registry::Registry;
pub use sandbox::Sandbox;
pub use services::{Companion, Fill, RegistryConfig};
pub use view::{View, WhyAwake};
pub use watch::{Change, Watch};
