//! From the configuration's upstreams to those of the gate, keys filled in.

use std::sync::Arc;

use tidegate_egress::{GateConfig, Upstream, UpstreamGate};
use tidegate_types::fault::chain;

use crate::live::Loaded;

/// The gate to all upstreams.
///
/// # Errors
/// What keeps it from working, a line each.
pub(crate) fn gate(loaded: &Loaded) -> Result<Arc<UpstreamGate>, Vec<String>> {
    UpstreamGate::new(&of(loaded)?, GateConfig::default()).map_err(|error| vec![chain(&error)])
}

/// All upstreams with their secrets.
///
/// # Errors
/// A line for each secret that is unknown.
pub(crate) fn of(loaded: &Loaded) -> Result<Vec<Upstream>, Vec<String>> {
    let mut problems = Vec::new();
    let mut upstreams = Vec::new();
    for (name, upstream) in &loaded.config.upstreams {
        let mut headers = Vec::new();
        for (field, text) in &upstream.headers {
            match loaded.fill(text) {
                Ok(secret) => headers.push((field.clone(), secret)),
                Err(secret) => problems.push(format!(
                    "upstream `{name}`: the secret `{secret}` is unknown; define \
                     `[secrets.{secret}]`"
                )),
            }
        }
        upstreams.push(Upstream { name: name.clone(), url: upstream.url.clone(), headers });
    }
    if problems.is_empty() { Ok(upstreams) } else { Err(problems) }
}
