//! What went wrong on the way out, and what an operator can do about it.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tidegate_types::fault::chain;

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The URL isn't an absolute `http` or `https` one.
    #[error("`{0}` is not an http or https URL")]
    NotAllowed(String),
    /// No whole answer came in time.
    #[error("no whole answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// The answer is longer than the caller takes.
    #[error("the answer has more than {0} bytes")]
    TooLarge(usize),
    /// No connection, or one that broke: what happened, and what to do.
    #[error("{0}")]
    Unreachable(String),
}

impl SendError {
    /// Stable name for metrics.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::NotAllowed(_) => "not-allowed",
            Self::TimedOut(_) => "timed-out",
            Self::TooLarge(_) => "too-large",
            Self::Unreachable(_) => "unreachable",
        }
    }
}

/// Why a trusted certificate can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file isn't there, or holds no certificate.
    #[error("`{}` holds no certificates in PEM form", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// The file is there and is empty of certificates.
    #[error("`{}` holds no certificate", .0.display())]
    Empty(PathBuf),
    /// It isn't a certificate that anything can be signed with.
    #[error("a trusted certificate cannot be used")]
    Unusable(#[from] rustls::Error),
}

/// An error of a connection, as one line that ends with what to do.
pub(crate) fn explain(host: &str, error: &(dyn Error + 'static)) -> String {
    let what = chain(error);
    match remedy(error) {
        Some(remedy) => format!("{host}: {what}; {remedy}"),
        None => format!("{host}: {what}"),
    }
}

fn remedy(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let mut at = Some(error);
    while let Some(error) = at {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(of_tls(tls));
        }
        if let Some(io) = error.downcast_ref::<io::Error>() {
            // A TLS error travels inside an io::Error, which doesn't name it as its source.
            if let Some(inner) = io.get_ref() {
                if let Some(tls) = inner.downcast_ref::<rustls::Error>() {
                    return Some(of_tls(tls));
                }
                if let Some(found) = remedy(inner) {
                    return Some(found);
                }
            }
            match io.kind() {
                io::ErrorKind::ConnectionRefused => {
                    return Some("nothing listens there: check host and port");
                }
                io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
                    return Some("this machine has no way there: check its network");
                }
                io::ErrorKind::TimedOut => {
                    return Some("check that a firewall lets the gateway out");
                }
                _ => {}
            }
        }
        // hyper-util doesn't export the type of this one.
        if error.to_string().starts_with("dns error") {
            return Some("its name can't be resolved: check its spelling and this machine's DNS");
        }
        at = error.source();
    }
    None
}

fn of_tls(error: &rustls::Error) -> &'static str {
    use rustls::CertificateError as C;
    match error {
        rustls::Error::InvalidCertificate(C::UnknownIssuer) => {
            "no known authority signed its certificate: name the file of its authority's \
             certificate in `server.extra-roots`"
        }
        rustls::Error::InvalidCertificate(
            C::NotValidForName | C::NotValidForNameContext { .. },
        ) => "its certificate is another host's: check the URL",
        rustls::Error::InvalidCertificate(C::Expired | C::ExpiredContext { .. }) => {
            "its certificate has expired: check this machine's clock, or tell its operator"
        }
        rustls::Error::InvalidMessage(_) => "it doesn't speak TLS: is the URL's scheme right?",
        _ => "TLS failed",
    }
}
