//! Whether a request is a reason to wake its sandbox, and how one is let in that
//! is none.

use std::sync::Arc;

use tidegate_policy::{Generation, Hook};
use tidegate_sandbox::{Cause, Permit, Registry, Sandbox};
use tidegate_types::{Activity, DecisionId, Identity, RequestFacts, SandboxFacts, SandboxKey};

use super::refusal::Refusal;

/// Asks policy; where no plugin serves the hook, every request is a reason.
pub(super) async fn classified(
    policy: &Generation,
    facts: &Arc<RequestFacts>,
    target: impl FnOnce() -> Arc<SandboxFacts>,
    id: DecisionId,
) -> Result<Activity, Refusal> {
    if !policy.serves(Hook::Activity) {
        return Ok(Activity::Active);
    }
    policy.classify(facts, &target(), id).await.map_err(|_| Refusal::Policy)
}

/// Lets in who is no reason to wake a sandbox: into one that runs. One that is not
/// there isn't made, and is refused just as one that sleeps: whoever crawls through
/// addresses learns nothing from the difference.
pub(super) fn visit(registry: &Registry, key: &SandboxKey) -> Result<Permit, Refusal> {
    registry.get(key).and_then(|sandbox| sandbox.try_visit()).ok_or(Refusal::Asleep)
}

/// Notes who uses a sandbox now, for operators who ask why it is awake.
pub(super) fn note(sandbox: &Sandbox, facts: &RequestFacts, who: &Identity) {
    sandbox.note_cause(|| Cause::request(facts.method.as_str(), &facts.path, &who.subject));
}
