//! Answers that can't be, each wrong in one place.

use tidegate_plugin::plugin::{Lifetime, RelayMode, WhenAsleep};
use tidegate_plugin::prelude::*;

use super::Order;

/// A refusal, wrong as ordered.
pub(crate) fn refused(order: &Order) -> Denial {
    let Order { how, with } = order;
    let mut denial = denial(403, "no", "No.");
    match how.as_str() {
        "status" => denial.status = number(with),
        "code" => denial.code.clone_from(with),
        "message" => denial.message = unescaped(with),
        "long-message" => denial.message = "a".repeat(number(with)),
        "header" => denial.headers.push(pair(with)),
        "headers" => denial.headers = vec![("x-a".into(), "1".into()); number(with)],
        _ => {}
    }
    denial
}

fn is_refusal(order: &Order) -> bool {
    matches!(
        order.how.as_str(),
        "status" | "code" | "message" | "long-message" | "header" | "headers"
    )
}

pub(crate) fn authenticated(order: Order) -> Authenticated {
    if is_refusal(&order) {
        return Authenticated::Denied(refused(&order));
    }
    let Order { how, with } = order;
    let mut me = principal("mallory", "m");
    match how.as_str() {
        "subject" => me.subject = with,
        "tenant" => me.tenant = with,
        "long-subject" => me.subject = "m".repeat(number(&with)),
        "claim" => me.claims = vec![("plan".into(), "pro".into()), pair(&with)],
        "claims" => me.claims = vec![("a".into(), String::new()); number(&with)],
        "set" => me.response_headers = vec![set(&with)],
        "remove" => me.response_headers = vec![HeaderEdit::Remove(with)],
        "used-cookie" => me.used = Some(Credential::Cookie(with)),
        "header-read" => me.consumed = vec![Credential::Header(with)],
        "parameter-read" => me.consumed = vec![Credential::QueryParam(with)],
        "places" => me.consumed = vec![Credential::Cookie("a".into()); number(&with)],
        _ => {}
    }
    Authenticated::Authenticated(me)
}

pub(crate) fn limits(order: Order) -> Vec<Limit> {
    let Order { how, with } = order;
    let fine = Limit {
        meter: Meter::Requests,
        amount: 1_000_000,
        per_ms: Some(1_000),
        burst: None,
        scope: Scope::Subject,
    };
    match how.as_str() {
        // AMOUNT,PER,BURST; what isn't a number is absent.
        "rate" => {
            let mut numbers = with.split(',').map(|number| number.parse().ok());
            let mut next = || numbers.next().flatten();
            let amount = next().unwrap_or_default();
            vec![fine, Limit { amount, per_ms: next(), burst: next(), ..fine }]
        }
        "many" => vec![fine; number(&with)],
        _ => vec![fine],
    }
}

pub(crate) fn resolved(order: Order) -> Resolved {
    if is_refusal(&order) {
        return Resolved::Denied(refused(&order));
    }
    let Order { how, with } = order;
    let mut placement = Placement {
        sandbox: "box".into(),
        template: "hello".into(),
        port: 80,
        lifetime: None,
        when_asleep: WhenAsleep::Hold,
        env: Vec::new(),
        labels: Vec::new(),
        path: None,
        request_headers: Vec::new(),
        response_headers: Vec::new(),
        relay: RelayMode::Raw,
    };
    match how.as_str() {
        "sandbox" => placement.sandbox = with,
        "template" => placement.template = with,
        "port" => placement.port = number(&with),
        "sleep-after" => placement.lifetime = Some(Lifetime::SleepAfter(number(&with))),
        "env" => placement.env = vec![("A".into(), "1".into()), pair(&with)],
        "nul" => placement.env = vec![(with, "a\0b".into())],
        "variables" => placement.env = vec![("A".into(), String::new()); number(&with)],
        "label" => placement.labels = vec![pair(&with)],
        "labels" => placement.labels = vec![("a".into(), String::new()); number(&with)],
        "path" => placement.path = Some(with),
        "set" => placement.request_headers = vec![set(&with)],
        "remove" => placement.request_headers = vec![HeaderEdit::Remove(with)],
        "append" => {
            placement.response_headers = vec![HeaderEdit::Append(pair(&with))];
        }
        "edits" => {
            placement.request_headers = vec![HeaderEdit::Remove("x-a".into()); number(&with)]
        }
        "messages" => placement.relay = RelayMode::Messages,
        _ => {}
    }
    Resolved::Place(placement)
}

pub(crate) fn judged(order: Order) -> Judged {
    let Order { how, with } = order;
    match how.as_str() {
        "code" => Judged::Close(CloseFrame { code: number(&with), reason: String::new() }),
        "reason" => Judged::Close(CloseFrame { code: 1008, reason: "a".repeat(number(&with)) }),
        "replace" => Judged::Replace(Payload::Binary(vec![0; number(&with)])),
        _ => Judged::Forward,
    }
}

pub(crate) fn mounts(order: Order) -> Vec<Mount> {
    let Order { how, with } = order;
    let at = |path: &str| Mount {
        bucket: "data".into(),
        prefix: "users/42/".into(),
        path: path.into(),
        mode: MountMode::Workspace,
        read_only: false,
        max_bytes: None,
        max_objects: None,
    };
    let fine = at("/fine");
    match how.as_str() {
        "bucket" => vec![fine, Mount { bucket: with, ..at("/data") }],
        "prefix" => vec![fine, Mount { prefix: with, ..at("/data") }],
        "path" => vec![fine, at(&with)],
        "many" => (0..number(&with)).map(|n: usize| at(&format!("/{n}"))).collect(),
        _ => vec![fine],
    }
}

pub(crate) fn connected(order: Order) -> Connected {
    if is_refusal(&order) {
        return Connected::Denied(refused(&order));
    }
    let request_headers = match order.how.as_str() {
        "set" => vec![set(&order.with)],
        "remove" => vec![HeaderEdit::Remove(order.with)],
        _ => Vec::new(),
    };
    Connected::Allow(Grant { request_headers, max_bytes: None })
}

/// `NAME=VALUE`; in a value `\r` and `\n` stand for what they say: no header field
/// could bring them here.
fn pair(with: &str) -> (String, String) {
    let (name, value) = with.split_once('=').unwrap_or((with, ""));
    (name.into(), unescaped(value))
}

fn unescaped(text: &str) -> String {
    text.replace("\\r", "\r").replace("\\n", "\n")
}

fn set(with: &str) -> HeaderEdit {
    HeaderEdit::Set(pair(with))
}

fn number<N: std::str::FromStr + Default>(text: &str) -> N {
    text.parse().unwrap_or_default()
}
