//! Every sandbox there is, by tenant and name.
//!
//! Finding one is a look into a sharded map. Nothing here waits for a machine but
//! what operators ask for.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use dashmap::DashMap;
use tidegate_types::{Incarnation, Placement, SandboxKey, Template, TemplateName};

use crate::cause::{Cause, What};
use crate::driver::{Driver, SandboxId, Stats};
use crate::error::{ControlError, OpenError};
use crate::lifecycle::{Order, Phase, Unserved};
use crate::meters::Meters;
use crate::open;
use crate::sandbox::{Recipe, Sandbox};
use crate::services::{RegistryConfig, Services};
use crate::view::View;
use crate::watch::Watch;

/// See the module.
pub struct Registry {
    pub(crate) services: Arc<Services>,
    sandboxes: DashMap<SandboxKey, Arc<Sandbox>>,
    /// The highest incarnation given so far.
    incarnations: AtomicU64,
    me: Weak<Self>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("sandboxes", &self.sandboxes.len()).finish_non_exhaustive()
    }
}

impl Registry {
    /// Opens the state directory, lists what really exists, compares that with
    /// what was recorded, and takes it over: what runs is served on as it is, what
    /// is half-done is finished, what nobody recorded is ended (its files stay).
    ///
    /// Returns before adopted sandboxes have been asked whether they are ready;
    /// requests for them wait for that.
    ///
    /// # Cancel safety
    /// Can be dropped and tried again.
    ///
    /// # Errors
    /// [`OpenError`]; nothing was deleted then.
    pub async fn open(config: RegistryConfig) -> Result<Arc<Self>, OpenError> {
        open::open(config).await
    }

