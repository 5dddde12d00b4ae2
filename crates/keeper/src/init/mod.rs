//! init: pid 1 inside. First still keeper's program in new namespaces
//! (`stage.rs`), then, seen from inside, `/.tidegate/init` (`reap.rs`).

mod command;
mod filesystem;
pub(crate) mod reap;
pub(crate) mod stage;

use serde::{Deserialize, Serialize};
use tidegate_keeper::protocol::Failure;

/// What comes from inside before the command executes; its end means that it does.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum StageMessage {
    /// The sender is the process that will be the command.
    Born,
    /// It will not.
    Failed(Failure),
}

/// Builds the smallest root there is, to see whether the machine lets us.
pub(crate) fn try_file_system() -> Result<(), Failure> {
    use tidegate_keeper::plan::{Plan, Step};
    let steps = vec![Step::Processes { at: "/proc".into() }];
    filesystem::build(&Plan { steps }, Vec::new())
}
