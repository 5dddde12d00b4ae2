//! What a gateway under test is configured with.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};

use super::binary;
use crate::model::Model;
use crate::openclaw::repository;

/// A user id that no system hands out by itself.
const UNPRIVILEGED: u32 = 60_123;

/// A configuration in the making. Begin with [`Setup::hello`] or [`Setup::openclaw`].
#[derive(Debug, Clone)]
pub struct Setup {
    users: Vec<String>,
    text: Text,
    /// Files beside the users' tokens, with what is in them.
    secrets: Vec<(String, String)>,
    /// Files of the host that appear in the sandboxes.
    binds: Vec<(PathBuf, String)>,
    replaced: Vec<(String, String)>,
    added: String,
    user: Option<u32>,
}

#[derive(Debug, Clone)]
enum Text {
    /// The demo application, with these keys of its template.
    Hello(Vec<(String, String)>),
    /// The example's own configuration, with this model.
    OpenClaw { model: SocketAddr },
}

/// What was written for a gateway.
pub(super) struct Written {
    pub(super) config: PathBuf,
    pub(super) state_dir: PathBuf,
    pub(super) users: Vec<(String, String)>,
    /// Stands in the environment of every process in this gateway's sandboxes.
    pub(super) marker: String,
    /// As whom the gateway runs; as the tests do when absent.
    pub(super) user: Option<u32>,
}

