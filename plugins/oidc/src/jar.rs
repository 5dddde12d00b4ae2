//! Sealed cookies. What doesn't fit into one is cut into pieces: browsers take some
//! 4 KiB in each.
//!
//! `NAME` holds `N.TEXT`, where N says in how many pieces it comes; the others are
//! called `NAME-1`, `NAME-2`… A sign-in under way is in `NAME-flow-STATE`.

use tidegate_plugin::cookies::{clear_cookie, cookie_name, cookies, set_cookie};
use tidegate_plugin::host::tokens;
use tidegate_plugin::prelude::*;
use tidegate_plugin::text::{base64url, from_base64url};

use crate::config::Config;
use crate::flow::MAX_FLOWS;

/// Of one cookie's value.
const PIECE: usize = 3_800;
/// Of one session: with its fields, what servers take in a head is used up by then.
pub(crate) const MAX_PIECES: usize = 4;

/// The cookies of one request that are ours.
pub(crate) struct Jar {
    /// As the request's kind of connection has it: with `__Host-` or without.
    name: String,
    bare_name: String,
    secret: String,
    origin: String,
    ours: Vec<(String, String)>,
}

impl Jar {
    pub(crate) fn open(config: &Config, request: &impl Facts, https: bool, origin: &str) -> Self {
        let name = cookie_name(&config.cookie, https);
        let ours = cookies(request, |it| it.starts_with(name.as_str()));
        Self {
            name,
            bare_name: config.cookie.clone(),
            secret: config.session_secret.clone(),
            origin: origin.into(),
            ours,
        }
    }

    /// What the session cookie is called.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Every place where a cookie of ours may stand, for the host to remove.
    pub(crate) fn places(&self) -> Vec<Credential> {
        let mut places = Vec::with_capacity(2 * MAX_PIECES + self.ours.len());
        for https in [false, true] {
            let name = cookie_name(&self.bare_name, https);
            places.extend((1..MAX_PIECES).map(|at| Credential::Cookie(format!("{name}-{at}"))));
            places.push(Credential::Cookie(name));
        }
        // More than we leave there were planted, and hold nothing.
        let flows = self.flows().take(MAX_FLOWS);
        places.extend(flows.map(|name| Credential::Cookie(name.into())));
        places
    }

    /// Whether there is a session cookie, good or not.
    pub(crate) fn has_session(&self) -> bool {
        self.ours.iter().any(|(name, _)| *name == self.name)
    }

    /// What is in the session cookie, if this gateway sealed it for this origin. Two
    /// of one name are none: which is meant can't be known.
    pub(crate) fn session(&self) -> Option<Vec<u8>> {
        let first = self.only(&self.name)?;
        let (pieces, first) = first.split_once('.')?;
        let pieces: usize =
            pieces.parse().ok().filter(|pieces| (1..=MAX_PIECES).contains(pieces))?;
        let mut text = String::from(first);
        for at in 1..pieces {
            text.push_str(self.only(&self.piece(at))?);
        }
        self.unsealed("session", &text)
    }

    /// The `set-cookie`s that keep a session; `None` when it is too long.
    pub(crate) fn keep_session(
        &self,
        session: &[u8],
        lives_ms: u64,
    ) -> Result<Option<Vec<(String, String)>>, Failure> {
        let text = self.sealed("session", session)?;
        let pieces: Vec<&[u8]> = text.as_bytes().chunks(PIECE).collect();
        if pieces.len() > MAX_PIECES {
            return Ok(None);
        }
        let kept = pieces.iter().enumerate().map(|(at, piece)| {
            let piece = String::from_utf8_lossy(piece);
            match at {
                0 => set_cookie(&self.name, &format!("{}.{piece}", pieces.len()), lives_ms),
                _ => set_cookie(&self.piece(at), &piece, lives_ms),
            }
        });
        Ok(Some(kept.collect()))
    }

    /// The `set-cookie`s that end the session.
    pub(crate) fn drop_session(&self) -> Vec<(String, String)> {
        let pieces = (1..MAX_PIECES).map(|at| self.piece(at)).filter(|it| self.only(it).is_some());
        std::iter::once(self.name.clone()).chain(pieces).map(|name| clear_cookie(&name)).collect()
    }

    /// What the cookies of flows are called.
    pub(crate) fn flows(&self) -> impl Iterator<Item = &str> {
        self.ours.iter().map(|(name, _)| name.as_str()).filter(|name| {
            name.strip_prefix(&self.name).is_some_and(|rest| rest.starts_with("-flow-"))
        })
    }

    /// What the cookie of the flow with this state is called. Several can be under
    /// way, one in each tab.
    pub(crate) fn flow_name(&self, state: &str) -> String {
        let short: String = state.chars().take(8).collect();
        format!("{}-flow-{short}", self.name)
    }

    pub(crate) fn flow(&self, state: &str) -> Option<Vec<u8>> {
        self.unsealed("flow", self.only(&self.flow_name(state))?)
    }

    pub(crate) fn sealed(&self, kind: &str, message: &[u8]) -> Result<String, Failure> {
        tokens::seal(&self.secret, &self.context(kind), message)
            .map(|sealed| base64url(&sealed))
            .map_err(|why| failure("cannot-seal", &why))
    }

    fn unsealed(&self, kind: &str, text: &str) -> Option<Vec<u8>> {
        tokens::open(&self.secret, &self.context(kind), &from_base64url(text)?)
    }

    /// What is sealed for one origin opens in no other, and a flow is no session.
    fn context(&self, kind: &str) -> String {
        format!("{kind} {}", self.origin)
    }

    fn piece(&self, at: usize) -> String {
        format!("{}-{at}", self.name)
    }

    fn only(&self, name: &str) -> Option<&str> {
        let mut named = self.ours.iter().filter(|(it, _)| it == name);
        match (named.next(), named.next()) {
            (Some((_, value)), None) => Some(value),
            _ => None,
        }
    }
}
