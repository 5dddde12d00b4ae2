//! The policy host as storage and egress see it: each question goes to the
//! generation that serves when it is asked.

use std::sync::Arc;

use tidegate_types::{
    Asked, DecisionId, Destination, EgressAuthority, EgressGrant, Mount, ObjectOperation,
    SandboxFacts, StorageAuthority, Unpermitted,
};

use crate::{Decision, PolicyHost};

impl StorageAuthority for PolicyHost {
    fn mounts<'q>(&'q self, who: &'q Arc<SandboxFacts>, id: DecisionId) -> Asked<'q, Vec<Mount>> {
        let generation = self.current();
        Box::pin(async move {
            // Which plugin failed, and how, has been logged.
            generation.mounts(who, id).await.map_err(|_| Unpermitted::Failed)
        })
    }

    fn authorize_object<'q>(
        &'q self,
        who: &'q Arc<SandboxFacts>,
        operation: &'q Arc<ObjectOperation>,
        id: DecisionId,
    ) -> Asked<'q, ()> {
        let generation = self.current();
        Box::pin(async move { ruling(generation.authorize_object(who, operation, id).await) })
    }
}

impl EgressAuthority for PolicyHost {
    fn authorize_egress<'q>(
        &'q self,
        who: &'q Arc<SandboxFacts>,
        to: &'q Arc<Destination>,
        id: DecisionId,
    ) -> Asked<'q, EgressGrant> {
        let generation = self.current();
        Box::pin(async move { ruling(generation.authorize_egress(who, to, id).await) })
    }
}

fn ruling<T>(decision: Decision<T>) -> Result<T, Unpermitted> {
    match decision {
        Decision::Granted { value, .. } => Ok(value),
        Decision::Denied { denial, .. } => Err(Unpermitted::Denied(denial)),
        Decision::Unanswered => Err(Unpermitted::Unanswered),
        Decision::Failed(_) => Err(Unpermitted::Failed),
    }
}
