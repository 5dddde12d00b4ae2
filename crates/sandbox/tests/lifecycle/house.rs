//! A registry on the in-memory driver, in a state directory of its own.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tidegate_sandbox::driver::Listener;
use tidegate_sandbox::{Companion, Fill, OpenError, Phase, Registry, RegistryConfig, Sandbox};
use tidegate_types::template::Probe;
use tidegate_types::{
    ClientAddress, Lifetime, Limits, Placement, Ready, RelayMode, Root, SandboxKey, SandboxName,
    Secret, SecretName, SubjectId, Template, TemplateName, TenantId, WhenAsleep, secret,
};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::fake::{Fake, driver};

pub(crate) const IDLE: Duration = Duration::from_secs(600);

pub(crate) struct House {
    pub(crate) registry: Arc<Registry>,
    pub(crate) fake: Arc<Fake>,
    pub(crate) dir: TempDir,
    pub(crate) template: Arc<Template>,
}

impl House {
    pub(crate) async fn new() -> Self {
        Self::with(Lifetime::SleepAfter(IDLE)).await
    }

    pub(crate) async fn with(lifetime: Lifetime) -> Self {
        // In memory where that can be had: these tests commit thousands of times.
        let memory = Path::new("/dev/shm");
        let dir = TempDir::new_in(memory).or_else(|_| TempDir::new()).expect("a directory");
        let fake = Arc::new(Fake::default());
        let template = Arc::new(template(lifetime));
        let registry = open(&dir, &fake, &[&template]).await.expect("opens");
        Self { registry, fake, dir, template }
    }

    /// The gateway ends and another begins; what is on the machine stays.
    pub(crate) async fn again(self) -> Self {
        let Self { registry, fake, dir, template } = self;
        registry.shutdown().await;
        drop(registry);
        let registry = open(&dir, &fake, &[&template]).await.expect("opens again");
        Self { registry, fake, dir, template }
    }

    pub(crate) fn sandbox(&self, name: &str) -> Arc<Sandbox> {
        self.registry.find_or_create(&key(name), &placement(name), &self.template)
    }

    /// Makes a sandbox run and leaves it alone.
    pub(crate) async fn running(&self, name: &str) -> Arc<Sandbox> {
        let sandbox = self.sandbox(name);
        drop(sandbox.admit().await.expect("starts"));
        sandbox
    }
}

pub(crate) fn alice() -> SubjectId {
    SubjectId::new("alice").expect("valid")
}

pub(crate) async fn open(
    dir: &TempDir,
    fake: &Arc<Fake>,
    templates: &[&Arc<Template>],
) -> Result<Arc<Registry>, OpenError> {
    Registry::open(RegistryConfig {
        state_dir: dir.path().to_owned(),
        drivers: HashMap::from([("fake".to_owned(), driver(fake))]),
        templates: templates.iter().map(|t| (t.name.clone(), Arc::clone(t))).collect(),
        fill: Arc::new(Secrets),
        companion: Arc::new(Nobody(Arc::clone(fake))),
        probe_from: IpAddr::V4(Ipv4Addr::LOCALHOST),
        concurrent_starts: 2,
    })
    .await
}

struct Secrets;

impl Fill for Secrets {
    fn fill(&self, text: &str) -> Result<Secret, SecretName> {
        let known = Secret::new("s3cret".into());
        secret::fill_in(text, |name| (name == "KNOWN").then_some(&known))
    }
}

struct Nobody(Arc<Fake>);

impl Companion for Nobody {
    fn listeners(&self, _: &Template) -> Vec<Listener> {
        Vec::new()
    }

    fn hosts(&self, _: &Template) -> Vec<(String, IpAddr)> {
        Vec::new()
    }

    fn serve(
        &self,
        _: &str,
        _: TcpListener,
        _: &SandboxKey,
        _: &Arc<Template>,
    ) -> AbortOnDropHandle<()> {
        AbortOnDropHandle::new(tokio::spawn(async {}))
    }

    fn over(&self, _: &SandboxKey) {
        self.0.note_over();
    }
}

pub(crate) fn key(name: &str) -> SandboxKey {
    SandboxKey {
        tenant: TenantId::new("acme").expect("valid"),
        name: SandboxName::new(name).expect("valid"),
    }
}

pub(crate) fn placement(name: &str) -> Placement {
    Placement {
        sandbox: SandboxName::new(name).expect("valid"),
        template: TemplateName::new("app").expect("valid"),
        port: 80,
        lifetime: None,
        when_asleep: WhenAsleep::Hold,
        env: Vec::new(),
        labels: Vec::new(),
        path: None,
        request_headers: Vec::new(),
        response_headers: Vec::new(),
        relay: RelayMode::Raw,
    }
}

pub(crate) fn template(lifetime: Lifetime) -> Template {
    Template {
        name: TemplateName::new("app").expect("valid"),
        driver: "fake".into(),
        root: Root::Host,
        binds: Vec::new(),
        command: vec!["/bin/app".into()],
        workdir: PathBuf::from("/"),
        env: Vec::new(),
        port: 80,
        ready: Ready { probe: Probe::Tcp(80), timeout: Duration::from_secs(180) },
        lifetime,
        stop_grace: Duration::from_secs(5),
        limits: Limits::default(),
        client_address: ClientAddress::Header,
        identity_headers: Vec::new(),
        upstreams: Vec::new(),
    }
}

/// Waits until `holds`; gives up after half a minute of real time.
///
/// The ledger's thread isn't seen by the paused clock, which leaps to the next
/// timer while only that thread works. So where several sandboxes are at work,
/// tests give the ones that shall not change no timers.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    let mut looks = 0_u32;
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(30), "still not: {what}");
        looks = looks.saturating_add(1);
        let pause = if looks < 200 { 1 } else { 100 };
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

pub(crate) async fn until_phase(sandbox: &Sandbox, phase: Phase) {
    until(phase.as_str(), || sandbox.phase() == phase).await;
}
