//! `secrets`: compared here, never handed out.

use wasmtime::bail;

use super::bounded;
use crate::bindings::tidegate::host::secrets::Host;
use crate::state::State;

/// Secrets that are compared in one call: a lookup each.
const MAX_NAMES: usize = 16_384;

impl Host for State {
    fn matches(&mut self, name: String, candidate: String) -> wasmtime::Result<bool> {
        self.costly()?;
        bounded(candidate.as_bytes())?;
        Ok(self.around.secrets.matches(&name, &candidate))
    }

    fn exists(&mut self, name: String) -> wasmtime::Result<bool> {
        self.host_call()?;
        Ok(self.around.secrets.get(&name).is_some())
    }

    fn which(&mut self, names: Vec<String>, candidate: String) -> wasmtime::Result<Option<u32>> {
        self.costly()?;
        bounded(candidate.as_bytes())?;
        if names.len() > MAX_NAMES {
            bail!("{} secrets were named; at most {MAX_NAMES} are compared", names.len());
        }
        let at = self.around.secrets.which(&names, &candidate);
        Ok(at.and_then(|at| u32::try_from(at).ok()))
    }
}
