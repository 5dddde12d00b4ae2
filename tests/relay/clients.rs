//! Real clients through the relay. Each is skipped by name where it is not installed.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tidegate_testkit::http::EchoServer;
use tidegate_testkit::tls::Certificate;
use tokio::process::Command;

use crate::harness::{Gateway, Options};

/// Runs `program`; `None`, with a line that says so, where it does not exist.
async fn run(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await;
    let output = match output {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("skipped: `{program}` is not installed");
            return None;
        }
        Err(error) => panic!("{program}: {error}"),
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}\n{text}\n{errors}",
        output.status
    );
    Some(text)
}

struct Stage {
    server: EchoServer,
    plain: Gateway,
    encrypted: Gateway,
    certificate: Certificate,
    directory: tempfile::TempDir,
}

async fn stage() -> Stage {
    let directory = tempfile::tempdir().unwrap();
    let certificate = Certificate::make(directory.path(), &["localhost"]).unwrap();
    let server = EchoServer::start().await;
    let plain = Gateway::start(server.address).await;
    let options = Options { tls: Some(certificate.clone()), ..Options::default() };
    let encrypted = Gateway::with(server.address, options).await;
    Stage { server, plain, encrypted, certificate, directory }
}

impl Stage {
    fn url(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.plain.address.port())
    }

    fn secure_url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.encrypted.address.port())
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are text")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_over_http_1_and_2_in_clear_and_encrypted() {
    let stage = stage().await;
    let upload = stage.directory.path().join("upload");
    std::fs::write(&upload, vec![b'u'; 3 << 20]).unwrap();
    let trust = text(&stage.certificate.certificate);
    for (how, version) in [
        (vec!["--http1.1"], "1.1"),
        (vec!["--http1.0"], "1"),
        (vec!["--http2-prior-knowledge"], "2"),
        (vec!["--cacert", trust], "2"),
        (vec!["--cacert", trust, "--http1.1"], "1.1"),
    ] {
        let secure = how.contains(&"--cacert");
        let url = |path: &str| if secure { stage.secure_url(path) } else { stage.url(path) };
        let mut common = vec!["-sS", "--fail", "--max-time", "60", "-o", "-"];
        common.extend(&how);
        let format = ["-w", "\n%{http_version} %{http_code} %{size_download}"];
        let download = url("/bytes/3000000");
        let arguments = [&common[..], &format, &[&download]].concat();
        let Some(got) = run("curl", &arguments).await else { return };
        assert!(
            got.ends_with(&format!("{version} 200 3000000")),
            "{how:?}: {}",
            &got[got.len() - 40..]
        );
        let body = format!("@{}", text(&upload));
        let echo = url("/echo");
        let arguments = [
            &common[..],
            &["--data-binary", &body, "-H", "Expect: 100-continue"],
            &format,
            &[&echo],
        ]
        .concat();
        let got = run("curl", &arguments).await.unwrap();
        assert!(got.ends_with(&format!("{version} 200 {}", 3 << 20)), "{how:?}");
    }
    let head = run("curl", &["-sSI", &stage.url("/bytes/77")]).await.unwrap();
    assert!(head.contains("content-length: 77"), "{head}");
    assert!(!stage.server.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_fetch_streams_up_and_down() {
    let stage = stage().await;
    let script = r#"
        const base = process.argv[1];
        const sizes = [];
        for (let i = 0; i < 20; i++) {
            const answer = await fetch(base + "/bytes/100000");
            sizes.push((await answer.arrayBuffer()).byteLength);
        }
        if (!sizes.every(n => n === 100000)) throw new Error("downloads: " + sizes);
        const parts = ["one ", "two ", "three"];
        const body = new ReadableStream({
            pull(c) { const p = parts.shift(); p ? c.enqueue(new TextEncoder().encode(p)) : c.close(); },
        });
        const echoed = await fetch(base + "/echo", { method: "POST", body, duplex: "half" });
        const text = await echoed.text();
        if (text !== "one two three") throw new Error("echo: " + text);
        const many = await Promise.all(Array.from({ length: 50 }, () => fetch(base + "/chunks/10/1000").then(a => a.text())));
        if (!many.every(t => t.length === 10000)) throw new Error("chunks");
        console.log("well");
    "#;
    let base = stage.url("");
    let arguments = ["--input-type=module", "-e", script, &base];
    let Some(got) = run("node", &arguments).await else { return };
    assert_eq!(got.trim(), "well");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_http_client_keeps_its_connection() {
    let stage = stage().await;
    let script = r#"
import http.client, sys
c = http.client.HTTPConnection("localhost", int(sys.argv[1]), timeout=60)
for i in range(20):
    c.request("POST", "/echo", body=(b"x" * 1000 for _ in range(10)), encode_chunked=True,
              headers={"Transfer-Encoding": "chunked"})
    a = c.getresponse()
    assert a.status == 200 and len(a.read()) == 10000
    c.request("HEAD", "/bytes/5")
    a = c.getresponse()
    assert a.getheader("content-length") == "5" and a.read() == b""
    c.request("GET", "/status/304")
    a = c.getresponse()
    assert a.status == 304 and a.read() == b""
print("well")
"#;
    let port = stage.plain.address.port().to_string();
    let Some(got) = run("python3", &["-c", script, &port]).await else { return };
    assert_eq!(got.trim(), "well");
    assert_eq!(stage.plain.meters.connections.get(), 1);
}

/// The folder of the pinned httpx and what it needs, fetched once; `None`, with a
/// line that says so, where it cannot be had.
async fn httpx() -> Option<PathBuf> {
    let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache");
    let folder = cache.join("httpx-0.28.1");
    if folder.exists() {
        return Some(folder);
    }
    std::fs::create_dir_all(&cache).unwrap();
    let fetched = tempfile::tempdir_in(&cache).unwrap();
    let target = fetched.path().to_str().unwrap();
    let pip = ["-m", "pip", "install", "--quiet", "--target", target, "httpx[http2]==0.28.1"];
    let installed = Command::new("python3").args(pip).stdin(Stdio::null()).output().await;
    if !installed.is_ok_and(|output| output.status.success()) {
        println!(
            "skipped: httpx cannot be installed: Python 3 with pip and its registry are needed"
        );
        return None;
    }
    // Another copy of this test may have been quicker; then that one is used.
    let _ = std::fs::rename(fetched.path(), &folder);
    Some(folder)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_httpx_speaks_both_versions() {
    let Some(folder) = httpx().await else { return };
    let stage = stage().await;
    let script = r#"
import sys
sys.path.insert(0, sys.argv[1])
import httpx, ssl
trust = ssl.create_default_context(cafile=sys.argv[4])
with httpx.Client(base_url=sys.argv[2], timeout=60) as plain:
    for i in range(20):
        a = plain.post("/echo", content=(b"x" * 1000 for _ in range(10)))
        assert a.status_code == 200 and len(a.content) == 10000 and a.http_version == "HTTP/1.1"
    assert plain.get("/status/304").status_code == 304
with httpx.Client(base_url=sys.argv[3], timeout=60, http2=True, verify=trust) as encrypted:
    with encrypted.stream("GET", "/chunks/10/1000") as a:
        assert a.http_version == "HTTP/2", a.http_version
        assert sum(len(c) for c in a.iter_bytes()) == 10000
    assert encrypted.post("/echo", content=b"y" * 100000).content == b"y" * 100000
print("well")
"#;
    let folder = folder.to_str().unwrap();
    let trust = stage.certificate.certificate.to_str().unwrap();
    let (plain, encrypted) = (stage.url(""), stage.secure_url(""));
    let arguments = ["-c", script, folder, &plain, &encrypted, trust];
    let Some(got) = run("python3", &arguments).await else { return };
    assert_eq!(got.trim(), "well");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h2load_loses_no_request() {
    let stage = stage().await;
    for (url, how) in [
        (stage.url("/bytes/1000"), &["--h1"][..]),
        (stage.url("/bytes/1000"), &["-m", "10"]),
        (stage.secure_url("/bytes/1000"), &["-m", "10"]),
    ] {
        let arguments = [&["-n", "2000", "-c", "16"][..], how, &[&url]].concat();
        let Some(got) = run("h2load", &arguments).await else { return };
        assert!(got.contains("2000 succeeded, 0 failed, 0 errored"), "{url} {how:?}: {got}");
    }
}
