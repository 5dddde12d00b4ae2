//! `[templates.NAME]`

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::HeaderName;
use tidegate_types::template::{Bind, IdentityField, Probe};
use tidegate_types::{ClientAddress, Lifetime, Limits, Ready, Root, Template, TemplateName};
use toml::de::DeValue;

use super::upstream::header_name;
use super::value::{Fields, Value};
use super::{Context, Entry, read};
use crate::keys::{BIND, LIMITS, READY, READY_HTTP};

pub(super) fn template(entry: &Entry<'_>, cx: &mut Context<'_>) -> Option<Template> {
    let fields = &entry.fields;
    let name = TemplateName::new(&entry.name);
    if let Err(error) = &name {
        let what = format!("a template can't be called `{}`", error.value);
        let advice = format!("Use {}", error.expected);
        cx.report(&entry.name_span, &fields.at.path, what, advice);
    }
    let driver = fields.read("driver", cx, read::choice);
    let root = fields.read("root", cx, root);
    let binds = fields.read("binds", cx, binds);
    let command = fields.read("command", cx, command);
    let workdir = fields.read("workdir", cx, read::inside_path);
    let env = fields.read("env", cx, env);
    let port = fields.read("port", cx, read::port);
    let ready = fields.section("ready", &READY, cx).and_then(|inner| ready(&inner, port, cx));
    let lifetime = lifetime(fields, cx);
    let stop_grace = fields.read("stop-grace", cx, read::duration);
    let limits = fields.section("limits", &LIMITS, cx).and_then(|inner| limits(&inner, cx));
    let client_address = fields.read("client-address", cx, read::choice);
    let identity_headers = fields.read("identity-headers", cx, identity_headers);
    let upstreams = fields.read("upstreams", cx, read::upstream_names);
    Some(Template {
        name: name.ok()?,
        driver: driver?.to_owned(),
        root: root?,
        binds: binds?,
        command: command?,
        workdir: workdir?,
        env: env?,
        port: port?,
        ready: ready?,
        lifetime: lifetime?,
        stop_grace: stop_grace?,
        limits: limits?,
        client_address: match client_address? {
            "socket" => ClientAddress::Socket,
            _ => ClientAddress::Header,
        },
        identity_headers: identity_headers?,
        upstreams: upstreams?,
    })
}

fn root(value: &Value<'_>, cx: &mut Context<'_>) -> Option<Root> {
    match value.value {
        DeValue::String(text) if text == "host" => Some(Root::Host),
        DeValue::Table(table) => {
            let directory = table.get("directory").and_then(|it| it.get_ref().as_str());
            match directory.filter(|text| !text.is_empty() && table.len() == 1) {
                Some(text) => Some(Root::Directory(cx.resolve(text))),
                None => value.unexpected(cx),
            }
        }
        _ => value.unexpected(cx),
    }
}

fn binds(value: &Value<'_>, cx: &mut Context<'_>) -> Option<Vec<Bind>> {
    let mut binds: Vec<Bind> = Vec::new();
    let mut whole = true;
    for item in value.items(cx)? {
        let Some(fields) = Fields::open(&item, &BIND, cx) else {
            whole = false;
            continue;
        };
        let source = fields.read("source", cx, read::path);
        let target = fields.read("target", cx, bind_target);
        match source.zip(target) {
            Some((_, target)) if binds.iter().any(|other| other.target == target) => {
                return item.problem(
                    cx,
                    format!("another bind has the target {} already", target.display()),
                    "Give each a target of its own",
                );
            }
            Some((source, target)) => binds.push(Bind { source, target }),
            None => whole = false,
        }
    }
    whole.then_some(binds)
}

fn bind_target(value: &Value<'_>, cx: &mut Context<'_>) -> Option<PathBuf> {
    let target = read::inside_path(value, cx)?;
    if target == Path::new("/") {
        return value.problem(cx, "nothing can be bound over `/`", "Use `root` for that");
    }
    Some(target)
}

fn command(value: &Value<'_>, cx: &mut Context<'_>) -> Option<Vec<String>> {
    let words = read::words(value, cx)?;
    match words.first() {
        Some(program) if program.starts_with('/') => Some(words),
        program => value.problem(
            cx,
            format!("`{}` is not an absolute path", program.map_or("", String::as_str)),
            "Name the program by its absolute path inside the sandbox; there is no PATH to search",
        ),
    }
}

