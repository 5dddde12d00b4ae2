//! HTTP that isn't: refused, the connection closed, no sandbox woken.

use tidegate_testkit::gateway::{Gateway, Setup};

#[tokio::test]
async fn malformed_requests_are_refused_and_reach_nobody() {
    let gateway = Gateway::start(Setup::hello()).await;
    let host = gateway.host("alice");
    let token = gateway.token("alice").to_owned();
    let head = format!("host: {host}\r\nauthorization: Bearer {token}\r\n");
    let cases = [
        ("no HTTP at all", "hello\r\n\r\n".to_owned(), "400"),
        (
            "two lengths",
            format!("POST / HTTP/1.1\r\n{head}content-length: 1\r\ncontent-length: 2\r\n\r\nab"),
            "400",
        ),
        (
            "length and chunks",
            format!(
                "POST / HTTP/1.1\r\n{head}content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
            ),
            "400",
        ),
        ("no host", format!("GET / HTTP/1.1\r\nauthorization: Bearer {token}\r\n\r\n"), "400"),
        ("two hosts", format!("GET / HTTP/1.1\r\n{head}host: {host}\r\n\r\n"), "400"),
        ("a folded field", format!("GET / HTTP/1.1\r\n{head}x-a: b\r\n c\r\n\r\n"), "400"),
        ("space before a colon", format!("GET / HTTP/1.1\r\n{head}x-a : b\r\n\r\n"), "400"),
        ("a NUL in a field", format!("GET / HTTP/1.1\r\n{head}x-a: b\0c\r\n\r\n"), "400"),
        (
            "a head that is too large",
            format!("GET / HTTP/1.1\r\n{head}x-a: {}\r\n\r\n", "b".repeat(200_000)),
            "431",
        ),
    ];
    for (what, bytes, status) in cases {
        let answer = gateway.raw(bytes.as_bytes()).await;
        let line = answer.lines().next().unwrap_or_default();
        assert!(line.starts_with(&format!("HTTP/1.1 {status}")), "{what}: `{line}`");
    }
    assert!(gateway.sandboxes().await.is_empty(), "nothing was woken");
}
