//! `tidegate plugin`: looking into components, and vouching for them.

use std::borrow::Cow;
use std::fmt::Display;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tidegate_plugin_source::{
    MAX_COMPONENT, SigningKey, Unreadable, VerifyKey, read_bounded, read_signature, signature,
};
use tidegate_policy::{Inspection, PluginSource, fixtures, inspect};
use tidegate_types::Sha256Digest;
use tidegate_types::component::with_custom_section;

use super::failure::Failure;
use super::text::{print, printable, size};

/// A key in base64 has 44 characters.
const MAX_KEY: usize = 1024;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Plugin {
    /// Show what a component answers, imports and needs; no hook of it is asked.
    #[command(after_help = "With `--verify-key` the signature in FILE.sig is checked too.\n\n\
        Examples:\n  tidegate plugin inspect policy.wasm\n  tidegate plugin inspect builtin:token --json")]
    Inspect(Inspect),
    /// Sign a component, so that gateways with the key's other half take it.
    #[command(
        after_help = "The signature goes into FILE.sig: put it beside the component, or into the\n\
        annotation dev.tidegate.signature of an OCI manifest.\n\n\
        Example:\n  tidegate plugin sign policy.wasm --key signing.key"
    )]
    Sign(Sign),
    /// Put expectations into a component: they are asked before it may serve.
    #[command(after_help = "Sign the component afterwards: this changes its digest.\n\n\
        Example:\n  tidegate plugin fixtures policy.wasm --embed fixtures.json -o policy.wasm")]
    Fixtures(Fixtures),
    /// Make a key to sign components with, and show what `verify-key` is to be.
    #[command(after_help = "Example:\n  tidegate plugin keygen signing.key")]
    Keygen(Keygen),
}

#[derive(Debug, clap::Args)]
pub(super) struct Inspect {
    /// The component, or `builtin:NAME`.
    #[arg(value_name = "FILE")]
    source: String,
    /// Check the signature in FILE.sig with this public key, in base64
    #[arg(long, value_name = "KEY")]
    verify_key: Option<VerifyKey>,
    /// Show it as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Sign {
    /// The component.
    file: PathBuf,
    /// The file that `tidegate plugin keygen` wrote
    #[arg(long, value_name = "KEYFILE")]
    key: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(super) struct Fixtures {
    /// The component.
    file: PathBuf,
    /// The expectations, a JSON array
    #[arg(long, value_name = "JSON")]
    embed: PathBuf,
    /// Where the component goes that has them
    #[arg(long, short, value_name = "OUT")]
    out: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(super) struct Keygen {
    /// Where the private key goes; the file must not exist yet.
    file: PathBuf,
}

impl Plugin {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Inspect(command) => command.run(),
            Self::Sign(command) => command.run(),
            Self::Fixtures(command) => command.run(),
            Self::Keygen(command) => command.run(),
        }
    }
}

impl Inspect {
    fn run(self) -> Result<(), Failure> {
        let (bytes, source) = match self.source.strip_prefix("builtin:") {
            Some(name) => {
                let component = tidegate_builtin::component(name).ok_or_else(|| {
                    let known: Vec<_> =
                        tidegate_builtin::names().map(|n| format!("builtin:{n}")).collect();
                    Failure::new(
                        format!("there is no `builtin:{name}`"),
                        format!("There are {}", known.join(", ")),
                    )
                })?;
                let component = Cow::Borrowed(component);
                let source = PluginSource::Builtin { name: name.to_owned(), component };
                (tidegate_builtin::component(name).unwrap_or_default().to_vec(), source)
            }
            None => {
                let bytes = component(Path::new(&self.source))?;
                let component = bytes.clone().into();
                (bytes, PluginSource::Fetched { from: self.source.clone(), component })
            }
        };
        let signed = self.signature(&bytes)?;
        let found = inspect(source).map_err(|it| Failure::new(it.what, it.remedy))?;
        if self.json {
            let json = serde_json::to_string_pretty(&as_json(&found, bytes.len(), signed))
                .map_err(|error| Failure::new(format!("cannot be written: {error}"), ""))?;
            return print(&(json + "\n"));
        }
        print(&in_words(&found, bytes.len(), signed))
    }

    /// In a word.
    fn signature(&self, bytes: &[u8]) -> Result<&'static str, Failure> {
        if self.source.starts_with("builtin:") {
            return Ok("part of this program");
        }
        let text = match read_signature(Path::new(&self.source)) {
            Ok(Some(text)) => text,
            Ok(None) if self.verify_key.is_some() => {
                return Err(Failure::new(
                    format!("`{}` has no signature", self.source),
                    "`tidegate plugin sign` makes one",
                ));
            }
            Ok(None) => return Ok("none"),
            Err(error) => return Err(Failure::new(error.what, error.remedy)),
        };
        match &self.verify_key {
            None => Ok("there is one, not verified: name the key with `--verify-key`"),
            Some(key) if key.verifies(&Sha256Digest::of(bytes), &text) => Ok("verified"),
            Some(_) => Err(Failure::new(
                format!("the signature of `{}` is not this key's", self.source),
                "Find out who made this component",
            )),
        }
    }
}

