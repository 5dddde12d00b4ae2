//! What storage and egress ask of whoever decides. The policy host answers; whoever
//! asks need not know it.

use std::pin::Pin;
use std::sync::Arc;

use crate::{DecisionId, Denial, Destination, EgressGrant, Mount, ObjectOperation, SandboxFacts};

/// A question under way. Dropping it is harmless.
pub type Asked<'q, T> = Pin<Box<dyn Future<Output = Result<T, Unpermitted>> + Send + 'q>>;

/// Why something isn't permitted.
#[derive(Debug, Clone)]
pub enum Unpermitted {
    /// It was refused: the refusal may be shown to whoever wanted it.
    Denied(Denial),
    /// Nobody decided about it, which is as good as refused.
    Unanswered,
    /// It could not be decided. Why, is in the log under the decision's id.
    Failed,
}

/// Decides what of object storage a sandbox sees, and what it may do there.
pub trait StorageAuthority: Send + Sync + 'static {
    /// The prefixes that `who` sees; none when nobody grants any.
    ///
    /// # Errors
    /// Only [`Unpermitted::Failed`]: then `who` must not be started.
    fn mounts<'q>(&'q self, who: &'q Arc<SandboxFacts>, id: DecisionId) -> Asked<'q, Vec<Mount>>;

    /// Whether `who` may do this to an object under one of its prefixes.
    ///
    /// # Errors
    /// Why it may not.
    fn authorize_object<'q>(
        &'q self,
        who: &'q Arc<SandboxFacts>,
        operation: &'q Arc<ObjectOperation>,
        id: DecisionId,
    ) -> Asked<'q, ()>;
}

/// Decides which connections sandboxes may open outwards.
pub trait EgressAuthority: Send + Sync + 'static {
    /// Whether `who` may connect to `destination`, and with what added.
    ///
    /// # Errors
    /// Why it may not.
    fn authorize_egress<'q>(
        &'q self,
        who: &'q Arc<SandboxFacts>,
        to: &'q Arc<Destination>,
        id: DecisionId,
    ) -> Asked<'q, EgressGrant>;
}
