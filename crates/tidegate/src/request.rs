//! A request's way, from the parsed head to the relay. Read [`Front::judge`] from
//! top to bottom.

mod activity;
mod messages;
mod meters;
mod origin;
mod refusal;
mod seen;
mod target;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use http::{HeaderName, HeaderValue, Request, Response};
use tidegate_policy::Decision;
use tidegate_relay::{
    ClientBody, DECISION_HEADER, Handler, Peer, Relay, RelayBody, RelayError, Route, Target, facts,
};
use tidegate_sandbox::{Permit, Registry, Sandbox};
use tidegate_types::fault::chain;
use tidegate_types::template::IdentityField;
use tidegate_types::{
    Activity, Credential, DecisionId, HeaderEdit, Identity, Placement, Principal, RequestFacts,
    SandboxFacts, SandboxKey, Template, WhenAsleep,
};
use tokio_util::sync::CancellationToken;

pub(crate) use self::meters::Meters;
use self::refusal::{Asked, Refusal};
use self::seen::{Answered, Seen};
use self::target::Admitted;
use crate::live::Live;
use crate::observe::Observer;
use crate::usage::{Barred, Metered, Usage};

/// How long a person waits for a quick wake before they get a page instead.
const PAGE_AFTER: Duration = Duration::from_millis(150);

/// What stands behind the tenants' listener.
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) registry: Arc<Registry>,
    pub(crate) relay: Arc<Relay>,
    /// What a reload replaces.
    pub(crate) live: Arc<ArcSwap<Live>>,
    pub(crate) meters: Meters,
    /// Counts what is used.
    pub(crate) usage: Arc<Usage>,
    /// Told of every request that was answered.
    pub(crate) observer: Arc<Observer>,
    /// Cancelled when the gateway closes the WebSockets that are left.
    pub(crate) leaving: CancellationToken,
}

impl Handler for Front {
    async fn handle(
        self: Arc<Self>,
        request: Request<ClientBody>,
        peer: Peer,
    ) -> Response<RelayBody> {
        let began = Instant::now();
        let decision = DecisionId::random();
        let mut asked = Asked { navigation: false };
        let mut seen = Seen::default();
        let outcome = self.judge(request, &peer, decision, &mut asked, &mut seen).await;
        let took = began.elapsed();
        self.meters.answered(took);
        match outcome {
            Ok(response) => {
                self.observer.emit(|| seen.event(&Answered::by(&response, None, decision, took)));
                let status = response.status().as_u16();
                tracing::debug!(%decision, status, took_us = micros(began), "relayed");
                response
            }
            Err(refusal) => {
                self.meters.count(&refusal);
                let response = refusal.answer(&asked, decision);
                let code = Some(refusal.code());
                self.observer.emit(|| seen.event(&Answered::by(&response, code, decision, took)));
                log(&refusal, decision, response.status().as_u16(), began);
                response
            }
        }
    }
}

impl Front {
    /// Decides about one request and relays it. Each line stands where it stands
    /// for the reason given.
    async fn judge(
        &self,
        request: Request<ClientBody>,
        peer: &Peer,
        id: DecisionId,
        asked: &mut Asked,
        seen: &mut Seen,
    ) -> Result<Response<RelayBody>, Refusal> {
        // One configuration and one set of plugins for the whole request: a
        // reload in between cannot mix two.
        let live = self.live.load_full();
        let (policy, loaded) = (&live.policy, &live.loaded);
        seen.generation = policy.number();

        // First, what was asked, in one reading: everything below judges this.
        let (head, body) = request.into_parts();
        let facts = Arc::new(facts(&head, peer, &loaded.trusted).map_err(Refusal::BadRequest)?);
        *asked = Asked::of(&facts.method, &facts.headers, facts.websocket);
        seen.facts = Some(Arc::clone(&facts));

        // Who, before anything that costs: an unknown client learns nothing more.
        let principal = authenticated(policy.authenticate(&facts, id).await)?;
        // A browser adds cookies by itself; what it was told by another page to
        // do with them is not the user's word.
        if !origin::acceptable(&facts, principal.used.as_ref()) {
            return Err(Refusal::ForeignOrigin);
        }
        let who = Arc::new(principal.identity.clone());
        seen.who = Some(Arc::clone(&who));
        // How much, before anything is looked for: what is too much costs little.
        let metered = self.usage.begin(policy, &who, facts.websocket, id).await?;
        // Where to. Only an identity can have a sandbox.
        let placement = placed(policy.resolve(&facts, &who, id).await)?;
        let template =
            loaded.templates.get(&placement.template).cloned().ok_or(Refusal::TemplateGone)?;
        let key = SandboxKey { tenant: who.tenant.clone(), name: placement.sandbox.clone() };
        seen.sandbox = Some((key.name.clone(), template.name.clone()));
        let target = || Arc::new(target(&key, &who, &placement));
        // Whether it may wake anything, before anything is made or woken for it.
        let permit = match activity::classified(policy, &facts, target, id).await? {
            Activity::Active => {
                let sandbox = self.registry.find_or_create(&key, &placement, &template);
                activity::note(&sandbox, &facts, &who);
                // Counted in: from here on it cannot be put to sleep under this request.
                self.admit(&sandbox, &placement, *asked, &metered).await?
            }
            Activity::Passive => activity::visit(&self.registry, &key)?,
        };

        // And through. The permit lives as long as the relay needs the sandbox.
        let longest = loaded.config.server.max_message;
        let messages =
            messages::judged(&facts, &placement, (&self.live, &metered, &who), longest, target);
        let route = route(facts, &template, &who, principal, placement, id);
        let route = Route { messages, ..with_limits(route, &metered) };
        let leaving = self.leaving.clone();
        let target = Arc::new(Admitted { permit, who, metered, leaving });
        self.through(Request::from_parts(head, body), route, target).await
    }

