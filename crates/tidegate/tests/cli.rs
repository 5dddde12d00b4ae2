//! The command line from outside: the built binary in front of a control API
//! whose gateway is a few lines.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tidegate_control::{
    About, Access, AwakeView, Beacon, ControlError, Exposition, Gateway, HookView, OpenMetrics,
    PluginView, Readiness, SandboxView, Token, UsageView,
};
use tidegate_types::{Incarnation, SandboxKey, TenantId};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Knows `acme/web`, `beta/web` and `acme/db`, and notes what it was told.
struct Three {
    told: Mutex<Vec<String>>,
    log: PathBuf,
}

impl Three {
    fn all(&self) -> Vec<SandboxView> {
        let view = |tenant: &str, name: &str, state: &str| SandboxView {
            tenant: tenant.into(),
            name: name.into(),
            incarnation: 7,
            state: state.into(),
            template: "web".into(),
            ..SandboxView::default()
        };
        let awake = AwakeView { keep_alive: true, ..AwakeView::default() };
        let db = SandboxView { awake: Some(awake), ..view("acme", "db", "running") };
        vec![view("acme", "web", "stopped"), view("beta", "web", "stopped"), db]
    }

    fn note(&self, what: &str, key: &SandboxKey, meant: Option<Incarnation>) -> SandboxView {
        let meant = meant.map(|it| it.to_string()).unwrap_or_default();
        self.told.lock().expect("not poisoned").push(format!("{what} {key} {meant}"));
        let mut all = self.all().into_iter();
        let found = all.find(|it| it.tenant == key.tenant.as_str() && it.name == key.name.as_str());
        found.expect("the client looked first")
    }
}

#[async_trait]
impl Gateway for Three {
    fn about(&self) -> About {
        unreachable!("no command asks")
    }
    fn ready(&self) -> Readiness {
        Readiness::Ready
    }
    async fn sandboxes(&self) -> Result<Vec<SandboxView>, ControlError> {
        Ok(self.all())
    }
    async fn sandbox(&self, key: &SandboxKey) -> Result<SandboxView, ControlError> {
        Err(ControlError::Unknown(key.clone()))
    }
    async fn wake(&self, key: &SandboxKey) -> Result<SandboxView, ControlError> {
        self.note("wake", key, None);
        let reason = "`/bin/web` cannot be started".into();
        Err(ControlError::Start { key: key.clone(), reason })
    }
    async fn sleep(
        &self,
        key: &SandboxKey,
        meant: Option<Incarnation>,
    ) -> Result<SandboxView, ControlError> {
        Ok(self.note("sleep", key, meant))
    }
    async fn stop(
        &self,
        key: &SandboxKey,
        meant: Option<Incarnation>,
    ) -> Result<SandboxView, ControlError> {
        Ok(self.note("stop", key, meant))
    }
    async fn destroy(
        &self,
        key: &SandboxKey,
        meant: Option<Incarnation>,
    ) -> Result<(), ControlError> {
        self.note("destroy", key, meant);
        Ok(())
    }
    async fn log_path(&self, _: &SandboxKey) -> Result<PathBuf, ControlError> {
        Ok(self.log.clone())
    }
    fn plugins(&self) -> Vec<PluginView> {
        let hooks = vec![HookView { hook: "resolve".into(), ..HookView::default() }];
        vec![PluginView { name: "rooms".into(), hooks, calls: 3, ..PluginView::default() }]
    }
    fn refused(&self) -> Vec<String> {
        vec!["plugin `rooms`: it serves no hook".into()]
    }
    fn usage(&self, tenant: Option<&TenantId>) -> Vec<UsageView> {
        let line = UsageView {
            tenant: tenant.map_or("beta", TenantId::as_str).into(),
            meter: "sandboxes".into(),
            amount: Some(2),
            used: 1,
            remaining: Some(1),
            ..UsageView::default()
        };
        vec![line]
    }
    fn metrics(&self, _: &mut Exposition) {}
}

struct TestGateway {
    state: tempfile::TempDir,
    gateway: Arc<Three>,
    _stop: DropGuard,
}

impl TestGateway {
    async fn start() -> Self {
        let state = tempfile::tempdir().expect("a directory");
        let told = Mutex::default();
        let gateway = Arc::new(Three { told, log: state.path().join("log") });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        Beacon::new(address).write(state.path()).expect("written");
        let token = Token::load_or_create(state.path()).expect("made");
        let access = Access { token, hosts: Vec::new(), open_metrics: OpenMetrics::No };
        let stop = CancellationToken::new();
        // Ends with `stop`, which is cancelled when this is dropped.
        tokio::spawn(tidegate_control::serve(
            listener,
            Arc::clone(&gateway) as _,
            access,
            stop.clone(),
        ));
        Self { state, gateway, _stop: stop.drop_guard() }
    }