impl Sign {
    fn run(self) -> Result<(), Failure> {
        let no_key = |why: &dyn Display| {
            Failure::new(
                format!("`{}` {why}", self.key.display()),
                "Name the file that `tidegate plugin keygen` wrote",
            )
        };
        let key = read_bounded(&self.key, MAX_KEY).map_err(|error| no_key(&error))?;
        let key = String::from_utf8(key).map_err(|_| no_key(&"isn't a text"))?;
        let key: SigningKey =
            key.parse().map_err(|error| no_key(&format!("isn't a key: {error}")))?;
        let digest = Sha256Digest::of(&component(&self.file)?);
        let signature = key.sign(&digest);
        let beside = signature::beside(&self.file);
        replace(&beside, format!("{signature}\n").as_bytes()).map_err(|error| {
            Failure::new(
                format!("`{}` can't be written: {error}", beside.display()),
                "Choose another place for the component",
            )
        })?;
        print(&format!(
            "{}: written\nsha256      {digest}\nsignature   {signature}\nverify-key  {}\n",
            beside.display(),
            key.verify_key()
        ))
    }
}

impl Fixtures {
    fn run(self) -> Result<(), Failure> {
        let expected = read(&self.embed, MAX_COMPONENT, "Name the JSON file itself")?;
        if let Err(error) = serde_json::from_slice::<Vec<Value>>(&expected) {
            return Err(Failure::new(
                format!("`{}` is no JSON array: {error}", self.embed.display()),
                "See docs/plugins.md for what stands in it",
            ));
        }
        let component = with_custom_section(&component(&self.file)?, fixtures::SECTION, &expected);
        fs::write(&self.out, component).map_err(|error| {
            Failure::new(
                format!("`{}` can't be written: {error}", self.out.display()),
                "Choose another place",
            )
        })?;
        print(&format!("{}: written\n", self.out.display()))
    }
}

impl Keygen {
    fn run(self) -> Result<(), Failure> {
        let key = SigningKey::generate();
        let written = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&self.file)
            .and_then(|mut file| {
                file.write_all(key.to_secret().reveal().as_bytes())?;
                file.write_all(b"\n")
            });
        written.map_err(|error| {
            Failure::new(
                format!("`{}` can't be written: {error}", self.file.display()),
                "Name a file that doesn't exist yet",
            )
        })?;
        print(&format!(
            "{}: the private key; keep it to yourself\nverify-key = \"{}\"\n",
            self.file.display(),
            key.verify_key()
        ))
    }
}

fn component(path: &Path) -> Result<Vec<u8>, Failure> {
    read(path, MAX_COMPONENT, "Name a component")
}

fn read(path: &Path, most: usize, advice: &str) -> Result<Vec<u8>, Failure> {
    read_bounded(path, most).map_err(|error| {
        let why = match error {
            Unreadable::TooLarge(most) => format!("is larger than {}", size(most as u64)),
            error => error.to_string(),
        };
        Failure::new(format!("`{}` {why}", path.display()), advice)
    })
}

/// Puts a file that everybody may read in the place of `path`, whole or not at all.
/// A link there is replaced, never followed: whoever may write to the directory
/// doesn't choose which file is overwritten.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    let new = path.with_file_name(format!(".{name}.{:016x}", rand::random::<u64>()));
    let written =
        fs::OpenOptions::new().write(true).create_new(true).open(&new).and_then(|mut file| {
            file.write_all(content)?;
            // Whatever the umask: the gateway may be another user.
            file.set_permissions(fs::Permissions::from_mode(0o644))?;
            file.sync_all()?;
            fs::rename(&new, path)
        });
    if written.is_err() {
        // Where it could not be made there is none.
        let _ = fs::remove_file(&new);
    }
    written
}

/// The keys of the configuration, as far as the schema names them.
fn keys(schema: &str) -> Vec<(String, String)> {
    let Ok(schema) = serde_json::from_str::<Value>(schema) else { return Vec::new() };
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return Vec::new();
    };
    let about = |it: &Value| it.get("description").and_then(Value::as_str).map(str::to_owned);
    properties.iter().map(|(name, it)| (name.clone(), about(it).unwrap_or_default())).collect()
}

fn as_json(it: &Inspection, bytes: usize, signature: &str) -> Value {
    let both = |pair: Option<(u32, u64)>| pair.map(|(count, largest)| json!([count, largest]));
    json!({
        "name": it.title,
        "version": it.version,
        "description": it.description,
        "contract": it.contract,
        "hooks": it.hooks,
        "imports": it.imports,
        "sha256": it.sha256,
        "bytes": bytes,
        "memories": both(it.memories),
        "tables": both(it.tables),
        "fixtures": it.fixtures,
        "signature": signature,
        "config_schema": serde_json::from_str::<Value>(&it.config_schema).unwrap_or_default(),
    })
}

fn in_words(it: &Inspection, bytes: usize, signature: &str) -> String {
    let unknown = || "not told".to_owned();
    let memories = |(count, largest): (u32, u64)| format!("{count}, up to {} each", size(largest));
    let tables = |(count, largest): (u32, u64)| format!("{count}, up to {largest} elements each");
    let lines = [
        ("name", format!("{} {}", it.title, it.version)),
        ("description", it.description.clone()),
        ("made for", format!("tidegate:policy@{}", it.contract)),
        ("answers", it.hooks.join(", ")),
        ("imports", if it.imports.is_empty() { "nothing".into() } else { it.imports.join(", ") }),
        ("sha256", it.sha256.clone()),
        ("size", size(bytes as u64)),
        ("memories", it.memories.map_or_else(unknown, memories)),
        ("tables", it.tables.map_or_else(unknown, tables)),
        ("fixtures", it.fixtures.to_string()),
        ("signature", signature.to_owned()),
    ];
    let mut out = String::new();
    for (what, text) in lines {
        out.push_str(&format!("{what:<12} {}\n", printable(&text)));
    }
    for (at, (name, about)) in keys(&it.config_schema).into_iter().enumerate() {
        let what = if at == 0 { "config" } else { "" };
        out.push_str(&format!("{what:<12} {}: {}\n", printable(&name), printable(&about)));
    }
    out
}
