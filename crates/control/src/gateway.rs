//! What the control API asks of the gateway. The binary implements it by asking
//! registry, policy host and relay; tests by a few lines.

use std::path::PathBuf;

use async_trait::async_trait;
use tidegate_types::{Incarnation, SandboxKey, TenantId};

use crate::{About, ControlError, Exposition, PluginView, SandboxView, UsageView};

/// A running gateway, as its operator sees it.
///
/// Everything but [`wake`](Self::wake) leaves a sandbox asleep that sleeps.
///
/// # Cancel safety
/// A dropped `wake`, `sleep`, `stop` or `destroy` may go on or not; asking again
/// is harmless.
#[async_trait]
pub trait Gateway: Send + Sync + 'static {
    /// What this process is.
    fn about(&self) -> About;

    /// Whether tenants' requests are served now. Cheap: load balancers ask often.
    fn ready(&self) -> Readiness;

    /// All sandboxes that are known, sleeping ones included, in order of tenant
    /// and name.
    async fn sandboxes(&self) -> Result<Vec<SandboxView>, ControlError>;

    /// One sandbox.
    async fn sandbox(&self, key: &SandboxKey) -> Result<SandboxView, ControlError>;

    /// Starts it and waits until it is ready.
    async fn wake(&self, key: &SandboxKey) -> Result<SandboxView, ControlError>;

    /// Puts it to rest now, as if its idle time were over; waits until it is.
    /// Refused with [`ControlError::Busy`] while requests are in flight.
    async fn sleep(
        &self,
        key: &SandboxKey,
        incarnation: Option<Incarnation>,
    ) -> Result<SandboxView, ControlError>;

    /// Ends its processes, whatever they are doing; its files stay.
    async fn stop(
        &self,
        key: &SandboxKey,
        incarnation: Option<Incarnation>,
    ) -> Result<SandboxView, ControlError>;

    /// Ends it and forgets it, files included. Destroying what does not exist is
    /// [`ControlError::Unknown`].
    async fn destroy(
        &self,
        key: &SandboxKey,
        incarnation: Option<Incarnation>,
    ) -> Result<(), ControlError>;

    /// Where the output of its processes is kept. The file may not exist yet, may
    /// be cut to nothing, or be replaced by another at any time; what it was then
    /// stands beside it with `.1` behind its name.
    async fn log_path(&self, key: &SandboxKey) -> Result<PathBuf, ControlError>;

    /// The policy plugins, in the order in which they are asked.
    fn plugins(&self) -> Vec<PluginView>;

    /// Why the latest reload of configuration and plugins was refused, a line for
    /// each thing to put right; empty when it wasn't.
    fn refused(&self) -> Vec<String>;

    /// Limits and what is used of them, of one tenant or of all. Only what matters
    /// now: whoever has used nothing lately is not in it.
    fn usage(&self, tenant: Option<&TenantId>) -> Vec<UsageView>;

    /// Writes all metrics.
    fn metrics(&self, out: &mut Exposition);
}

/// Whether tenants' requests are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// They are.
    Ready,
    /// They are not, for these reasons: `plugins are being compiled`, `draining`.
    NotReady(Vec<String>),
}
