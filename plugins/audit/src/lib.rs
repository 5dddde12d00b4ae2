//! `builtin:audit`: one line of JSON for each event, in the journal that the operator
//! granted. `docs/audit.md` lists the fields.

mod line;

use std::cell::Cell;

use serde::Deserialize;
use tidegate_plugin::host::{journal, log, tokens};
use tidegate_plugin::plugin::{Event, Observe};
use tidegate_plugin::prelude::*;

struct Audit {
    config: Config,
    /// Whether it was said that lines are lost.
    said: Cell<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Config {
    /// All where absent.
    kinds: Option<Vec<String>>,
    #[serde(default)]
    drop: Vec<String>,
    pseudonyms: Option<Pseudonyms>,
}

#[derive(Deserialize)]
struct Pseudonyms {
    /// Name of the secret that they are made with.
    secret: String,
    fields: Vec<String>,
}

impl Plugin for Audit {
    type Config = Config;

    fn manifest() -> Manifest {
        let version = env!("CARGO_PKG_VERSION");
        let about = "Writes what happened into a journal, as lines of JSON.";
        manifest("audit", version, about, include_str!("../config.schema.json"))
    }

    fn new(config: Config) -> Result<Self, ConfigError> {
        Ok(Self { config, said: Cell::new(false) })
    }
}

impl Observe for Audit {
    fn on_events(&self, events: Vec<Event>) -> Result<(), Failure> {
        let kinds = self.config.kinds.as_deref();
        let wanted = |event: &&Event| kinds.is_none_or(|kinds| kinds.contains(&event.kind));
        let mut lost = 0_usize;
        for event in events.iter().filter(wanted) {
            let line = line::of(event, |name, value| self.written(name, value))?;
            lost += usize::from(!journal::append(&line));
        }
        // The host counts them; once is enough to say it.
        if lost > 0 && !self.said.replace(true) {
            let what = "lines are lost: the journal is full or slow, or none was granted";
            log::log(log::Level::Error, what);
        }
        Ok(())
    }
}

impl Audit {
    /// What is written of a field's value; nothing of a field that is left out.
    fn written(&self, name: &str, value: &str) -> Result<Option<String>, Failure> {
        if self.config.drop.iter().any(|dropped| dropped == name) {
            return Ok(None);
        }
        match &self.config.pseudonyms {
            Some(Pseudonyms { secret, fields }) if fields.iter().any(|field| field == name) => {
                // Of equal values in different fields nobody shall tell that they are.
                let message = format!("{name}\0{value}");
                let digest = tokens::hmac_sha256(secret, message.as_bytes())
                    .map_err(|why| failure("no-pseudonyms", &why))?;
                Ok(Some(digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()))
            }
            _ => Ok(Some(value.to_owned())),
        }
    }
}

tidegate_plugin::export!(Audit: observe);
