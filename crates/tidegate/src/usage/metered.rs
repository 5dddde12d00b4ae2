//! What one request may use while it lasts.

use std::sync::{Arc, OnceLock};

use http::{HeaderName, HeaderValue};
use tidegate_quota::{Account, Exceeded, Level};
use tidegate_relay::Flow;
use tidegate_types::{DecisionId, Meter};

use super::{OverLimit, Usage, rate_limit};

/// A request that was counted in. Lives as long as its answer, or as the WebSocket
/// that it became: then that is no longer open.
#[derive(Debug, Default)]
pub(crate) struct Metered {
    /// `None` where nobody sets limits.
    counted: Option<Counted>,
}

#[derive(Debug)]
struct Counted {
    usage: Arc<Usage>,
    account: Account,
    decision: DecisionId,
    /// Which bytes matter: looked up once.
    ingress: bool,
    egress: bool,
    _socket: Option<Level>,
    /// The limit that cut it short.
    cut: OnceLock<Exceeded>,
}

impl Metered {
    pub(crate) fn new(
        usage: Arc<Usage>,
        account: Account,
        socket: Option<Level>,
        decision: DecisionId,
    ) -> Self {
        let (ingress, egress) =
            (account.limits_any(Meter::IngressBytes), account.limits_any(Meter::EgressBytes));
        let cut = OnceLock::new();
        let counted = Counted { usage, account, decision, ingress, egress, _socket: socket, cut };
        Self { counted: Some(counted) }
    }

    /// Whose, and by which decision.
    pub(crate) fn account(&self) -> Option<(&Account, DecisionId)> {
        self.counted.as_ref().map(|counted| (&counted.account, counted.decision))
    }

    /// Counts bytes from the client.
    pub(crate) fn ingress(&self, n: u64) -> Flow {
        match &self.counted {
            Some(counted) if counted.ingress => counted.spend(Meter::IngressBytes, n),
            _ => Flow::Go,
        }
    }

    /// Counts bytes from the sandbox.
    pub(crate) fn egress(&self, n: u64) -> Flow {
        match &self.counted {
            Some(counted) if counted.egress => counted.spend(Meter::EgressBytes, n),
            _ => Flow::Go,
        }
    }

    /// Counts one WebSocket message, in either direction.
    pub(crate) fn message(&self) -> Flow {
        match &self.counted {
            Some(counted) => counted.flow(counted.account.take(Meter::WebsocketMessages, 1)),
            None => Flow::Go,
        }
    }

    /// What a client is told with a successful answer.
    pub(crate) fn fields(&self) -> Vec<(HeaderName, HeaderValue)> {
        let of = |counted: &Counted| rate_limit(&counted.account, Meter::Requests);
        self.counted.as_ref().map(of).unwrap_or_default()
    }

    /// The limit that cut it short, if one did.
    pub(crate) fn cut(&self) -> Option<Box<OverLimit>> {
        let counted = self.counted.as_ref()?;
        let exceeded = *counted.cut.get()?;
        Some(Box::new(OverLimit::of(&counted.account, exceeded)))
    }
}

impl Counted {
    fn spend(&self, meter: Meter, n: u64) -> Flow {
        self.flow(self.account.spend(meter, n))
    }

    fn flow(&self, counted: Result<(), Exceeded>) -> Flow {
        let Err(exceeded) = counted else { return Flow::Go };
        // Both directions may hear of it; it is one event.
        if self.cut.set(exceeded).is_ok() {
            self.usage.reached(&self.account, exceeded, self.decision);
        }
        Flow::Cut
    }
}
