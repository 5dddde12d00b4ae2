//! What happened, as `observe` is told.

use std::borrow::Cow;
use std::time::SystemTime;

use crate::{DecisionId, SandboxName, SubjectId, TenantId};

/// One thing that happened. Holds no secret and no credential.
#[derive(Debug, Clone)]
pub struct Event {
    /// When.
    pub at: SystemTime,
    /// What kind of thing.
    pub kind: EventKind,
    /// Whose, where that is known.
    pub tenant: Option<TenantId>,
    /// By whom, where that is known.
    pub subject: Option<SubjectId>,
    /// In which sandbox, where there is one.
    pub sandbox: Option<SandboxName>,
    /// Of which decision, where there was one.
    pub decision: Option<DecisionId>,
    /// More, by name; names are stable.
    pub fields: Vec<(&'static str, Cow<'static, str>)>,
}

/// Bytes of a field's value; what is longer is cut.
const MAX_VALUE: usize = 1 << 10;

impl Event {
    /// Something that happened just now.
    #[must_use]
    pub fn now(kind: EventKind) -> Self {
        Self {
            at: SystemTime::now(),
            kind,
            tenant: None,
            subject: None,
            sandbox: None,
            decision: None,
            fields: Vec::new(),
        }
    }

    /// With one more field. Clients choose much of what is told: control characters
    /// are escaped, and what is longer than a kibibyte is cut.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        let value = value.into();
        let value = if value.len() <= MAX_VALUE && !value.contains(char::is_control) {
            value
        } else {
            Cow::Owned(legible(&value))
        };
        self.fields.push((name, value));
        self
    }

    /// The field called `name`.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| *n == name).map(|(_, value)| value.as_ref())
    }
}

/// Without control characters, and cut between characters.
fn legible(text: &str) -> String {
    let mut legible = String::with_capacity(text.len().min(MAX_VALUE));
    for character in text.chars() {
        if legible.len() >= MAX_VALUE {
            legible.push('…');
            break;
        }
        if character.is_control() {
            legible.extend(character.escape_default());
        } else {
            legible.push(character);
        }
    }
    legible
}

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A request was answered, whatever the answer.
    Request,
    /// A plugin refused or failed.
    Decision,
    /// A sandbox changed its state.
    Sandbox,
    /// An object was read or written from inside.
    Object,
    /// A sandbox opened a connection outwards, or was kept from it.
    Egress,
    /// A limit was reached.
    Quota,
}

impl EventKind {
    /// Stable name, as the contract with plugins spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Decision => "decision",
            Self::Sandbox => "sandbox",
            Self::Object => "object",
            Self::Egress => "egress",
            Self::Quota => "quota",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_chose_is_told_in_one_short_line() {
        let event = Event::now(EventKind::Request)
            .with("path", "/a\r\n\u{1b}[31m")
            .with("method", "GET")
            .with("long", "é".repeat(5_000));
        assert_eq!(event.field("path"), Some("/a\\r\\n\\u{1b}[31m"));
        assert_eq!(event.field("method"), Some("GET"));
        let long = event.field("long").expect("there");
        assert!(long.len() < 1_100 && long.ends_with("é…"), "{}", long.len());
    }
}
