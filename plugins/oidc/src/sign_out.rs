//! Ends a session, here and at the provider.

use tidegate_plugin::prelude::*;
use tidegate_plugin::text::percent_encode;

use crate::{Asked, Oidc, redirect};

impl Oidc {
    /// Forgets the session and sends the person to the provider to end the one there
    /// (OpenID Connect RP-Initiated Logout), and from there to [`done`].
    pub(crate) fn sign_out(&self, asked: &Asked<'_>) -> Result<Denial, Failure> {
        // Another site's page can't sign anybody out; old browsers don't say.
        let from = asked.request.header_values("sec-fetch-site");
        if from.iter().any(|from| !matches!(from.as_slice(), b"none" | b"same-origin")) {
            let message = "Signing out was asked for by another site's page.";
            return Ok(denial(403, "foreign-origin", message));
        }
        let here = format!("{}{}/done", asked.origin, self.config.sign_out_path);
        let addresses = self.provider.addresses(asked.now_ms);
        // A provider that is away mustn't keep anybody signed in here.
        let there = addresses.ok().and_then(|it| it.end_session_endpoint).map(|endpoint| {
            let joint = if endpoint.contains('?') { '&' } else { '?' };
            format!(
                "{endpoint}{joint}client_id={}&post_logout_redirect_uri={}",
                percent_encode(&self.config.client_id),
                percent_encode(&here)
            )
        });
        Ok(redirect("signed-out", there.unwrap_or(here), asked.jar.drop_session()))
    }
}

/// Where signing out ends: a page that begins no new session by itself.
pub(crate) fn done() -> Denial {
    denial(401, "signed-out", "You are signed out. Open another page to sign in again.")
}
