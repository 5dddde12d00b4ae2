//! Sandboxes from Linux itself: namespaces, cgroups and descriptors, no daemon.
//!
//! Called by `tidegate` when it puts the gateway together, and from then on only
//! through [`tidegate_sandbox::Driver`].
//!
//! | file | idea |
//! |---|---|
//! | `state.rs` | what is on disk, and which users of the machine are whose |
//! | `create.rs` `start.rs` `dial.rs` `stop.rs` `destroy.rs` `adopt.rs` | one verb each |
//! | `turns.rs` | one change to a sandbox after the other, each to its end |
//! | `sandbox.rs` `link.rs` `connect.rs` | a sandbox that exists and its keeper |
//! | `compose.rs` | what a sandbox sees as its file system |
//! | `cgroup/` `disk.rs` `tree.rs` `files.rs` | limits, freezing, disks, files |
//! | `check.rs` `probe.rs` | what this machine can do |
//!
//! **Not in here:** who may use a sandbox and when it sleeps (`tidegate-sandbox`),
//! what runs inside the namespaces (`tidegate-keeper`), `unsafe` (likewise).
#![forbid(unsafe_code)]

mod adopt;
mod cgroup;
mod check;
mod compose;
mod config;
mod connect;
mod create;
mod destroy;
mod dial;
mod disk;
mod driver;
mod files;
mod link;
mod probe;
mod program;
mod recipe;
mod sandbox;
mod start;
mod state;
mod stop;
mod tree;
mod turns;

pub use config::{Config, OpenError};
pub use driver::LinuxDriver;
pub use probe::{Finding, Probe};
