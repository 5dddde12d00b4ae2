//! `[[plugin]]`

use std::ops::RangeInclusive;
use std::time::Duration;

use tidegate_types::PluginName;

use super::component::{self, Origin};
use super::grant;
use super::value::{Fields, Value};
use super::{Context, read};
use crate::keys::{PLUGIN, PLUGIN_HTTP, PLUGIN_JOURNAL};
use crate::{Isolation, Plugin};

const DEADLINE: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(10);
const MEMORY: RangeInclusive<u64> = 1 << 20..=1 << 30;

pub(super) fn plugins(file: &Fields<'_>, cx: &mut Context<'_>) -> Vec<Plugin> {
    let Some(value) = file.find("plugin") else { return Vec::new() };
    let mut plugins: Vec<Plugin> = Vec::new();
    for item in value.items(cx).unwrap_or_default() {
        let Some(plugin) = Fields::open(&item, &PLUGIN, cx).and_then(|f| plugin(&f, cx)) else {
            continue;
        };
        if plugins.iter().any(|other| other.name == plugin.name) {
            let _: Option<()> = item.problem(
                cx,
                format!("another plugin is called `{}` already", plugin.name),
                "Give each a name of its own",
            );
            continue;
        }
        if let Some(journal) = &plugin.journal
            && let Some((other, theirs)) = plugins.iter().find_map(|other| {
                let theirs = &other.journal.as_ref()?.file;
                grant::same_files(theirs, &journal.file).then_some((&other.name, theirs))
            })
        {
            let what = if *theirs == journal.file { "already" } else { "and its older files" };
            let _: Option<()> = item.problem(
                cx,
                format!("plugin `{other}` has the journal `{theirs}` {what}"),
                "Give each a file of its own",
            );
            continue;
        }
        plugins.push(plugin);
    }
    plugins
}

fn plugin(fields: &Fields<'_>, cx: &mut Context<'_>) -> Option<Plugin> {
    let name = fields.read("name", cx, name);
    let origin = component::origin(fields, cx);
    let config = fields.read("config", cx, config);
    let deadline = fields.read("deadline", cx, deadline);
    let memory = fields.read("memory", cx, memory);
    let isolation = fields.read("isolation", cx, read::choice);
    let instances = fields.read("instances", cx, read::integer);
    let http = within(fields, "http", &PLUGIN_HTTP, cx, grant::http);
    let journal = within(fields, "journal", &PLUGIN_JOURNAL, cx, grant::journal);
    let allow = fields.read("allow", cx, read::choices);
    let Origin { source, sha256, verify_key, poll, credentials, on_missing } = origin?;
    Some(Plugin {
        name: name?,
        source,
        sha256,
        verify_key,
        poll,
        credentials,
        on_missing,
        config: config?,
        deadline: deadline?,
        memory: memory?,
        isolation: match isolation? {
            "call" => Isolation::Call,
            "tenant" => Isolation::Tenant,
            _ => Isolation::Shared,
        },
        instances: usize::try_from(instances?).unwrap_or(usize::MAX),
        http: http?,
        journal: journal?,
        allow: allow?.into_iter().map(str::to_owned).collect(),
    })
}

/// A table within, where it is given. `None` has been reported.
#[expect(clippy::option_option, reason = "broken and absent are two things")]
pub(super) fn within<T>(
    fields: &Fields<'_>,
    key: &'static str,
    section: &'static crate::keys::Section,
    cx: &mut Context<'_>,
    read: fn(&Fields<'_>, &mut Context<'_>) -> Option<T>,
) -> Option<Option<T>> {
    match fields.find(key) {
        Some(value) => Fields::open(&value, section, cx).and_then(|f| read(&f, cx)).map(Some),
        None => Some(None),
    }
}

fn name(value: &Value<'_>, cx: &mut Context<'_>) -> Option<PluginName> {
    let text = read::text(value, cx)?;
    PluginName::new(text).ok().or_else(|| value.unexpected(cx))
}

fn config(value: &Value<'_>, cx: &mut Context<'_>) -> Option<serde_json::Value> {
    if value.value.is_table() { read::json(value, cx) } else { value.unexpected(cx) }
}

fn deadline(value: &Value<'_>, cx: &mut Context<'_>) -> Option<Duration> {
    let deadline = read::duration(value, cx)?;
    if DEADLINE.contains(&deadline) {
        return Some(deadline);
    }
    value.problem(cx, format!("{deadline:?} is out of range"), "Use 1ms to 10s")
}

fn memory(value: &Value<'_>, cx: &mut Context<'_>) -> Option<u64> {
    let bytes = read::size(value, cx)?;
    if MEMORY.contains(&bytes) {
        return Some(bytes);
    }
    value.problem(cx, format!("{bytes} bytes are out of range"), "Use 1MiB to 1GiB")
}
