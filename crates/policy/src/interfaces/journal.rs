//! `journal`: lines in a file that the operator granted.

use crate::bindings::tidegate::host::journal::Host;
use crate::state::State;

impl Host for State {
    fn append(&mut self, line: String) -> wasmtime::Result<bool> {
        Ok(self.around.journal.as_ref().is_some_and(|journal| journal.append(&line)))
    }
}
