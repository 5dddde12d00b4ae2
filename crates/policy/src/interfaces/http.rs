//! `http`: calls to the services that the operator allowed.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Uri};

use crate::bindings::tidegate::host::http::{Error, Host, Incoming, Outgoing};
use crate::outgoing::SendError;
use crate::state::State;

impl Host for State {
    async fn send(&mut self, request: Outgoing) -> wasmtime::Result<Result<Incoming, Error>> {
        let began = Instant::now();
        let answer = self.sent(request).await;
        self.call.deadline.waited(began.elapsed());
        Ok(answer)
    }
}

impl State {
    async fn sent(&self, request: Outgoing) -> Result<Incoming, Error> {
        let no = |why: &str| Error::NotAllowed(why.to_owned());
        // Outside of a hook nobody waits: `configure` must not depend on others.
        let in_a_hook = self.call.about.id.is_some();
        let (Some(grant), Some(outgoing), true) =
            (&self.around.http, &self.around.outgoing, in_a_hook)
        else {
            return Err(no("no HTTP service is allowed to this plugin here"));
        };
        let uri: Uri = request.url.parse().map_err(|_| no("the URL is malformed"))?;
        let host = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        if uri.scheme_str() != Some("https") || !grant.hosts.iter().any(|it| it == host) {
            return Err(no("this host isn't allowed to this plugin"));
        }
        let mut message = Request::builder().method(request.method.as_str()).uri(uri);
        for (name, value) in &request.headers {
            message = message.header(name, value);
        }
        let message = message.body(Bytes::from(request.body)).map_err(|e| no(&e.to_string()))?;
        let within = match Duration::from_millis(request.timeout_ms.into()) {
            Duration::ZERO => grant.timeout,
            asked => asked.min(grant.timeout),
        };
        let answer = outgoing.send(message, within, grant.max_body).await;
        let answer = answer.map_err(|error| match error {
            SendError::TimedOut => Error::TimedOut,
            SendError::TooLarge => Error::TooLarge,
            SendError::Unreachable(why) => Error::Unreachable(why),
        })?;
        let (head, body) = answer.into_parts();
        let headers = head.headers.iter().filter_map(|(name, value)| {
            Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
        });
        Ok(Incoming { status: head.status.as_u16(), headers: headers.collect(), body: body.into() })
    }
}
