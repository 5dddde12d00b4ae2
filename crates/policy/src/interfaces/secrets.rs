//! `secrets`: compared here, never handed out.

use crate::bindings::tidegate::host::secrets::Host;
use crate::state::State;

impl Host for State {
    fn matches(&mut self, name: String, candidate: String) -> wasmtime::Result<bool> {
        Ok(self.around.secrets.matches(&name, &candidate))
    }

    fn exists(&mut self, name: String) -> wasmtime::Result<bool> {
        Ok(self.around.secrets.get(&name).is_some())
    }

    fn which(&mut self, names: Vec<String>, candidate: String) -> wasmtime::Result<Option<u32>> {
        let at = self.around.secrets.which(&names, &candidate);
        Ok(at.and_then(|at| u32::try_from(at).ok()))
    }
}
