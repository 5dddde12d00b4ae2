//! `tidegate.toml` → checked structs. Nothing else parses configuration.
//!
//! | file | idea |
//! |---|---|
//! | [`config`] | what a configuration means, once checked |
//! | [`keys`] | the table of all keys: parser, reference documentation and tests come from it |
//! | [`problem`] | what is wrong: all at once, with line, column and what to do |
//! | `check/` | from text to [`Config`], section by section |
//! | [`secrets`] | reading secrets from where the operator put them |
//!
//! The binary calls [`load`] at start, at reload and for `tidegate check`.
//!
//! **Not in here:** async, the network, what a machine can do (the drivers'
//! affair), what a plugin's own configuration may contain (the plugin's schema
//! says so).
#![forbid(unsafe_code)]

mod check;
pub mod config;
pub mod keys;
pub mod problem;
pub mod secrets;

pub use config::{
    Cidr, Config, Credentials, Isolation, KeySet, KeySetSource, MetricsAccess, OnMissing, Plugin,
    PluginHttp, PluginJournal, PluginSource, SecretSource, Server, Tls, Upstream,
};
pub use problem::{Problem, Problems};
pub use secrets::SecretError;

use std::path::Path;

/// Reads and checks a configuration file.
///
/// # Errors
/// Everything that is wrong with it, at once.
pub fn load(path: &Path) -> Result<Config, Problems> {
    let file_name = path.display().to_string();
    let broken = |what: String, advice: &str| {
        let file = file_name.clone();
        let advice = advice.to_owned();
        Problems(vec![Problem { file, line: 0, column: 0, key: String::new(), what, advice }])
    };
    let text = std::fs::read(path).map_err(|error| {
        let advice = "Name another with `--config`, or let `tidegate init` write one";
        broken(format!("this file can't be read: {error}"), advice)
    })?;
    let text = String::from_utf8(text)
        .map_err(|_| broken("this file is not UTF-8".into(), "Save it as UTF-8"))?;
    let absolute = path
        .canonicalize()
        .map_err(|error| broken(format!("this path makes no sense: {error}"), "Name another"))?;
    parse(&text, &file_name, absolute.parent().unwrap_or(Path::new("/")))
}

/// Checks a configuration given as text. `file_name` stands in problems;
/// relative paths in the text are relative to `base_dir`, which is absolute and
/// without symlinks.
///
/// # Errors
/// Everything that is wrong with it, at once. Where the syntax is wrong, only that.
pub fn parse(text: &str, file_name: &str, base_dir: &Path) -> Result<Config, Problems> {
    check::check(text, file_name, base_dir)
}
