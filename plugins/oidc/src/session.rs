//! Who has signed in.

use serde::{Deserialize, Serialize};
use tidegate_plugin::claims::Claims;
use tidegate_plugin::prelude::*;

use crate::Asked;
use crate::config::Config;

/// What is kept of a session in its cookie.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Session {
    #[serde(rename = "s")]
    pub(crate) subject: String,
    #[serde(rename = "t")]
    tenant: String,
    #[serde(rename = "c")]
    claims: Vec<(String, String)>,
    /// When it ends for good.
    #[serde(rename = "e")]
    pub(crate) ends_ms: u64,
    /// How it is renewed, where that is possible.
    #[serde(rename = "r")]
    pub(crate) renewal: Option<Renewal>,
    /// Who the provider says it is, whatever the operator takes as the subject.
    #[serde(rename = "p")]
    pub(crate) provider_subject: String,
}

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Renewal {
    /// From when on it is to be done.
    #[serde(rename = "f")]
    pub(crate) from_ms: u64,
    /// When the provider's tokens run out.
    #[serde(rename = "d")]
    pub(crate) due_ms: u64,
    #[serde(rename = "t")]
    pub(crate) token: String,
}

impl Renewal {
    /// With `token`, before what lives for `lives_ms` from now runs out: a minute
    /// early, or a quarter of its life where that is less.
    pub(crate) fn new(token: String, lives_ms: u64, now_ms: u64) -> Self {
        let early = (lives_ms / 4).min(60_000);
        let due_ms = now_ms.saturating_add(lives_ms);
        Self { from_ms: due_ms.saturating_sub(early), due_ms, token }
    }
}

/// What a request says of a session.
pub(crate) enum Found {
    /// Nothing.
    Nothing,
    /// There is a cookie, which isn't good or isn't any more.
    Ended,
    One(Session),
}

impl Session {
    pub(crate) fn of(asked: &Asked<'_>) -> Found {
        if !asked.jar.has_session() {
            return Found::Nothing;
        }
        let text = asked.jar.session();
        let session = text.and_then(|text| serde_json::from_slice::<Self>(&text).ok());
        match session {
            Some(session) if asked.now_ms < session.ends_ms => Found::One(session),
            _ => Found::Ended,
        }
    }

    /// The session of somebody with these verified claims; `None` when they don't say
    /// who it is.
    pub(crate) fn begun(
        config: &Config,
        claims: &Claims,
        renewal: Option<Renewal>,
        ends_ms: u64,
    ) -> Option<Self> {
        let who = config.naming.principal(claims, &["sub"])?;
        Some(Self {
            subject: who.subject,
            tenant: who.tenant,
            claims: who.claims,
            ends_ms,
            renewal,
            provider_subject: claims.text("sub")?,
        })
    }

    /// The `set-cookie`s that keep it; `None` when it is too long.
    pub(crate) fn kept(&self, asked: &Asked<'_>) -> Result<Option<Vec<(String, String)>>, Failure> {
        let text = serde_json::to_vec(self).map_err(|e| failure("session", &e.to_string()))?;
        asked.jar.keep_session(&text, self.ends_ms.saturating_sub(asked.now_ms))
    }

    pub(crate) fn principal(self, asked: &Asked<'_>, cookies: Vec<(String, String)>) -> Principal {
        Principal {
            claims: self.claims,
            expires_at_ms: Some(self.ends_ms),
            response_headers: cookies.into_iter().map(HeaderEdit::Append).collect(),
            used: Some(Credential::Cookie(asked.jar.name().into())),
            consumed: asked.jar.places(),
            ..principal(&self.subject, &self.tenant)
        }
    }
}
