//! What a plugin may ask the host, one file per interface of the contract.

mod clock;
mod counters;
mod http;
mod journal;
mod log;
mod secrets;
mod since_v0_1;
mod tokens;
pub(crate) mod types;

use wasmtime::bail;
use wasmtime::component::{HasSelf, Linker};

pub(crate) use counters::Counters;
pub(crate) use log::LogBudget;
#[expect(unreachable_pub, reason = "the generated contract re-exports them")]
pub use types::{IdentityHandle, RequestHandle, SandboxHandle};

use crate::bindings::tidegate;
use crate::state::State;

/// The interfaces that a component may import; anything else is refused at load.
pub(crate) const SERVED: &[&str] = &[
    "tidegate:policy/types@0.2.0",
    "tidegate:host/log@0.2.0",
    "tidegate:host/clock@0.2.0",
    "tidegate:host/tokens@0.2.0",
    "tidegate:host/secrets@0.2.0",
    "tidegate:host/counters@0.2.0",
    "tidegate:host/http@0.2.0",
    "tidegate:host/journal@0.2.0",
    "tidegate:policy/types@0.1.0",
    "tidegate:host/log@0.1.0",
    "tidegate:host/clock@0.1.0",
    "tidegate:host/tokens@0.1.0",
    "tidegate:host/secrets@0.1.0",
    "tidegate:host/counters@0.1.0",
];

/// The longest message that is hashed, signed or sealed in one call: epochs don't
/// interrupt the host, so what it does in one call is bounded by its input.
const MAX_MESSAGE: usize = 1 << 20;

/// Makes every one of [`SERVED`] available.
pub(crate) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    tidegate::policy::types::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    tidegate::host::log::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    tidegate::host::clock::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    tidegate::host::tokens::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    tidegate::host::secrets::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    tidegate::host::counters::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    tidegate::host::http::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    tidegate::host::journal::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    since_v0_1::link(linker)
}

/// Refuses what would take the host long.
fn bounded(message: &[u8]) -> wasmtime::Result<()> {
    if message.len() > MAX_MESSAGE {
        bail!("a message of {} bytes; at most {MAX_MESSAGE} are taken", message.len());
    }
    Ok(())
}
