//! How connections are made, and whose certificates count.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::TrustError;

/// Makes connections: TCP, with TLS where the URL says `https`.
pub type Connector = HttpsConnector<HttpConnector>;

/// A connector that trusts the web's authorities and `extra_roots`, speaks
/// HTTP/1.1, and gives up on a TCP connection after `connect_timeout`. Its TLS
/// handshake isn't bounded by that: callers bound the whole request.
///
/// # Errors
/// An extra root that is no certificate of an authority.
pub fn connector(
    connect_timeout: Duration,
    extra_roots: &[CertificateDer<'static>],
) -> Result<Connector, TrustError> {
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

/// The certificates in these PEM files. Reads them, so it blocks.
///
/// # Errors
/// A file that can't be read or holds none.
pub fn roots(files: &[PathBuf]) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let mut all = Vec::new();
    for path in files {
        let found = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|source| TrustError::Unreadable { path: path.clone(), source })?;
        if found.is_empty() {
            return Err(TrustError::Empty(path.clone()));
        }
        all.extend(found);
    }
    Ok(all)
}
