//! Why a plugin could not be loaded, for the operator to read.

use std::fmt;

use tidegate_types::PluginName;

/// Why a plugin could not be loaded: one sentence of what is wrong and one of
/// what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginProblem {
    /// Which plugin; `None` when the host itself could not start.
    pub plugin: Option<PluginName>,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub remedy: String,
    /// The component that was refused, as far as it was looked at.
    pub candidate: Option<Candidate>,
}

/// A component that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its digest, in hexadecimal.
    pub sha256: String,
    /// What it calls its version; `None` when it came to no manifest.
    pub version: Option<String>,
}

impl PluginProblem {
    pub(crate) fn new(
        plugin: &PluginName,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let (what, remedy) = (what.into(), remedy.into());
        Self { plugin: Some(plugin.clone()), what, remedy, candidate: None }
    }

    pub(crate) fn of_host(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { plugin: None, what: what.into(), remedy: remedy.into(), candidate: None }
    }
}

impl fmt::Display for PluginProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.plugin {
            Some(plugin) => write!(f, "plugin `{plugin}`: {}; {}", self.what, self.remedy),
            None => write!(f, "{}; {}", self.what, self.remedy),
        }
    }
}

impl std::error::Error for PluginProblem {}
