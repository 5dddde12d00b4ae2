//! Which field of an answer is wrong, and why.

use std::fmt;

/// Why a part of an answer isn't believed; for the log, never for a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Implausible {
    /// Where in the answer, in the contract's words: `principal.claims[3]`.
    pub field: String,
    /// What is wrong there. Contains text of the plugin's, made legible and cut.
    pub what: String,
}

impl Implausible {
    /// Something wrong with `field`.
    #[must_use]
    pub fn new(field: impl Into<String>, what: impl Into<String>) -> Self {
        Self { field: field.into(), what: what.into() }
    }

    /// The same, `outer` being what the field is a part of.
    #[must_use]
    pub fn within(self, outer: &str) -> Self {
        // An index belongs to what it stands behind.
        let dot = if self.field.is_empty() || self.field.starts_with('[') { "" } else { "." };
        Self { field: format!("{outer}{dot}{}", self.field), ..self }
    }
}

impl fmt::Display for Implausible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.field, self.what)
    }
}

impl std::error::Error for Implausible {}

/// Text of a plugin's in a message: in backticks, without anything a terminal obeys,
/// cut to 80 characters.
pub(crate) fn shown(text: &str) -> String {
    let mut legible = String::from("`");
    for (count, character) in text.chars().enumerate() {
        if count == 80 {
            legible.push('…');
            break;
        }
        legible.extend(character.escape_debug());
    }
    legible.push('`');
    legible
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_named_from_the_outside_in() {
        let inner = Implausible::new("name", "is empty").within("[3]").within("claims");
        assert_eq!(inner.within("principal").to_string(), "`principal.claims[3].name`: is empty");
        assert_eq!(Implausible::new("", "what").within("port").to_string(), "`port`: what");
    }

    #[test]
    fn what_is_shown_of_a_text_is_short_and_obeyed_by_no_terminal() {
        assert_eq!(shown("a\n\u{1b}[31m"), "`a\\n\\u{1b}[31m`");
        assert_eq!(shown(&"é".repeat(200)).chars().count(), 83);
    }
}
