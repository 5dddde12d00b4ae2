//! `[server]`

use std::ops::RangeInclusive;

use super::Context;
use super::read;
use super::value::{Fields, Value};
use crate::keys::TLS;
use crate::{MetricsAccess, Server, Tls};

const MAX_COMPONENT: RangeInclusive<u64> = 64 << 10..=256 << 20;

pub(super) fn server(fields: &Fields<'_>, cx: &mut Context<'_>) -> Option<Server> {
    let listen = fields.read("listen", cx, read::address);
    let control = fields.read("control", cx, read::address);
    let control_hosts = fields.read("control-hosts", cx, read::hosts);
    let metrics = fields.read("metrics", cx, read::choice);
    let state_dir = fields.read("state-dir", cx, read::path);
    let tls = match fields.find("tls") {
        Some(value) => Fields::open(&value, &TLS, cx).and_then(|f| tls(&f, cx)).map(Some),
        None => Some(None),
    };
    let trusted_proxies = fields.read("trusted-proxies", cx, read::cidrs);
    let drain = fields.read("drain", cx, read::duration);
    let max_header_bytes = fields.read("max-header-bytes", cx, read::integer);
    let max_message = fields.read("max-message", cx, read::size);
    let max_component = fields.read("max-component", cx, max_component);
    let extra_roots = fields.read_if_given("extra-roots", cx, read::path);
    let (listen, control) = (listen?, control?);
    if listen == control && listen.port() != 0 {
        let at = fields.find("control").or_else(|| fields.find("listen"));
        return at.unwrap_or_else(|| fields.at.clone()).problem(
            cx,
            format!("`listen` and `control` are both {listen}"),
            "Give each a port of its own: tenants must not reach the control API",
        );
    }
    Some(Server {
        listen,
        control,
        control_hosts: control_hosts?,
        metrics: match metrics? {
            "open" => MetricsAccess::Open,
            _ => MetricsAccess::Token,
        },
        state_dir: state_dir?,
        tls: tls?,
        trusted_proxies: trusted_proxies?,
        drain: drain?,
        max_header_bytes: usize::try_from(max_header_bytes?).unwrap_or(usize::MAX),
        max_message: usize::try_from(max_message?).unwrap_or(usize::MAX),
        max_component: max_component?,
        extra_roots: extra_roots?,
    })
}

fn max_component(value: &Value<'_>, cx: &mut Context<'_>) -> Option<u64> {
    let bytes = read::size(value, cx)?;
    if MAX_COMPONENT.contains(&bytes) {
        return Some(bytes);
    }
    value.problem(cx, format!("{bytes} bytes are out of range"), "Use 64KiB to 256MiB")
}

fn tls(fields: &Fields<'_>, cx: &mut Context<'_>) -> Option<Tls> {
    let certificate = fields.read("certificate", cx, read::path);
    let key = fields.read("key", cx, read::path);
    Some(Tls { certificate: certificate?, key: key? })
}
