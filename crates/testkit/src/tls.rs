//! Certificates for tests, made anew each time.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A certificate that signs itself, in files.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// PEM of the certificate; a client trusts it by this file.
    pub certificate: PathBuf,
    /// PEM of its key.
    pub key: PathBuf,
}

impl Certificate {
    /// Makes one for `names` (host names or addresses) in `directory`.
    ///
    /// # Errors
    /// A name that is none, or the system's when writing.
    pub fn make(directory: &Path, names: &[&str]) -> io::Result<Self> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).map_err(io::Error::other)?;
        let certificate = directory.join("certificate.pem");
        let key = directory.join("key.pem");
        std::fs::write(&certificate, made.cert.pem())?;
        std::fs::write(&key, made.signing_key.serialize_pem())?;
        Ok(Self { certificate, key })
    }
}

/// Connects to `address`, trusting `certificate` alone; speaks HTTP/1.1.
///
/// # Errors
/// The system's, or what TLS found wrong.
pub async fn connect(
    address: SocketAddr,
    name: &str,
    certificate: &Certificate,
) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    let trusted =
        CertificateDer::from_pem_file(&certificate.certificate).map_err(io::Error::other)?;
    roots.add(trusted).map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}
