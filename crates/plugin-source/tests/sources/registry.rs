//! Registries: Debian's `docker-registry`, without encryption on loopback.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;

use oci_client::client::{ClientConfig, ClientProtocol, Config, ImageLayer};
use oci_client::manifest::OciImageManifest;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use tidegate_plugin_source::{Ask, Reason, SigningKey, Source, Wanted, signature};
use tidegate_types::Sha256Digest;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::{COMPONENT, fetcher, wanted};

/// A registry of one's own; it ends with this.
struct Registry {
    address: String,
    _process: Child,
    _dir: tempfile::TempDir,
}

impl Registry {
    /// `None`, said aloud, where there is no such program.
    async fn start() -> Option<Self> {
        let Some(program) = on_path("docker-registry") else {
            eprintln!("skipped: `docker-registry` is not installed; `cargo xtask setup` does it");
            return None;
        };
        let dir = tempfile::tempdir().expect("a directory");
        let config = dir.path().join("config.yml");
        let text = format!(
            "version: 0.1\nlog:\n  level: info\n  formatter: json\nstorage:\n  filesystem:\n    \
             rootdirectory: {}\n  delete:\n    enabled: true\nhttp:\n  addr: 127.0.0.1:0\n",
            dir.path().join("data").display()
        );
        std::fs::write(&config, text).expect("written");
        let mut process = Command::new(program)
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("it starts");
        let mut log = BufReader::new(process.stderr.take().expect("a pipe")).lines();
        let address = loop {
            let line = log.next_line().await.expect("readable").expect("it listens");
            if let Some((_, rest)) = line.split_once("listening on ") {
                let end = rest.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | ':'));
                break rest[..end.unwrap_or(rest.len())].to_owned();
            }
        };
        // Read on, or it stops when the pipe is full; ends with the process.
        tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
        Some(Self { address, _process: process, _dir: dir })
    }

    fn reference(&self, version: &str) -> Source {
        let text = format!("{}/team/policy{version}", self.address);
        Source::Oci(text.parse().expect("a reference"))
    }

    /// Pushes `layers` under `tag` as the library does it.
    async fn push(&self, tag: &str, layers: &[(&[u8], &str)], annotations: &[(&str, String)]) {
        let client =
            Client::new(ClientConfig { protocol: ClientProtocol::Http, ..ClientConfig::default() });
        let layers: Vec<_> = layers
            .iter()
            .map(|(data, kind)| ImageLayer::new(data.to_vec(), (*kind).to_owned(), None))
            .collect();
        let config =
            Config::new(&b"{}"[..], "application/vnd.wasm.config.v0+json".to_owned(), None);
        let annotations: BTreeMap<_, _> =
            annotations.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let manifest = OciImageManifest::build(&layers, &config, Some(annotations));
        let reference =
            Reference::with_tag(self.address.clone(), "team/policy".to_owned(), tag.to_owned());
        client
            .push(&reference, &layers, config, &RegistryAuth::Anonymous, Some(manifest))
            .await
            .expect("pushed");
    }
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

const WASM: &str = "application/wasm";

#[tokio::test]
async fn a_tag_is_followed_and_what_it_meant_last_serves_when_the_registry_is_gone() {
    let Some(registry) = Registry::start().await else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let fetcher_one = fetcher(dir.path());
    registry.push("1", &[(COMPONENT, WASM)], &[]).await;
    let tag = wanted(registry.reference(":1"));
    let first = fetcher_one.fetch(&tag, Ask::Registry).await.expect("fetched");
    assert_eq!(&*first.bytes, COMPONENT);
    assert_eq!(fetcher_one.points_to(&tag).await, Ok(first.manifest));
    fetcher_one.taken_over(&tag, first.manifest).await;

    // The tag moves. Who doesn't ask goes on with what it meant.
    registry.push("1", &[(b"the next", WASM)], &[]).await;
    assert_ne!(fetcher_one.points_to(&tag).await, Ok(first.manifest));
    let same = fetcher_one.fetch(&tag, Ask::Memory).await.expect("a copy");
    assert_eq!((&*same.bytes, same.in_place_of), (COMPONENT, None));
    let next = fetcher_one.fetch(&tag, Ask::Registry).await.expect("fetched");
    assert_eq!(&*next.bytes, b"the next");

    // It was never taken over, and so isn't what is fallen back on.
    let digest = first.manifest.expect("a manifest");
    let by_digest = wanted(registry.reference(&format!("@sha256:{digest}")));
    drop(registry);
    let fetcher_two = fetcher(dir.path());
    let copy = fetcher_two.fetch(&tag, Ask::Registry).await.expect("a copy");
    assert_eq!(&*copy.bytes, COMPONENT);
    assert_eq!(copy.in_place_of.map(|it| it.reason), Some(Reason::Unreachable));
    let pinned = fetcher_two.fetch(&by_digest, Ask::Registry).await.expect("a copy");
    assert_eq!((&*pinned.bytes, pinned.in_place_of), (COMPONENT, None));
}

#[tokio::test]
async fn the_signature_stands_in_an_annotation() {
    let Some(registry) = Registry::start().await else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let fetcher = fetcher(dir.path());
    let key = SigningKey::generate();
    let note = (signature::ANNOTATION, key.sign(&Sha256Digest::of(COMPONENT)));
    registry.push("plain", &[(COMPONENT, WASM)], &[]).await;
    registry.push("signed", &[(COMPONENT, WASM)], &[note]).await;
    let verify_key = Some(key.verify_key());
    let plain = Wanted { verify_key: verify_key.clone(), ..wanted(registry.reference(":plain")) };
    let error = fetcher.fetch(&plain, Ask::Registry).await.expect_err("refused");
    assert_eq!(error.reason, Reason::WrongSignature, "{error}");
    let signed = Wanted { verify_key, ..wanted(registry.reference(":signed")) };
    assert!(fetcher.fetch(&signed, Ask::Registry).await.expect("fetched").signed);
}

#[tokio::test]
async fn what_is_no_component_in_a_registry_is_refused_with_the_reason() {
    let Some(registry) = Registry::start().await else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let fetcher = fetcher(dir.path());
    let other = "application/vnd.example.thing";
    registry.push("two", &[(COMPONENT, WASM), (b"more", WASM)], &[]).await;
    registry.push("one-of-two", &[(b"readme", other), (COMPONENT, WASM)], &[]).await;
    registry.push("any", &[(COMPONENT, other)], &[]).await;
    let image = "application/vnd.oci.image.layer.v1.tar+gzip";
    registry.push("image", &[(b"layer", image)], &[]).await;
    for (tag, expected) in [
        (":two", Err(Reason::Unusable)),
        (":image", Err(Reason::Unusable)),
        (":missing", Err(Reason::NotFound)),
        (":any", Ok(COMPONENT)),
        (":one-of-two", Ok(COMPONENT)),
    ] {
        let fetched = fetcher.fetch(&wanted(registry.reference(tag)), Ask::Registry).await;
        let found = fetched.as_ref().map(|it| &*it.bytes).map_err(|it| it.reason);
        assert_eq!(found, expected, "{tag}: {fetched:?}");
    }
}
