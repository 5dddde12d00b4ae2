//! One limit as an operator writes it.

use serde::Deserialize;
use tidegate_plugin::prelude::{ConfigError, Limit, Meter, Scope};
use tidegate_plugin::text::Millis;

#[derive(Deserialize)]
pub(crate) struct Written {
    meter: String,
    amount: Amount,
    per: Option<Millis>,
    burst: Option<Amount>,
    scope: Option<WrittenScope>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Amount {
    Number(u64),
    Text(String),
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum WrittenScope {
    Subject,
    Tenant,
}

/// Every limit of a list that stands at `path`; `scope` holds where none is said.
pub(crate) fn all(
    written: &[Written],
    path: &str,
    scope: Scope,
) -> Result<Vec<Limit>, ConfigError> {
    let one = |(index, written): (usize, &Written)| {
        written.limit(scope).map_err(|(field, message)| ConfigError {
            path: format!("{path}/{index}/{field}"),
            message,
        })
    };
    written.iter().enumerate().map(one).collect()
}

impl Written {
    fn limit(&self, scope: Scope) -> Result<Limit, (&'static str, String)> {
        let name = self.meter.as_str();
        let meter = meter(name).ok_or_else(|| ("meter", format!("`{name}` is no meter")))?;
        let units = |field, amount: &Amount| amount.units(name).map_err(|why| (field, why));
        let amount = units("amount", &self.amount)?;
        let burst = self.burst.as_ref().map(|burst| units("burst", burst)).transpose()?;
        if burst.is_some() && self.per.is_none() {
            return Err(("burst", "needs `per`: only a rate has a burst".into()));
        }
        if self.per == Some(Millis(0)) {
            return Err(("per", "must be longer than nothing".into()));
        }
        if self.per.is_some() && is_measured(meter) {
            let why = "is measured, not counted: it has a ceiling, and no `per`";
            return Err(("per", format!("`{name}` {why}")));
        }
        let scope = match self.scope {
            None => scope,
            Some(WrittenScope::Subject) => Scope::Subject,
            Some(WrittenScope::Tenant) => Scope::Tenant,
        };
        let per_ms = self.per.map(|Millis(per)| per);
        Ok(Limit { meter, amount, per_ms, burst, scope })
    }
}

impl Amount {
    fn units(&self, meter: &str) -> Result<u64, String> {
        let text = match self {
            Self::Number(units) => return Ok(*units),
            Self::Text(text) => text,
        };
        let too_large = || format!("`{text}` is too large");
        let Some(number) = text.strip_suffix("iB") else {
            if !meter.ends_with("-ms") {
                return Err(format!("`{meter}` is not counted in milliseconds: write a number"));
            }
            return Millis::parse(text).map(|Millis(ms)| ms).ok_or_else(too_large);
        };
        if !meter.ends_with("-bytes") {
            return Err(format!("`{meter}` is not counted in bytes: write a number"));
        }
        let shift = match number.chars().last() {
            Some('K') => 10,
            Some('M') => 20,
            Some('G') => 30,
            _ => 40,
        };
        let digits = number.trim_end_matches(|c: char| !c.is_ascii_digit());
        let units = digits.parse::<u64>().ok().and_then(|it| it.checked_mul(1 << shift));
        units.ok_or_else(too_large)
    }
}

/// What there is of it now is looked at from time to time.
fn is_measured(meter: Meter) -> bool {
    matches!(
        meter,
        Meter::MemoryBytes | Meter::Processes | Meter::StorageBytes | Meter::StorageObjects
    )
}

fn meter(name: &str) -> Option<Meter> {
    Some(match name {
        "requests" => Meter::Requests,
        "websocket-connections" => Meter::WebsocketConnections,
        "websocket-messages" => Meter::WebsocketMessages,
        "ingress-bytes" => Meter::IngressBytes,
        "egress-bytes" => Meter::EgressBytes,
        "storage-bytes" => Meter::StorageBytes,
        "storage-objects" => Meter::StorageObjects,
        "sandboxes" => Meter::Sandboxes,
        "running-ms" => Meter::RunningMs,
        "cpu-ms" => Meter::CpuMs,
        "memory-bytes" => Meter::MemoryBytes,
        "processes" => Meter::Processes,
        _ => return None,
    })
}
