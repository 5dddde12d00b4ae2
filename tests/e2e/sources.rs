//! Plugins that come from elsewhere: their source is away, comes back, changes, or
//! has something that the operator didn't ask for.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tidegate_testkit::file_server::Closed;
use tidegate_testkit::gateway::{Answer, Ask, Gateway, Setup, SignIn, run};
use tidegate_testkit::oci_registry::OciRegistry;
use tidegate_testkit::tls::Certificate;
use tidegate_types::Sha256Digest;

use crate::reload::change;
use crate::{built, skipped};

const BUILTIN: &str = "source = \"builtin:per-user\"";
const FILE: &str = "/rooms.wasm";
/// Tries of a source that is away are seconds apart.
const PATIENCE: Duration = Duration::from_secs(90);

fn per_user() -> &'static [u8] {
    tidegate_builtin::component("per-user").expect("it is embedded")
}

/// What stands in the configuration for `per-user` behind a URL, and who is trusted.
struct Pinned {
    certificate: Certificate,
    source: String,
    _directory: TempDir,
}

impl Pinned {
    fn at(server: &Closed) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let certificate =
            Certificate::make(directory.path(), &["127.0.0.1"]).expect("a certificate");
        let (url, sha256) = (server.url(FILE), Sha256Digest::of(per_user()));
        let source = format!("source = \"{url}\"\nsha256 = \"{sha256}\"");
        Self { certificate, source, _directory: directory }
    }

    fn setup(&self, more: &str) -> Setup {
        let roots = self.certificate.certificate.display().to_string();
        Setup::hello()
            .replacing("[server]", &format!("[server]\nextra-roots = {roots:?}"))
            .replacing(BUILTIN, &format!("{}\n{more}", self.source))
    }
}

async fn listing(gateway: &Gateway) -> Value {
    let (status, body) = gateway.control(Method::GET, "/v1/plugins").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    serde_json::from_str(&body).expect("JSON")
}

/// The plugin that this is about, as the control API shows it.
async fn rooms(gateway: &Gateway) -> Value {
    let listing = listing(gateway).await;
    let plugins = listing["plugins"].as_array().expect("a list");
    plugins.iter().find(|it| it["name"] == "rooms").expect("it is there").clone()
}

async fn command(gateway: &Gateway, command: &str) -> (Option<i32>, String) {
    run(&[command, "--config", &gateway.config().display().to_string()]).await
}

/// Asks again and again; there is nothing to be told by.
async fn until(mut happened: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !happened().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("it happens");
}

/// An answer that was refused because a plugin can't decide.
fn assert_closed(answer: &Answer) {
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.text());
    assert!(!answer.header("x-tidegate-decision").is_empty(), "{:?}", answer.headers);
}

#[tokio::test]
async fn without_its_plugin_a_closed_gateway_refuses_everybody_until_the_source_appears() {
    let server = Closed::reserve();
    let pinned = Pinned::at(&server);
    let gateway = Gateway::start(pinned.setup("on-missing = \"closed\"")).await;
    assert_closed(&gateway.get("alice", "/api/whoami").await);
    assert_closed(&gateway.get("bob", "/").await);
    let nobody = Ask::get("alice", "/").sign_in(SignIn::Nobody);
    assert_closed(&gateway.ask(nobody).await);
    // A plugin that is there and comes first says what it has to say.
    let wrong = Ask::get("alice", "/").sign_in(SignIn::As("wrong"));
    assert_eq!(gateway.ask(wrong).await.status, StatusCode::UNAUTHORIZED);
    assert!(gateway.processes("hello-app").is_empty(), "nothing was started for anybody");

    let why = rooms(&gateway).await["source_problem"].clone();
    let why = why.as_str().expect("it says why");
    assert!(why.contains(&server.url(FILE)) && why.contains("this machine reaches it"), "{why}");
    let (code, said) = command(&gateway, "plugins").await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(why), "{said}");

    let _server = server.open(&pinned.certificate, FILE, per_user());
    until(async || {
        let answer = gateway.get("alice", "/api/whoami").await;
        if answer.status != StatusCode::OK {
            assert_closed(&answer);
        }
        answer.status == StatusCode::OK
    })
    .await;
    let rooms = rooms(&gateway).await;
    assert_eq!(rooms["source_problem"], Value::Null, "{rooms:#}");
    assert_eq!(rooms["sha256"], Sha256Digest::of(per_user()).to_string());
}

