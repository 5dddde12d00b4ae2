//! An OCI registry for tests: Debian's `docker-registry`, without encryption on
//! loopback.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;

use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::Full;
use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate_types::Sha256Digest;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::gateway::Answer;
use crate::gateway::client::exchange;

const PROGRAM: &str = "docker-registry";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.wasm.config.v0+json";

/// A registry of one's own; ends when it is dropped.
#[derive(Debug)]
pub struct OciRegistry {
    address: SocketAddr,
    _process: Child,
    _directory: TempDir,
}

impl OciRegistry {
    /// Starts one; `None` where the program isn't installed.
    ///
    /// # Panics
    /// When it doesn't start.
    pub async fn start() -> Option<Self> {
        let program = on_path()?;
        let directory = tempfile::tempdir().expect("a directory");
        let config = directory.path().join("config.yml");
        let data = directory.path().join("data");
        let text = format!(
            "version: 0.1\nlog:\n  level: info\n  formatter: json\nstorage:\n  filesystem:\n    \
             rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:0\n",
            data.display()
        );
        std::fs::write(&config, text).expect("its configuration is written");
        let mut process = Command::new(program)
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the registry starts");
        let mut log = BufReader::new(process.stderr.take().expect("a pipe")).lines();
        let address = loop {
            let line = log.next_line().await.expect("readable").expect("it listens");
            if let Some((_, rest)) = line.split_once("listening on ") {
                let end = rest.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | ':'));
                let address = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
                break address.parse().expect("it says where it listens");
            }
        };
        // Read on, or it stops when the pipe is full; ends with the process.
        tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
        Some(Self { address, _process: process, _directory: directory })
    }

    /// What a plugin's `source` says for `tag` of `repository`.
    #[must_use]
    pub fn source(&self, repository: &str, tag: &str) -> String {
        format!("oci://{}/{repository}:{tag}", self.address)
    }

    /// Pushes a component, and lets `tag` point to it.
    ///
    /// # Panics
    /// When the registry doesn't take it.
    pub async fn push(&self, repository: &str, tag: &str, component: &[u8]) {
        let config = self.push_blob(repository, CONFIG, b"{}").await;
        let layer = self.push_blob(repository, "application/wasm", component).await;
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer],
        });
        let path = format!("/v2/{repository}/manifests/{tag}");
        let answer = self.send(Method::PUT, &path, MANIFEST, manifest.to_string().into()).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
    }

    /// Answers its descriptor.
    async fn push_blob(&self, repository: &str, media_type: &str, content: &[u8]) -> Value {
        let begin = format!("/v2/{repository}/blobs/uploads/");
        let kind = "application/octet-stream";
        let answer = self.send(Method::POST, &begin, kind, Bytes::new()).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
        let upload: Uri = answer.header("location").parse().expect("where to send it");
        let upload = upload.path_and_query().expect("a path with its state").clone();
        let digest = format!("sha256:{}", Sha256Digest::of(content));
        let path = format!("{upload}&digest={digest}");
        let answer = self.send(Method::PUT, &path, kind, Bytes::copy_from_slice(content)).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
        json!({ "mediaType": media_type, "digest": digest, "size": content.len() })
    }

    async fn send(&self, method: Method, path: &str, kind: &str, body: Bytes) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.address.to_string())
            .header(header::CONTENT_TYPE, kind)
            .body(Full::new(body))
            .expect("a request");
        exchange(self.address, request).await.expect("the registry answers")
    }
}

fn on_path() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(PROGRAM)).find(|file| file.is_file())
}
