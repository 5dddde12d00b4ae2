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
pub mod view;

pub use access::{Access, OpenMetrics, Token};
pub use beacon::Beacon;
pub use error::{ControlError, Problem};
pub use gateway::{Gateway, Readiness};
pub use metrics::Exposition;
pub use view::{About, AwakeView, PluginView, SandboxView};

use std::io;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Serves the control API until `stop` is cancelled and open requests have
/// ended; log streams end at once.
///
/// # Errors
/// When the listener itself fails; failed connections are nobody's error.
///
/// # Cancel safety
/// Dropping it ends the listener and all open requests.
pub async fn serve(
    listener: TcpListener,
    gateway: Arc<dyn Gateway>,
    access: Access,
    stop: CancellationToken,
) -> io::Result<()> {
    let api = routes::Api { gateway, access: Arc::new(access), stop: stop.clone() };
    axum::serve(listener, routes::router(api))
        .with_graceful_shutdown(async move { stop.cancelled().await })
        .await
}
