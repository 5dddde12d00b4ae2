//! Which configuration, where the running gateway is, and which sandbox a name means.

use std::path::{Path, PathBuf};

use tidegate_config::Config;
use tidegate_control::{Beacon, SandboxView, Token};

use super::client::Client;
use super::failure::Failure;

/// Looked for in this order when nothing is said.
const CONFIGS: [&str; 2] = ["tidegate.toml", "/etc/tidegate/tidegate.toml"];

const HEADING: &str = "Where things are";

/// Where things are, as options that every command takes.
#[derive(Debug, clap::Args)]
pub(super) struct Place {
    /// The configuration file [default: ./tidegate.toml, then /etc/tidegate/tidegate.toml]
    #[arg(long, global = true, help_heading = HEADING, value_name = "FILE", env = "TIDEGATE_CONFIG", hide_env_values = true)]
    pub(super) config: Option<PathBuf>,
    /// The state directory, instead of the configuration's
    #[arg(long, global = true, help_heading = HEADING, value_name = "DIR", env = "TIDEGATE_STATE_DIR", hide_env_values = true)]
    pub(super) state_dir: Option<PathBuf>,
    /// The control API to ask, such as http://127.0.0.1:8081 [default: as the gateway left it in
    /// its state directory]
    #[arg(long, global = true, help_heading = HEADING, value_name = "URL", env = "TIDEGATE_CONTROL", hide_env_values = true)]
    pub(super) control: Option<String>,
    /// File with the control token [default: control.token in the state directory]
    #[arg(long, global = true, help_heading = HEADING, value_name = "FILE", env = "TIDEGATE_TOKEN_FILE", hide_env_values = true)]
    pub(super) token_file: Option<PathBuf>,
}

impl Place {
    /// The configuration file, if there is one: the named one, or the first that
    /// exists of the usual ones.
    pub(super) fn config_file(&self) -> Option<PathBuf> {
        let usual = || CONFIGS.iter().map(PathBuf::from).find(|path| path.exists());
        self.config.clone().or_else(usual)
    }

    /// The checked configuration with what the command line says instead, or
    /// `None` when there is no file.
    pub(super) fn load(&self) -> Result<Option<(PathBuf, Config)>, Failure> {
        let Some(file) = self.config_file() else { return Ok(None) };
        let mut config = tidegate_config::load(&file)?;
        if let Some(state_dir) = &self.state_dir {
            config.server.state_dir = absolute(state_dir)?;
        }
        Ok(Some((file, config)))
    }

    /// A client of the running gateway.
    pub(super) fn client(&self) -> Result<Client, Failure> {
        let url = match &self.control {
            Some(url) => url.clone(),
            None => self.beacon()?.url,
        };
        let file = match (&self.token_file, &self.control) {
            (Some(file), _) => file.clone(),
            (None, Some(_)) if self.state_dir.is_none() && self.config_file().is_none() => {
                return Err(Failure::wrong(
                    "nothing says where the control token is",
                    "Add `--token-file`, or `--state-dir` of that gateway",
                ));
            }
            (None, _) => self.existing_state_dir()?.join(Token::FILE),
        };
        let token = Token::read(&file).map_err(|error| {
            Failure::new(
                format!("the control token `{}` cannot be read: {error}", file.display()),
                "Use the gateway's own user, or name a copy with `--token-file`",
            )
        })?;
        Client::new(&url, &token)
    }

    fn beacon(&self) -> Result<Beacon, Failure> {
        let state_dir = self.existing_state_dir()?;
        Beacon::read(&state_dir).map_err(|error| {
            Failure::new(
                format!(
                    "no gateway has left its address in `{}`: {error}",
                    state_dir.join(Beacon::FILE).display()
                ),
                "Start one with `tidegate serve`, or name its `--state-dir` or `--control`",
            )
        })
    }

    fn existing_state_dir(&self) -> Result<PathBuf, Failure> {
        if let Some(state_dir) = &self.state_dir {
            return absolute(state_dir);
        }
        match self.load()? {
            Some((_, config)) => Ok(config.server.state_dir),
            None => Ok(crate::demo::default_state_dir()),
        }
    }
}

pub(super) fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| {
        Failure::wrong(format!("`{}` is not a path: {error}", path.display()), "Name another")
    })
}

/// What a sandbox is called in listings: its name, with the tenant in front
/// when the name alone is not unique.
pub(super) fn short_name(of: &SandboxView, all: &[SandboxView]) -> String {
    let unique = all.iter().filter(|other| other.name == of.name).count() <= 1;
    if unique { of.name.clone() } else { full_name(of) }
}

fn full_name(of: &SandboxView) -> String {
    format!("{}/{}", of.tenant, of.name)
}

/// The sandbox that `typed` means: `NAME`, or `TENANT/NAME`.
pub(super) fn sandbox<'a>(typed: &str, all: &'a [SandboxView]) -> Result<&'a SandboxView, Failure> {
    let matching: Vec<_> =
        all.iter().filter(|it| it.name == typed || full_name(it) == typed).collect();
    match matching.as_slice() {
        [one] => Ok(one),
        [] => Err(Failure::new(
            format!("there is no sandbox `{typed}`"),
            "`tidegate ps` lists what there is",
        )),
        several => {
            let names: Vec<_> = several.iter().map(|it| format!("`{}`", full_name(it))).collect();
            Err(Failure::wrong(
                format!("several tenants have a sandbox `{typed}`"),
                format!("Name one of {}", names.join(", ")),
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<SandboxView> {
        let view = |tenant: &str, name: &str| SandboxView {
            tenant: tenant.into(),
            name: name.into(),
            ..SandboxView::default()
        };
        vec![view("acme", "web"), view("beta", "web"), view("acme", "db"), view("a/b", "x")]
    }

    #[test]
    fn a_name_is_enough_where_only_one_tenant_has_it() {
        let all = all();
        let found = |typed: &str| sandbox(typed, &all).ok().map(full_name);
        assert_eq!(found("db").as_deref(), Some("acme/db"));
        assert_eq!(found("beta/web").as_deref(), Some("beta/web"));
        assert_eq!(found("a/b/x").as_deref(), Some("a/b/x"));
        assert_eq!((found("web"), found("none"), found("")), (None, None, None));
    }

    #[test]
    fn listings_show_the_shortest_name_that_can_be_typed() {
        let all = all();
        let shown: Vec<_> = all.iter().map(|it| short_name(it, &all)).collect();
        assert_eq!(shown, ["acme/web", "beta/web", "db", "x"]);
        assert!(shown.iter().all(|name| sandbox(name, &all).is_ok()));
    }
}
