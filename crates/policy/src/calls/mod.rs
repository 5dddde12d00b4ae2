//! Calls that a plugin makes to HTTP services: judged here, made by whoever the
//! composition lends.
//!
//! | file | idea |
//! |---|---|
//! | `allowed.rs` | which hosts a plugin may call |
//! | `message.rs` | from what a plugin said to the request that is sent |
//! | `meter.rs` | what became of its calls |
//!
//! What it doesn't stop: a plugin telling an allowed host what it read of requests,
//! and which of its granted secrets are sent there.

mod allowed;
mod message;
mod meter;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Response;

pub(crate) use allowed::Allowed;
pub(crate) use meter::HttpMeter;
pub use meter::HttpOutcome;

use crate::bindings::tidegate::host::http as contract;
use crate::contract::Breach;
use crate::{HttpGrant, Outgoing, Secrets, SendError};

/// Calls of one plugin that may be under way at once. More would be a service that
/// hangs; their requests are failed instead of piled up.
const AT_ONCE: usize = 64;
/// Calls in one call of a hook.
pub(crate) const PER_HOOK_CALL: u32 = 8;

/// What one plugin may call, and the means to do it.
pub(crate) struct Calls {
    allowed: Allowed,
    secrets: BTreeSet<String>,
    timeout: Duration,
    max_body: usize,
    outgoing: Arc<dyn Outgoing>,
    under_way: AtomicUsize,
}

impl Calls {
    /// # Errors
    /// A pattern that is none, or a secret that isn't there.
    pub(crate) fn granted(
        grant: &HttpGrant,
        secrets: &Secrets,
        outgoing: &Arc<dyn Outgoing>,
    ) -> Result<Self, Breach> {
        if let Some(name) = grant.secrets.iter().find(|name| secrets.get(name).is_none()) {
            let what = format!("`http.secrets` names `{name}`, which is no secret");
            return Err((what, "define it, or remove it there".into()));
        }
        Ok(Self {
            allowed: Allowed::parse(&grant.hosts)?,
            secrets: grant.secrets.clone(),
            timeout: grant.timeout,
            max_body: grant.max_body,
            outgoing: Arc::clone(outgoing),
            under_way: AtomicUsize::new(0),
        })
    }

    /// Judges and makes one call, and counts what became of it.
    ///
    /// # Cancel safety
    /// Dropping it ends the call and counts it as abandoned; the service may have
    /// acted on it.
    pub(crate) async fn send(
        &self,
        asked: contract::Outgoing,
        secrets: &Secrets,
        meter: &HttpMeter,
    ) -> Result<contract::Incoming, contract::Error> {
        let counted = Counted { meter, began: Instant::now(), outcome: HttpOutcome::Abandoned };
        let (answer, outcome) = match self.made(asked, secrets).await {
            Ok(answer) => (Ok(incoming(answer)), HttpOutcome::Answered),
            Err(error) => {
                let outcome = match &error {
                    contract::Error::NotAllowed(_) => HttpOutcome::NotAllowed,
                    contract::Error::TimedOut => HttpOutcome::TimedOut,
                    contract::Error::TooLarge => HttpOutcome::TooLarge,
                    contract::Error::Unreachable(_) => HttpOutcome::Unreachable,
                };
                (Err(error), outcome)
            }
        };
        counted.ended(outcome);
        answer
    }

    async fn made(
        &self,
        asked: contract::Outgoing,
        secrets: &Secrets,
    ) -> Result<Response<Bytes>, contract::Error> {
        let within = match Duration::from_millis(asked.timeout_ms.into()) {
            Duration::ZERO => self.timeout,
            asked => asked.min(self.timeout),
        };
        let granted = |name: &str| self.secrets.get(name).and_then(|name| secrets.get(name));
        let request =
            message::request(asked, &self.allowed, granted).map_err(contract::Error::NotAllowed)?;
        let Some(_place) = Place::take(&self.under_way) else {
            let why = format!("{AT_ONCE} calls of this plugin are under way already");
            return Err(contract::Error::Unreachable(why));
        };
        self.outgoing.send(request, within, self.max_body).await.map_err(|error| match error {
            SendError::TimedOut => contract::Error::TimedOut,
            SendError::TooLarge => contract::Error::TooLarge,
            SendError::Unreachable(why) => contract::Error::Unreachable(why),
        })
    }
}

/// Header fields that aren't text are left out: the contract has no place for them.
fn incoming(answer: Response<Bytes>) -> contract::Incoming {
    let (head, body) = answer.into_parts();
    let headers = head.headers.iter().filter_map(|(name, value)| {
        Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
    });
    contract::Incoming {
        status: head.status.as_u16(),
        headers: headers.collect(),
        body: body.into(),
    }
}

/// One of the calls that may be under way; given back when dropped.
struct Place<'c>(&'c AtomicUsize);

impl<'c> Place<'c> {
    fn take(under_way: &'c AtomicUsize) -> Option<Self> {
        let place = Self(under_way);
        (under_way.fetch_add(1, Relaxed) < AT_ONCE).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Counts a call when it ends, whichever way.
struct Counted<'m> {
    meter: &'m HttpMeter,
    began: Instant,
    outcome: HttpOutcome,
}

impl Counted<'_> {
    fn ended(mut self, outcome: HttpOutcome) {
        self.outcome = outcome;
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.meter.count(self.outcome, self.began.elapsed());
    }
}
