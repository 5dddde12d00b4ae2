//! From the configuration's upstreams to those of the gate, keys filled in.

use tidegate_egress::Upstream;

use crate::live::Loaded;

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
