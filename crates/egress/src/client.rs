//! Connections to upstreams.
//!
//! Each sandbox has its own pool. Sharing one would save handshakes and make a
//! confused upstream's answer to one tenant another tenant's.

use std::sync::Arc;
use std::time::Duration;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;

use crate::body::Passing;
use crate::forward::Sent;

/// A pool of one sandbox's connections.
pub(crate) type Pool = Client<HttpsConnector<HttpConnector>, Passing<Sent>>;

/// An idle connection is kept for this long: less than servers commonly do, so
/// that ours is seldom the one found closed.
const KEPT: Duration = Duration::from_secs(15);
/// Idle connections per upstream.
const KEPT_PER_UPSTREAM: usize = 4;

/// How connections are made, for all sandboxes.
pub(crate) fn connector(
    connect_timeout: Duration,
    extra_roots: &[CertificateDer<'static>],
) -> Result<HttpsConnector<HttpConnector>, rustls::Error> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for root in extra_roots {
        roots.add(root.clone())?;
    }
    // Named, so that it doesn't depend on what the process installed.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(connect_timeout));
    Ok(HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp))
}

/// A pool for one sandbox.
pub(crate) fn pool(connector: &HttpsConnector<HttpConnector>) -> Pool {
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(KEPT)
        .pool_max_idle_per_host(KEPT_PER_UPSTREAM)
        .build(connector.clone())
}
