//! `tidegate serve`: puts the gateway together and runs it until it is told to end.

mod calls;
mod changes;
mod companion;
pub(crate) mod components;
pub(crate) mod key_sets;
mod metrics;
mod operator;
pub(crate) mod outside;
pub(crate) mod plugins;
mod reload;
mod shown;
pub(crate) mod upstreams;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tidegate_config::{Config, MetricsAccess};
use tidegate_control::{Access, Beacon, OpenMetrics, Token};
use tidegate_driver_linux::LinuxDriver;
use tidegate_policy::PolicyHost;
use tidegate_quota::{QuotaConfig, Quotas};
use tidegate_relay::{Limits, Relay, RelayConfig, ServerConfig, server_tls};
use tidegate_sandbox::{Driver, Fill, Registry, RegistryConfig};
use tidegate_types::fault::chain;
use tidegate_types::{Secret, SecretName, Template, TemplateName};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use self::companion::Gates;
use self::components::{Components, When};
use self::operator::Operator;
use self::outside::Outside;
use crate::live::{Live, Loaded};
use crate::observe::{Delivery, Observer};
use crate::request::{Front, GATEWAY_INSIDE};
use crate::usage::{self, Usage};

/// What `serve` is told.
#[derive(Debug)]
pub(crate) struct Orders {
    /// The checked configuration.
    pub(crate) config: Config,
    /// Where it came from; `None` for the built-in demonstration, which cannot
    /// be reloaded.
    pub(crate) file: Option<PathBuf>,
    /// The state directory where the command line names one: it goes before the
    /// file's, also when the file is read again.
    pub(crate) state_dir: Option<PathBuf>,
}

/// Why the gateway did not start: one line per thing to put right.
#[derive(Debug)]
pub(crate) struct Unstartable(pub(crate) Vec<String>);

impl From<String> for Unstartable {
    fn from(problem: String) -> Self {
        Self(vec![problem])
    }
}

impl From<Vec<String>> for Unstartable {
    fn from(problems: Vec<String>) -> Self {
        Self(problems)
    }
}

/// What WebSockets have for their close frames at least, the drain time being used
/// up by requests.
const FAREWELL: Duration = Duration::from_secs(1);

