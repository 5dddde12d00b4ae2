//! What a sandbox may reach outside: the upstreams of its template, without keys.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};

use tidegate_testkit::gateway::{Gateway, Setup};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const KEY: &str = "sk-test-5d8e1f0c4b7a49d2";

/// Asks for each named host at the address of the upstreams, as an application
/// would that tries to bring a key of its own.
const ASK: &str = r#"
use strict; use IO::Socket::INET;
for my $host (@ARGV) {
    my $connection = IO::Socket::INET->new(
        PeerAddr => 'model.upstream.internal', PeerPort => 80, Timeout => 20,
    ) or do { print "$host: no connection: $!\n"; next };
    print $connection "GET /v1/models?x=1 HTTP/1.1\r\nHost: $host\r\n",
        "Authorization: Bearer mine\r\nX-Kept: yes\r\nConnection: close\r\n\r\n";
    local $/;
    my $answer = <$connection>;
    $answer =~ s/\r?\n/ | /g;
    print "$host: $answer\n";
}
print "asked\n";
"#;

/// An HTTP server that keeps what it is asked.
async fn listen() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it is bound");
    let asked = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&asked);
    // Ends with the test's runtime.
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let Ok(byte) = stream.read_u8().await else { break };
                head.push(byte);
            }
            keep.lock().expect("nobody panicked").push(String::from_utf8_lossy(&head).into_owned());
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nseen";
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (address, asked)
}

#[tokio::test]
async fn an_upstream_is_reached_with_a_key_that_the_sandbox_never_sees() {
    let (address, asked) = listen().await;
    let script = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(script.path(), ASK).expect("the script is written");
    // The tenant isn't us: files that it shall see must be readable by all.
    let everyone = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(script.path(), everyone).expect("its mode is set");
    let command = r#"["/bin/sh", "-c", "perl /opt/ask.pl model.upstream.internal other.upstream.internal example.com; exec /opt/tidegate hello-app --port 3000"]"#;
    let upstreams = format!(
        "\n[upstreams.model]\nurl = \"http://{address}/base/\"\n\
         headers = {{ authorization = \"Bearer secret:MODEL_KEY\" }}\n\
         \n[upstreams.other]\nurl = \"http://{address}/other/\"\n"
    );
    let setup = Setup::hello()
        .with("command", command)
        .with("upstreams", "[\"model\"]")
        .binding(script.path(), "/opt/ask.pl")
        .with_secret("MODEL_KEY", KEY)
        .adding(&upstreams);
    let gateway = Gateway::start(setup).await;
    gateway.get("alice", "/").await;

    let output = gateway.output("alice").await;
    assert!(output.contains("model.upstream.internal: HTTP/1.1 200 OK"), "{output}");
    assert!(output.contains("seen"), "{output}");
    for refused in ["other.upstream.internal", "example.com"] {
        assert!(output.contains(&format!("{refused}: HTTP/1.1 403")), "{output}");
    }
    let asked = asked.lock().expect("nobody panicked").clone();
    let [request] = &asked[..] else { panic!("only the upstream was asked: {asked:?}") };
    let request = request.to_ascii_lowercase();
    assert!(request.starts_with("get /base/v1/models?x=1 http/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("authorization: bearer {KEY}\r\n")), "{request}");
    assert!(!request.contains("mine"), "{request}");
    assert!(request.contains("x-kept: yes"), "{request}");
    assert!(!gateway.find_inside("TIDEGATE_TEST").is_empty(), "the search finds what is there");
    assert_eq!(gateway.find_inside(KEY), Vec::<String>::new());
}
