//! From nothing to ready.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tidegate_types::Template;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::environment::environment;
use super::ready::wait_until_ready;
use crate::driver::{Driver, DriverError, Exit, Files, SandboxId, Spec};
use crate::error::StartFailure;
use crate::ledger::{Intent, Record};
use crate::sandbox::{Recipe, Sandbox};
use crate::slots::{self, Slot};

/// Whether the application has to be started or runs already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Nothing of it runs.
    Fresh,
    /// Perhaps something of it is left: that is removed first.
    AfterTrouble,
    /// It was found running when the gateway started.
    Adopt,
}

/// What serves a sandbox while it lives; dropping it ends that.
pub(super) type Serving = Vec<AbortOnDropHandle<()>>;

/// Numbers starts, across all sandboxes of this process; 0 is none.
static STARTS: AtomicU64 = AtomicU64::new(1);

/// Brings a sandbox up until it is ready.
///
/// # Cancel safety
/// A dropped start may have happened in part; the caller cleans up.
pub(super) async fn bring_up(sandbox: Arc<Sandbox>, mode: Mode) -> Result<Serving, StartFailure> {
    let services = &sandbox.services;
    let recipe = sandbox.recipe.load_full();
    let template = recipe
        .template
        .clone()
        .ok_or_else(|| StartFailure::NoTemplate(recipe.template_name.clone()))?;
    let driver = services
        .drivers
        .get(&template.driver)
        .ok_or_else(|| StartFailure::NoDriver(template.driver.clone()))?;
    sandbox.set_start(Arc::clone(driver), STARTS.fetch_add(1, Ordering::Relaxed));
    if mode == Mode::Adopt {
        services.meters.adoptions.add(1);
        let serving = serve_listeners(&sandbox, &**driver, &template).await?;
        until_ready(&sandbox, &**driver, &template, None).await?;
        return Ok(serving);
    }
    let asked = Instant::now();
    let slot = services.slots.acquire(&sandbox.id.key.tenant).await;
    services.meters.slot_wait.observe(asked.elapsed());
    services.meters.starts.add(1);
    let outcome = start(&sandbox, &**driver, &template, &recipe, mode, slot).await;
    match &outcome {
        Ok(_) => services.meters.start_time.observe(asked.elapsed()),
        Err(_) => services.meters.start_failures.add(1),
    }
    outcome
}

async fn start(
    sandbox: &Arc<Sandbox>,
    driver: &dyn Driver,
    template: &Arc<Template>,
    recipe: &Recipe,
    mode: Mode,
    slot: Slot,
) -> Result<Serving, StartFailure> {
    let services = &sandbox.services;
    let id = &sandbox.id;
    // Before anything else: what cannot work shall not leave traces.
    let env = environment(&id.key, template, &recipe.env, &*services.fill)
        .map_err(StartFailure::Secret)?;
    // Recorded before it exists, so that after a crash nothing exists unrecorded.
    services.ledger.put(record(sandbox, recipe, Intent::Run)).await?;
    if mode == Mode::AfterTrouble {
        driver.destroy(id, Files::Keep).await?;
    }
    let spec = Spec {
        id: id.clone(),
        template: Arc::clone(template),
        listeners: services.companion.listeners(template),
        hosts: services.companion.hosts(template),
    };
    driver.create(&spec).await?;
    // Served before the application can ask.
    let serving = serve_listeners(sandbox, driver, template).await?;
    driver.start(id, &env).await?;
    until_ready(sandbox, driver, template, Some(slot)).await?;
    Ok(serving)
}

async fn serve_listeners(
    sandbox: &Sandbox,
    driver: &dyn Driver,
    template: &Arc<Template>,
) -> Result<Serving, DriverError> {
    let companion = &sandbox.services.companion;
    let mut serving = Vec::new();
    for listener in companion.listeners(template) {
        let accepting = driver.listener(&sandbox.id, &listener.name).await?;
        serving.push(companion.serve(&listener.name, accepting, &sandbox.id.key, template));
    }
    Ok(serving)
}

/// Waits for readiness, for the application's end, or for the time-out, whichever
/// comes first; gives the slot back early when that takes long.
async fn until_ready(
    sandbox: &Sandbox,
    driver: &dyn Driver,
    template: &Template,
    slot: Option<Slot>,
) -> Result<(), StartFailure> {
    let from = sandbox.services.probe_from;
    let ready = &template.ready;
    let judged = async {
        let mut last = String::from("nothing answered");
        let asking = wait_until_ready(driver, &sandbox.id, from, &ready.probe, &mut last);
        match timeout(ready.timeout, asking).await {
            Ok(outcome) => outcome.map_err(StartFailure::Driver),
            Err(_) => Err(StartFailure::NotReady { timeout: ready.timeout, last }),
        }
    };
    let outcome = async {
        tokio::select! {
            biased;
            exit = ended(driver, &sandbox.id) => Err(StartFailure::Exited(exit)),
            outcome = judged => outcome,
        }
    };
    tokio::pin!(outcome);
    if let Ok(outcome) = timeout(slots::HOLD, &mut outcome).await {
        return outcome;
    }
    drop(slot);
    outcome.await
}

/// Waits until the application has ended.
pub(super) async fn ended(driver: &dyn Driver, id: &SandboxId) -> Exit {
    /// A driver that cannot watch is asked again; it is not a reason to end a
    /// sandbox that may well be running.
    const AGAIN: Duration = Duration::from_secs(1);
    loop {
        match driver.wait(id).await {
            Ok(exit) => return exit,
            Err(DriverError::Absent(_) | DriverError::Stale { .. }) => return Exit::Unknown,
            Err(error) => {
                tracing::warn!(sandbox = %id.key, %error, "cannot watch the application");
                sleep(AGAIN).await;
            }
        }
    }
}

/// What the ledger shall remember of it from now on.
pub(super) fn record(sandbox: &Sandbox, recipe: &Recipe, intent: Intent) -> Record {
    let services = &sandbox.services;
    Record {
        key: sandbox.id.key.clone(),
        incarnation: sandbox.id.incarnation,
        template: recipe.template_name.clone(),
        driver: recipe.driver.clone(),
        lifetime: recipe.lifetime,
        env: recipe.env.clone(),
        labels: recipe.labels.clone(),
        intent,
        changed: services.clock.wall(services.clock.now()),
    }
}
