//! The control API: what an operator sees of a running gateway and may do to it,
//! on a listener of its own.
//!
//! | file | idea |
//! |---|---|
//! | [`gateway`] | what the API asks of the gateway; the binary implements it |
//! | [`view`] | what is shown: the API's JSON |
//! | [`error`] | why something was not done, and the RFC 9457 answer to each |
//! | [`access`] | the token, and which requests are answered at all |
//! | [`beacon`] | how a client on the same machine finds the API |
//! | `server` | its listener: connections are bounded in number and patience |
//! | `routes/` | the API itself |
//! | [`metrics`] | the table of metrics and their Prometheus text |
//!
//! **Not in here:** any decision about sandboxes; tenants' requests never come here.
#![forbid(unsafe_code)]

pub mod access;
pub mod beacon;
pub mod error;
pub mod gateway;
pub mod metrics;
mod routes;
mod server;
pub mod view;

pub use access::{Access, OpenMetrics, Token};
pub use beacon::Beacon;
pub use error::{ControlError, Problem};
pub use gateway::{Gateway, Readiness};
pub use metrics::Exposition;
pub use server::serve;
pub use view::{
    About, AwakeView, CandidateView, CauseView, HookView, PluginView, SandboxView, TenantTimeView,
    UsageView,
};