#[tokio::test]
async fn a_source_that_is_away_keeps_a_first_start_from_happening_and_is_named() {
    let server = Closed::reserve();
    let pinned = Pinned::at(&server);
    let mut gateway = Gateway::start(Setup::hello()).await;
    gateway.terminate().await;
    let text = std::fs::read_to_string(gateway.config()).expect("the configuration is there");
    let text = text.replace(BUILTIN, &pinned.source);
    std::fs::write(gateway.config(), text).expect("it is written");
    let (code, said) = command(&gateway, "serve").await;
    assert_eq!(code, Some(2), "{said}");
    for words in ["plugin `rooms`", &server.url(FILE), "check that this machine reaches it"] {
        assert!(said.contains(words), "`{words}` isn't said:\n{said}");
    }
}

#[tokio::test]
async fn the_kept_copy_of_a_pinned_plugin_serves_without_its_server_but_never_a_damaged_one() {
    let closed = Closed::reserve();
    let pinned = Pinned::at(&closed);
    let server = closed.open(&pinned.certificate, FILE, per_user());
    let mut gateway = Gateway::start(pinned.setup("")).await;
    assert_eq!(gateway.get("alice", "/api/whoami").await.status, StatusCode::OK);
    assert_eq!(gateway.terminate().await, Some(0));

    let closed = server.close().await;
    gateway.start_again().await;
    assert_eq!(gateway.get("alice", "/api/whoami").await.status, StatusCode::OK);
    assert_eq!(gateway.terminate().await, Some(0));

    // A component that works, and lets in whom it likes: only its digest is wrong.
    let copies = gateway.state_dir().join("plugins/sha256");
    let copy = copies.join(format!("{}.wasm", Sha256Digest::of(per_user())));
    let other = std::fs::read(built::component("editions")).expect("the component");
    std::fs::write(&copy, other).expect("the copy is there");
    let (code, said) = command(&gateway, "serve").await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("plugin `rooms`") && said.contains("damaged"), "{said}");
    assert!(!copy.exists(), "nobody can come to run it");

    let _server = closed.open(&pinned.certificate, FILE, per_user());
    gateway.start_again().await;
    assert_eq!(gateway.get("alice", "/api/whoami").await.status, StatusCode::OK);
}

/// A plugin file, saved as an editor does it.
struct Saved {
    file: PathBuf,
    _directory: TempDir,
}

impl Saved {
    fn new(component: &[u8]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let saved = Self { file: directory.path().join("rooms.wasm"), _directory: directory };
        saved.save(component);
        saved
    }

    fn save(&self, component: &[u8]) {
        let fresh = self.file.with_extension("new");
        std::fs::write(&fresh, component).expect("it is written");
        std::fs::rename(&fresh, &self.file).expect("it is put in place");
    }

    fn source(&self) -> String {
        format!("source = {:?}", self.file.display().to_string())
    }
}

fn editions() -> Vec<u8> {
    std::fs::read(built::component("editions")).expect("the component")
}

/// Who placed Alice: the edition, or nothing where it was `per-user`.
async fn placed_by(gateway: &Gateway) -> String {
    let answer = gateway.get("alice", "/api/whoami").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.header("x-resolved-by").to_owned()
}

