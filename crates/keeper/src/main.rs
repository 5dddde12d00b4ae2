//! The program of keeper and init; see the library's page.
//!
//! | started as | by | is |
//! |---|---|---|
//! | `keeper` | the gateway, with a socket as 0 | the keeper of one sandbox |
//! | `init` | keeper's child, inside | pid 1 of the sandbox |
//! | `probe` | the gateway | a try of what this machine allows |

mod confine;
mod failure;
mod init;
mod keep;
mod probe;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args();
    match arguments.nth(1).as_deref() {
        Some("keeper") => keep::launch(),
        Some("init") => init::reap::run(),
        Some("probe") => probe::run(),
        _ => {
            eprintln!("tidegate-keeper is started by tidegate; it does nothing by itself");
            ExitCode::from(2)
        }
    }
}
