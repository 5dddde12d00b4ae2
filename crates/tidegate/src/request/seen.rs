//! What is known of a request by the time it is answered, for whoever is told of it.

use std::sync::Arc;
use std::time::Duration;

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Response, StatusCode};
use tidegate_types::{
    DecisionId, Event, EventKind, Identity, RequestFacts, SandboxName, TemplateName,
};

/// Filled on a request's way, as far as it gets.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// What was asked.
    pub(crate) facts: Option<Arc<RequestFacts>>,
    /// By whom.
    pub(crate) who: Option<Arc<Identity>>,
    /// Of which sandbox.
    pub(crate) sandbox: Option<(SandboxName, TemplateName)>,
    /// Which generation of plugins decided.
    pub(crate) generation: u64,
}

/// How a request was answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answered<'a> {
    pub(crate) decision: DecisionId,
    pub(crate) status: StatusCode,
    pub(crate) headers: &'a HeaderMap,
    /// Why the gateway itself answered, where it did.
    pub(crate) code: Option<&'a str>,
    /// To the head of the answer.
    pub(crate) took: Duration,
}

impl<'a> Answered<'a> {
    pub(crate) fn by<B>(
        response: &'a Response<B>,
        code: Option<&'a str>,
        decision: DecisionId,
        took: Duration,
    ) -> Self {
        Self { decision, status: response.status(), headers: response.headers(), code, took }
    }
}

impl Seen {
    /// The event `request`. Its fields are listed in `docs/audit.md`. Lengths are what
    /// the messages say of themselves: those that don't are told without.
    pub(crate) fn event(&self, answered: &Answered<'_>) -> Event {
        let mut event = Event {
            tenant: self.who.as_ref().map(|who| who.tenant.clone()),
            subject: self.who.as_ref().map(|who| who.subject.clone()),
            sandbox: self.sandbox.as_ref().map(|(name, _)| name.clone()),
            decision: Some(answered.decision),
            ..Event::now(EventKind::Request)
        }
        .with("status", answered.status.as_u16().to_string())
        .with("took-us", answered.took.as_micros().to_string())
        .with("generation", self.generation.to_string());
        if let Some(facts) = &self.facts {
            event = event
                .with("client", facts.client.to_string())
                .with("method", facts.method.as_str().to_owned())
                .with("scheme", facts.scheme())
                .with("host", facts.authority.clone())
                // Without the query: tokens stand there.
                .with("path", facts.path.clone());
            if facts.websocket {
                event = event.with("websocket", "true");
            }
            event = with_length(event, "bytes-in", &facts.headers);
        }
        if let Some((_, template)) = &self.sandbox {
            event = event.with("template", template.as_str().to_owned());
        }
        if let Some(code) = answered.code {
            event = event.with("code", code.to_owned());
        }
        with_length(event, "bytes-out", answered.headers)
    }
}

fn with_length(event: Event, field: &'static str, headers: &HeaderMap) -> Event {
    match headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()) {
        Some(length) => event.with(field, length.to_owned()),
        None => event,
    }
}
