//! From running to nothing: sleep, stop, destroy.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::start::record;
use crate::driver::{Driver, DriverError, Exit, Files};
use crate::error::StartFailure;
use crate::ledger::Intent;
use crate::sandbox::Sandbox;
use crate::word::Epoch;

/// How long attached connections are given to close before their application
/// ends: enough for a close frame, too short to be waited for.
const FAREWELL: Duration = Duration::from_secs(1);

/// Tells what is attached to close, and waits a moment for it.
pub(super) async fn say_farewell(sandbox: &Sandbox, epoch: Epoch) {
    // A waiter must be registered before the count is read, or the last one to
    // leave in between is missed.
    let none_attached = sandbox.none_attached.notified();
    tokio::pin!(none_attached);
    none_attached.as_mut().enable();
    sandbox.tell_to_close(epoch);
    if sandbox.has_company() {
        let _ = timeout(FAREWELL, none_attached).await;
    }
}

/// Tries to put an idle sandbox to sleep: `true` when that is now decided, `false`
/// when it is in use or was used before the decision.
pub(super) async fn try_close(sandbox: &Sandbox, idle_since: u64) -> bool {
    let Some(epoch) = sandbox.word.begin_closing() else { return false };
    if sandbox.last_active() > idle_since {
        sandbox.word.call_off();
        return false;
    }
    say_farewell(sandbox, epoch).await;
    let committed = sandbox.word.commit();
    if !committed {
        sandbox.services.meters.sleeps_called_off.add(1);
    }
    committed
}

/// The driver that made what exists of this sandbox, if anything can.
fn driver_of(sandbox: &Sandbox) -> Result<Arc<dyn Driver>, StartFailure> {
    if let Some(driver) = sandbox.driver() {
        return Ok(driver);
    }
    let name = sandbox.recipe.load().driver.clone();
    let driver = sandbox.services.drivers.get(&name);
    driver.map(Arc::clone).ok_or(StartFailure::NoDriver(name))
}

/// Ends the application and leaves only its files.
pub(super) async fn stop(sandbox: &Sandbox) -> Result<(), StartFailure> {
    let driver = driver_of(sandbox)?;
    let recipe = sandbox.recipe.load_full();
    let record = record(sandbox, &recipe, Intent::Rest);
    if let Err(error) = sandbox.services.ledger.put(record).await {
        // At worst it counts as running when the gateway starts next time, and is
        // found not to be.
        tracing::warn!(sandbox = %sandbox.id.key, %error, "a stop could not be recorded");
    }
    match driver.stop(&sandbox.id, recipe.stop_grace()).await {
        Ok(_) | Err(DriverError::Absent(_)) => {}
        // `destroy` ends it too, if less gently, and has the last word.
        Err(error) => tracing::warn!(sandbox = %sandbox.id.key, %error, "could not be stopped"),
    }
    empty(sandbox, &driver, Files::Keep).await
}

/// Leaves nothing of a sandbox but its files, or not even those.
pub(super) async fn empty(
    sandbox: &Sandbox,
    driver: &Arc<dyn Driver>,
    files: Files,
) -> Result<(), StartFailure> {
    sandbox.services.companion.over(&sandbox.id.key);
    driver.destroy(&sandbox.id, files).await?;
    Ok(())
}

/// Clears away what is left of an application that ended by itself.
pub(super) async fn clear(sandbox: &Sandbox, exit: Exit) -> Result<(), StartFailure> {
    tracing::info!(sandbox = %sandbox.id.key, %exit, "the application ended");
    empty(sandbox, &driver_of(sandbox)?, Files::Keep).await
}

/// Removes every trace; what is recorded goes last.
pub(super) async fn destroy(sandbox: &Sandbox) -> Result<(), StartFailure> {
    let driver = driver_of(sandbox)?;
    let recipe = sandbox.recipe.load_full();
    let ledger = &sandbox.services.ledger;
    ledger.put(record(sandbox, &recipe, Intent::Destroy)).await?;
    empty(sandbox, &driver, Files::Remove).await?;
    ledger.remove(&sandbox.id.key).await?;
    Ok(())
}
