//! The driver.
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tidegate_sandbox::driver::*;
use tidegate_types::{SandboxKey, Secret, Template};
use tokio::net::TcpListener;

use crate::{Config, OpenError, Probe};

/// Makes sandboxes on this machine.
#[derive(Debug)]
pub struct LinuxDriver {
    config: Config,
}

fn later<T>() -> Result<T, DriverError> {
    Err(DriverError::Unsupported("the linux driver is not there yet".into()))
}

impl LinuxDriver {
    /// Opens the state directory. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`OpenError`]; nothing was changed then.
    pub fn new(config: Config) -> Result<Arc<Self>, OpenError> {
        Ok(Arc::new(Self { config }))
    }

    /// Looks at what this machine offers. Blocks for some milliseconds.
    #[must_use]
    pub fn probe() -> Probe {
        Probe::default()
    }
}

#[async_trait]
impl Driver for LinuxDriver {
    fn name(&self) -> &'static str {
        "linux"
    }
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }
    fn check(&self, _: &Template) -> Vec<Complaint> {
        Vec::new()
    }
    async fn create(&self, _: &Spec) -> Result<(), DriverError> {
        later()
    }
    async fn start(&self, _: &SandboxId, _: &[(String, Secret)]) -> Result<(), DriverError> {
        later()
    }
    async fn dial(&self, _: &SandboxId, _: u16, _: IpAddr) -> Result<Dialled, DriverError> {
        later()
    }
    async fn listener(&self, _: &SandboxId, _: &str) -> Result<TcpListener, DriverError> {
        later()
    }
    async fn freeze(&self, _: &SandboxId) -> Result<(), DriverError> {
        later()
    }
    async fn thaw(&self, _: &SandboxId) -> Result<(), DriverError> {
        later()
    }
    async fn stop(&self, _: &SandboxId, _: Duration) -> Result<Exit, DriverError> {
        later()
    }
    async fn destroy(&self, _: &SandboxId, _: Files) -> Result<(), DriverError> {
        later()
    }
    async fn list(&self) -> Result<Vec<Found>, DriverError> {
        later()
    }
    async fn wait(&self, _: &SandboxId) -> Result<Exit, DriverError> {
        later()
    }
    async fn stats(&self, _: &SandboxId) -> Result<Stats, DriverError> {
        later()
    }
    fn log_path(&self, _: &SandboxKey) -> PathBuf {
        self.config.state_dir.clone()
    }
}
