//! The same over TLS: cookies get the names that no sibling can plant.

use tidegate_testkit::gateway::{Gateway, Setup};
use tidegate_testkit::tls::{Certificate, connect};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// One request as Alice's browser would send it; the answer as text.
async fn ask(gateway: &Gateway, certificate: &Certificate, path: &str, cookie: &str) -> String {
    let stream = connect(gateway.address(), "alice.localhost", certificate).await;
    let mut stream = stream.expect("TLS is spoken");
    let host = gateway.host("alice");
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {host}\r\naccept: text/html\r\ncookie: {cookie}\r\n\
         connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("it is sent");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn under_tls_the_cookie_is_secure_and_host_only_and_no_other_name_counts() {
    let directory = tempfile::tempdir().expect("a directory");
    let certificate =
        Certificate::make(directory.path(), &["alice.localhost"]).expect("a certificate");
    let tls = format!(
        "[server]\ntls = {{ certificate = {:?}, key = {:?} }}\n",
        certificate.certificate.display().to_string(),
        certificate.key.display().to_string(),
    );
    let gateway = Gateway::start(Setup::hello().replacing("[server]\n", &tls)).await;
    let token = gateway.token("alice");

    let answer = ask(&gateway, &certificate, &format!("/?token={token}"), "a=b").await;
    assert!(answer.starts_with("HTTP/1.1 303"), "{answer}");
    let cookie = answer
        .lines()
        .find_map(|line| line.strip_prefix("set-cookie: "))
        .unwrap_or_else(|| panic!("no cookie: {answer}"));
    assert!(cookie.starts_with("__Host-tidegate="), "{cookie}");
    assert!(cookie.contains("Secure"), "{cookie}");
    assert!(!cookie.contains("Domain"), "{cookie}");

    let pair = cookie.split(';').next().expect("a cookie has a name and a value");
    let answer = ask(&gateway, &certificate, "/api/request", pair).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(!answer.contains(token), "the credential stays outside: {answer}");
    assert!(answer.contains("https"), "the application learns that it is encrypted: {answer}");

    // A sibling can plant this one, so it says nothing.
    let answer = ask(&gateway, &certificate, "/api/whoami", &format!("tidegate={token}")).await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
}
