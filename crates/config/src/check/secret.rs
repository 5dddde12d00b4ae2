//! `[secrets.NAME]`

use tidegate_types::SecretName;

use super::{Context, Entry, read};
use crate::SecretSource;

pub(super) fn secret(
    entry: &Entry<'_>,
    cx: &mut Context<'_>,
) -> Option<(SecretName, SecretSource)> {
    let Entry { name, name_span, fields } = entry;
    let legible = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    if name.is_empty() || !name.bytes().all(legible) {
        cx.report(
            name_span,
            &fields.at.path,
            "a secret's name has characters that `secret:NAME` can't have".into(),
            "Use letters, digits, _ and -".into(),
        );
    }
    let env = fields.read_if_given("env", cx, read::owned_text);
    let file = fields.read_if_given("file", cx, read::path);
    let command = fields.read_if_given("command", cx, read::words);
    let source = match (env?, file?, command?) {
        (Some(variable), None, None) => SecretSource::Env(variable),
        (None, Some(path), None) => SecretSource::File(path),
        (None, None, Some(words)) => SecretSource::Command(words),
        _ => {
            return fields.at.problem(
                cx,
                "a secret has exactly one source",
                "Give one of `env`, `file` and `command`",
            );
        }
    };
    Some((SecretName::new(name), source))
}
