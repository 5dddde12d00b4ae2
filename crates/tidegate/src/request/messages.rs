//! WebSockets whose messages policy judges.
//!
//! A WebSocket lives for hours, and a reload shall reach it: each message goes to
//! the generation that is current when it comes, and all that is asked about one
//! message goes to one generation.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tidegate_policy::Hook;
use tidegate_relay::{CloseReason, Flow, GateFailed, Judging, MessageGate, Messages};
use tidegate_types::{
    DecisionId, Identity, Message, MessageVerdict, Placement, RelayMode, RequestFacts,
    SandboxFacts, Way,
};

use crate::live::Live;
use crate::usage::Metered;

/// How a WebSocket is closed that has had all the messages it may.
const QUOTA: (u16, &str) = (CloseReason::QuotaUsedUp.code(), CloseReason::QuotaUsedUp.text());

/// Asks policy about the messages of one WebSocket.
#[derive(Debug)]
struct Gate {
    live: Arc<ArcSwap<Live>>,
    metered: Arc<Metered>,
    who: Arc<Identity>,
    target: Arc<SandboxFacts>,
}

/// How `request` is relayed if it becomes a WebSocket; `None` as raw bytes.
pub(super) fn judged(
    request: &RequestFacts,
    placement: &Placement,
    (live, metered, who): (&Arc<ArcSwap<Live>>, &Arc<Metered>, &Arc<Identity>),
    max_message: usize,
    target: impl FnOnce() -> Arc<SandboxFacts>,
) -> Option<Messages> {
    // Whatever asks to become something else is told that it can't: that is the
    // relay's affair, and it must know.
    let upgrades = request.websocket || request.headers.contains_key(http::header::UPGRADE);
    (placement.relay == RelayMode::Messages && upgrades).then(|| {
        let (live, metered, who) = (Arc::clone(live), Arc::clone(metered), Arc::clone(who));
        let gate = Gate { live, metered, who, target: target() };
        Messages { gate: Arc::new(gate), max_message }
    })
}

impl MessageGate for Gate {
    fn on_message(&self, way: Way, message: Message) -> Judging<'_> {
        Box::pin(async move {
            if self.metered.message() == Flow::Cut {
                let (code, reason) = QUOTA;
                return Ok(MessageVerdict::Close { code, reason: reason.into() });
            }
            let policy = Arc::clone(&self.live.load().policy);
            let decision = DecisionId::random();
            // A reload may have taken the last plugin away that judges messages:
            // what shall be judged does not pass unjudged.
            if !policy.serves(Hook::Messages) {
                tracing::error!(%decision, "no plugin judges messages any more");
                return Err(GateFailed { decision });
            }
            let judged = policy.on_message(&self.who, &self.target, way, message, decision).await;
            // The policy host has logged which plugin failed, and why.
            judged.map_err(|_| GateFailed { decision })
        })
    }
}