/// Runs the gateway until SIGTERM or SIGINT; sandboxes go on running.
///
/// # Errors
/// Everything that keeps it from starting; nothing is left half started.
pub(crate) async fn run(orders: Orders) -> Result<(), Unstartable> {
    let Orders { config, file, state_dir } = orders;
    // Where changes are watched for is compared with absolute paths.
    let file = file.map(std::path::absolute).transpose().map_err(|error| error.to_string())?;
    let server = config.server.clone();
    make_private(&server.state_dir)?;

    // Both doors first: whoever cannot listen need not touch any sandbox.
    let listener = listen(server.listen, "server.listen").await?;
    let control = listen(server.control, "server.control").await?;
    let listens_at = listener.local_addr().map_err(|error| error.to_string())?;
    let control_at = control.local_addr().map_err(|error| error.to_string())?;
    let tls = match &server.tls {
        Some(tls) => Some(server_tls(&tls.certificate, &tls.key).map_err(|error| chain(&error))?),
        None => None,
    };

    let loaded = blocking(move || Loaded::of(config)).await?;
    let outside = Arc::new(Outside::new(&server, &server.state_dir)?);
    let published = outside.key_sets(&loaded.config).await?;
    let (at, state_dir_in_use) = (server.clone(), server.state_dir.clone());
    let components =
        blocking(move || Components::new(&at, &state_dir_in_use).map_err(|problem| vec![problem]));
    let components = Arc::new(components.await?);
    let gathered = components.gather(&loaded, When::Start).await?;
    let taken = components::remembered(&gathered);
    let means = plugins::Means {
        state_dir: &server.state_dir,
        outgoing: outside.outgoing(),
        published: &published,
        components: gathered,
    };
    let input = plugins::input(&loaded, means)?;
    outside.serve(published);
    let policy = blocking(move || {
        PolicyHost::new(input.host, input.plugins).map_err(|problems| plugins::describe(&problems))
    });
    let policy = Arc::new(policy.await?);
    components.took(&loaded, taken).await;
    let gate = upstreams::gate(&loaded)?;
    let drivers = drivers(&server.state_dir)?;
    let warnings = complaints(&loaded, &drivers)?;
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    let templates = templates(&loaded);
    let about = operator::about(&loaded, file.as_ref(), listens_at, warnings);
    let live = Arc::new(ArcSwap::from_pointee(Live {
        policy: policy.current(),
        loaded: Arc::new(loaded),
    }));
    let meters = Arc::new(tidegate_relay::Meters::default());
    let relay = RelayConfig { meters: Arc::clone(&meters), ..RelayConfig::default() };
    let relay = Arc::new(Relay::new(relay));
    let registry = Registry::open(RegistryConfig {
        state_dir: server.state_dir.clone(),
        drivers: drivers.clone(),
        templates,
        fill: Arc::new(LiveSecrets(Arc::clone(&live))),
        companion: Arc::new(Gates { relay: Arc::clone(&relay), upstreams: Arc::clone(&gate) }),
        probe_from: GATEWAY_INSIDE,
        concurrent_starts: RegistryConfig::default_concurrent_starts(),
    })
    .await
    .map_err(|error| chain(&error))?;

    let (observer, events) = Observer::new();
    policy.watched_by(Arc::clone(&observer) as _);
    registry.watched_by(Arc::clone(&observer) as _);
    let delivery = Delivery::start(&observer, events, Arc::clone(&policy));

    // After the registry, whose lock says that no other gateway uses the directory.
    let quotas = QuotaConfig::new(server.state_dir.clone());
    let quotas =
        blocking(move || Quotas::open(quotas).map_err(|error| vec![chain(&error)])).await?;
    let usage = Usage::new(quotas, Arc::clone(&observer));
    let sampler = usage::sample(Arc::clone(&usage), Arc::clone(&registry), Arc::clone(&live));

    let (draining, leaving) = (CancellationToken::new(), CancellationToken::new());
    let front = Arc::new(Front {
        registry: Arc::clone(&registry),
        relay,
        live: Arc::clone(&live),
        meters: crate::request::Meters::default(),
        usage: Arc::clone(&usage),
        observer,
        leaving: leaving.clone(),
    });
    let reloads = Arc::new(reload::Meters::default());
    let reloader = reload::start(reload::Reloader {
        file,
        state_dir,
        live,
        policy: Arc::clone(&policy),
        registry: Arc::clone(&registry),
        upstreams: Arc::clone(&gate),
        outside: Arc::clone(&outside),
        components: Arc::clone(&components),
        drivers,
        runs_in: server.state_dir.clone(),
        meters: Arc::clone(&reloads),
    });

    let token = Token::load_or_create(&server.state_dir).map_err(|error| {
        format!("the control token in `{}` cannot be used: {error}", server.state_dir.display())
    })?;
    let access = Access {
        token,
        hosts: server.control_hosts.clone(),
        open_metrics: match server.metrics {
            MetricsAccess::Token => OpenMetrics::No,
            MetricsAccess::Open => OpenMetrics::Yes,
        },
    };
    let ready = Arc::new(AtomicBool::new(true));
    let operator = Operator {
        front: Arc::clone(&front),
        usage: Arc::clone(&usage),
        policy,
        upstreams: gate,
        outside,
        components,
        reloads,
        relay: Arc::clone(&meters),
        ready: Arc::clone(&ready),
        about,
    };
    let stop_control = CancellationToken::new();
    let control = tokio::spawn(tidegate_control::serve(
        control,
        Arc::new(operator),
        access,
        stop_control.clone(),
    ));
    let limits = Limits { head_bytes: server.max_header_bytes, ..Limits::default() };
    let served = tidegate_relay::serve(
        ServerConfig {
            limits,
            drain_time: server.drain,
            meters: Arc::clone(&meters),
            ..ServerConfig::default()
        },
        listener,
        tls,
        Arc::clone(&front),
        draining.clone(),
    );
    let served = tokio::spawn(served);
    Beacon::new(control_at)
        .write(&server.state_dir)
        .map_err(|error| format!("`{}`: {error}", server.state_dir.display()))?;
    let sandboxes = registry.list().len();
    tracing::info!(listen = %listens_at, control = %control_at, sandboxes, "tidegate serves");

    told_to_end().await;
    ready.store(false, Ordering::Relaxed);
    tracing::info!(drain = ?server.drain, "ending: open requests are finished, sandboxes stay");
    draining.cancel();
    // Requests have the drain time; then what is left, WebSockets with 1012. They
    // have the rest of it: a client that does not answer must not hold the end up.
    let over = tokio::time::Instant::now() + server.drain;
    let _ = served.await;
    let rest = over.saturating_duration_since(tokio::time::Instant::now());
    let _ = tokio::time::timeout(rest.max(FAREWELL), front.relay.close()).await;
    drop((reloader, sampler));
    registry.shutdown().await;
    // Nothing happens any more that could be told.
    let rest = over.saturating_duration_since(tokio::time::Instant::now());
    delivery.close(rest.max(FAREWELL)).await;
    stop_control.cancel();
    let _ = control.await;
    // Last: what was used until now is saved.
    blocking(move || {
        usage.quotas.close();
        Ok(())
    })
    .await?;
    Ok(())
}

