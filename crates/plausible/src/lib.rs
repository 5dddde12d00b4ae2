//! What of a plugin's answer is believed, field by field.
//!
//! Plugins are not trusted: what they answer was made from requests, by code that
//! may be wrong or hostile. Each function here takes one part of an answer as plain
//! text and numbers and gives back a value of [`tidegate_types`] that the rest of the
//! gateway may rely on, or says which field is [`Implausible`] and why. Called by the
//! hooks of the policy host, once per answer; and by fuzzers, which is why it knows
//! no WASM engine and builds in seconds.
//!
//! | file | what is believed |
//! |---|---|
//! | `who.rs` | `principal`: subject, tenant, claims, expiry, places of credentials |
//! | `place.rs` | `placement`: sandbox, template, port, lifetime, environment, labels, path |
//! | `refusal.rs` | `denial` |
//! | `fields.rs` | edits of header fields, and which fields nobody but the relay edits |
//! | `limits.rs` | `limits` |
//! | `mounts.rs` | `mounts` |
//! | `messages.rs` | what becomes of a WebSocket message |
//!
//! **Not in here:** the contract's own types, WASM, what follows from an answer.
#![forbid(unsafe_code)]

mod fields;
mod implausible;
mod limits;
mod messages;
mod mounts;
mod place;
mod refusal;
mod who;

pub use fields::{Change, Direction, MAX_EDITS, MAX_FIELD_BYTES, MAX_VALUE, edits, field_name};
pub use implausible::Implausible;
pub use limits::{MAX_LIMITS, MAX_PER, limit, number_of_limits};
pub use messages::{MAX_REASON, close, replacement};
pub use mounts::{MAX_MOUNTS, MAX_PREFIX, apart, mount};
pub use place::{
    MAX_ENVIRONMENT, MAX_LABELS, MAX_PATH, MAX_SLEEP_AFTER, MAX_VARIABLES, environment, labels,
    path, port, sandbox, sleep_after, template,
};
pub use refusal::{MAX_CODE, MAX_MESSAGE, denial};
pub use who::{
    MAX_CLAIM, MAX_CLAIMS, MAX_PLACES, claims, cookie, expiry, number_of_places, query_param,
    subject, tenant,
};
