//! What policy may know about a sandbox, and whether traffic counts for it.

use crate::{SandboxKey, SubjectId, TemplateName};

/// The facts of one sandbox, as plugins can read them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxFacts {
    /// Whose it is and what it is called.
    pub key: SandboxKey,
    /// Who asks for it, or asked for it last.
    pub subject: SubjectId,
    /// Its recipe.
    pub template: TemplateName,
    /// Its placement's labels; the first of a name counts.
    pub labels: Vec<(String, String)>,
}

impl SandboxFacts {
    /// The first label called `name`.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// Whether traffic is a reason to wake a sandbox, or to keep it awake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Activity {
    /// It wakes the sandbox and counts as activity.
    #[default]
    Active,
    /// It is served if the sandbox runs; it neither wakes it nor keeps it awake.
    Passive,
}