    pub(crate) fn new(services: Arc<Services>, highest: Incarnation) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            services,
            sandboxes: DashMap::new(),
            incarnations: AtomicU64::new(highest.0),
            me: Weak::clone(me),
        })
    }

    /// Puts in a sandbox that the ledger knows.
    pub(crate) fn insert(
        &self,
        id: SandboxId,
        recipe: Recipe,
        phase: Phase,
        since: SystemTime,
    ) -> Arc<Sandbox> {
        let key = id.key.clone();
        let services = Arc::clone(&self.services);
        let sandbox = Sandbox::new(id, recipe, phase, since, services, Weak::clone(&self.me));
        self.sandboxes.insert(key, Arc::clone(&sandbox));
        sandbox
    }

    /// The sandbox that a request was placed in; a new one where there is none.
    /// No I/O: a new one is recorded when it is started.
    ///
    /// `placement` and `template` count at the next start, the lifetime at once.
    #[must_use]
    pub fn find_or_create(
        &self,
        key: &SandboxKey,
        placement: &Placement,
        template: &Arc<Template>,
    ) -> Arc<Sandbox> {
        if let Some(sandbox) = self.get(key) {
            sandbox.refresh(placement, template);
            return sandbox;
        }
        self.make(key, || Recipe::new(placement, Arc::clone(template)))
    }

    fn make(&self, key: &SandboxKey, recipe: impl FnOnce() -> Recipe) -> Arc<Sandbox> {
        let made = self.sandboxes.entry(key.clone()).or_insert_with(|| {
            let incarnation = Incarnation(self.incarnations.fetch_add(1, Ordering::Relaxed) + 1);
            let id = SandboxId { key: key.clone(), incarnation };
            let services = Arc::clone(&self.services);
            let clock = services.clock;
            let since = clock.wall(clock.now());
            Sandbox::new(id, recipe(), Phase::Absent, since, services, Weak::clone(&self.me))
        });
        Arc::clone(&made)
    }

    /// The next life of a sandbox whose life is over.
    pub(crate) fn successor(&self, over: &Arc<Sandbox>) -> Arc<Sandbox> {
        // Whoever ended it may not have come to that yet.
        self.forget(over);
        self.make(over.key(), || Recipe::clone(&over.recipe.load()))
    }

    /// Takes out a sandbox whose life is over, unless it has a successor already.
    pub(crate) fn forget(&self, over: &Arc<Sandbox>) {
        self.sandboxes.remove_if(over.key(), |_, current| Arc::ptr_eq(current, over));
    }

    /// The sandbox called `key`, if there is one. Wakes nothing.
    #[must_use]
    pub fn get(&self, key: &SandboxKey) -> Option<Arc<Sandbox>> {
        self.sandboxes.get(key).map(|sandbox| Arc::clone(&sandbox))
    }

    /// Every sandbox, in the order of their keys. Wakes nothing.
    #[must_use]
    pub fn list(&self) -> Vec<View> {
        let mut views: Vec<View> = self.sandboxes.iter().map(|sandbox| sandbox.view()).collect();
        views.sort_by(|a, b| a.key.cmp(&b.key));
        views
    }

    /// How many sandboxes are in each phase, every phase named.
    #[must_use]
    pub fn phases(&self) -> Vec<(Phase, u64)> {
        let mut counts: HashMap<Phase, u64> = HashMap::new();
        for sandbox in &self.sandboxes {
            *counts.entry(sandbox.phase()).or_default() += 1;
        }
        Phase::ALL.iter().map(|phase| (*phase, counts.get(phase).copied().unwrap_or(0))).collect()
    }

    /// What is counted of all sandboxes together.
    #[must_use]
    pub fn meters(&self) -> &Meters {
        &self.services.meters
    }

    /// Tells `watch` of every change from now on. The first stays the only one.
    pub fn watched_by(&self, watch: Arc<dyn Watch>) {
        let _ = self.services.watch.set(watch);
    }

    /// Takes newly loaded templates; they count at each sandbox's next start,
    /// lifetimes at once. A sandbox whose template is gone goes to sleep when idle
    /// and does not start again until a placement names another.
    pub fn replace_templates(&self, templates: &HashMap<TemplateName, Arc<Template>>) {
        for sandbox in &self.sandboxes {
            let name = sandbox.recipe.load().template_name.clone();
            sandbox.refresh_template(templates.get(&name));
        }
    }

    /// Wakes a sandbox and waits until it is ready. Unlike a request it creates none.
    ///
    /// # Cancel safety
    /// When dropped, the start goes on.
    ///
    /// # Errors
    /// [`ControlError`]; during a back-off, `stop` clears it.
    pub async fn wake(
        &self,
        key: &SandboxKey,
        meant: Option<Incarnation>,
    ) -> Result<View, ControlError> {
        let sandbox = self.meant(key, meant)?;
        sandbox.note_cause(|| Cause { what: What::Order, by: None });
        match sandbox.admit_here().await {
            Ok(permit) => {
                drop(permit);
                Ok(sandbox.view())
            }
            Err(Unserved::Gone) => Err(ControlError::NotFound(key.clone())),
            Err(Unserved::Failed(error)) => Err(ControlError::Wake(error)),
        }
    }

    /// Puts a sandbox to sleep as if it had been idle for long enough, and waits
    /// until nothing of it runs.
    ///
    /// # Cancel safety
    /// When dropped, it is put to sleep all the same.
    ///
    /// # Errors
    /// [`ControlError::Busy`] when requests are in flight.
    pub async fn sleep(
        &self,
        key: &SandboxKey,
        meant: Option<Incarnation>,
    ) -> Result<View, ControlError> {
        let sandbox = self.meant(key, meant)?;
        sandbox.order(Order::Sleep).await?;
        Ok(sandbox.view())
    }

    /// Stops a sandbox whoever uses it, and waits until nothing of it runs. Its
    /// files stay; the next request starts it again. Clears a back-off.
    ///
    /// # Cancel safety
    /// When dropped, it is stopped all the same.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn stop(
        &self,
        key: &SandboxKey,
        meant: Option<Incarnation>,
    ) -> Result<View, ControlError> {
        let sandbox = self.meant(key, meant)?;
        sandbox.order(Order::Stop).await?;
        Ok(sandbox.view())
    }

    /// Stops a sandbox and forgets it, files included, and waits until nothing is
    /// left. The view is what it was before.
    ///
    /// # Cancel safety
    /// When dropped, it is destroyed all the same.
    ///
    /// # Errors
    /// [`ControlError`]; after [`ControlError::Clean`] the order may be given again.
    pub async fn destroy(
        &self,
        key: &SandboxKey,
        meant: Option<Incarnation>,
    ) -> Result<View, ControlError> {
        let sandbox = self.meant(key, meant)?;
        let view = sandbox.view();
        sandbox.order(Order::Destroy).await?;
        Ok(view)
    }

    /// What a sandbox uses now; `None` while nothing of it runs. Wakes nothing.
    ///
    /// # Cancel safety
    /// Can be dropped without effect.
    ///
    /// # Errors
    /// [`ControlError::NotFound`], or what the driver says.
    pub async fn stats(&self, key: &SandboxKey) -> Result<Option<Stats>, ControlError> {
        let sandbox = self.meant(key, None)?;
        if !matches!(sandbox.phase(), Phase::Starting | Phase::Running) {
            return Ok(None);
        }
        let Some(driver) = sandbox.driver() else { return Ok(None) };
        Ok(Some(driver.stats(sandbox.id()).await?))
    }

    /// The driver that makes a sandbox real, for what only it knows: where the log is.
    ///
    /// # Errors
    /// [`ControlError::NotFound`].
    pub fn driver(&self, key: &SandboxKey) -> Result<Option<Arc<dyn Driver>>, ControlError> {
        let sandbox = self.meant(key, None)?;
        let name = sandbox.recipe.load().driver.clone();
        Ok(sandbox.driver().or_else(|| self.services.drivers.get(&name).map(Arc::clone)))
    }

    fn meant(
        &self,
        key: &SandboxKey,
        meant: Option<Incarnation>,
    ) -> Result<Arc<Sandbox>, ControlError> {
        let sandbox = self.get(key).ok_or_else(|| ControlError::NotFound(key.clone()))?;
        let current = sandbox.id.incarnation;
        match meant {
            Some(meant) if meant != current => {
                Err(ControlError::Stale { key: key.clone(), meant, current })
            }
            _ => Ok(sandbox),
        }
    }

    /// Ends what the gateway does for sandboxes; they stay as they are, and the
    /// next gateway finds them. Requests that wait get [`WakeError::ShuttingDown`](crate::WakeError::ShuttingDown).
    /// Returns when no task of this registry runs and its state directory is free for
    /// the next one.
    ///
    /// # Cancel safety
    /// When dropped, everything ends all the same.
    pub async fn shutdown(&self) {
        self.services.leaving.cancel();
        self.services.actors.close();
        self.services.actors.wait().await;
        self.services.ledger.close().await;
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // Nobody is left who could ask for anything.
        self.services.leaving.cancel();
    }
}
