//! What a Rust author of a tidegate plugin adds: the contract's types, typed
//! configuration, and one macro that exports the hooks a plugin serves.
//!
//! ```
//! use tidegate_plugin::prelude::*;
//!
//! /// Everybody may use one shared sandbox.
//! struct Commons(Config);
//!
//! #[derive(serde::Deserialize)]
//! struct Config {
//!     tenant: String,
//! }
//!
//! impl Plugin for Commons {
//!     type Config = Config;
//!
//!     fn manifest() -> Manifest {
//!         let schema = r#"{"type": "object", "required": ["tenant"]}"#;
//!         manifest("commons", "1.0.0", "Lets everybody in.", schema)
//!     }
//!
//!     fn new(config: Config) -> Result<Self, ConfigError> {
//!         Ok(Self(config))
//!     }
//! }
//!
//! impl Authenticate for Commons {
//!     fn authenticate(&self, _: &Request) -> Result<Authenticated, Failure> {
//!         Ok(Authenticated::Authenticated(principal("guest", &self.0.tenant)))
//!     }
//! }
//!
//! tidegate_plugin::export!(Commons: authenticate);
//! # fn main() {}
//! ```
//!
//! Built for `wasm32-unknown-unknown`. On any other target it compiles too, so
//! that a plugin's own logic can be tested there; calls into the host panic.
//!
//! **Not in here:** how a component is built (`plugin-build`), anything of the host's.

#![deny(unsafe_code)]

pub mod claims;
pub mod cookies;
pub mod facts;
pub mod host;
pub mod placing;
pub mod plugin;
pub mod sign_in;
pub mod text;
pub mod worlds;

pub use serde;
pub use serde_json;

/// Everything a plugin usually needs.
pub mod prelude {
    pub use crate::facts::{Facts, Remembered};
    pub use crate::plugin::{
        Activity, Authenticate, Authenticated, CloseFrame, ConfigError, Connected, Credential,
        Destination, Direction, Egress, Event, Grant, Judged, Limit, Manifest, Meaning, Messages,
        Meter, Mount, MountMode, Mounts, Objects, Observe, Operation, Payload, Placement, Plugin,
        Principal, Protocol, Quota, Resolve, Resolved, Scope, denial, failure, manifest, principal,
    };
    pub use crate::worlds::plugin::tidegate::policy::types::{
        Denial, Failure, HeaderEdit, Identity, Request, Sandbox, Verdict,
    };
}
