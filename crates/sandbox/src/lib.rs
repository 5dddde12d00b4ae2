//! Sandboxes as the gateway sees them: which exist, in what state, who may come in.
//!
//! Called by the request path (find or create, admit), by the control API (wake,
//! sleep, stop, destroy, list) and by nobody else.
//!
//! | file | idea |
//! |---|---|
//! | `driver.rs` | the trait that makes sandboxes real |
//!
//! **Not in here:** Linux, HTTP, policy, configuration syntax.
#![forbid(unsafe_code)]

pub mod driver;

pub use driver::{Driver, DriverError};
