//! Requests that two parsers could read differently: none reaches the sandbox.

use tidegate_testkit::http::EchoServer;
use tidegate_testkit::http_raw::RawClient;

use crate::harness::Gateway;

/// What must come of a row.
enum Expect {
    /// This status and the end of the connection; the server saw nothing.
    Refused(u16),
    /// The server saw exactly these targets.
    Passed(&'static [&'static str]),
    /// The server saw these, then the client got this status and the end.
    PassedThenRefused(&'static [&'static str], u16),
}
use Expect::{Passed, PassedThenRefused, Refused};

/// Name, bytes, expectation.
const TABLE: &[(&str, &str, Expect)] = &[
    // The framing of the body.
    (
        "two lengths that differ",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        Refused(400),
    ),
    (
        "two lengths that agree",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        Refused(400),
    ),
    (
        "a list of lengths",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc",
        Refused(400),
    ),
    (
        "a signed length",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc",
        Refused(400),
    ),
    (
        "a negative length",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -3\r\n\r\nabc",
        Refused(400),
    ),
    (
        "a hexadecimal length",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\nabc",
        Refused(400),
    ),
    ("an empty length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\nabc", Refused(400)),
    (
        "a length with a space inside",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1 3\r\n\r\nabc",
        Refused(400),
    ),
    (
        "a length that overflows",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551619\r\n\r\nabc",
        Refused(400),
    ),
    (
        "a length with a vertical tab",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\x0b3\r\n\r\nabc",
        Refused(400),
    ),
    (
        "a length with an underscore",
        "POST / HTTP/1.1\r\nHost: a\r\nContent_Length: 3\r\n\r\nabc",
        Refused(400),
    ),
    (
        "length and chunks",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "chunks and length",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "a coding before chunked",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "chunked twice in one field",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "chunked in two fields",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "chunked and identity",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "identity",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\nabc",
        Refused(400),
    ),
    (
        "an unknown coding",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "chunked in another case",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: cHuNkEd\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "chunked in quotes",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "chunked with a parameter",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "chunked after a vertical tab",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "transfer coding with an underscore",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer_Encoding: chunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "chunks in HTTP/1.0",
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "an empty transfer coding",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    // The framing of chunks.
    (
        "a chunk size in 0x form",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "a signed chunk size",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "a space before a chunk size",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n 3\r\nabc\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "a space after a chunk size",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "no chunk size",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\r\nabc\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "a chunk size that overflows",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000003\r\nabc\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "a chunk size with a bare line feed",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "a chunk that ends with a bare line feed",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "a chunk longer than its size",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "a chunk extension with a bare line feed",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;a\nbc\r\nabc\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "a chunk extension with a bare carriage return",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;a\rb\r\nabc\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "a chunk extension without a name",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;\r\nabc\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "a chunk extension with a space",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3; a=b\r\nabc\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "a chunk extension with an open quote",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;a=\"b\r\nabc\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "a trailer that frames",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n",
        Refused(400),
    ),
    (
        "a trailer that routes",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nHost: b\r\n\r\n",
        Refused(400),
    ),
    (
        "a trailer without a colon",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nGET /smuggled HTTP/1.1\r\n\r\n",
        Refused(400),
    ),
    // Lines and fields.
    ("bare line feeds", "GET / HTTP/1.1\nHost: a\n\n", Refused(400)),
    ("one bare line feed", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", Refused(400)),
    (
        "a bare carriage return in a value",
        "GET / HTTP/1.1\r\nHost: a\r\nX: b\rY: c\r\n\r\n",
        Refused(400),
    ),
    ("a double carriage return", "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", Refused(400)),
    ("a NUL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: b\0c\r\n\r\n", Refused(400)),
    ("a NUL in a name", "GET / HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n", Refused(400)),
    ("DEL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: b\x7f\r\n\r\n", Refused(400)),
    ("a folded field", "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", Refused(400)),
    ("a first field that begins with a space", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", Refused(400)),
    (
        "a folded transfer coding",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "a space before the colon",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "a tab before the colon",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length\t: 3\r\n\r\nabc",
        Refused(400),
    ),
    ("a field without a colon", "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", Refused(400)),
    ("a field without a name", "GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n", Refused(400)),
    ("a name with a space", "GET / HTTP/1.1\r\nHost: a\r\nX Y: x\r\n\r\n", Refused(400)),
    ("a name beyond ASCII", "GET / HTTP/1.1\r\nHost: a\r\nX\u{e9}: x\r\n\r\n", Refused(400)),
    // The host.
    ("no host", "GET / HTTP/1.1\r\nX: a\r\n\r\n", Refused(400)),
    ("two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", Refused(400)),
    ("the same host twice", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", Refused(400)),
    ("an empty host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", Refused(400)),
    ("a list of hosts", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", Refused(400)),
    ("a host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Refused(400)),
    ("a host with a user", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", Refused(400)),
    ("a host with a bad port", "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", Refused(400)),
    ("a target that names another host", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    // The request line.
    ("no version", "GET /\r\nHost: a\r\n\r\n", Refused(400)),
    ("two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    ("a tab for a space", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    ("a space after the version", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", Refused(400)),
    ("a fourth word", "GET / HTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    ("a version in lower case", "GET / http/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    ("a version with more digits", "GET / HTTP/1.10\r\nHost: a\r\n\r\n", Refused(400)),
    ("HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", Refused(505)),
    ("HTTP/2 in words", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", Refused(505)),
    ("a method that is no token", "GE(T / HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    ("no method", " / HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    ("two empty lines first", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    ("a fragment", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    ("a broken escape", "GET /%2 HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    ("a backslash", "GET /a\\..\\b HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    ("a target that is no path", "GET a HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    ("an asterisk with GET", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    ("an asterisk with OPTIONS", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    ("CONNECT", "CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n", Refused(405)),
    ("TRACE", "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", Refused(405)),
    ("another scheme", "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    ("TLS where none is served", "\x16\x03\x01\x02\x00\x01\n", Refused(400)),
    // What is in order.
    ("a plain request", "GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", Passed(&["/1"])),
    (
        "an absolute target that names the same host",
        "GET http://A/1?q HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        Passed(&["/1?q"]),
    ),
    (
        "one empty line first",
        "\r\nGET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        Passed(&["/1"]),
    ),
    ("HTTP/1.0", "GET /1 HTTP/1.0\r\nHost: a\r\n\r\n", Passed(&["/1"])),
    (
        "dot segments",
        "GET /a/../b/%2e%2e/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        Passed(&["/1"]),
    ),
    (
        "chunks with an extension",
        "POST /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3;a=b;c;d=\"e;f\"\r\nabc\r\n0\r\nX-T: 1\r\n\r\n",
        Passed(&["/1"]),
    ),
    (
        "three in a row",
        "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        Passed(&["/1", "/2", "/3"]),
    ),
    (
        "a request within a body",
        "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\nConnection: close\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: evil.x\r\n\r\n",
        Passed(&["/1"]),
    ),
    (
        "h2c is not passed on",
        "GET /1 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
        Passed(&["/1"]),
    ),
    (
        "a bad one after a good one",
        "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        PassedThenRefused(&["/1"], 400),
    ),
    (
        "a bad one after a body",
        "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcX\r\n\r\n",
        PassedThenRefused(&["/1"], 400),
    ),
    (
        "a body longer than its length",
        "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcdef\r\n\r\n",
        PassedThenRefused(&["/1"], 400),
    ),
    (
        "a bad one after an upgrade that was none",
        "GET /1 HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nGET /2 HTTP/1.1\r\n\r\n",
        PassedThenRefused(&["/1"], 400),
    ),
];

#[derive(Clone, Copy)]
enum Pace {
    AtOnce,
    ByteByByte,
}

/// Says what went otherwise than expected.
async fn check(name: &str, bytes: &str, expect: &Expect, pace: Pace) -> Option<String> {
    let server = EchoServer::start().await;
    let gateway = Gateway::start(server.address).await;
    let mut client = RawClient::connect(gateway.address).await.unwrap();
    match pace {
        Pace::AtOnce => client.send(bytes).await.unwrap(),
        Pace::ByteByByte => client.send_slowly(bytes).await,
    }
    let answer = client.rest().await.unwrap_or_else(|error| panic!("{name}: {error}"));
    let statuses: Vec<&str> = answer
        .split("HTTP/1.1 ")
        .flat_map(|piece| piece.split("HTTP/1.0 "))
        .skip(1)
        .map(|rest| rest.get(..3).unwrap_or_default())
        .collect();
    let (targets, refused): (&[&str], Option<u16>) = match expect {
        Refused(status) => (&[], Some(*status)),
        Passed(targets) => (targets, None),
        PassedThenRefused(targets, status) => (targets, Some(*status)),
    };
    let seen: Vec<String> = server.seen().into_iter().map(|seen| seen.target).collect();
    // Byte by byte, a head is out before its body is known to be bad: the
    // application may then see a head whose body breaks off, but never a second
    // request, and the client is refused all the same.
    let broke_off = matches!((pace, expect), (Pace::ByteByByte, Refused(_))) && seen == ["/"];
    let mut expected: Vec<String> = targets.iter().map(|_| "200".to_owned()).collect();
    expected.extend(refused.map(|status| status.to_string()));
    let as_expected = (broke_off || seen == targets) && statuses == expected;
    (!as_expected).then(|| format!("{name}: the server saw {seen:?}, the client got {answer}"))
}

async fn check_table(pace: Pace) {
    let mut failures = Vec::new();
    for (name, bytes, expect) in TABLE {
        failures.extend(check(name, bytes, expect, pace).await);
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[tokio::test]
async fn only_requests_with_one_interpretation_reach_the_sandbox() {
    assert!(TABLE.len() >= 50);
    check_table(Pace::AtOnce).await;
}

#[tokio::test]
async fn how_the_bytes_are_cut_changes_nothing() {
    check_table(Pace::ByteByByte).await;
}

#[tokio::test]
async fn heads_that_are_too_large_are_refused_with_the_status_that_says_so() {
    let long = "x".repeat(70_000);
    let many: String = (0..200).map(|n| format!("X-{n}: y\r\n")).collect();
    let fields: String = (0..50).map(|n| format!("X-{n}: {}\r\n", "y".repeat(2000))).collect();
    for (name, bytes, status) in [
        ("target", format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), 414),
        ("one field", format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"), 431),
        ("number of fields", format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"), 431),
        ("all fields", format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"), 431),
        ("endless line", long.clone(), 414),
    ] {
        assert_eq!(check(name, &bytes, &Refused(status), Pace::AtOnce).await, None);
    }
}

#[tokio::test]
async fn a_refusal_is_a_problem_that_says_what_was_wrong() {
    let server = EchoServer::start().await;
    let gateway = Gateway::start(server.address).await;
    let mut client = RawClient::connect(gateway.address).await.unwrap();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").await.unwrap();
    let answer = client.rest().await.unwrap();
    assert!(answer.contains("application/problem+json"), "{answer}");
    assert!(answer.contains("\"code\":\"host\""), "{answer}");
    assert!(answer.to_ascii_lowercase().contains("connection: close"), "{answer}");
    assert_eq!(gateway.meters.refused_heads.get(), 1);
}
