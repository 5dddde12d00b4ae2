//! Where plugins come from: files, `https` URLs and OCI registries, as verified
//! bytes.
//!
//! The binary asks a [`Fetcher`] for each plugin at start and at every reload, and
//! now and then where a tag points.
//!
//! | file | idea |
//! |---|---|
//! | `wanted.rs` | what is asked for: a source, and what the component must be |
//! | `fetcher.rs` | from there to verified bytes: copies, retries, checks |
//! | `file.rs`, `https.rs`, `registry.rs` | one kind of source each |
//! | `signature.rs` | keys, signing, verifying |
//! | `store.rs` | copies of what was fetched, and what tags meant last |
//! | `error.rs` | why a component can't be had, and what to do |
//!
//! INVARIANT: bytes that leave this crate have the digest and the signature that
//! were asked for, whether they come from afar or from the copies.
//!
//! **Not in here:** what is in a component (the policy host's affair), when to ask
//! again, configuration syntax.
#![forbid(unsafe_code)]

mod error;
mod fetcher;
mod file;
mod https;
mod registry;
pub mod signature;
mod store;
mod wanted;

pub use error::{Reason, SourceError};
pub use fetcher::{Ask, Fetched, Fetcher, FetcherConfig, Unusable};
pub use file::{Unreadable, read_bounded, read_signature};
pub use signature::{BadKey, SigningKey, VerifyKey};
pub use wanted::{Credentials, Source, Wanted};

/// Larger components are somebody's mistake.
pub const MAX_COMPONENT: usize = 256 << 20;
