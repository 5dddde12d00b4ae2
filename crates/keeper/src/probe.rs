//! Tries what a sandbox needs of the machine, for the gateway to report: prints
//! nothing when all is well, else the failed step and the system's error number.

use std::process::ExitCode;

use rustix::thread::UnshareFlags;
use tidegate_keeper::protocol::{Failure, Ids};
use tidegate_keeper::sys::process::{self, Forked};

use crate::failure::During;
use crate::init;
use crate::keep::{bring_up, enter_namespaces};

/// Makes every namespace that a sandbox has and a root in it, then ends.
pub(crate) fn run() -> ExitCode {
    match attempt() {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { step, errno }) => {
            println!("{errno} {step}");
            ExitCode::FAILURE
        }
    }
}

fn attempt() -> Result<(), Failure> {
    // The same for root: whether a range can be mapped is tried by mapping it.
    enter_namespaces(Ids::Single, || Ok(()))?;
    bring_up()?;
    let namespaces =
        UnshareFlags::NEWPID | UnshareFlags::NEWNS | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
    match process::fork(namespaces).during("making the sandbox's namespaces")? {
        Forked::Child => {
            let code = match init::try_file_system() {
                Ok(()) => 0,
                Err(Failure { step, errno }) => {
                    println!("{errno} {step}");
                    1
                }
            };
            process::exit(code)
        }
        Forked::Parent(child) => {
            let status =
                rustix::process::waitpid(Some(child.pid), rustix::process::WaitOptions::empty())
                    .during("waiting for the trial")?;
            match status.and_then(|(_, status)| status.exit_status()) {
                Some(0) => Ok(()),
                _ => std::process::exit(1),
            }
        }
    }
}
