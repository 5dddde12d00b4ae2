//! What every sandbox of a registry shares, and what the registry asks of the
//! rest of the gateway.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use tidegate_types::{SandboxKey, Secret, SecretName, Template, TemplateName};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::driver::{Driver, Listener};
use crate::ledger::Ledger;
use crate::meters::Meters;
use crate::slots::Slots;
use crate::watch::Watch;

/// What a registry needs to begin.
pub struct RegistryConfig {
    /// Where the ledger is; made with mode 0700 when it is missing.
    pub state_dir: PathBuf,
    /// The drivers, by the name that templates call them.
    pub drivers: HashMap<String, Arc<dyn Driver>>,
    /// The templates, for sandboxes that exist already.
    pub templates: HashMap<TemplateName, Arc<Template>>,
    /// The secrets.
    pub fill: Arc<dyn Fill>,
    /// What the gateway serves inside sandboxes.
    pub companion: Arc<dyn Companion>,
    /// The address that applications see the gateway's own probes come from.
    pub probe_from: IpAddr,
    /// How many sandboxes may be starting at once. It bounds neither how many run
    /// nor how long one start may take.
    pub concurrent_starts: usize,
}

impl RegistryConfig {
    /// Twice the number of cores: starting waits for the disk as much as it computes.
    #[must_use]
    pub fn default_concurrent_starts() -> usize {
        2 * std::thread::available_parallelism().map_or(2, std::num::NonZero::get)
    }
}

/// Knows the secrets.
pub trait Fill: Send + Sync + 'static {
    /// `text` with the value of each `secret:NAME` in its place.
    ///
    /// # Errors
    /// The first name that it does not know.
    fn fill(&self, text: &str) -> Result<Secret, SecretName>;
}

/// Serves sandboxes from outside, on listeners within them: the gates.
///
/// Which listener accepted a connection is the proof of who made it.
pub trait Companion: Send + Sync + 'static {
    /// The listeners to make inside a sandbox of this template.
    fn listeners(&self, template: &Template) -> Vec<Listener>;

    /// Names for its /etc/hosts.
    fn hosts(&self, template: &Template) -> Vec<(String, IpAddr)>;

    /// Serves what `listener`, called `name`, accepts, until the answer is dropped.
    /// Called inside a tokio runtime.
    fn serve(
        &self,
        name: &str,
        listener: TcpListener,
        key: &SandboxKey,
        template: &Arc<Template>,
    ) -> AbortOnDropHandle<()>;

    /// Its application has ended, or is about to be ended: whatever is held open
    /// towards it holds its namespaces too, and is of no more use. May be told more
    /// than once.
    fn over(&self, key: &SandboxKey);
}

/// Shared by the sandboxes of one registry.
pub(crate) struct Services {
    pub(crate) drivers: HashMap<String, Arc<dyn Driver>>,
    pub(crate) fill: Arc<dyn Fill>,
    pub(crate) companion: Arc<dyn Companion>,
    pub(crate) probe_from: IpAddr,
    pub(crate) ledger: Ledger,
    pub(crate) slots: Arc<Slots>,
    pub(crate) meters: Meters,
    pub(crate) clock: Clock,
    pub(crate) runtime: Handle,
    pub(crate) actors: TaskTracker,
    /// Told of every change; set once, when there is somebody to tell.
    pub(crate) watch: OnceLock<Arc<dyn Watch>>,
    /// Cancelled when the gateway ends; sandboxes stay.
    pub(crate) leaving: CancellationToken,
}

/// Milliseconds since the registry was opened: small enough for an atomic.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    began: Instant,
    began_at: SystemTime,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), began_at: SystemTime::now() }
    }

    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn instant(&self, millis: u64) -> Instant {
        self.began + Duration::from_millis(millis)
    }

    /// On the wall, as it stood when the registry was opened: a clock that is set
    /// meanwhile doesn't move what was noted before.
    pub(crate) fn wall(&self, millis: u64) -> SystemTime {
        self.began_at + Duration::from_millis(millis)
    }
}
