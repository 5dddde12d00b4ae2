//! The nouns that every crate of tidegate shares: names, identities, placements,
//! refusals, secrets and the meters of what happened.
//!
//! Everyone may depend on this crate; it depends on no other of ours.
//!
//! **Not in here:** I/O, async, configuration syntax, decisions.
#![forbid(unsafe_code)]

pub mod fault;
pub mod headers;
pub mod identity;
pub mod meter;
pub mod name;
pub mod placement;
pub mod refusal;
pub mod request;
pub mod secret;
pub mod template;

pub use fault::{Retry, Source};
pub use headers::HeaderEdit;
pub use identity::{Credential, Identity, Principal};
pub use name::{
    BadName, DecisionId, Incarnation, PluginName, SandboxKey, SandboxName, SubjectId, TemplateName,
    TenantId, UpstreamName,
};
pub use placement::{Lifetime, Placement, RelayMode, WhenAsleep};
pub use refusal::Denial;
pub use request::RequestFacts;
pub use secret::{Secret, SecretName};
pub use template::{ClientAddress, Limits, Ready, Root, Template};
