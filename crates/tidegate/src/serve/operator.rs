//! The running gateway, as the control API shows and commands it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures_util::future::join_all;
use tidegate_control::view::unix_ms;
use tidegate_control::{
    About, AwakeView, CauseView, ControlError, Exposition, Gateway, PluginView, Readiness,
    SandboxView, UsageView,
};
use tidegate_egress::UpstreamGate;
use tidegate_policy::PolicyHost;
use tidegate_sandbox::{Cause, Phase, Registry, View, What};
use tidegate_types::fault::chain;
use tidegate_types::{Incarnation, LimitKind, SandboxKey, TenantId};

use super::components::Components;
use super::metrics;
use super::outside::Outside;
use super::{reload, shown};
use crate::live::Loaded;
use crate::request::Front;
use crate::usage::Usage;

/// Answers the control API by asking whoever knows.
#[derive(Debug)]
pub(crate) struct Operator {
    pub(crate) front: Arc<Front>,
    pub(crate) usage: Arc<Usage>,
    pub(crate) policy: Arc<PolicyHost>,
    pub(crate) upstreams: Arc<UpstreamGate>,
    pub(crate) outside: Arc<Outside>,
    pub(crate) components: Arc<Components>,
    pub(crate) reloads: Arc<reload::Meters>,
    pub(crate) relay: Arc<tidegate_relay::Meters>,
    /// False once the gateway is draining.
    pub(crate) ready: Arc<AtomicBool>,
    pub(crate) about: About,
}

/// What this process is.
pub(crate) fn about(
    loaded: &Loaded,
    file: Option<&PathBuf>,
    listen: SocketAddr,
    warnings: Vec<String>,
) -> About {
    About {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        started_at_ms: unix_ms(SystemTime::now()),
        listen: listen.to_string(),
        state_dir: loaded.config.server.state_dir.display().to_string(),
        config: file.map(|file| file.display().to_string()),
        warnings,
    }
}

#[async_trait]
impl Gateway for Operator {
    fn about(&self) -> About {
        self.about.clone()
    }

    fn ready(&self) -> Readiness {
        if self.serves() {
            Readiness::Ready
        } else {
            Readiness::NotReady(vec!["draining".to_owned()])
        }
    }

    async fn sandboxes(&self) -> Result<Vec<SandboxView>, ControlError> {
        Ok(join_all(self.registry().list().into_iter().map(|view| self.shown(view))).await)
    }

    async fn sandbox(&self, key: &SandboxKey) -> Result<SandboxView, ControlError> {
        let sandbox = self.registry().get(key).ok_or_else(|| ControlError::Unknown(key.clone()))?;
        Ok(self.shown(sandbox.view()).await)
    }

    async fn wake(&self, key: &SandboxKey) -> Result<SandboxView, ControlError> {
        let view = self.registry().wake(key, None).await.map_err(failed)?;
        Ok(self.shown(view).await)
    }

    async fn sleep(
        &self,
        key: &SandboxKey,
        incarnation: Option<Incarnation>,
    ) -> Result<SandboxView, ControlError> {
        let view = self.registry().sleep(key, incarnation).await.map_err(failed)?;
        Ok(self.shown(view).await)
    }

    async fn stop(
        &self,
        key: &SandboxKey,
        incarnation: Option<Incarnation>,
    ) -> Result<SandboxView, ControlError> {
        let view = self.registry().stop(key, incarnation).await.map_err(failed)?;
        Ok(self.shown(view).await)
    }

    async fn destroy(
        &self,
        key: &SandboxKey,
        incarnation: Option<Incarnation>,
    ) -> Result<(), ControlError> {
        self.registry().destroy(key, incarnation).await.map_err(failed)?;
        Ok(())
    }

    async fn log_path(&self, key: &SandboxKey) -> Result<PathBuf, ControlError> {
        match self.registry().driver(key).map_err(failed)? {
            Some(driver) => Ok(driver.log_path(key)),
            None => Err(ControlError::Gateway(format!("the driver of `{key}` is not there"))),
        }
    }

    fn plugins(&self) -> Vec<PluginView> {
        self.policy.status().into_iter().map(|it| shown::plugin(it, &self.components)).collect()
    }

