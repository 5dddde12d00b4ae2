//! TLS towards clients.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds no PEM of that kind.
    #[error("`{}` holds no {expected} in PEM form", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What should have been in it.
        expected: &'static str,
        /// The reason.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// Key and certificate do not fit, or are of an unsupported kind.
    #[error("the certificate in `{}` cannot be used", path.display())]
    Unusable {
        /// The certificate's file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: rustls::Error,
    },
}

/// TLS 1.2 and 1.3 with the chain in `certificates` and the key in `key`, both
/// PEM; offers HTTP/2 and HTTP/1.1 by ALPN. Reads the files, so it blocks.
///
/// # Errors
/// A file that holds not what it should, or a key that is not the certificate's.
pub fn server_tls(certificates: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let pem = |path: &Path, expected| {
        let path = path.to_owned();
        move |source| TlsError::Pem { path, expected, source }
    };
    let chain = CertificateDer::pem_file_iter(certificates)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(pem(certificates, "certificate"))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(pem(key, "private key"))?;
    let unusable = |source| TlsError::Unusable { path: certificates.to_owned(), source };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

impl From<TlsError> for io::Error {
    fn from(error: TlsError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}
