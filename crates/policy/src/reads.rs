//! What a call read: every getter that a plugin used, in order. The host knows by
//! it what a decision depended on: two calls of one hook that read the same values
//! are the same question.
//!
//! Only *what* was read is kept while a call runs; the values stay in the request's
//! facts and are looked up again by whoever needs them ([`Read::feed`]).

use std::hash::{Hash as _, Hasher};

use crate::interfaces::types::{cookie, header, query_param};
use crate::state::About;

/// Reads of one call. Who reads more has no shape any more ([`ReadSet::shape`]).
const MAX_READS: usize = 256;
/// Bytes of all names in one call's reads.
const MAX_NAMES: usize = 8 << 10;

/// A getter of the contract's `types`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Getter {
    Method,
    Scheme,
    Authority,
    Path,
    Query,
    QueryParam,
    Header,
    HeaderValues,
    HeaderNames,
    Cookie,
    ClientIp,
    IsWebsocket,
    CertificateSubject,
    Subject,
    Tenant,
    Claim,
    SandboxId,
    SandboxTenant,
    SandboxSubject,
    SandboxTemplate,
    SandboxLabel,
}

/// One use of a getter; the name is empty where the getter takes none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Read {
    what: Getter,
    name: String,
}

/// The reads of one call. Lives as long as its instance, so that its room is
/// made once.
#[derive(Debug, Default)]
pub(crate) struct ReadSet {
    reads: Vec<Read>,
    names: usize,
    /// More was read than is kept.
    overflowed: bool,
    /// Something was used that isn't the same for the same question: a counter,
    /// a random number, an answer from outside.
    volatile: bool,
}

impl ReadSet {
    /// For the next call.
    pub(crate) fn clear(&mut self) {
        self.reads.clear();
        (self.names, self.overflowed, self.volatile) = (0, false, false);
    }

    /// Notes that `what` was asked about `name`.
    pub(crate) fn note(&mut self, what: Getter, name: String) {
        self.names += name.len();
        if self.reads.len() < MAX_READS && self.names <= MAX_NAMES {
            self.reads.push(Read { what, name });
        } else {
            self.overflowed = true;
        }
    }

    /// Notes that the call depends on more than what it is about.
    pub(crate) fn note_volatile(&mut self) {
        self.volatile = true;
    }

    /// What was read, where that is all that the call depended on.
    pub(crate) fn shape(&self) -> Option<&[Read]> {
        (!self.overflowed && !self.volatile).then_some(self.reads.as_slice())
    }
}

impl Read {
    /// Hashes what this read gives in a call about `about`.
    pub(crate) fn feed(&self, about: &About, into: &mut impl Hasher) {
        let name = self.name.as_str();
        match self.what {
            Getter::Method
            | Getter::Scheme
            | Getter::Authority
            | Getter::Path
            | Getter::Query
            | Getter::QueryParam
            | Getter::Header
            | Getter::HeaderValues
            | Getter::HeaderNames
            | Getter::Cookie
            | Getter::ClientIp
            | Getter::IsWebsocket
            | Getter::CertificateSubject => self.feed_request(about, into),
            Getter::Subject => about.identity.as_ref().map(|it| it.subject.as_str()).hash(into),
            Getter::Tenant => about.identity.as_ref().map(|it| it.tenant.as_str()).hash(into),
            Getter::Claim => about.identity.as_ref().map(|it| it.claim(name)).hash(into),
            Getter::SandboxId => about.sandbox.as_ref().map(|it| it.key.name.as_str()).hash(into),
            Getter::SandboxTenant => {
                about.sandbox.as_ref().map(|it| it.key.tenant.as_str()).hash(into);
            }
            Getter::SandboxSubject => {
                about.sandbox.as_ref().map(|it| it.subject.as_str()).hash(into);
            }
            Getter::SandboxTemplate => {
                about.sandbox.as_ref().map(|it| it.template.as_str()).hash(into);
            }
            Getter::SandboxLabel => about.sandbox.as_ref().map(|it| it.label(name)).hash(into),
        }
    }

    fn feed_request(&self, about: &About, into: &mut impl Hasher) {
        let Some(facts) = about.facts.as_deref() else { return 0_u8.hash(into) };
        let name = self.name.as_str();
        match self.what {
            Getter::Method => facts.method.as_str().hash(into),
            Getter::Scheme => facts.scheme().hash(into),
            Getter::Authority => facts.authority.hash(into),
            Getter::Path => facts.path.hash(into),
            Getter::Query => facts.query.hash(into),
            Getter::QueryParam => query_param(facts, name).hash(into),
            Getter::Header => header(facts, name).hash(into),
            Getter::HeaderValues => {
                let values = facts.headers.get_all(name);
                values.iter().for_each(|value| value.as_bytes().hash(into));
                usize::MAX.hash(into);
            }
            Getter::HeaderNames => {
                facts.headers.keys().for_each(|name| name.as_str().hash(into));
                usize::MAX.hash(into);
            }
            Getter::Cookie => cookie(facts, name).hash(into),
            Getter::ClientIp => facts.client.hash(into),
            Getter::IsWebsocket => facts.websocket.hash(into),
            Getter::CertificateSubject => facts.client_certificate_subject.hash(into),
            // Of an identity or a sandbox; see `feed`.
            Getter::Subject
            | Getter::Tenant
            | Getter::Claim
            | Getter::SandboxId
            | Getter::SandboxTenant
            | Getter::SandboxSubject
            | Getter::SandboxTemplate
            | Getter::SandboxLabel => {}
        }
    }
}
