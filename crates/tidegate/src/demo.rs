//! The gateway with no configuration at all: two users with a token each, and the
//! demo application in a sandbox of their own.

use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use tidegate_config::Config;

/// The same file that `cargo xtask up --app hello` starts from.
const HELLO: &str = include_str!("../../../examples/hello/tidegate.toml");
/// What stands in that file for what is only known here.
const STATE_DIR: &str = "../../.tidegate/hello";
const BINARY: &str = "../../target/release/tidegate";

/// A configuration that nobody wrote.
#[derive(Debug)]
pub(crate) struct Demo {
    pub(crate) config: Config,
    /// Each user's address, token included.
    pub(crate) addresses: Vec<String>,
}

/// Makes tokens where there are none yet, and the configuration that uses them.
///
/// # Errors
/// When the state directory cannot be written.
pub(crate) fn prepare(state_dir: &Path) -> anyhow::Result<Demo> {
    let state_dir = std::path::absolute(state_dir)?;
    let binary = std::env::current_exe().context("finding this program's own file")?;
    let text = HELLO.replace(STATE_DIR, in_toml(&state_dir)?).replace(BINARY, in_toml(&binary)?);
    let config = tidegate_config::parse(&text, "the built-in demonstration", &state_dir)
        .map_err(|problems| anyhow::anyhow!("{problems}"))?;
    let tokens = state_dir.join("tokens");
    std::fs::DirBuilder::new().recursive(true).mode(0o711).create(&state_dir)?;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&tokens)?;
    let port = config.server.listen.port();
    let mut addresses = Vec::new();
    for user in ["alice", "bob"] {
        let token = token(&tokens.join(user))?;
        addresses.push(format!("http://{user}.localhost:{port}/?token={token}"));
    }
    Ok(Demo { config, addresses })
}

/// Where state is kept when nobody says: a system's place for the superuser, a
/// user's own place for others.
pub(crate) fn default_state_dir() -> PathBuf {
    if let Some(dir) = std::env::var_os("STATE_DIRECTORY") {
        return PathBuf::from(dir);
    }
    let home = std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
    match (is_superuser(), std::env::var_os("XDG_STATE_HOME"), home) {
        (true, _, _) | (false, None, None) => PathBuf::from("/var/lib/tidegate"),
        (false, Some(state), _) => PathBuf::from(state).join("tidegate"),
        (false, None, Some(home)) => home.join(".local/state/tidegate"),
    }
}

fn is_superuser() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

fn in_toml(path: &Path) -> anyhow::Result<&str> {
    match path.to_str() {
        Some(text) if !text.contains(['"', '\\']) && !text.chars().any(char::is_control) => {
            Ok(text)
        }
        _ => bail!("the path {} cannot stand in a configuration", path.display()),
    }
}

/// 128 random bits, kept in a file that only this user may read.
fn token(path: &Path) -> anyhow::Result<String> {
    let made = format!("{:032x}", rand::random::<u128>());
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match file {
        Ok(mut file) => {
            file.write_all(made.as_bytes())?;
            Ok(made)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Ok(std::fs::read_to_string(path)?.trim().to_owned())
        }
        Err(error) => Err(error).with_context(|| format!("making `{}`", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demonstration_is_a_valid_configuration_and_keeps_its_tokens() {
        let dir = tempfile::tempdir().expect("a directory");
        let first = prepare(dir.path()).expect("prepared");
        let second = prepare(dir.path()).expect("prepared again");
        assert_eq!(first.addresses, second.addresses);
        assert_eq!(first.config.server.state_dir, dir.path());
        assert!(!HELLO.replace(STATE_DIR, "").contains("../../.tidegate"));
        let template = first.config.templates.values().next().expect("a template");
        assert_eq!(template.binds[0].source, std::env::current_exe().expect("a path"));
    }
}
