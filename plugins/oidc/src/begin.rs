//! Sends a person to the provider.

use tidegate_plugin::cookies::{clear_cookie, set_cookie};
use tidegate_plugin::prelude::*;
use tidegate_plugin::sign_in::own_path;
use tidegate_plugin::text::percent_encode;

use crate::flow::{Flow, LIVES_MS, MAX_FLOWS};
use crate::{Asked, Oidc, redirect};

/// A longer address isn't returned to; the cookie has to hold it.
const MAX_RETURN: usize = 1_500;

impl Oidc {
    /// To the provider, and back to where the request wanted to go.
    pub(crate) fn begin(&self, asked: &Asked<'_>, attempt: u32) -> Result<Denial, Failure> {
        let path = asked.request.path();
        let ours = path == self.config.callback_path;
        let mut to = if ours { "/".into() } else { own_path(&path) };
        if let Some(query) = asked.request.query().filter(|_| !ours) {
            to.push('?');
            to.push_str(&query);
        }
        if to.len() > MAX_RETURN {
            to = "/".into();
        }
        self.begin_towards(asked, to, attempt)
    }

    pub(crate) fn begin_towards(
        &self,
        asked: &Asked<'_>,
        to: String,
        attempt: u32,
    ) -> Result<Denial, Failure> {
        let addresses = self.provider.addresses(asked.now_ms)?;
        let flow = Flow::new(to, attempt, asked.now_ms);
        let endpoint = &addresses.authorization_endpoint;
        let joint = if endpoint.contains('?') { '&' } else { '?' };
        let url = format!(
            "{endpoint}{joint}response_type=code&client_id={}&redirect_uri={}&scope={}&state={}\
             &nonce={}&code_challenge={}&code_challenge_method=S256",
            percent_encode(&self.config.client_id),
            percent_encode(&self.redirect_uri(asked)),
            percent_encode(&self.config.scopes.join(" ")),
            flow.state,
            flow.nonce,
            flow.challenge(),
        );
        let text = serde_json::to_vec(&flow).map_err(|e| failure("flow", &e.to_string()))?;
        let sealed = asked.jar.sealed("flow", &text)?;
        let mut cookies = vec![set_cookie(&asked.jar.flow_name(&flow.state), &sealed, LIVES_MS)];
        // Browsers send the oldest first.
        let surplus = (asked.jar.flows().count() + 1).saturating_sub(MAX_FLOWS);
        cookies.extend(asked.jar.flows().take(surplus).map(clear_cookie));
        Ok(redirect("sign-in", url, cookies))
    }

    /// Where the provider sends people back: it has to know this address.
    pub(crate) fn redirect_uri(&self, asked: &Asked<'_>) -> String {
        [asked.origin.as_str(), &self.config.callback_path].concat()
    }
}
