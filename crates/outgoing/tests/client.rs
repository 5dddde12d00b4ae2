//! The client against real servers on loopback.
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "tests")]

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use rustls_pki_types::PrivateKeyDer;
use tidegate_outgoing::{Client, ClientConfig, SendError};
use tidegate_testkit::http::EchoServer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const PATIENCE: Duration = Duration::from_secs(30);

fn client() -> Client {
    Client::new(&ClientConfig::default()).expect("a client")
}

fn get(url: String) -> Request<Bytes> {
    Request::get(url).body(Bytes::new()).expect("a request")
}

#[tokio::test]
async fn requests_one_after_another_share_a_connection_and_say_who_asks() {
    let server = EchoServer::start().await;
    let client = client();
    for _ in 0..3 {
        let request = get(format!("http://{}/seen", server.address));
        let answer = client.send(request, PATIENCE, 10_000).await.expect("an answer");
        assert_eq!(answer.status(), 200);
    }
    assert_eq!(server.connections(), 1);
    let agent = server.seen()[0].header("user-agent").unwrap().to_owned();
    assert!(agent.starts_with("tidegate/"), "{agent}");
}

#[tokio::test]
async fn a_body_is_sent_and_its_answer_is_whole() {
    let server = EchoServer::start().await;
    let body = Bytes::from(vec![7; 300_000]);
    let request = Request::post(format!("http://{}/echo", server.address)).body(body.clone());
    let answer = client().send(request.unwrap(), PATIENCE, 300_000).await.expect("an answer");
    assert_eq!(answer.body(), &body);
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_refused_whether_or_not_it_says_how_long_it_is() {
    let server = EchoServer::start().await;
    for path in ["bytes/1001", "chunks/11/100"] {
        let request = get(format!("http://{}/{path}", server.address));
        let refused = client().send(request, PATIENCE, 1000).await.unwrap_err();
        assert_eq!(refused, SendError::TooLarge(1000), "{path}");
    }
    let request = get(format!("http://{}/chunks/10/100", server.address));
    let answer = client().send(request, PATIENCE, 1000).await.expect("exactly as long as allowed");
    assert_eq!(answer.body().len(), 1000);
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up_and_its_connection_closed() {
    let server = EchoServer::start().await;
    let within = Duration::from_millis(50);
    let request = get(format!("http://{}/hold", server.address));
    let refused = client().send(request, within, 1000).await.unwrap_err();
    assert_eq!(refused, SendError::TimedOut(within));
    server.abandoned(1).await;
}

#[tokio::test]
async fn a_redirect_is_an_answer() {
    let server = EchoServer::start().await;
    let request = get(format!("http://{}/status/302", server.address));
    assert_eq!(client().send(request, PATIENCE, 10).await.expect("an answer").status(), 302);
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn what_went_wrong_comes_with_what_to_do() {
    let server = EchoServer::start().await;
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (secure, _) = https().await;
    for (url, expected) in [
        (format!("http://{}/reset", server.address), "127.0.0.1: "),
        (format!("http://{unused}/"), "nothing listens there"),
        ("http://no-such-host.invalid/".into(), "check its spelling"),
        (format!("https://localhost:{}/", secure.port()), "server.extra-roots"),
        (format!("https://{}/", server.address), "doesn't speak TLS"),
    ] {
        match client().send(get(url.clone()), PATIENCE, 10).await {
            Err(SendError::Unreachable(why)) => assert!(why.contains(expected), "{url}: {why}"),
            other => panic!("{url}: {other:?}"),
        }
    }
    for url in ["ftp://example.org/", "/relative"] {
        let refused = client().send(get(url.into()), PATIENCE, 10).await;
        assert_eq!(refused.unwrap_err(), SendError::NotAllowed(url.into()));
    }
}

#[tokio::test]
async fn a_local_authority_counts_once_it_is_named() {
    let (address, pem) = https().await;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(pem.as_bytes()).unwrap();
    let config =
        ClientConfig { extra_roots: vec![file.path().to_owned()], ..ClientConfig::default() };
    let client = Client::new(&config).expect("a client");
    let request = get(format!("https://localhost:{}/", address.port()));
    let answer = client.send(request, PATIENCE, 10).await.expect("an answer");
    assert_eq!(answer.body(), "ok");
}

#[test]
fn a_file_without_certificates_is_named() {
    let empty = tempfile::NamedTempFile::new().unwrap();
    for path in [empty.path().to_owned(), PathBuf::from("/no/such.pem")] {
        let config = ClientConfig { extra_roots: vec![path.clone()], ..ClientConfig::default() };
        let problem = Client::new(&config).expect_err("refused").to_string();
        assert!(problem.contains(path.to_str().unwrap()), "{problem}");
    }
}

/// A server with a certificate of its own for `localhost`, which it returns.
async fn https() -> (SocketAddr, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let tls = tokio_rustls::rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // Ends with the test's runtime.
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
            let _ = stream.flush().await;
        }
    });
    (address, made.cert.pem())
}
