//! What `resolve` answers: which sandbox serves a request, and how it lives.

use std::time::Duration;

use crate::{HeaderEdit, SandboxName, TemplateName};

/// Which sandbox serves this request, and how.
#[derive(Debug, Clone)]
pub struct Placement {
    /// Unique within the tenant; the same name is the same sandbox.
    pub sandbox: SandboxName,
    /// Recipe in the operator's configuration.
    pub template: TemplateName,
    /// TCP port inside the sandbox; never 0.
    pub port: u16,
    /// Overrides the template's when present.
    pub lifetime: Option<Lifetime>,
    /// What a client sees while the sandbox wakes.
    pub when_asleep: WhenAsleep,
    /// Added to the template's environment at the next start. May mention `secret:NAME`.
    pub env: Vec<(String, String)>,
    /// For operators: shown in listings, never given to the sandbox.
    pub labels: Vec<(String, String)>,
    /// Replaces the path towards the sandbox (not the query); begins with `/`.
    pub path: Option<String>,
    /// Edits of the request towards the sandbox.
    pub request_headers: Vec<HeaderEdit>,
    /// Edits of the answer towards the client.
    pub response_headers: Vec<HeaderEdit>,
    /// Whether WebSocket messages pass through a plugin.
    pub relay: RelayMode,
}

/// When a sandbox goes to sleep by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// Never; restarted when its process dies.
    KeepAlive,
    /// This long after the last byte from a client.
    SleepAfter(Duration),
}

/// What a client sees while a sleeping sandbox wakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenAsleep {
    /// The request waits.
    #[default]
    Hold,
    /// A browser navigation gets a page that shows progress and reloads;
    /// everything else waits.
    Page,
    /// 503 with `retry-after`; the sandbox is not woken.
    Refuse,
}

/// How WebSockets are relayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RelayMode {
    /// Bytes, untouched: the fast path.
    #[default]
    Raw,
    /// Messages pass through the `messages` hook.
    Messages,
}
