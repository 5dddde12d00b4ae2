//! The egress gate: where a sandbox's outgoing connections are decided.
//!
//! This is its first piece, *upstreams*: services that the operator named, with
//! credentials that no sandbox ever sees. A program inside calls
//! `http://NAME.upstream.internal/…`; the gate accepts that on a listener inside
//! the sandbox, adds the credentials, and passes it on. Which listener accepted a
//! connection is the proof of who made it; nothing else is reachable.
//!
//! Called by the composition (to serve each sandbox's listener) and by nobody else.
//!
//! | file | idea |
//! |---|---|
//! | `upstream.rs` | what the operator named, checked |
//! | `gate.rs` | accepting what a sandbox opens |
//! | `destination.rs` | which upstream and which path of it a request means |
//! | `fields.rs` | which header fields pass, either way |
//! | `forward.rs` | one request's way out and back |
//! | `body.rs` | streaming: counted, and never waiting for ever |
//! | `client.rs` | connections to upstreams |
//! | `problem.rs` | refusals, as problem details |
//! | `meters.rs` | what is counted |
//!
//! **Not in here:** sandboxes, DNS, anything that isn't an upstream of the configuration.
#![forbid(unsafe_code)]

mod body;
mod client;
mod destination;
mod fields;
mod forward;
pub mod gate;
pub mod meters;
mod problem;
pub mod upstream;

pub use gate::{GateConfig, GateError, UpstreamGate};
pub use meters::UpstreamMeters;
pub use upstream::{ADDRESS, BadUpstream, DOMAIN, LISTENER, Upstream, host_name};
