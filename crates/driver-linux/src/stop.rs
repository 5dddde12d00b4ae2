//! Stopping, freezing, thawing.

use std::time::Duration;

use tidegate_keeper::protocol::{Call, Signal};
use tidegate_sandbox::driver::{DriverError, Exit, SandboxId, Stats};

use crate::driver::LinuxDriver;
use crate::sandbox::{Running, Sandbox, system};
use crate::tree;

/// What is left after SIGKILL ends this fast, or the kernel holds it.
const KILLED_WITHIN: Duration = Duration::from_secs(15);

impl LinuxDriver {
    pub(crate) async fn stop_command(
        &self,
        id: &SandboxId,
        grace: Duration,
    ) -> Result<Exit, DriverError> {
        let sandbox = self.find(id).await?;
        self.stop_sandbox(&sandbox, grace).await
    }

    pub(crate) async fn stop_sandbox(
        &self,
        sandbox: &Sandbox,
        grace: Duration,
    ) -> Result<Exit, DriverError> {
        let id = &sandbox.id;
        if let Running::No(_) | Running::Gone = sandbox.running() {
            return Ok(sandbox.ended().await);
        }
        // What is frozen hears no signal.
        thaw(sandbox)?;
        let signal = async |signal| {
            let asked = sandbox.link.call(Call::Signal(signal), &[]).await;
            asked.map_err(|error| system(id, "ending the command", error))
        };
        if !grace.is_zero() {
            signal(Signal::Terminate).await?;
            if let Ok(exit) = tokio::time::timeout(grace, sandbox.ended()).await {
                return Ok(exit);
            }
        }
        signal(Signal::Kill).await?;
        tokio::time::timeout(KILLED_WITHIN, sandbox.ended())
            .await
            .map_err(|_| system(id, "ending the command", std::io::ErrorKind::TimedOut))
    }

    pub(crate) async fn freeze_sandbox(&self, id: &SandboxId) -> Result<(), DriverError> {
        let sandbox = self.find(id).await?;
        let Running::Yes { init, group, .. } = sandbox.running() else { return Ok(()) };
        let frozen = if group.can_freeze() { group.freeze() } else { tree::stop(init) };
        frozen.map_err(|error| {
            // Half frozen is worse than running.
            drop(thaw(&sandbox));
            system(id, "freezing", error)
        })
    }

    pub(crate) async fn thaw_sandbox(&self, id: &SandboxId) -> Result<(), DriverError> {
        thaw(&*self.find(id).await?)
    }

    pub(crate) async fn stats_of(&self, id: &SandboxId) -> Result<Stats, DriverError> {
        let sandbox = self.find(id).await?;
        let disk = crate::disk::used(&sandbox.place);
        let Running::Yes { init, group, .. } = sandbox.running() else {
            return Ok(Stats { disk, ..Stats::default() });
        };
        let counted = group.stats();
        let walked = match counted {
            Stats { memory: Some(_), cpu: Some(_), pids: Some(_), .. } => Stats::default(),
            _ => tree::stats(init),
        };
        Ok(Stats {
            memory: counted.memory.or(walked.memory),
            cpu: counted.cpu.or(walked.cpu),
            pids: counted.pids.or(walked.pids),
            disk,
        })
    }
}

fn thaw(sandbox: &Sandbox) -> Result<(), DriverError> {
    let Running::Yes { init, group, .. } = sandbox.running() else { return Ok(()) };
    let thawed = if group.can_freeze() { group.thaw() } else { tree::go_on(init) };
    thawed.map_err(|error| system(&sandbox.id, "thawing", error))
}
