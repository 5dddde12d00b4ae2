//! The driver: one method per verb of the trait, each in a file of its own.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use tidegate_keeper::protocol::LOG_FILE;
use tidegate_sandbox::Driver;
use tidegate_sandbox::driver::{
    Capabilities, Complaint, Dialled, DriverError, Exit, Files, Found, SandboxId, Spec, Stats,
};
use tidegate_types::{SandboxKey, Secret, Template};
use tokio::net::TcpListener;

use crate::cgroup::{Cgroups, Role};
use crate::sandbox::{Running, Sandbox};
use crate::state::State;
use crate::turns::Turns;
use crate::{Config, OpenError, Probe, check, probe};

/// Makes sandboxes on this machine. See [`Driver`] for each method.
#[derive(Debug)]
pub struct LinuxDriver {
    pub(crate) state: State,
    pub(crate) cgroups: Cgroups,
    pub(crate) offers: probe::Offers,
    /// Those whose keeper we talk to. What is not here may exist all the same.
    live: Mutex<HashMap<SandboxKey, Arc<Sandbox>>>,
    /// Tells the runs of this process apart.
    pub(crate) runs: AtomicU64,
    pub(crate) turns: Turns,
    pub(crate) me: Weak<Self>,
}

impl LinuxDriver {
    /// Opens the state directory. Must be called within a tokio runtime; blocks
    /// for some milliseconds.
    ///
    /// # Errors
    /// [`OpenError`]; nothing that exists was changed then.
    pub fn new(config: Config) -> Result<Arc<Self>, OpenError> {
        let state = State::open(&config.state_dir)?;
        let cgroups = Cgroups::discover(state.tag());
        let offers = probe::Offers::of(state.program());
        let (live, runs) = (Mutex::default(), AtomicU64::new(0));
        let turns = Turns::default();
        Ok(Arc::new_cyclic(|me| Self {
            state,
            cgroups,
            offers,
            live,
            runs,
            turns,
            me: Weak::clone(me),
        }))
    }

    /// Looks at what this machine offers. Blocks for some milliseconds.
    #[must_use]
    pub fn probe() -> Probe {
        probe::probe()
    }

    /// The sandbox that `id` means, taken over from an earlier gateway if need be.
    pub(crate) async fn find(&self, id: &SandboxId) -> Result<Arc<Sandbox>, DriverError> {
        let found = match self.known(&id.key) {
            Some(sandbox) => Some(sandbox),
            None => self.adopt(&id.key).await?,
        };
        let sandbox = found.ok_or_else(|| DriverError::Absent(id.key.clone()))?;
        if sandbox.id.incarnation != id.incarnation {
            let current = sandbox.id.incarnation;
            return Err(DriverError::Stale { meant: id.clone(), current });
        }
        Ok(sandbox)
    }

    /// The sandbox of this key if we talk to its keeper and it is there.
    pub(crate) fn known(&self, key: &SandboxKey) -> Option<Arc<Sandbox>> {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.get(key).filter(|sandbox| sandbox.running() != Running::Gone).cloned()
    }

    pub(crate) fn remember(&self, sandbox: &Arc<Sandbox>) {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.insert(sandbox.id.key.clone(), Arc::clone(sandbox));
    }

    pub(crate) fn forget(&self, key: &SandboxKey) {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

#[async_trait]
impl Driver for LinuxDriver {
    fn name(&self) -> &'static str {
        "linux"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            freeze: true,
            source_address: true,
            survives_gateway: true,
            memory_limit: self.cgroups.has(Role::Memory),
            cpu_limit: self.cgroups.has(Role::Cpu),
            // By resource limits where there are no cgroups.
            pids_limit: true,
            disk_limit: self.offers.disk_limit.is_ok(),
        }
    }

    fn check(&self, template: &Template) -> Vec<Complaint> {
        check::check(self, template)
    }

    async fn create(&self, spec: &Spec) -> Result<(), DriverError> {
        let spec = spec.clone();
        let key = spec.id.key.clone();
        self.in_turn(&key, async move |driver| driver.create_sandbox(&spec).await).await
    }

    async fn start(&self, id: &SandboxId, env: &[(String, Secret)]) -> Result<(), DriverError> {
        let (id, env) = (id.clone(), env.to_vec());
        let key = id.key.clone();
        self.in_turn(&key, async move |driver| driver.start_command(&id, &env).await).await
    }

    async fn dial(&self, id: &SandboxId, port: u16, from: IpAddr) -> Result<Dialled, DriverError> {
        self.dial_port(id, port, from).await
    }

    async fn listener(&self, id: &SandboxId, name: &str) -> Result<TcpListener, DriverError> {
        self.hand_out_listener(id, name).await
    }

    async fn freeze(&self, id: &SandboxId) -> Result<(), DriverError> {
        self.freeze_sandbox(id).await
    }

    async fn thaw(&self, id: &SandboxId) -> Result<(), DriverError> {
        self.thaw_sandbox(id).await
    }

    async fn stop(&self, id: &SandboxId, grace: Duration) -> Result<Exit, DriverError> {
        let id = id.clone();
        let key = id.key.clone();
        self.in_turn(&key, async move |driver| driver.stop_command(&id, grace).await).await
    }

    async fn destroy(&self, id: &SandboxId, files: Files) -> Result<(), DriverError> {
        let id = id.clone();
        let key = id.key.clone();
        self.in_turn(&key, async move |driver| driver.destroy_sandbox(&id, files).await).await
    }

    async fn list(&self) -> Result<Vec<Found>, DriverError> {
        self.list_sandboxes().await
    }

    async fn wait(&self, id: &SandboxId) -> Result<Exit, DriverError> {
        Ok(self.find(id).await?.ended().await)
    }

    async fn stats(&self, id: &SandboxId) -> Result<Stats, DriverError> {
        self.stats_of(id).await
    }

    fn log_path(&self, key: &SandboxKey) -> PathBuf {
        self.state.place(key).logs().join(LOG_FILE)
    }
}
