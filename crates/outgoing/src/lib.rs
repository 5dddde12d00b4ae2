//! The gateway's own way out: HTTP and HTTPS to services that the operator named.
//!
//! Called by the composition, which lends a [`Client`] to whoever needs one (plugins
//! that call services, key sets and plugins that are fetched), and by the egress
//! gate, which makes connections with the same [`connector`].
//!
//! | file | idea |
//! |---|---|
//! | `client.rs` | one request, whole answer, within a time and a size |
//! | `connector.rs` | how connections are made, and whose certificates count |
//! | `error.rs` | what went wrong, and what to do about it |
//!
//! **Not in here:** who may call what (the caller has decided that), redirects (a
//! judged address must be the dialled one), decompression, proxies, secrets.
#![forbid(unsafe_code)]

mod client;
mod connector;
mod error;

pub use client::{Client, ClientConfig};
pub use connector::{Connector, connector, roots};
pub use error::{SendError, TrustError};
