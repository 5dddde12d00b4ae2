//! `http`: calls to the services that the operator allowed.

use std::sync::Arc;
use std::time::Instant;

use crate::bindings::tidegate::host::http::{Error, Host, Incoming, Outgoing};
use crate::calls::PER_HOOK_CALL;
use crate::state::State;

impl Host for State {
    async fn send(&mut self, asked: Outgoing) -> wasmtime::Result<Result<Incoming, Error>> {
        let began = Instant::now();
        let answer = self.called(asked).await;
        // The service's time isn't the plugin's: its calls have a deadline of their own.
        self.call.deadline.waited(began.elapsed());
        Ok(answer)
    }
}

impl State {
    async fn called(&mut self, asked: Outgoing) -> Result<Incoming, Error> {
        // Outside of a hook nobody waits: `configure` must not depend on others.
        if !self.call.of_a_hook {
            return Err(Error::NotAllowed("calls can be made in hooks alone".into()));
        }
        self.reads.note_volatile();
        self.call.http_calls += 1;
        if self.call.http_calls > PER_HOOK_CALL {
            let why = format!("one call of a hook makes at most {PER_HOOK_CALL} calls");
            return Err(Error::NotAllowed(why));
        }
        let around = Arc::clone(&self.around);
        let Some(calls) = &around.calls else {
            return Err(Error::NotAllowed("no HTTP service is allowed to this plugin".into()));
        };
        calls.send(asked, &around.secrets, &around.lasting.http).await
    }
}