    async fn says(&self, line: &str) -> Said {
        tidegate(self.state.path(), &format!("--state-dir {} {line}", self.state.path().display()))
            .await
    }

    fn was_told(&self) -> Vec<String> {
        std::mem::take(&mut self.gateway.told.lock().expect("not poisoned"))
    }
}

/// What a command wrote, and how it ended.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

async fn tidegate(dir: &Path, line: &str) -> Said {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(line.split_whitespace())
        .current_dir(dir)
        .env_clear()
        .env("HOME", dir)
        .stdin(std::process::Stdio::null())
        .output()
        .await
        .expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Said { code: status.code(), out: text(stdout), err: text(stderr) }
}

#[tokio::test]
async fn sandboxes_are_listed_by_the_shortest_name_that_is_theirs_alone() {
    let gateway = TestGateway::start().await;
    let said = gateway.says("ps").await;
    let names: Vec<_> = said.out.lines().filter_map(|line| line.split('\t').next()).collect();
    assert_eq!(names, ["SANDBOX", "acme/web", "beta/web", "db"], "{}", said.err);
    assert!(said.out.contains("\tkeep-alive\t"), "{}", said.out);

    let said = gateway.says("ps --json --tenant beta").await;
    let json: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!(json.as_array().map(Vec::len), Some(1));
    assert_eq!(json[0]["incarnation"], 7);
}

#[tokio::test]
async fn what_is_told_names_the_incarnation_that_was_seen() {
    let gateway = TestGateway::start().await;
    let said = gateway.says("stop db beta/web").await;
    assert_eq!((said.code, said.out.as_str()), (Some(0), "acme/db: running\nbeta/web: stopped\n"));
    assert_eq!(gateway.was_told(), ["stop acme/db 7", "stop beta/web 7"]);
    gateway.says("sleep db").await;
    assert_eq!(gateway.was_told(), ["sleep acme/db 7"]);
    let said = gateway.says("destroy --yes db").await;
    assert_eq!((said.code, said.out.as_str()), (Some(0), "acme/db: destroyed\n"));
    assert_eq!(gateway.was_told(), ["destroy acme/db 7"]);
}

#[tokio::test]
async fn a_name_of_two_tenants_is_refused_before_anything_is_done() {
    let gateway = TestGateway::start().await;
    let said = gateway.says("stop db web").await;
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("Name one of `acme/web`, `beta/web`"), "{}", said.err);
    assert!(gateway.was_told().is_empty());
}

#[tokio::test]
async fn nothing_is_destroyed_unless_somebody_said_yes() {
    let gateway = TestGateway::start().await;
    let said = gateway.says("destroy db").await;
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("Add `--yes`"), "{}", said.err);
    assert!(gateway.was_told().is_empty());
}

#[tokio::test]
async fn a_start_that_failed_says_why_and_where_to_look() {
    let gateway = TestGateway::start().await;
    let said = gateway.says("wake db").await;
    assert_eq!(said.code, Some(1));
    assert_eq!(
        said.err,
        "error: sandbox `acme/db` did not start: `/bin/web` cannot be started\n\
         Read what it wrote with `tidegate logs`\n"
    );
}

#[tokio::test]
async fn a_log_goes_through_a_pipe_byte_for_byte() {
    let gateway = TestGateway::start().await;
    fs::write(&gateway.gateway.log, "one\n\x1b[1mtwo\n").expect("written");
    assert_eq!(gateway.says("logs db").await.out, "one\n\x1b[1mtwo\n");
    assert_eq!(gateway.says("logs -n 1 acme/db").await.out, "\x1b[1mtwo\n");
}

#[tokio::test]
async fn limits_and_what_is_used_of_them_are_listed() {
    let gateway = TestGateway::start().await;
    for (command, tenant) in [("usage", "beta"), ("usage a/b?c", "a/b?c")] {
        let said = gateway.says(command).await;
        let line = format!("\n{tenant}\t*\tsandboxes\t2\t1\t1\t-\n");
        assert!(said.out.contains(&line), "{}{}", said.out, said.err);
    }
}

#[tokio::test]
async fn plugins_are_listed() {
    let gateway = TestGateway::start().await;
    let said = gateway.says("plugins").await;
    assert!(
        said.out.contains("\nrooms\t-\t-\t0\t-\tresolve\t3\t-\t-\n"),
        "{}{}",
        said.out,
        said.err
    );
    assert!(said.err.contains("not taken over: plugin `rooms`: it serves no hook"), "{}", said.err);
    let said = gateway.says("plugins rooms").await;
    assert!(said.out.contains("\nresolve\t0\t0\t-\t-\t-\t-\t-\n"), "{}{}", said.out, said.err);
}

