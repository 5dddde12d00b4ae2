//! The nouns that every crate of tidegate shares: names, identities, placements,
//! refusals, limits, messages, secrets and the meters of what happened.
//!
//! Everyone may depend on this crate; it depends on no other of ours.
//!
//! **Not in here:** I/O, async, configuration syntax, decisions.
#![forbid(unsafe_code)]

pub mod artifact;
pub mod authority;
pub mod component;
pub mod event;
pub mod fault;
pub mod headers;
pub mod identity;
pub mod message;
pub mod meter;
pub mod name;
pub mod outbound;
pub mod placement;
pub mod refusal;
pub mod request;
pub mod sandbox;
pub mod secret;
pub mod storage;
pub mod template;
pub mod usage;

pub use artifact::{OciReference, OciVersion, Sha256Digest};
pub use authority::{Asked, EgressAuthority, StorageAuthority, Unpermitted};
pub use event::{Event, EventKind};
pub use fault::{Retry, Source};
pub use headers::HeaderEdit;
pub use identity::{Credential, Identity, Principal};
pub use message::{Message, MessageVerdict, Way};
pub use name::{
    BadName, DecisionId, Incarnation, PluginName, SandboxKey, SandboxName, SubjectId, TemplateName,
    TenantId, UpstreamName,
};
pub use outbound::{Destination, EgressGrant, Protocol};
pub use placement::{Lifetime, Placement, RelayMode, WhenAsleep};
pub use refusal::Denial;
pub use request::RequestFacts;
pub use sandbox::{Activity, SandboxFacts};
pub use secret::{Secret, SecretName};
pub use storage::{Mount, MountMode, ObjectOperation};
pub use template::{ClientAddress, Limits, Ready, Root, Template};
pub use usage::{Limit, LimitKind, Meter, Scope};
