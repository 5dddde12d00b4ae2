//! A demo's state directory: the users' tokens and the effective configuration.
//!
//! The configuration is the example's own, with this machine's paths and ports in
//! the places where the example has its defaults: what one reads in `examples/` is
//! what runs.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::ValueEnum;

/// What runs in the sandboxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum App {
    /// The real thing: one OpenClaw gateway per user.
    Openclaw,
    /// A tiny web app built into the binary; nothing to fetch.
    Hello,
}

/// Which model OpenClaw talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Model {
    /// The small provider of the example, at this address.
    Demo(SocketAddr),
    /// The real one, with the key from `OPENAI_API_KEY`.
    OpenAi,
    /// The real one, with the key from `ANTHROPIC_API_KEY`.
    Anthropic,
}

/// A demo user.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct User {
    pub(crate) subject: &'static str,
    pub(crate) url: String,
    pub(crate) token: String,
}

/// The places and ports of this run.
#[derive(Debug)]
pub(crate) struct Settings<'a> {
    /// The example's directory.
    pub(crate) example: &'a Path,
    /// Where everything is kept.
    pub(crate) state_dir: &'a Path,
    /// The gateway's binary.
    pub(crate) binary: &'a Path,
    pub(crate) listen: SocketAddr,
    pub(crate) control: SocketAddr,
    pub(crate) model: Option<Model>,
}

const SUBJECTS: [&str; 2] = ["alice", "bob"];

/// What in an example stands for this machine's choice.
const LISTEN: &str = "listen = \"127.0.0.1:8080\"";
const CONTROL: &str = "control = \"127.0.0.1:8081\"";
const PROVIDER: &str = "url = \"http://127.0.0.1:19999/\"";
const BINARY: &str = "\"../../target/release/tidegate\"";
const STATE_DIR: &str = "state-dir = \"";
const SOURCE: &str = "source = \"";
const ORIGIN: &str = ".localhost:8080";

impl App {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Openclaw => "openclaw",
            Self::Hello => "hello",
        }
    }
}

/// Makes the state directory and the users' tokens; tokens that exist are kept.
pub(crate) fn users(state_dir: &Path, listen: SocketAddr) -> Result<Vec<User>> {
    let tokens = state_dir.join("tokens");
    fs::create_dir_all(&tokens)
        .with_context(|| format!("making the state directory {}", tokens.display()))?;
    for dir in [state_dir, &tokens] {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
    }
    let port = listen.port();
    SUBJECTS
        .into_iter()
        .map(|subject| {
            let token = token(&tokens.join(subject))?;
            let url = format!("http://{subject}.localhost:{port}/?token={token}");
            Ok(User { subject, url, token })
        })
        .collect()
}

/// Reads the token in `file`, or makes one: 256 bits, for its owner's eyes alone.
fn token(file: &Path) -> Result<String> {
    if let Ok(text) = fs::read_to_string(file) {
        let token = text.trim();
        anyhow::ensure!(!token.is_empty(), "{} is empty: remove it", file.display());
        return Ok(token.to_owned());
    }
    let token: String =
        rand::random::<[u8; 32]>().iter().map(|byte| format!("{byte:02x}")).collect();
    write_private(file, &token)?;
    Ok(token)
}

/// Writes the effective configuration; says where it is.
pub(crate) fn configure(settings: &Settings<'_>) -> Result<PathBuf> {
    let source = settings.example.join("tidegate.toml");
    let example = fs::read_to_string(&source)
        .with_context(|| format!("reading the example {}", source.display()))?;
    let model = settings.model.map(|model| settings.read_model(model)).transpose()?;
    let effective = settings
        .effective(&example, model.as_deref())
        .with_context(|| format!("making the configuration from {}", source.display()))?;
    let file = settings.state_dir.join("tidegate.toml");
    write_private(&file, &effective)?;
    Ok(file)
}

impl Settings<'_> {
    fn read_model(&self, model: Model) -> Result<String> {
        let name = match model {
            Model::Demo(_) => "demo",
            Model::OpenAi => "openai",
            Model::Anthropic => "anthropic",
        };
        let file = self.example.join("models").join(name).with_extension("toml");
        fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))
    }

    /// The example's text with this run's choices in it.
    fn effective(&self, example: &str, model: Option<&str>) -> Result<String> {
        let mut text = example.to_owned();
        if let Some(model) = model {
            // The example ends with models/demo.toml: the one that is chosen goes there.
            let demo = fs::read_to_string(self.example.join("models/demo.toml"))?;
            replace(&mut text, &demo, model)?;
        }
        if let Some(Model::Demo(provider)) = self.model {
            replace(&mut text, PROVIDER, &format!("url = \"http://{provider}/\""))?;
        }
        replace(&mut text, LISTEN, &format!("listen = \"{}\"", self.listen))?;
        replace(&mut text, CONTROL, &format!("control = \"{}\"", self.control))?;
        text = text.replace(ORIGIN, &format!(".localhost:{}", self.listen.port()));
        text = text.replace(BINARY, &format!("{:?}", self.binary));
        text = map_values(&text, STATE_DIR, |_| Some(self.state_dir.to_owned()));
        text = map_values(&text, SOURCE, |value| {
            let builtin = value.starts_with("builtin:");
            (!builtin).then(|| absolute(self.example, value))
        });
        Ok(format!(
            "# Written by `cargo xtask up` from {}/tidegate.toml; changed again with the next run.\n\n{text}",
            self.example.display()
        ))
    }
}