/// Saves `next` in place of `running`, which serves one hook more or less, and lets
/// it in with `allow`. `says` is how the refusal puts it.
async fn replaced_only_if_allowed(running: &[u8], next: &[u8], says: &str) {
    let saved = Saved::new(running);
    let gateway = Gateway::start(Setup::hello().replacing(BUILTIN, &saved.source())).await;
    let before = placed_by(&gateway).await;
    let at_first = rooms(&gateway).await;

    saved.save(next);
    until(async || rooms(&gateway).await["problem"].is_string()).await;
    let refused = rooms(&gateway).await;
    assert_eq!(refused["candidate"]["sha256"], Sha256Digest::of(next).to_string());
    for same in ["sha256", "generation", "version"] {
        assert_eq!(refused[same], at_first[same], "{same}");
    }
    let problem = refused["problem"].as_str().unwrap_or_default();
    for words in [says, "`authenticate`", "write `allow = [\"authenticate\"]` and reload"] {
        assert!(problem.contains(words), "`{words}` isn't said: {problem}");
    }
    let lines = listing(&gateway).await["refused"].to_string();
    assert!(lines.contains(says), "{lines}");
    let (code, said) = command(&gateway, "plugins").await;
    assert!(code == Some(0) && said.contains(problem), "{said}");
    assert_eq!(placed_by(&gateway).await, before, "the old one serves on");

    let allowed = format!("{}\nallow = [\"authenticate\"]", saved.source());
    change(&gateway, &saved.source(), &allowed);
    until(async || placed_by(&gateway).await != before).await;
    let taken = rooms(&gateway).await;
    assert_eq!(taken["sha256"], Sha256Digest::of(next).to_string());
    assert_eq!((&taken["problem"], &taken["candidate"]), (&Value::Null, &Value::Null));
    assert_eq!(listing(&gateway).await["refused"], Value::Array(Vec::new()));
}

#[tokio::test]
async fn a_plugin_that_comes_to_answer_another_hook_waits_for_the_operators_word() {
    replaced_only_if_allowed(per_user(), &editions(), "does what the version that runs does not")
        .await;
}

#[tokio::test]
async fn a_plugin_that_ceases_to_answer_a_hook_waits_for_the_operators_word() {
    replaced_only_if_allowed(&editions(), per_user(), "no longer does what the version that runs")
        .await;
}

/// `editions`, calling itself by this name of the same length.
fn edition(component: &Path, name: &str) -> Vec<u8> {
    let mut bytes = std::fs::read(component).expect("the component");
    let mark = b"edition-00000000";
    let at = bytes.windows(mark.len()).position(|it| it == mark).expect("its mark");
    bytes[at..at + mark.len()].copy_from_slice(name.as_bytes());
    bytes
}

#[tokio::test]
async fn a_tag_that_moves_is_noticed_and_taken_over_without_a_failed_request() {
    let Some(registry) = OciRegistry::start().await else {
        return skipped(
            "a_tag_that_moves_is_noticed_and_taken_over_without_a_failed_request",
            "`docker-registry` is not installed; `cargo xtask setup` does it",
        );
    };
    let component = built::component("editions");
    let [first, second] = ["edition-0000000a", "edition-0000000b"];
    registry.push("team/rooms", "1", &edition(&component, first)).await;
    let source = registry.source("team/rooms", "1");
    let source = format!("source = \"{source}\"\npoll = \"5s\"");
    let gateway = Gateway::start(Setup::hello().replacing(BUILTIN, &source)).await;
    assert_eq!(placed_by(&gateway).await, first);
    let before = rooms(&gateway).await;

    registry.push("team/rooms", "1", &edition(&component, second)).await;
    until(async || placed_by(&gateway).await == second).await;
    let after = rooms(&gateway).await;
    assert_eq!(after["version"], second);
    assert!(after["manifest"].is_string() && after["manifest"] != before["manifest"], "{after:#}");
    assert!(after["generation"].as_u64() > before["generation"].as_u64(), "{after:#}");
}