    /// Relays; says why where a limit or a sandbox's sleep ends it early.
    async fn through(
        &self,
        request: Request<ClientBody>,
        route: Route,
        target: Arc<Admitted>,
    ) -> Result<Response<RelayBody>, Refusal> {
        let relayed = self.relay.forward(request, route, Arc::clone(&target) as Arc<dyn Target>);
        let relayed = async {
            // What was cut short is refused with the limit that did it.
            relayed.await.map_err(|error| match target.metered.cut() {
                Some(over) if matches!(error, RelayError::QuotaUsedUp) => Refusal::OverLimit(over),
                _ => Refusal::Relay(error),
            })
        };
        if !target.permit.is_visitor() {
            return relayed.await;
        }
        // What keeps nothing awake may find it going to sleep.
        tokio::select! {
            biased;
            answer = relayed => answer,
            () = target.permit.closing() => Err(Refusal::Asleep),
        }
    }

    /// Waits for the sandbox in the way that the placement asks for.
    async fn admit(
        &self,
        sandbox: &Arc<Sandbox>,
        placement: &Placement,
        asked: Asked,
        metered: &Metered,
    ) -> Result<Permit, Refusal> {
        if let Some(permit) = sandbox.try_admit() {
            self.usage.used_by(sandbox.key(), metered);
            return Ok(permit);
        }
        if placement.when_asleep == WhenAsleep::Refuse {
            sandbox.forget_unless_begun();
            return Err(Refusal::Asleep);
        }
        // Counted among those that are awake before it is; held until it is, or
        // until the wake is given up.
        let counted = self.usage.before_wake(&self.registry, sandbox, metered);
        // Whoever asks for ever new names must not fill the registry with them.
        let _counted = counted.inspect_err(|_| sandbox.forget_unless_begun())?;
        if placement.when_asleep == WhenAsleep::Page && asked.navigation {
            // The wake goes on when nobody waits for it any more.
            return match tokio::time::timeout(PAGE_AFTER, sandbox.admit()).await {
                Ok(admitted) => admitted.map_err(Refusal::Wake),
                Err(_) => Err(Refusal::Waking),
            };
        }
        sandbox.admit().await.map_err(Refusal::Wake)
    }
}

impl From<Barred> for Refusal {
    fn from(barred: Barred) -> Self {
        match barred {
            Barred::OverLimit(over) => Self::OverLimit(over),
            Barred::Policy => Self::Policy,
        }
    }
}

/// What policy may know of the sandbox that a request is for.
fn target(key: &SandboxKey, who: &Identity, placement: &Placement) -> SandboxFacts {
    SandboxFacts {
        key: key.clone(),
        subject: who.subject.clone(),
        template: placement.template.clone(),
        labels: placement.labels.clone(),
    }
}

fn authenticated(decision: Decision<Principal>) -> Result<Principal, Refusal> {
    match decision {
        Decision::Granted { value, .. } => Ok(value),
        Decision::Denied { denial, .. } => Err(Refusal::Denied(denial)),
        Decision::Unanswered => Err(Refusal::Unauthenticated),
        Decision::Failed(_) => Err(Refusal::Policy),
    }
}