/// Values are never shown when they are wrong: somebody may have put a secret here.
fn env(value: &Value<'_>, cx: &mut Context<'_>) -> Option<Vec<(String, String)>> {
    let mut env = Vec::new();
    let mut whole = true;
    for (name, _, entry) in value.entries(cx)? {
        let bad_name = name.is_empty() || name.contains(['=', '\0']);
        match entry.value {
            _ if bad_name => {
                whole = false;
                let _: Option<()> = entry.problem(
                    cx,
                    "this can't be the name of an environment variable",
                    "Use letters, digits and _",
                );
            }
            DeValue::String(text) if !text.contains('\0') => env.push((name, text.to_string())),
            _ => {
                whole = false;
                let _: Option<()> =
                    entry.problem(cx, "expected text", "Put it into quotation marks");
            }
        }
    }
    whole.then_some(env)
}

/// `port` is the template's, for whichever probe names none of its own; `None`
/// when that was wrong, which has been reported.
fn ready(fields: &Fields<'_>, port: Option<u16>, cx: &mut Context<'_>) -> Option<Ready> {
    let tcp = fields.read_if_given("tcp", cx, read::port);
    let http = match fields.find("http") {
        Some(value) => {
            Fields::open(&value, &READY_HTTP, cx).and_then(|f| http(&f, port, cx)).map(Some)
        }
        None => Some(None),
    };
    let timeout = fields.read("timeout", cx, positive_duration);
    let probe = match (tcp?, http?) {
        (Some(_), Some(_)) => {
            return fields.at.problem(
                cx,
                "both `tcp` and `http` are given",
                "Keep one: `http` waits for an answer, `tcp` for an open port",
            );
        }
        (Some(port), None) => Probe::Tcp(port),
        (None, Some(probe)) => probe,
        (None, None) => Probe::Tcp(port?),
    };
    Some(Ready { probe, timeout: timeout? })
}

fn http(fields: &Fields<'_>, port: Option<u16>, cx: &mut Context<'_>) -> Option<Probe> {
    let own = fields.read_if_given("port", cx, read::port);
    let path = fields.read("path", cx, read::url_path);
    Some(Probe::Http { port: own?.or(port)?, path: path? })
}

fn positive_duration(value: &Value<'_>, cx: &mut Context<'_>) -> Option<Duration> {
    match read::duration(value, cx)? {
        Duration::ZERO => value.problem(cx, "nothing can be done in no time", "Use 1s or more"),
        duration => Some(duration),
    }
}

fn lifetime(fields: &Fields<'_>, cx: &mut Context<'_>) -> Option<Lifetime> {
    let keep_alive = fields.read("keep-alive", cx, read::bool);
    let sleep_after = fields.read("sleep-after", cx, sleep_after);
    match (keep_alive?, fields.find("sleep-after")) {
        (true, Some(value)) => value.problem(
            cx,
            "this sandbox never sleeps: `keep-alive` is true",
            "Remove one of the two",
        ),
        (true, None) => Some(Lifetime::KeepAlive),
        (false, _) => sleep_after.map(Lifetime::SleepAfter),
    }
}

fn sleep_after(value: &Value<'_>, cx: &mut Context<'_>) -> Option<Duration> {
    let duration = read::duration(value, cx)?;
    if duration >= Duration::from_secs(1) {
        return Some(duration);
    }
    value.problem(
        cx,
        format!("{duration:?} is too short: it would sleep between two requests"),
        "Use 1s or more",
    )
}

fn limits(fields: &Fields<'_>, cx: &mut Context<'_>) -> Option<Limits> {
    let memory = fields.read("memory", cx, read::size_limit);
    let cpu = fields.read("cpu", cx, read::cores_limit);
    let pids = fields.read("pids", cx, read::integer_limit);
    let disk = fields.read("disk", cx, read::size_limit);
    let open_files = fields.read("open-files", cx, read::integer_limit);
    Some(Limits {
        memory: memory?,
        cpu: cpu?,
        pids: pids?.map(|n| u32::try_from(n).unwrap_or(u32::MAX)),
        disk: disk?,
        open_files: open_files?,
    })
}

fn identity_headers(
    value: &Value<'_>,
    cx: &mut Context<'_>,
) -> Option<Vec<(HeaderName, IdentityField)>> {
    let mut headers = Some(Vec::new());
    for (name, _, entry) in value.entries(cx)? {
        let field = match entry.value.as_str() {
            Some("subject") => Some(IdentityField::Subject),
            Some("tenant") => Some(IdentityField::Tenant),
            Some(text) => match text.strip_prefix("claim:").filter(|claim| !claim.is_empty()) {
                Some(claim) => Some(IdentityField::Claim(claim.to_owned())),
                None => entry.unexpected(cx),
            },
            None => entry.unexpected(cx),
        };
        let field = header_name(&name, &entry, cx).zip(field);
        headers = headers.zip(field).map(|(mut all, field)| {
            all.push(field);
            all
        });
    }
    headers
}
