//! `clock`: one moment per hook call.

use crate::bindings::tidegate::host::clock::Host;
use crate::state::State;

impl Host for State {
    fn now_ms(&mut self) -> wasmtime::Result<u64> {
        self.host_call()?;
        Ok(self.call.now_ms())
    }
}
