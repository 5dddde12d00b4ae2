//! An HTTPS server with one file, which comes and goes at an address of its own.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::tls::Certificate;

/// A server that isn't there yet: its port is held, and connections are refused.
#[derive(Debug)]
pub struct Closed {
    socket: TcpSocket,
    address: SocketAddr,
}

/// A running server; ends when it is dropped.
#[derive(Debug)]
pub struct FileServer {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Closed {
    /// Holds a free loopback port.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn reserve() -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    fn at(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("an option of every socket");
        socket.bind(address).expect("the port is free");
        let address = socket.local_addr().expect("a bound socket has an address");
        Self { socket, address }
    }

    /// What `path` is called there.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    /// Begins to answer `path` with `content`, and everything else with 404.
    ///
    /// # Panics
    /// When the certificate can't be used.
    #[must_use]
    pub fn open(self, certificate: &Certificate, path: &str, content: &[u8]) -> FileServer {
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
        let listener = self.socket.listen(16).expect("a bound socket can listen");
        let serving = serve(listener, acceptor, path.to_owned(), content.to_vec());
        FileServer { address: self.address, task: tokio::spawn(serving) }
    }
}

impl FileServer {
    /// Goes away; from now on connections are refused.
    ///
    /// # Panics
    /// When somebody else took the port at this very moment.
    pub async fn close(mut self) -> Closed {
        self.task.abort();
        // Its socket is closed once it has ended, which it does as cancelled.
        let _ = (&mut self.task).await;
        Closed::at(self.address)
    }
}

impl Drop for FileServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, path: String, content: Vec<u8>) {
    while let Ok((socket, _)) = listener.accept().await {
        // Who hangs up early has no answer.
        let _ = answer(socket, &acceptor, &path, &content).await;
    }
}

async fn answer(
    socket: TcpStream,
    acceptor: &TlsAcceptor,
    path: &str,
    content: &[u8],
) -> std::io::Result<()> {
    let mut stream = acceptor.accept(socket).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head);
    let known = head.split(' ').nth(1) == Some(path);
    let (status, body) = if known { ("200 OK", content) } else { ("404 Not Found", &b""[..]) };
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    stream.shutdown().await
}
