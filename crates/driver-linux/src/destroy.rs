//! Destroying: afterwards nothing is left but what was asked to be kept.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions};
use tidegate_keeper::protocol::Call;
use tidegate_sandbox::driver::{DriverError, Files, SandboxId};
use tidegate_types::SandboxKey;

use crate::create::blocking;
use crate::driver::LinuxDriver;
use crate::sandbox::system;
use crate::state::{Place, Record, read_record};
use crate::{disk, files};

/// A keeper that was told to leave ends this fast.
const LEAVES_WITHIN: Duration = Duration::from_secs(10);

impl LinuxDriver {
    pub(crate) async fn destroy_sandbox(
        &self,
        id: &SandboxId,
        files: Files,
    ) -> Result<(), DriverError> {
        let found = match self.known(&id.key) {
            Some(sandbox) => Some(sandbox),
            None => self.adopt(&id.key).await?,
        };
        if let Some(sandbox) = found {
            if sandbox.id.incarnation != id.incarnation {
                let current = sandbox.id.incarnation;
                return Err(DriverError::Stale { meant: id.clone(), current });
            }
            self.stop_sandbox(&sandbox, Duration::ZERO).await?;
            let keeper = open(sandbox.keeper);
            // It may be gone already, which is what we want.
            drop(sandbox.link.call(Call::Leave, &[]).await);
            if let Some(keeper) = keeper {
                left(keeper).await.map_err(|error| system(id, "ending its keeper", error))?;
            }
        }
        self.forget(&id.key);
        self.remove_files(id, files).await
    }

    async fn remove_files(&self, id: &SandboxId, files: Files) -> Result<(), DriverError> {
        let place = self.state.place(&id.key);
        let removed = blocking(id, "removing its files", move || remove(&place, files))
            .await?
            .map_err(|error| system(id, "removing its files", error))?;
        if let Some(record) = removed {
            self.state.release(&record);
        }
        self.cgroups_of_gone(&id.key);
        Ok(())
    }

    /// Removes cgroups that a sandbox left whose keeper was killed.
    fn cgroups_of_gone(&self, key: &SandboxKey) {
        self.cgroups.sweep_of(&format!("{}.{}.", key.tenant.path_component(), key.name));
    }
}

fn remove(place: &Place, what: Files) -> io::Result<Option<Record>> {
    match std::fs::remove_file(place.control()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    disk::wait_until_free(place)?;
    if let Files::Keep = what {
        return Ok(None);
    }
    let record = read_record(&place.directory).map_err(io::Error::other)?;
    // The record goes last: while files are there, their owners are taken.
    files::remove(&place.files())?;
    files::remove(&place.logs())?;
    files::remove(&place.directory)?;
    files::remove_if_empty(&place.tenant);
    Ok(record)
}

fn open(pid: u32) -> Option<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw)?;
    rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK).ok()
}

/// Waits for a process, which is not our child, to end.
async fn left(process: OwnedFd) -> io::Result<()> {
    let process = crate::link::watch(process, tokio::io::Interest::READABLE)?;
    let ended = tokio::time::timeout(LEAVES_WITHIN, process.readable()).await;
    ended.map_err(|_| io::ErrorKind::TimedOut)?.map(drop)?;
    // In a container we may be pid 1, whose children all orphans become.
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    _ = rustix::process::waitid(WaitId::PidFd(process.get_ref().as_fd()), options);
    Ok(())
}
