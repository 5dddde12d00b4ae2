//! The operator's configuration of a plugin, against the schema in the plugin's
//! manifest.
//!
//! Beside what JSON Schema knows, a schema may say that a text names something of
//! the operator's, with one of these formats:
//!
//! | `format` | the text is the name of |
//! |---|---|
//! | `tidegate-template` | a template |
//! | `tidegate-secret` | a secret |
//! | `tidegate-key-set` | a key set |
//!
//! So a misspelt name is told at load, with its place, and not by a failing request.

use std::sync::Arc;

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind;
use serde_json::Value;

use crate::contract::Breach;
use crate::surroundings::Surroundings;

const TEMPLATE: &str = "tidegate-template";
const SECRET: &str = "tidegate-secret";
const KEY_SET: &str = "tidegate-key-set";

/// Checks `config` against `schema`, a JSON Schema as text.
pub(crate) fn check(
    schema: &str,
    config: &Value,
    around: &Arc<Surroundings>,
) -> Result<(), Breach> {
    let bad_schema = |why: String| {
        let what = format!("its `config-schema` isn't a JSON Schema: {why}");
        (what, "mend the schema in the plugin's manifest".to_owned())
    };
    let schema: Value = serde_json::from_str(schema).map_err(|e| bad_schema(e.to_string()))?;
    let (templates, secrets, key_sets) =
        (Arc::clone(around), Arc::clone(around), Arc::clone(around));
    let validator = jsonschema::options()
        .should_validate_formats(true)
        .with_format(TEMPLATE, move |name: &str| {
            templates.templates.iter().any(|known| known.as_str() == name)
        })
        .with_format(SECRET, move |name: &str| secrets.secrets.get(name).is_some())
        .with_format(KEY_SET, move |name: &str| key_sets.key_sets.contains_key(name))
        .build(&schema)
        .map_err(|e| bad_schema(e.to_string()))?;
    let wrongs: Vec<_> = validator
        .iter_errors(config)
        .take(10)
        .map(|error| at(error.instance_path().as_str(), &explain(&error, around)))
        .collect();
    if wrongs.is_empty() { Ok(()) } else { Err(refused(&wrongs)) }
}

fn explain(error: &ValidationError<'_>, around: &Surroundings) -> String {
    let format = match error.kind() {
        ValidationErrorKind::Format { format } => format.as_str(),
        _ => "",
    };
    match format {
        TEMPLATE => {
            let known = around.templates.iter().map(|name| name.as_str());
            format!("there is no template {}; {}", quoted(error.instance()), there_are(known))
        }
        KEY_SET => {
            let known = around.key_sets.keys().map(String::as_str);
            format!("there is no key set {}; {}", quoted(error.instance()), there_are(known))
        }
        // The value isn't repeated: people paste the secret itself here.
        SECRET => format!("this names no secret; {}", there_are(around.secrets.names())),
        // Masked for the same reason.
        _ => error.masked().to_string(),
    }
}

fn quoted(value: &Value) -> String {
    let text: String = value.as_str().unwrap_or_default().chars().take(80).collect();
    format!("`{}`", text.escape_debug())
}

fn there_are<'n>(known: impl Iterator<Item = &'n str>) -> String {
    let mut known: Vec<_> = known.collect();
    known.sort_unstable();
    match known.as_slice() {
        [] => "there are none".into(),
        [only] => format!("there is `{only}`"),
        many => format!("there are `{}`", many.join("`, `")),
    }
}

/// One problem of a configuration, with the JSON pointer to its place.
pub(crate) fn at(pointer: &str, message: &str) -> String {
    let pointer = if pointer.is_empty() { "/" } else { pointer };
    format!("`{pointer}`: {message}")
}

/// All problems of a configuration as one.
pub(crate) fn refused(wrongs: &[String]) -> Breach {
    (
        format!("its configuration isn't accepted: {}", wrongs.join("; ")),
        "change `config` at the places named".into(),
    )
}