/// Replaces the one occurrence of `what`.
fn replace(text: &mut String, what: &str, with: &str) -> Result<()> {
    let found = text.matches(what).count();
    anyhow::ensure!(found == 1, "`{}` stands in it {found} times, not once", what.trim());
    *text = text.replacen(what, with, 1);
    Ok(())
}

/// `path` as seen from `base`, with each leading `..` resolved: binds are written in
/// full.
fn absolute(base: &Path, path: &str) -> PathBuf {
    match (path.strip_prefix("../"), base.parent()) {
        (Some(rest), Some(parent)) => absolute(parent, rest),
        _ => base.join(path),
    }
}

/// Passes every string that follows `key` (which ends with the opening quote) to
/// `map`, and puts the path that it returns in its place.
fn map_values(text: &str, key: &str, map: impl Fn(&str) -> Option<PathBuf>) -> String {
    let mut mapped = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(key) {
        let (before, after) = rest.split_at(at + key.len());
        mapped.push_str(before);
        let value = after.split('"').next().unwrap_or_default();
        match map(value) {
            Some(path) => mapped.push_str(&path.to_string_lossy()),
            None => mapped.push_str(value),
        }
        rest = after.strip_prefix(value).unwrap_or(after);
    }
    mapped.push_str(rest);
    mapped
}

/// Writes a file that only its owner may read, whole or not at all.
fn write_private(file: &Path, text: &str) -> Result<()> {
    let fresh = file.with_extension("new");
    // What an interrupted run left would keep its mode.
    let _ = fs::remove_file(&fresh);
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&fresh)
        .and_then(|mut open| open.write_all(text.as_bytes()))
        .and_then(|()| fs::rename(&fresh, file))
        .with_context(|| format!("writing {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examples() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
    }

    fn effective(app: App, model: Option<Model>) -> String {
        let state = tempfile::tempdir().expect("a temporary directory");
        let settings = Settings {
            example: &examples().canonicalize().expect("it is there").join(app.name()),
            state_dir: state.path(),
            binary: Path::new("/build/tidegate"),
            listen: SocketAddr::from(([127, 0, 0, 1], 4000)),
            control: SocketAddr::from(([127, 0, 0, 1], 4001)),
            model,
        };
        let file = configure(&settings).expect("the example can be configured");
        fs::read_to_string(file).expect("the configuration was written")
    }

    #[test]
    fn every_example_takes_this_runs_places_and_ports() {
        let provider = Model::Demo(SocketAddr::from(([127, 0, 0, 1], 5000)));
        for (app, model) in [
            (App::Hello, None),
            (App::Openclaw, Some(provider)),
            (App::Openclaw, Some(Model::OpenAi)),
            (App::Openclaw, Some(Model::Anthropic)),
        ] {
            let text = effective(app, model);
            assert!(text.contains("listen = \"127.0.0.1:4000\""), "{text}");
            assert!(!text.contains(":8080"), "{text}");
            assert!(!text.contains(":8081"), "{text}");
            assert!(!text.contains(":19999"), "{text}");
            assert!(!text.contains("../"), "a relative path is left:\n{text}");
        }
        assert!(effective(App::Hello, None).contains("\"/build/tidegate\""));
        assert!(effective(App::Openclaw, Some(provider)).contains("http://127.0.0.1:5000/"));
    }

    #[test]
    fn paths_are_written_in_full() {
        let check = |path, full| assert_eq!(absolute(Path::new("/r/a/b"), path), Path::new(full));
        check("start.sh", "/r/a/b/start.sh");
        check("../../.cache/x", "/r/.cache/x");
        check("/elsewhere", "/elsewhere");
    }

    #[test]
    fn a_real_model_brings_its_key_as_a_secret() {
        let text = effective(App::Openclaw, Some(Model::Anthropic));
        assert!(text.contains("secret:ANTHROPIC_API_KEY"), "{text}");
        assert_eq!(text.matches("[upstreams.model]").count(), 1, "{text}");
    }

    #[test]
    fn tokens_are_made_once_and_for_their_owner_alone() {
        let state = tempfile::tempdir().expect("a temporary directory");
        let listen = SocketAddr::from(([127, 0, 0, 1], 8080));
        let first = users(state.path(), listen).expect("tokens are made");
        let again = users(state.path(), listen).expect("tokens are read");
        assert_eq!(first[0].token, again[0].token);
        assert_ne!(first[0].token, first[1].token);
        assert_eq!(first[0].token.len(), 64);
        let mode =
            fs::metadata(state.path().join("tokens/alice")).expect("it exists").permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
    }
}
