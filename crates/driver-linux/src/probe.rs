//! What this machine offers, for `tidegate check`.

/// What this machine offers for sandboxes and what it does not, with the reason.
#[derive(Debug, Clone, Default)]
pub struct Probe {
    /// One per thing that was looked at, in the order of importance.
    pub findings: Vec<Finding>,
}

impl Probe {
    /// Whether sandboxes can run at all.
    #[must_use]
    pub fn usable(&self) -> bool {
        self.findings.iter().all(|f| f.works || !f.needed)
    }
}

/// One thing of a machine that sandboxes use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What: `user namespaces`, `memory limit`.
    pub what: &'static str,
    /// Whether it works here.
    pub works: bool,
    /// Whether sandboxes cannot run without it.
    pub needed: bool,
    /// How it is done, or why it is not there and what to do.
    pub detail: String,
}
