//! Renews a session when the provider's tokens are about to run out: with that, a
//! provider that has locked somebody out ends the session here too.
//!
//! Refresh tokens often work once. So of all requests that come with the same session
//! one renews, and the others are served as they are meanwhile: that is why it is
//! done a minute early, and why the old tokens count for a minute longer.

use tidegate_plugin::host::{counters, tokens};
use tidegate_plugin::prelude::*;
use tidegate_plugin::text::base64url;

use crate::provider::{NoTokens, Tokens};
use crate::session::{Renewal, Session};
use crate::{Asked, Oidc};

/// How long tokens count after they have run out.
const GRACE_MS: u64 = 60_000;
/// How long one attempt keeps others from making one.
const ATTEMPT_MS: u64 = 15_000;
/// How long it is remembered that a refresh token was used.
const USED_MS: u64 = 3_600_000;
/// What the count of a refresh token's uses grows by when the provider ended it.
const ENDED: i64 = 1_000_000;

/// When it is tried again after the provider signed with a key that isn't known yet.
const SOON_MS: u64 = 40_000;

/// What became of a session.
pub(crate) enum Renewed {
    AsItIs(Session),
    /// With the `set-cookie`s that keep it.
    Anew(Session, Vec<(String, String)>),
    Over,
}

impl Oidc {
    pub(crate) fn renewed(&self, asked: &Asked<'_>, session: Session) -> Result<Renewed, Failure> {
        let Some(renewal) = session.renewal.clone() else { return Ok(Renewed::AsItIs(session)) };
        if asked.now_ms < renewal.from_ms {
            return Ok(Renewed::AsItIs(session));
        }
        let still_good = asked.now_ms < renewal.due_ms.saturating_add(GRACE_MS);
        let otherwise = |session| if still_good { Renewed::AsItIs(session) } else { Renewed::Over };
        let name = base64url(&tokens::sha256(renewal.token.as_bytes()));
        let used = ["used ", &name].concat();
        match counters::add(&used, 0, USED_MS) {
            ..=0 => {}
            ENDED.. => return Ok(Renewed::Over),
            _ => return Ok(otherwise(session)),
        }
        let slot = asked.now_ms / ATTEMPT_MS;
        if counters::add(&format!("attempt {slot} {name}"), 1, 2 * ATTEMPT_MS) > 1 {
            return Ok(otherwise(session));
        }
        let form = [("grant_type", "refresh_token"), ("refresh_token", renewal.token.as_str())];
        let given = match self.provider.tokens(&form, asked.now_ms) {
            Ok(given) => given,
            Err(NoTokens::Failed(failed)) => {
                // It may not have arrived: the next slot tries again.
                return if still_good { Ok(Renewed::AsItIs(session)) } else { Err(failed) };
            }
            Err(_) => {
                counters::add(&used, ENDED, USED_MS);
                return Ok(Renewed::Over);
            }
        };
        // One that stays valid may be used again.
        if given.refresh_token.as_ref().is_some_and(|next| *next != renewal.token) {
            counters::add(&used, 1, USED_MS);
        }
        let Some(next) = self.next(asked, &session, given, &renewal.token) else {
            counters::add(&used, ENDED, USED_MS);
            return Ok(Renewed::Over);
        };
        match next.kept(asked)? {
            Some(cookies) => Ok(Renewed::Anew(next, cookies)),
            None => Ok(Renewed::Over),
        }
    }

    /// The session with what the provider says now; `None` when it says something
    /// that ends it.
    fn next(
        &self,
        asked: &Asked<'_>,
        session: &Session,
        mut given: Tokens,
        used: &str,
    ) -> Option<Session> {
        // Where the old one stays valid, none comes.
        given.refresh_token.get_or_insert_with(|| used.into());
        let lives_ms = given.expires_in.unwrap_or(3_600).saturating_mul(1_000);
        let Some(token) = given.id_token.clone() else {
            let mut next = session.clone();
            let token = given.refresh_token;
            next.renewal = token.map(|token| Renewal::new(token, lives_ms, asked.now_ms));
            return Some(next);
        };
        let claims = match self.provider.claims(&token, None) {
            Ok(claims) => claims,
            // The provider has changed its keys, and they are being fetched by now.
            Err(NoTokens::UnknownKey) => {
                let mut next = session.clone();
                let token = given.refresh_token;
                next.renewal = token.map(|token| Renewal::new(token, SOON_MS, asked.now_ms));
                return Some(next);
            }
            Err(_) => return None,
        };
        // Core §12.2: the same person, or something is very wrong.
        let same = claims.text("sub").as_deref() == Some(session.provider_subject.as_str());
        if !same || !self.config.allows(&claims) {
            return None;
        }
        let renewal = self.renewal(given, &claims, asked.now_ms);
        let next = Session::begun(&self.config, &claims, renewal, session.ends_ms)?;
        (next.subject == session.subject).then_some(next)
    }
}
