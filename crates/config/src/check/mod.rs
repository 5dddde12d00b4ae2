//! From text to [`Config`]: one file per section, each reading its keys by the
//! table of [`keys`](crate::keys).
//!
//! Nothing stops at the first problem: a value that can't be read is reported
//! and left out, and whatever needs it is left out without a report of its own.

mod component;
mod grant;
mod key_set;
mod plugin;
mod read;
mod references;
mod secret;
mod server;
mod template;
mod upstream;
mod value;

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use crate::Config;
use crate::keys::{FILE, KEY_SET, SECRET, SERVER, Section, TEMPLATE, UPSTREAM};
use crate::problem::{Lines, Problem, Problems};
use value::{Fields, Value};

/// What is known while a file is being checked.
struct Context<'a> {
    file_name: &'a str,
    lines: Lines<'a>,
    base_dir: &'a Path,
    found: Vec<(usize, Problem)>,
}

impl Context<'_> {
    /// Notes a problem with the value or key at `span`.
    fn report(&mut self, span: &Range<usize>, key: &str, what: String, advice: String) {
        let (line, column) = self.lines.position(span.start);
        let problem = Problem {
            file: self.file_name.to_owned(),
            line,
            column,
            key: key.to_owned(),
            what,
            advice,
        };
        self.found.push((span.start, problem));
    }

    /// A path of the configuration: relative ones are relative to its file.
    ///
    /// `..` at its beginning is resolved here: paths of sockets must be short.
    /// That is exact as long as the base has no symlinks, which [`crate::load`]
    /// sees to; `..` further inside stays for the system to resolve.
    fn resolve(&self, path: &str) -> PathBuf {
        let (mut base, mut rest) = (self.base_dir, Path::new(path));
        loop {
            let (up, below) = match (rest.strip_prefix("."), rest.strip_prefix("..")) {
                (Ok(below), _) => (Some(base), below),
                (_, Ok(below)) => (base.parent(), below),
                _ => break,
            };
            let Some(up) = up else { break };
            (base, rest) = (up, below);
        }
        if rest.as_os_str().is_empty() { base.to_owned() } else { base.join(rest) }
    }

    fn finish(mut self) -> Problems {
        self.found.sort_by_key(|(offset, _)| *offset);
        Problems(self.found.into_iter().map(|(_, problem)| problem).collect())
    }
}

pub(crate) fn check(text: &str, file_name: &str, base_dir: &Path) -> Result<Config, Problems> {
    let mut cx = Context { file_name, lines: Lines::new(text), base_dir, found: Vec::new() };
    let (document, errors) = DeTable::parse_recoverable(text);
    // What is left of a file with syntax errors would be reported as missing or
    // unknown although it is neither.
    if !errors.is_empty() {
        for error in errors {
            let span = error.span().unwrap_or_default();
            let what = error.message().trim_end_matches('.').replace('\n', ", ");
            cx.report(&span, "", what, "See https://toml.io for the syntax.".into());
        }
        return Err(cx.finish());
    }
    let root = DeValue::Table(document.into_inner());
    let config = file(&Value::document(&root), &mut cx);
    match config {
        Some(config) if cx.found.is_empty() => Ok(config),
        _ => Err(cx.finish()),
    }
}

fn file(root: &Value<'_>, cx: &mut Context<'_>) -> Option<Config> {
    let fields = Fields::open(root, &FILE, cx)?;
    let server = fields.section("server", &SERVER, cx).and_then(|f| server::server(&f, cx));
    let plugins = plugin::plugins(&fields, cx);
    let secrets = named(&fields, "secrets", &SECRET, cx, secret::secret);
    let key_sets = named(&fields, "key-sets", &KEY_SET, cx, key_set::key_set);
    let upstreams = named(&fields, "upstreams", &UPSTREAM, cx, upstream::upstream);
    let templates = named(&fields, "templates", &TEMPLATE, cx, template::template);
    references::check(&fields, cx);
    Some(Config {
        server: server?,
        plugins,
        templates: templates.into_iter().map(|t| (t.name.clone(), t.into())).collect(),
        secrets: secrets.into_iter().collect(),
        key_sets: key_sets.into_iter().collect(),
        upstreams: upstreams.into_iter().map(|u| (u.name.clone(), u)).collect(),
    })
}

/// One entry of a table of tables: the name that the operator chose, and its keys.
struct Entry<'a> {
    name: String,
    name_span: Range<usize>,
    fields: Fields<'a>,
}

/// Reads a table of tables; entries that can't be read are reported and left out.
fn named<T>(
    fields: &Fields<'_>,
    key: &'static str,
    section: &'static Section,
    cx: &mut Context<'_>,
    read: fn(&Entry<'_>, &mut Context<'_>) -> Option<T>,
) -> Vec<T> {
    let Some(value) = fields.find(key) else { return Vec::new() };
    let mut all = Vec::new();
    for (name, name_span, value) in value.entries(cx).unwrap_or_default() {
        if let Some(fields) = Fields::open(&value, section, cx) {
            all.extend(read(&Entry { name, name_span, fields }, cx));
        }
    }
    all
}
