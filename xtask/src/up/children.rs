//! The processes that `up` starts and ends.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::process::Command;

use crate::process;

/// Lines of its log that are shown when a process ends by itself.
const SHOWN: usize = 20;

/// A process of ours: its output is in a log, and it is killed when this is dropped.
pub(super) struct Child {
    child: tokio::process::Child,
    name: String,
    log: PathBuf,
}

impl Child {
    /// Starts `command` with its output in `log`.
    pub(super) fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let name = Path::new(command.as_std().get_program())
            .file_name()
            .map_or_else(|| "program".to_owned(), |name| name.to_string_lossy().into_owned());
        let output = File::create(log).with_context(|| format!("making {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            // Ctrl-C at a terminal reaches a whole process group: we end our
            // children ourselves, in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting `{name}`"))?;
        Ok(Self { child, name, log: log.to_owned() })
    }

    /// Waits until it ends.
    pub(super) async fn wait(&mut self) -> Result<ExitStatus> {
        Ok(self.child.wait().await?)
    }

    /// An error when it has ended.
    pub(super) fn check_alive(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(self.ended(status)),
        }
    }

    /// The error of its having ended, with what it said last.
    pub(super) fn ended(&self, status: ExitStatus) -> anyhow::Error {
        let said = std::fs::read_to_string(&self.log).unwrap_or_default();
        let said = process::last_lines(&said, SHOWN);
        anyhow::anyhow!("`{}` ended by itself ({status}):\n{said}", self.name)
    }

    /// Asks it to end, and makes it when it hasn't after `grace`.
    pub(super) async fn stop(mut self, grace: Duration) {
        let pid = self
            .child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            // Not reaped yet, so the number is still its own.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            if tokio::time::timeout(grace, self.child.wait()).await.is_ok() {
                return;
            }
        }
        let _ = self.child.kill().await;
    }
}
