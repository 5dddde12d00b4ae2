//! How what happened is told: which fields an event has. Their names are stable; they
//! are listed in `docs/audit.md`.
//!
//! No secret and no credential is told, and no query: tokens stand there.

use tidegate_policy::{How, Refused};
use tidegate_sandbox::Change;
use tidegate_types::fault::chain;
use tidegate_types::{Event, EventKind};

/// `decision`: a plugin refused or failed.
pub(super) fn refused(refused: &Refused<'_>) -> Event {
    let event = Event {
        tenant: refused.tenant.cloned(),
        subject: refused.subject.cloned(),
        sandbox: refused.sandbox.cloned(),
        decision: refused.decision,
        ..Event::now(EventKind::Decision)
    };
    let event = event
        .with("hook", refused.hook.as_str())
        .with("plugin", refused.plugin.as_str().to_owned());
    match refused.how {
        How::Denied(denial) => event
            .with("outcome", "denied")
            .with("status", denial.status.as_u16().to_string())
            .with("code", denial.code.clone()),
        // Not the detail: it quotes what the plugin answered, whatever that was.
        How::Failed(reason, _) => event.with("outcome", "failed").with("reason", reason.as_str()),
    }
}

/// `sandbox`: one changed its state.
pub(super) fn changed(change: &Change<'_>) -> Event {
    let mut event = Event {
        tenant: Some(change.key.tenant.clone()),
        sandbox: Some(change.key.name.clone()),
        ..Event::now(EventKind::Sandbox)
    }
    .with("state", change.to.as_str())
    .with("before", change.from.as_str())
    .with("why", change.why)
    .with("after-ms", change.after.as_millis().to_string())
    .with("incarnation", change.incarnation.to_string())
    .with("template", change.template.as_str().to_owned());
    if let Some(failure) = change.failure {
        event = event.with("failure", chain(failure));
    }
    if let Some(exit) = change.exit {
        event = event.with("exit", exit.to_string());
    }
    event
}
