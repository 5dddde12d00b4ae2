//! A sandbox's life: one actor owns its transitions, one table allows them.
//!
//! | file | idea |
//! |---|---|
//! | `table.rs` | phases, events, what leads where |
//! | `actor.rs` | takes orders and carries the phases out |
//! | `start.rs` | from nothing to ready |
//! | `ready.rs` | asking an application whether it is ready |
//! | `environment.rs` | what an application finds in its environment |
//! | `rest.rs` | from running to nothing: sleep, stop, destroy |
//! | `backoff.rs` | how long to wait after a failure |

mod actor;
mod backoff;
mod environment;
mod ready;
mod rest;
mod start;
mod table;

use tokio::sync::oneshot;

use crate::error::{ControlError, WakeError};
use crate::permit::Permit;

pub(crate) use actor::run;
pub(crate) use start::Mode;
pub use table::Phase;

/// What an actor is asked for.
pub(crate) enum Order {
    /// To run; the answer is a permit.
    Wake(Option<Waiter>),
    /// To sleep, if nobody uses it.
    Sleep(Reply),
    /// To end what runs.
    Stop(Reply),
    /// To leave nothing.
    Destroy(Reply),
    /// To look at the recipe again.
    Reconsider,
}

/// Where a request waits for its permit.
pub(crate) type Waiter = oneshot::Sender<Result<Permit, Unserved>>;
/// Where an operator waits for an order to have been carried out.
pub(crate) type Reply = oneshot::Sender<Result<(), ControlError>>;

/// Why a request got no permit.
#[derive(Debug)]
pub(crate) enum Unserved {
    /// This life is over; the next one may serve it.
    Gone,
    /// It is not to be served.
    Failed(WakeError),
}