#[tokio::test]
async fn the_gateway_is_found_through_the_configuration_or_named_outright() {
    let gateway = TestGateway::start().await;
    let dir = gateway.state.path();
    fs::write(dir.join("tidegate.toml"), "[server]\nstate-dir = \".\"\n").expect("written");
    assert_eq!(tidegate(dir, "ps").await.code, Some(0));
    let url = Beacon::read(dir).expect("read").url;
    let elsewhere = tempfile::tempdir().expect("a directory");
    let token = dir.join(Token::FILE);
    let line = format!("ps --control {url} --token-file {}", token.display());
    assert_eq!(tidegate(elsewhere.path(), &line).await.code, Some(0));
    let said = tidegate(elsewhere.path(), &format!("ps --control {url}")).await;
    assert!(said.err.contains("Add `--token-file`"), "{}", said.err);
}

#[tokio::test]
async fn a_gateway_that_is_not_there_is_said_to_be_missing() {
    let dir = tempfile::tempdir().expect("a directory");
    let said = tidegate(dir.path(), "--state-dir . ps").await;
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("Start one with `tidegate serve`"), "{}", said.err);

    // Bound, so that it is nobody else's, but not listening.
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let address = socket.local_addr().expect("bound");
    Beacon::new(address).write(dir.path()).expect("written");
    Token::load_or_create(dir.path()).expect("made");
    let said = tidegate(dir.path(), "--state-dir . ps").await;
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains(&format!("no gateway answers at http://{address}")), "{}", said.err);
}

#[tokio::test]
async fn a_wrong_token_is_said_to_be_wrong() {
    let gateway = TestGateway::start().await;
    let other = tempfile::tempdir().expect("a directory");
    Token::load_or_create(other.path()).expect("made");
    let wrong = other.path().join(Token::FILE);
    let said = gateway.says(&format!("ps --token-file {}", wrong.display())).await;
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("no valid token"), "{}", said.err);
}

#[tokio::test]
async fn a_wrong_configuration_is_said_in_full_and_exits_with_2() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("tidegate.toml"), "[server]\nlisen = 1\ndrain = 2\n")
        .expect("written");
    for command in ["check", "serve", "ps"] {
        let said = tidegate(dir.path(), command).await;
        assert_eq!(said.code, Some(2), "{command}: {}", said.err);
        assert!(said.err.contains("tidegate.toml:2:1: server.lisen"), "{}", said.err);
        assert!(said.err.contains("tidegate.toml:3:9: server.drain"), "{}", said.err);
    }
    let said = tidegate(dir.path(), "check --config none.toml").await;
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("none.toml: this file can't be read"), "{}", said.err);
}

#[tokio::test]
async fn a_configuration_is_written_once_and_never_over_another() {
    let dir = tempfile::tempdir().expect("a directory");
    assert_eq!(tidegate(dir.path(), "init").await.code, Some(0));
    let written = fs::read(dir.path().join("tidegate.toml")).expect("there");
    let said = tidegate(dir.path(), "init").await;
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("is there already"), "{}", said.err);
    assert_eq!(fs::read(dir.path().join("tidegate.toml")).expect("there"), written);
}

