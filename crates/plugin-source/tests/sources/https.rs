//! URLs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tidegate_plugin_source::{Ask, Credentials, Reason, SigningKey, Source, Wanted};
use tidegate_testkit::tls::Certificate;
use tidegate_types::{Secret, Sha256Digest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::{COMPONENT, trusting, wanted};

type Answers = HashMap<&'static str, (&'static str, Vec<u8>)>;

/// Answers paths; what was asked is noted, with its credentials.
struct Server {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(certificate: &Certificate, answers: Answers) -> Self {
        let chain = CertificateDer::from_pem_file(&certificate.certificate).expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(&certificate.key).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![chain], key)
            .expect("a configuration");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(socket).await else { continue };
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    match stream.read_u8().await {
                        Ok(byte) => head.push(byte),
                        Err(_) => break,
                    }
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let path = head.split(' ').nth(1).unwrap_or_default();
                let secret = head.lines().find_map(|it| it.strip_prefix("authorization: "));
                let line = format!("{path} {}", secret.unwrap_or("-"));
                noted.lock().expect("not poisoned").push(line);
                let nothing = ("404 Not Found", Vec::new());
                let (status, body) = answers.get(path).unwrap_or(&nothing);
                // A redirect's body is where it leads.
                let location = status
                    .starts_with("30")
                    .then(|| format!("location: {}\r\n", String::from_utf8_lossy(body)));
                let head = format!(
                    "HTTP/1.1 {status}\r\n{}content-length: {}\r\nconnection: close\r\n\r\n",
                    location.unwrap_or_default(),
                    body.len()
                );
                let _ = stream.write_all(head.as_bytes()).await;
                let _ = stream.write_all(body).await;
                let _ = stream.shutdown().await;
            }
        });
        Self { port, asked, task }
    }

    fn url(&self, path: &str) -> Source {
        Source::Https(format!("https://localhost:{}{path}", self.port).parse().expect("a URL"))
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().expect("not poisoned"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test]
async fn a_url_is_fetched_once_pinned_and_signed_and_its_copy_needs_no_server() {
    let dir = tempfile::tempdir().expect("a directory");
    let certificate = Certificate::make(dir.path(), &["localhost"]).expect("a certificate");
    let key = SigningKey::generate();
    let digest = Sha256Digest::of(COMPONENT);
    let answers = HashMap::from([
        ("/latest.wasm", ("302 Found", b"/v1/policy.wasm".to_vec())),
        ("/v1/policy.wasm", ("200 OK", COMPONENT.to_vec())),
        ("/latest.wasm.sig", ("200 OK", key.sign(&digest).into_bytes())),
    ]);
    let server = Server::start(&certificate, answers).await;
    let fetcher = trusting(dir.path(), Some(&certificate.certificate));
    let password = Secret::new("hunter2".into());
    let pinned = Wanted {
        sha256: Some(digest),
        verify_key: Some(key.verify_key()),
        credentials: Some(Credentials { username: "robot".into(), password }),
        ..wanted(server.url("/latest.wasm"))
    };
    let fetched = fetcher.fetch(&pinned, Ask::Registry).await.expect("fetched");
    assert_eq!((&*fetched.bytes, fetched.signed), (COMPONENT, true));
    let basic = base64::prelude::BASE64_STANDARD.encode("robot:hunter2");
    let paths = ["/latest.wasm", "/v1/policy.wasm", "/latest.wasm.sig"];
    assert_eq!(server.asked(), paths.map(|path| format!("{path} Basic {basic}")));

    fetcher.fetch(&pinned, Ask::Registry).await.expect("a copy");
    assert_eq!(server.asked(), [""; 0], "what is pinned can't have changed");
    let reopened = trusting(dir.path(), Some(&certificate.certificate));
    drop(server);
    assert!(reopened.fetch(&pinned, Ask::Registry).await.expect("a copy").signed);

    // Another key is not satisfied with the copy's signature, nor is there a server.
    let other = Wanted { verify_key: Some(SigningKey::generate().verify_key()), ..pinned };
    let error = reopened.fetch(&other, Ask::Registry).await.expect_err("refused");
    assert_eq!(error.reason, Reason::Unreachable, "{error}");
}

#[tokio::test]
async fn what_a_server_has_instead_is_refused_with_the_reason() {
    let dir = tempfile::tempdir().expect("a directory");
    let certificate = Certificate::make(dir.path(), &["localhost"]).expect("a certificate");
    let answers = HashMap::from([
        ("/other.wasm", ("200 OK", b"something else".to_vec())),
        ("/private.wasm", ("403 Forbidden", Vec::new())),
        ("/loop.wasm", ("302 Found", b"/loop.wasm".to_vec())),
        ("/plain.wasm", ("302 Found", b"http://localhost/p.wasm".to_vec())),
    ]);
    let server = Server::start(&certificate, answers).await;
    let fetcher = trusting(dir.path(), Some(&certificate.certificate));
    for (path, reason) in [
        ("/other.wasm", Reason::WrongDigest),
        ("/missing.wasm", Reason::NotFound),
        ("/private.wasm", Reason::Forbidden),
        ("/loop.wasm", Reason::Unusable),
        ("/plain.wasm", Reason::Unusable),
    ] {
        let sha256 = Some(Sha256Digest::of(COMPONENT));
        let wanted = Wanted { sha256, ..wanted(server.url(path)) };
        let error = fetcher.fetch(&wanted, Ask::Registry).await.expect_err("refused");
        assert_eq!(error.reason, reason, "{path}: {error}");
    }
    let unpinned = wanted(server.url("/other.wasm"));
    let error = fetcher.fetch(&unpinned, Ask::Registry).await.expect_err("refused");
    assert_eq!(error.reason, Reason::WrongDigest, "{error}");
}
