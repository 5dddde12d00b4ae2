//! `[[plugin]]`

use std::time::Duration;

use tidegate_types::PluginName;

use super::value::{Fields, Value};
use super::{Context, read};
use crate::keys::PLUGIN;
use crate::{Isolation, Plugin, PluginSource};

const DEADLINE: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(10);
const MEMORY: std::ops::RangeInclusive<u64> = 1 << 20..=1 << 30;

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
        plugins.push(plugin);
    }
    plugins
}

fn plugin(fields: &Fields<'_>, cx: &mut Context<'_>) -> Option<Plugin> {
    let name = fields.read("name", cx, name);
    let source = fields.read("source", cx, source);
    let config = fields.read("config", cx, config);
    let deadline = fields.read("deadline", cx, deadline);
    let memory = fields.read("memory", cx, memory);
    let isolation = fields.read("isolation", cx, read::choice);
    Some(Plugin {
        name: name?,
        source: source?,
        config: config?,
        deadline: deadline?,
        memory: memory?,
        isolation: match isolation? {
            "call" => Isolation::Call,
            "tenant" => Isolation::Tenant,
            _ => Isolation::Shared,
        },
    })
}

fn name(value: &Value<'_>, cx: &mut Context<'_>) -> Option<PluginName> {
    let text = read::text(value, cx)?;
    PluginName::new(text).ok().or_else(|| value.unexpected(cx))
}

fn source(value: &Value<'_>, cx: &mut Context<'_>) -> Option<PluginSource> {
    let text = read::text(value, cx)?;
    if let Some(name) = text.strip_prefix("builtin:") {
        let fine = PluginName::new(name).is_ok();
        return if fine {
            Some(PluginSource::Builtin(name.to_owned()))
        } else {
            value.unexpected(cx)
        };
    }
    if let Some((scheme, _)) = text.split_once("://") {
        return value.problem(
            cx,
            format!("plugins can't be fetched by `{scheme}` yet"),
            "Download the component and put its path here",
        );
    }
    Some(PluginSource::File(cx.resolve(text)))
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