impl Setup {
    /// Alice and Bob, each with the demo application in a sandbox of their own.
    #[must_use]
    pub fn hello() -> Self {
        let template = [
            ("driver", "\"linux\""),
            ("root", "\"host\""),
            ("command", r#"["/opt/tidegate", "hello-app", "--port", "3000"]"#),
            ("port", "3000"),
            ("ready", r#"{ http = { port = 3000, path = "/api/whoami" }, timeout = "30s" }"#),
            ("sleep-after", "\"10m\""),
            ("stop-grace", "\"2s\""),
            ("limits", r#"{ memory = "256MiB", pids = 64, disk = "64MiB" }"#),
            ("identity-headers", r#"{ x-forwarded-user = "subject" }"#),
        ];
        let template = template.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
        Self::of(Text::Hello(template))
    }

    /// Alice and Bob, each with OpenClaw as `examples/openclaw` runs it, talking to
    /// `model`, whose key `key` the gateway adds.
    #[must_use]
    pub fn openclaw(model: &Model, key: &str) -> Self {
        Self::of(Text::OpenClaw { model: model.address() }).with_secret("MODEL_KEY", key)
    }

    fn of(text: Text) -> Self {
        let users = vec!["alice".to_owned(), "bob".to_owned()];
        Self {
            users,
            user: None,
            text,
            secrets: Vec::new(),
            binds: Vec::new(),
            replaced: Vec::new(),
            added: String::new(),
        }
    }

    /// Sets a key of the demo application's template; `value` is TOML.
    ///
    /// # Panics
    /// For OpenClaw: its template is the example's.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        let Text::Hello(template) = &mut self.text else { panic!("use `replacing`") };
        template.retain(|(known, _)| known != key);
        template.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Lets a file of the host appear in the demo application's sandboxes, read-only.
    #[must_use]
    pub fn binding(mut self, source: &Path, target: &str) -> Self {
        self.binds.push((source.to_owned(), target.to_owned()));
        self
    }

    /// Replaces text of the finished configuration.
    #[must_use]
    pub fn replacing(mut self, what: &str, with: &str) -> Self {
        self.replaced.push((what.to_owned(), with.to_owned()));
        self
    }

    /// Adds TOML at the end of the configuration.
    #[must_use]
    pub fn adding(mut self, toml: &str) -> Self {
        self.added.push_str(toml);
        self
    }

    /// Adds a secret: `[secrets.NAME]` with this value.
    #[must_use]
    pub fn with_secret(mut self, name: &str, value: &str) -> Self {
        let _ = write!(self.added, "\n[secrets.{name}]\nfile = \"tokens/{name}\"\n");
        self.secrets.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs the gateway without any privilege, as a user of its own. Where the tests
    /// have none either, this changes nothing.
    #[must_use]
    pub fn unprivileged(mut self) -> Self {
        let root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
        self.user = root.then_some(UNPRIVILEGED);
        self
    }

    /// Adds a user with the demo application.
    #[must_use]
    pub fn with_user(mut self, name: &str) -> Self {
        self.users.push(name.to_owned());
        self
    }

    /// Writes configuration and tokens into `directory`.
    pub(super) fn write(
        self,
        directory: &Path,
        listen: SocketAddr,
        control: SocketAddr,
    ) -> Written {
        let tokens = directory.join("tokens");
        std::fs::create_dir(&tokens).expect("a directory for tokens");
        let users: Vec<_> = self
            .users
            .iter()
            .map(|user| (user.clone(), format!("{:032x}", rand::random::<u128>())))
            .collect();
        for (name, secret) in users.iter().chain(&self.secrets) {
            std::fs::write(tokens.join(name), secret).expect("a secret is written");
        }
        let marker = format!("TIDEGATE_TEST={:032x}", rand::random::<u128>());
        let state_dir = directory.join("state");
        let mut text = self.render(listen, control, &state_dir, &marker);
        for (what, with) in &self.replaced {
            assert!(text.contains(what), "`{what}` isn't in the configuration:\n{text}");
            text = text.replace(what, with);
        }
        let config = directory.join("tidegate.toml");
        std::fs::write(&config, text).expect("the configuration is written");
        if let Some(user) = self.user {
            own(directory, user);
        }
        Written { config, state_dir, users, marker, user: self.user }
    }

    fn render(
        &self,
        listen: SocketAddr,
        control: SocketAddr,
        state_dir: &Path,
        marker: &str,
    ) -> String {
        let (name, value) = marker.split_once('=').expect("the marker is an assignment");
        let mut text = match &self.text {
            Text::Hello(template) => self.hello_text(template),
            Text::OpenClaw { model } => openclaw_text(*model),
        };
        for (from, to) in [
            ("127.0.0.1:8080", listen.to_string()),
            ("127.0.0.1:8081", control.to_string()),
            (".localhost:8080", format!(".localhost:{}", listen.port())),
            ("STATE-DIR", state_dir.display().to_string()),
            ("MARKER", format!("{name} = \"{value}\"")),
        ] {
            text = text.replace(from, &to);
        }
        text + &self.added
    }

    fn hello_text(&self, template: &[(String, String)]) -> String {
        let mut text = String::from(HELLO);
        let mut holders = String::new();
        for user in &self.users {
            let secret = user.to_uppercase();
            let _ = write!(text, "[secrets.{secret}]\nfile = \"tokens/{user}\"\n\n");
            let _ = writeln!(
                holders,
                "  {{ secret = \"{secret}\", subject = \"{user}\", tenant = \"demo\" }},"
            );
        }
        text = text.replace("HOLDERS", &holders);
        text.push_str("[templates.hello]\n");
        for (key, value) in template {
            let _ = writeln!(text, "{key} = {value}");
        }
        text.push_str("binds = [\n");
        let binary = (binary::path().clone(), "/opt/tidegate".to_owned());
        for (source, target) in self.binds.iter().chain([&binary]) {
            let source = source.display().to_string();
            let _ = writeln!(text, "  {{ source = {source:?}, target = {target:?} }},");
        }
        text.push_str("]\n");
        text.push_str("\n[templates.hello.env]\nMARKER\n");
        text
    }
}

/// Gives a directory and all that is in it to `user`.
fn own(directory: &Path, user: u32) {
    chown(directory, Some(user), Some(user)).expect("root may give files away");
    for entry in std::fs::read_dir(directory).expect("it can be read").flatten() {
        let path = entry.path();
        if path.is_dir() {
            own(&path, user);
        } else {
            chown(&path, Some(user), Some(user)).expect("root may give files away");
        }
    }
}

/// The example's configuration, with this machine's paths.
fn openclaw_text(model: SocketAddr) -> String {
    let example = repository().join("examples/openclaw");
    let text =
        std::fs::read_to_string(example.join("tidegate.toml")).expect("the example is there");
    let injected = format!(
        "url = \"http://{model}/\"\nheaders = {{ authorization = \"Bearer secret:MODEL_KEY\" }}"
    );
    let root = repository().display().to_string();
    let here = example.display().to_string();
    [
        ("state-dir = \"../../.tidegate/openclaw\"", "state-dir = \"STATE-DIR\"".to_owned()),
        ("url = \"http://127.0.0.1:19999/\"", injected),
        ("\"../../", format!("\"{root}/")),
        ("source = \"start.sh\"", format!("source = \"{here}/start.sh\"")),
        ("source = \"configure.mjs\"", format!("source = \"{here}/configure.mjs\"")),
        ("[templates.openclaw.env]", "[templates.openclaw.env]\nMARKER".to_owned()),
    ]
    .iter()
    .fold(text, |text, (from, to)| {
        assert!(text.contains(from), "the example no longer contains `{from}`");
        text.replace(from, to)
    })
}

const HELLO: &str = r#"
[server]
listen = "127.0.0.1:8080"
control = "127.0.0.1:8081"
state-dir = "STATE-DIR"

[[plugin]]
name = "sign-in"
source = "builtin:token"

[plugin.config]
query-param = "token"
cookie = "tidegate"
tokens = [
HOLDERS]

[[plugin]]
name = "rooms"
source = "builtin:per-user"

[plugin.config]
template = "hello"
port = 3000
sandbox = "user-{subject}"
host = "{subject}.localhost"

"#;