/// What the drivers say about the templates: errors end the start, warnings are
/// returned.
fn complaints(
    loaded: &Loaded,
    drivers: &HashMap<String, Arc<dyn Driver>>,
) -> Result<Vec<String>, Unstartable> {
    let (warnings, errors) = crate::check::templates(&loaded.templates, drivers);
    if errors.is_empty() { Ok(warnings) } else { Err(Unstartable(errors)) }
}

/// Every driver there is, by name.
pub(crate) fn drivers(state_dir: &Path) -> Result<HashMap<String, Arc<dyn Driver>>, String> {
    let config = tidegate_driver_linux::Config { state_dir: state_dir.to_owned() };
    let linux = LinuxDriver::new(config).map_err(|error| chain(&error))?;
    let linux: Arc<dyn Driver> = linux;
    Ok(HashMap::from([(linux.name().to_owned(), linux)]))
}

async fn listen(address: SocketAddr, key: &str) -> Result<TcpListener, Unstartable> {
    TcpListener::bind(address).await.map_err(|error| {
        let remedy = match error.kind() {
            io::ErrorKind::AddrInUse => {
                "another program listens there: end it, or choose another port"
            }
            io::ErrorKind::PermissionDenied => {
                "ports below 1024 need privileges: choose another port, or grant \
                 CAP_NET_BIND_SERVICE"
            }
            io::ErrorKind::AddrNotAvailable => "this machine has no such address: choose another",
            _ => "choose another address",
        };
        Unstartable(vec![format!("`{key}`: cannot listen on {address}: {error}; {remedy}")])
    })
}

/// Others must not read it, but a sandbox's own user must pass through it to what
/// is bound into the sandbox: hence x.
fn make_private(state_dir: &Path) -> Result<(), Unstartable> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o711).create(state_dir);
    made.map_err(|error| {
        Unstartable(vec![format!(
            "`server.state-dir`: `{}` cannot be made: {error}; choose a directory that this \
             user may write",
            state_dir.display()
        )])
    })
}

fn templates(loaded: &Loaded) -> HashMap<TemplateName, Arc<Template>> {
    loaded.templates.iter().map(|(name, it)| (name.clone(), Arc::clone(it))).collect()
}

/// Runs work that blocks where it may.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Vec<String>> + Send + 'static,
) -> Result<T, Vec<String>> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(vec![error.to_string()]),
    }
}

async fn told_to_end() {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// The secrets of whichever configuration is loaded.
struct LiveSecrets(Arc<ArcSwap<Live>>);

impl Fill for LiveSecrets {
    fn fill(&self, text: &str) -> Result<Secret, SecretName> {
        self.0.load().loaded.fill(text)
    }
}