fn placed(decision: Decision<Placement>) -> Result<Placement, Refusal> {
    match decision {
        Decision::Granted { value, .. } => Ok(value),
        Decision::Denied { denial, .. } => Err(Refusal::Denied(denial)),
        Decision::Unanswered => Err(Refusal::Unplaced),
        Decision::Failed(_) => Err(Refusal::Policy),
    }
}

fn route(
    facts: Arc<RequestFacts>,
    template: &Template,
    who: &Identity,
    principal: Principal,
    placement: Placement,
    id: DecisionId,
) -> Route {
    let session_cookies = principal
        .consumed
        .iter()
        .filter_map(|place| match place {
            Credential::Cookie(name) => Some(name.clone()),
            Credential::Header(_) | Credential::QueryParam(_) => None,
        })
        .collect();
    let mut response_headers = principal.response_headers;
    response_headers.extend(placement.response_headers);
    if let Ok(value) = HeaderValue::try_from(id.to_string()) {
        response_headers.push(HeaderEdit::Set(DECISION_HEADER, value));
    }
    Route {
        port: placement.port,
        path: placement.path,
        client_address: template.client_address,
        strip: principal.consumed,
        identity_headers: template
            .identity_headers
            .iter()
            .map(|(name, field)| identity_header(name, field, who))
            .collect(),
        request_headers: placement.request_headers,
        response_headers,
        session_cookies,
        expires_at: principal.expires_at,
        ..Route::new(facts, placement.port)
    }
}

/// Tells the client, beside the answer, how much of its limits is left.
fn with_limits(mut route: Route, metered: &Metered) -> Route {
    let fields = metered.fields().into_iter();
    route.response_headers.extend(fields.map(|(name, value)| HeaderEdit::Append(name, value)));
    route
}

/// A value that cannot stand in a header field is left out: the client's own copy
/// is removed all the same. So is one with space around it, which whoever reads the
/// field removes: `alice ` would be `alice` to the application.
fn identity_header(
    name: &HeaderName,
    field: &IdentityField,
    who: &Identity,
) -> (HeaderName, Option<HeaderValue>) {
    let value = match field {
        IdentityField::Subject => Some(who.subject.as_str()),
        IdentityField::Tenant => Some(who.tenant.as_str()),
        IdentityField::Claim(claim) => who.claim(claim),
    };
    let value = value.filter(|value| value.trim() == *value);
    (name.clone(), value.and_then(|value| HeaderValue::from_bytes(value.as_bytes()).ok()))
}

/// One line per refusal, with all that the client is not told.
fn log(refusal: &Refusal, decision: DecisionId, status: u16, began: Instant) {
    let code = refusal.code();
    let took_us = micros(began);
    match refusal {
        // The policy host and the lifecycle have logged these, with their reasons.
        Refusal::Policy | Refusal::Wake(_) | Refusal::Waking => {
            tracing::debug!(%decision, status, code, took_us, "refused");
        }
        Refusal::TemplateGone => {
            tracing::error!(%decision, status, code, took_us, reason = ?refusal, "refused");
        }
        Refusal::Relay(error) => {
            let reason = chain(error);
            tracing::warn!(%decision, status, code, took_us, reason, "not relayed");
        }
        _ => tracing::info!(%decision, status, code, took_us, "refused"),
    }
}

fn micros(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// The address that applications see the gateway come from: of the shared address
/// space (RFC 6598), so that it is neither loopback nor anybody's.
pub(crate) const GATEWAY_INSIDE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(100, 64, 0, 1));

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_types::{SubjectId, TenantId};

    #[test]
    fn nobody_arrives_as_somebody_else_because_space_around_a_name_is_lost() {
        let told = |subject: &str| {
            let who = Identity {
                subject: SubjectId::new(subject).expect("a subject"),
                tenant: TenantId::new("demo").expect("a tenant"),
                claims: vec![("name".into(), subject.into())],
            };
            let name = HeaderName::from_static("x-user");
            let subject = identity_header(&name, &IdentityField::Subject, &who).1;
            let claim = identity_header(&name, &IdentityField::Claim("name".into()), &who).1;
            assert_eq!(subject, claim);
            subject
        };
        assert_eq!(told("alice"), Some(HeaderValue::from_static("alice")));
        assert_eq!(told("Alice B"), Some(HeaderValue::from_static("Alice B")));
        for padded in ["alice ", " alice", "alice\u{a0}", "\u{2003}alice", " "] {
            assert_eq!(told(padded), None, "{padded:?}");
        }
    }
}
