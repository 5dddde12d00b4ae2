//! From the contract's forms to what `tidegate_plausible` judges, where several hooks
//! answer alike.

use tidegate_plausible::{Change, Direction, Implausible, denial as judged};
use tidegate_types::{Denial, HeaderEdit};

use crate::bindings::tidegate::policy::types as raw;

/// A refusal that a client can be shown.
pub(super) fn denial(raw: raw::Denial) -> Result<Denial, Implausible> {
    let raw::Denial { status, code, message, headers } = raw;
    judged(status, code, message, headers)
}

/// Edits that leave the framing alone. `field` is where the list stands.
pub(super) fn edits(
    raw: Vec<raw::HeaderEdit>,
    direction: Direction,
    field: &str,
) -> Result<Vec<HeaderEdit>, Implausible> {
    let changes = raw.into_iter().map(|edit| match edit {
        raw::HeaderEdit::Set((name, value)) => Change::Set(name, value),
        raw::HeaderEdit::Append((name, value)) => Change::Append(name, value),
        raw::HeaderEdit::Remove(name) => Change::Remove(name),
    });
    tidegate_plausible::edits(changes, direction).map_err(|wrong| wrong.within(field))
}
