//! `/.tidegate/init`: pid 1, without any right, that reaps and reports.

use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, WaitOptions};
use tidegate_keeper::protocol::Ended;
use tidegate_keeper::sys::{process, signals};

/// Lets the command go, waits for its end and says how it came. The kernel ends
/// everything else in the sandbox when we return.
pub(crate) fn run() -> ExitCode {
    let mut numbers = std::env::args().skip(2).map_while(|text| text.parse::<i32>().ok());
    let (Some(end), Some(go), Some(command)) = (numbers.next(), numbers.next(), numbers.next())
    else {
        return ExitCode::from(2);
    };
    let (Some(end), Some(go), Some(command)) =
        (process::inherited(end), process::inherited(go), Pid::from_raw(command))
    else {
        return ExitCode::from(2);
    };
    let Ok(children) = signals::children() else { return ExitCode::FAILURE };
    // An exec makes a process readable to its own user again.
    let hidden =
        rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    if hidden.is_err() || rustix::io::write(&go, b"g") != Ok(1) {
        return ExitCode::FAILURE;
    }
    drop(go);
    match wait(command, &children, &end) {
        Some(ended) => {
            let told = postcard::to_stdvec(&ended).unwrap_or_default();
            _ = rustix::io::write(&end, &told);
            ExitCode::SUCCESS
        }
        None => ExitCode::FAILURE,
    }
}

/// Reaps until the command has ended; `None` when the keeper has.
fn wait(command: Pid, children: &OwnedFd, keeper: &OwnedFd) -> Option<Ended> {
    loop {
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == command => {
                    return Some(match (status.exit_status(), status.terminating_signal()) {
                        (Some(code), _) => Ended::Code(code),
                        (None, signal) => Ended::Signal(signal.unwrap_or(libc::SIGKILL)),
                    });
                }
                Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
                Ok(None) => break,
                Err(_) => return None,
            }
        }
        let mut sources = [
            PollFd::from_borrowed_fd(children.as_fd(), PollFlags::IN),
            // Nothing is ever read here: only an error, the keeper's end, is news.
            PollFd::from_borrowed_fd(keeper.as_fd(), PollFlags::empty()),
        ];
        if rustix::event::poll(&mut sources, None).is_ok() {
            let [news, gone] = &sources;
            if gone.revents().intersects(PollFlags::ERR | PollFlags::HUP) {
                return None;
            }
            if !news.revents().is_empty() {
                // What it says is not needed: all who ended are reaped next.
                _ = rustix::io::read(children, &mut [0u8; 1024]);
            }
        }
    }
}
