//! Connections to upstreams.
//!
//! Each sandbox has its own pool. Sharing one would save handshakes and make a
//! confused upstream's answer to one tenant another tenant's.

use std::time::Duration;

use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tidegate_outgoing::Connector;

use crate::body::Passing;
use crate::forward::Sent;

/// A pool of one sandbox's connections.
pub(crate) type Pool = Client<Connector, Passing<Sent>>;

/// An idle connection is kept for this long: less than servers commonly do, so
/// that ours is seldom the one found closed.
const KEPT: Duration = Duration::from_secs(15);
/// Idle connections per upstream.
const KEPT_PER_UPSTREAM: usize = 4;

/// A pool for one sandbox.
pub(crate) fn pool(connector: &Connector) -> Pool {
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(KEPT)
        .pool_max_idle_per_host(KEPT_PER_UPSTREAM)
        .build(connector.clone())
}