    fn refused(&self) -> Vec<String> {
        self.reloads.because()
    }

    fn usage(&self, tenant: Option<&TenantId>) -> Vec<UsageView> {
        self.usage.quotas.usage(tenant).into_iter().map(used).collect()
    }

    fn metrics(&self, out: &mut Exposition) {
        metrics::write(self, out);
    }
}

impl Operator {
    /// Whether tenants' requests are served.
    pub(crate) fn serves(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.front.registry
    }

    /// A view with what its driver knows of its use; a sandbox that does not run
    /// uses nothing worth asking for.
    async fn shown(&self, view: View) -> SandboxView {
        // What cannot be measured is not shown; the rest is.
        let stats = self.registry().stats(&view.key).await.ok().flatten().unwrap_or_default();
        let why = view.why_awake;
        let awake = matches!(view.phase, Phase::Starting | Phase::Running).then(|| AwakeView {
            in_flight: u64::from(why.in_flight),
            visitors: u64::from(why.visitors),
            websockets: u64::from(why.attached),
            last_activity_ms: why.last_active.map(unix_ms),
            keep_alive: why.keep_alive,
            cause: why.cause.as_deref().map(cause),
        });
        SandboxView {
            tenant: view.key.tenant.to_string(),
            name: view.key.name.to_string(),
            incarnation: view.incarnation.0,
            template: view.template.to_string(),
            driver: view.driver,
            state: view.phase.as_str().to_owned(),
            since_ms: unix_ms(view.since),
            awake,
            rests_at_ms: view.rests_at.map(unix_ms),
            failure: view.failure.map(|failure| chain(&*failure)),
            failed_starts: view.attempts,
            last_exit: view.last_exit.map(|exit| exit.to_string()),
            memory_bytes: stats.memory,
            cpu_ms: stats.cpu.map(|cpu| u64::try_from(cpu.as_millis()).unwrap_or(u64::MAX)),
            processes: stats.pids,
            disk_bytes: stats.disk,
            labels: view.labels.into_iter().collect(),
        }
    }
}

fn cause(cause: &Cause) -> CauseView {
    let (kind, request) = match &cause.what {
        What::Request(line) => ("request", Some(line.clone())),
        What::Bytes => ("bytes", None),
        What::Order => ("order", None),
    };
    let subject = cause.by.as_ref().map(ToString::to_string);
    CauseView { kind: kind.to_owned(), request, subject }
}

fn used(of: tidegate_quota::Usage) -> UsageView {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let (amount, per_ms, burst) = match of.limit {
        Some(LimitKind::Rate { amount, per, burst }) => {
            (Some(amount), Some(millis(per)), Some(burst))
        }
        Some(LimitKind::Ceiling(most)) => (Some(most), None, None),
        None => (None, None, None),
    };
    UsageView {
        tenant: of.tenant.to_string(),
        subject: of.subject.map(|subject| subject.to_string()),
        meter: of.meter.as_str().to_owned(),
        amount,
        per_ms,
        burst,
        used: of.used,
        remaining: of.limit.map(|_| of.remaining),
        resets_in_ms: of.full_in.map(millis),
    }
}

fn failed(error: tidegate_sandbox::ControlError) -> ControlError {
    use tidegate_sandbox::ControlError as E;
    match error {
        E::NotFound(key) => ControlError::Unknown(key),
        E::Stale { key, meant, current } => ControlError::Stale { key, meant, current },
        E::Busy { key, in_flight: 0 } => ControlError::Busy { key, why: "it is starting".into() },
        E::Busy { key, in_flight } => {
            ControlError::Busy { key, why: format!("{in_flight} requests in flight") }
        }
        E::Wake(wake) => match &wake {
            tidegate_sandbox::WakeError::Failed { key, .. }
            | tidegate_sandbox::WakeError::BackOff { key, .. } => {
                ControlError::Start { key: key.clone(), reason: chain(&wake) }
            }
            tidegate_sandbox::WakeError::ShuttingDown => ControlError::Gateway(wake.to_string()),
        },
        other => ControlError::Gateway(chain(&other)),
    }
}
