//! What the provider has given out: codes that work once, refresh tokens that are
//! exchanged at every use. Whoever uses one twice loses what came of it.

use std::collections::{HashMap, HashSet};

use super::keys::base64;

/// A sign-in that was asked for, from the authorization request's parameters.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) redirect_uri: String,
    pub(super) state: String,
    pub(super) nonce: String,
    pub(super) challenge: String,
}

/// What a user agreed to.
#[derive(Debug, Clone)]
pub(super) struct Grant {
    pub(super) user: String,
    pub(super) wanted: Wanted,
    family: u64,
}

#[derive(Default)]
pub(super) struct Grants {
    codes: HashMap<String, Grant>,
    refresh: HashMap<String, Grant>,
    used: HashMap<String, u64>,
    revoked: HashSet<u64>,
    families: u64,
}

impl Grants {
    pub(super) fn code(&mut self, user: &str, wanted: Wanted) -> String {
        self.families += 1;
        let code = random();
        let grant = Grant { user: user.to_owned(), wanted, family: self.families };
        self.codes.insert(code.clone(), grant);
        code
    }

    /// What a code was given for, once, to whoever knows the verifier.
    pub(super) fn redeem(&mut self, code: &str, verifier: &str, redirect: &str) -> Option<Grant> {
        self.seen_before(code);
        let grant = self.codes.remove(code)?;
        self.used.insert(code.to_owned(), grant.family);
        let digest = ring::digest::digest(&ring::digest::SHA256, verifier.as_bytes());
        let fine =
            grant.wanted.challenge == base64(digest) && grant.wanted.redirect_uri == redirect;
        fine.then_some(grant)
    }

    pub(super) fn refresh_token(&mut self, grant: &Grant) -> String {
        let token = random();
        self.refresh.insert(token.clone(), grant.clone());
        token
    }

    pub(super) fn refresh(&mut self, token: &str) -> Option<Grant> {
        self.seen_before(token);
        let grant = self.refresh.remove(token)?;
        self.used.insert(token.to_owned(), grant.family);
        (!self.revoked.contains(&grant.family)).then_some(grant)
    }

    /// Forgets all refresh tokens, as an administrator would.
    pub(super) fn revoke_all(&mut self) {
        self.refresh.clear();
    }

    fn seen_before(&mut self, token: &str) {
        if let Some(family) = self.used.get(token) {
            self.revoked.insert(*family);
        }
    }
}

pub(super) fn random() -> String {
    base64(rand::random::<[u8; 24]>())
}