#[tokio::test]
async fn what_can_be_said_without_a_gateway_is_said() {
    let dir = tempfile::tempdir().expect("a directory");
    let version = format!("tidegate {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(tidegate(dir.path(), "version").await.out, version);
    assert!(tidegate(dir.path(), "completions bash").await.out.contains("_tidegate"));
    assert!(tidegate(dir.path(), "check --explain").await.out.contains("`[templates.NAME]`"));
    assert!(tidegate(dir.path(), "ps --help").await.out.contains("Examples:"));
    assert_eq!(tidegate(dir.path(), "pss").await.code, Some(2));
    assert_eq!(tidegate(dir.path(), "serve --log =x=").await.code, Some(2));
}

#[tokio::test]
async fn a_component_is_inspected_signed_and_told_from_what_is_none() {
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path();
    let said = tidegate(dir, "plugin inspect builtin:token --json").await;
    let found: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!(found["name"], "token", "{}", said.err);
    assert_eq!(found["hooks"], serde_json::json!(["authenticate"]));
    assert_eq!(found["contract"], "0.2.0");

    let component = tidegate_builtin::component("token").expect("it is embedded");
    fs::write(dir.join("policy.wasm"), component).expect("written");
    let said = tidegate(dir, "plugin keygen signing.key").await;
    assert_eq!(said.code, Some(0), "{}", said.err);
    let (_, key) = said.out.split_once("verify-key = ").expect("a public key");
    let key = key.trim().trim_matches('"');
    let said = tidegate(dir, "plugin keygen signing.key").await;
    assert_eq!(said.code, Some(1), "a key is never written over");
    let inspect = format!("plugin inspect policy.wasm --verify-key {key}");
    assert!(tidegate(dir, &inspect).await.err.contains("has no signature"));
    let said = tidegate(dir, "plugin sign policy.wasm --key signing.key").await;
    assert_eq!(said.code, Some(0), "{}", said.err);
    let said = tidegate(dir, &inspect).await;
    assert!(said.out.contains("signature    verified\n"), "{}{}", said.out, said.err);

    fs::write(dir.join("policy.wasm"), "something else").expect("written");
    let said = tidegate(dir, &inspect).await;
    assert!(said.err.contains("is not this key's"), "{}", said.err);
    let said = tidegate(dir, "plugin inspect policy.wasm").await;
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("something else, not a WASM component"), "{}", said.err);
}

#[tokio::test]
async fn no_plugin_command_waits_for_a_pipe_or_reads_without_end() {
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path();
    let component = tidegate_builtin::component("token").expect("it is embedded");
    fs::write(dir.join("policy.wasm"), component).expect("written");
    fs::write(dir.join("list.json"), "[]").expect("written");
    assert_eq!(tidegate(dir, "plugin keygen signing.key").await.code, Some(0));
    let made = Command::new("mkfifo").arg(dir.join("pipe")).status().await.expect("mkfifo runs");
    assert!(made.success());
    let huge = fs::File::create(dir.join("huge")).expect("made");
    huge.set_len(5 << 30).expect("sparse");
    let commands = [
        "plugin inspect FILE",
        "plugin sign FILE --key signing.key",
        "plugin sign policy.wasm --key FILE",
        "plugin fixtures FILE --embed list.json -o out",
        "plugin fixtures policy.wasm --embed FILE -o out",
    ];
    for command in commands {
        for (file, why) in [
            ("/dev/zero", "isn't a regular file"),
            ("pipe", "isn't a regular file"),
            (".", "isn't a regular file"),
            ("huge", "is larger than"),
        ] {
            let said = tidegate(dir, &command.replace("FILE", file)).await;
            assert_eq!(said.code, Some(1), "{command} {file}: {}", said.err);
            let what = format!("`{file}` {why}");
            assert!(said.err.contains(&what), "{command} {file}: {}", said.err);
            assert!(said.err.contains("Name "), "{command} {file}: {}", said.err);
        }
    }
    assert!(!dir.join("out").exists() && !dir.join("policy.wasm.sig").exists());
    fs::rename(dir.join("pipe"), dir.join("policy.wasm.sig")).expect("moved");
    let said = tidegate(dir, "plugin inspect policy.wasm").await;
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("policy.wasm.sig` isn't a regular file"), "{}", said.err);
}

#[tokio::test]
async fn a_signature_takes_the_place_of_a_link_and_follows_none() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path();
    let component = tidegate_builtin::component("token").expect("it is embedded");
    fs::write(dir.join("policy.wasm"), component).expect("written");
    fs::write(dir.join("precious"), "kept").expect("written");
    assert_eq!(tidegate(dir, "plugin keygen signing.key").await.code, Some(0));
    let signature = dir.join("policy.wasm.sig");
    for target in ["precious", "nothing"] {
        symlink(target, &signature).expect("linked");
        let said = tidegate(dir, "plugin sign policy.wasm --key signing.key").await;
        assert_eq!(said.code, Some(0), "{}", said.err);
        let found = fs::symlink_metadata(&signature).expect("it is there");
        assert!(found.is_file());
        assert_eq!(found.permissions().mode() & 0o7777, 0o644);
        assert_eq!(fs::read_to_string(dir.join("precious")).expect("it is there"), "kept");
        assert!(!dir.join("nothing").exists());
        fs::remove_file(&signature).expect("removed");
    }
    // Where it can't be put, nothing is left of it.
    fs::create_dir(&signature).expect("made");
    let said = tidegate(dir, "plugin sign policy.wasm --key signing.key").await;
    assert_eq!(said.code, Some(1), "{}", said.err);
    assert!(said.err.contains("policy.wasm.sig` can't be written"), "{}", said.err);
    assert_eq!(fs::read_dir(dir).expect("listed").count(), 4);
}
