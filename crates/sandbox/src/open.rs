//! Taking over what exists: the only way this gateway starts, whether the last
//! one ended well or not.
//!
//! First what the machine says, then what was recorded, then what to do about
//! each difference:
//!
//! | recorded | found | then |
//! |---|---|---|
//! | meant to be removed | anything | it is removed |
//! | this life | running | it is adopted |
//! | this life | not running | what is left is cleared away; it rests, or is kept alive |
//! | another life | anything | what was found is ended, files kept |
//! | nothing | anything | likewise, and said |
//! | running or resting | nothing | it rests, or is kept alive |

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::join_all;
use tidegate_types::{Lifetime, SandboxKey};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::driver::{Driver, Files, Found, SandboxId};
use crate::error::OpenError;
use crate::ledger::{Intent, Ledger, OpenFailure, Record};
use crate::lifecycle::{Mode, Order, Phase};
use crate::meters::Meters;
use crate::registry::Registry;
use crate::sandbox::Recipe;
use crate::services::{Clock, RegistryConfig, Services};
use crate::slots::Slots;

pub(crate) async fn open(config: RegistryConfig) -> Result<Arc<Registry>, OpenError> {
    let dir = config.state_dir.clone();
    let opened = tokio::task::spawn_blocking(move || Ledger::open(&dir)).await;
    let (ledger, contents) = match opened {
        Ok(Ok(opened)) => opened,
        Ok(Err(OpenFailure::InUse)) => return Err(OpenError::InUse(config.state_dir)),
        Ok(Err(OpenFailure::Directory(path, source))) => {
            return Err(OpenError::Directory { path, source });
        }
        Ok(Err(OpenFailure::Ledger(error))) => return Err(OpenError::Ledger(error)),
        Err(ended) => {
            let source = std::io::Error::other(ended);
            return Err(OpenError::Directory { path: config.state_dir, source });
        }
    };
    let found = list(&config.drivers).await?;
    let highest = found.iter().map(|(_, f)| f.id.incarnation).max().unwrap_or_default();
    let services = Arc::new(Services {
        drivers: config.drivers,
        fill: config.fill,
        companion: config.companion,
        probe_from: config.probe_from,
        ledger,
        slots: Slots::new(config.concurrent_starts),
        meters: Meters::default(),
        clock: Clock::new(),
        runtime: Handle::current(),
        actors: TaskTracker::new(),
        watch: std::sync::OnceLock::new(),
        leaving: CancellationToken::new(),
    });
    let registry = Registry::new(services, highest.max(contents.highest));

    let known = |record: &Record| config.templates.contains_key(&record.template);
    let (adopted, leftover) = sort(&contents.records, found, known);
    clear_away(leftover, &contents.records).await;
    for record in contents.records.into_values() {
        let template = config.templates.get(&record.template).cloned();
        let adopted = adopted.get(&record.key);
        take_over(&registry, record, template, adopted);
    }
    Ok(registry)
}

/// What the drivers say exists, each with its driver.
async fn list(
    drivers: &HashMap<String, Arc<dyn Driver>>,
) -> Result<Vec<(Arc<dyn Driver>, Found)>, OpenError> {
    let mut all = Vec::new();
    for (name, driver) in drivers {
        let found = driver
            .list()
            .await
            .map_err(|source| OpenError::Driver { driver: name.clone(), source })?;
        all.extend(found.into_iter().map(|found| (Arc::clone(driver), found)));
    }
    Ok(all)
}

type Leftover = Vec<(Arc<dyn Driver>, SandboxId)>;

/// What can be adopted, and what has to be cleared away.
fn sort(
    records: &HashMap<SandboxKey, Record>,
    found: Vec<(Arc<dyn Driver>, Found)>,
    known: impl Fn(&Record) -> bool,
) -> (HashMap<SandboxKey, Found>, Leftover) {
    let mut adopted = HashMap::new();
    let mut leftover = Vec::new();
    for (driver, found) in found {
        let this_life = records.get(&found.id.key).filter(|record| {
            record.incarnation == found.id.incarnation && record.driver == driver.name()
        });
        match this_life {
            // Its removal clears everything away.
            Some(record) if record.intent == Intent::Destroy => {}
            Some(record) if found.running && known(record) => {
                adopted.insert(found.id.key.clone(), found);
            }
            _ => leftover.push((driver, found.id)),
        }
    }
    (adopted, leftover)
}

async fn clear_away(leftover: Leftover, records: &HashMap<SandboxKey, Record>) {
    let clearing = leftover.into_iter().map(async |(driver, id)| {
        let SandboxId { key, incarnation } = &id;
        if !records.contains_key(key) {
            tracing::warn!(sandbox = %key, %incarnation, "found without a record; ended, its files are kept");
        }
        if let Err(error) = driver.destroy(&id, Files::Keep).await {
            // Its next start begins with trying again.
            tracing::error!(sandbox = %key, %incarnation, %error, "what is left of it cannot be cleared away");
        }
    });
    join_all(clearing).await;
}

/// Puts one recorded sandbox into the registry, and its actor to work where there
/// is some.
fn take_over(
    registry: &Registry,
    record: Record,
    template: Option<Arc<tidegate_types::Template>>,
    adopted: Option<&Found>,
) {
    let kept_alive = |recipe: &Recipe| recipe.lifetime() == Lifetime::KeepAlive;
    if template.is_none() {
        tracing::warn!(sandbox = %record.key, template = %record.template, "its template is not configured any more; it rests");
    }
    let recipe = Recipe {
        template,
        template_name: record.template,
        driver: record.driver,
        lifetime: record.lifetime,
        env: record.env,
        labels: record.labels,
    };
    let id = SandboxId { key: record.key, incarnation: record.incarnation };
    let restart = record.intent == Intent::Run && recipe.template.is_some() && kept_alive(&recipe);
    let (phase, mode, since) = match adopted {
        Some(found) => (Phase::Starting, Mode::Adopt, found.started_at.unwrap_or(record.changed)),
        None => (Phase::Stopped, Mode::AfterTrouble, record.changed),
    };
    let sandbox = registry.insert(id, recipe, phase, since);
    sandbox.set_mode(mode);
    let order = if record.intent == Intent::Destroy {
        // Nobody waits for it.
        Order::Destroy(oneshot::channel().0)
    } else if adopted.is_some() || restart {
        Order::Wake(None)
    } else {
        return;
    };
    // Only a gateway that is ending refuses.
    let _ = sandbox.send(order);
}
