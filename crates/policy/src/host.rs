//! The host: the current generation, and the way to the next one.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::{Generation, HostConfig, PluginProblem, PluginSpec, PluginStatus};

/// Loads plugins and holds the generation that serves.
#[derive(Debug)]
pub struct PolicyHost {
    current: ArcSwap<Generation>,
}

impl PolicyHost {
    /// Loads all of `specs`. Compiles: seconds for large components, so call it
    /// from a thread that may block.
    ///
    /// # Errors
    /// Every problem of every plugin.
    pub fn new(_config: HostConfig, _specs: Vec<PluginSpec>) -> Result<Self, Vec<PluginProblem>> {
        Ok(Self { current: ArcSwap::from_pointee(Generation::new(1)) })
    }

    /// Loads all of `specs` anew and swaps them in together. Blocks as
    /// [`PolicyHost::new`] does; requests go on being answered meanwhile.
    ///
    /// # Errors
    /// Every problem of every plugin; the last good generation goes on serving
    /// and [`PolicyHost::status`] tells the problem.
    pub fn reload(
        &self,
        _config: HostConfig,
        _specs: Vec<PluginSpec>,
    ) -> Result<(), Vec<PluginProblem>> {
        Ok(())
    }

    /// The generation that serves now.
    #[must_use]
    pub fn current(&self) -> Arc<Generation> {
        self.current.load_full()
    }

    /// Every plugin of the generation that serves, in order.
    #[must_use]
    pub fn status(&self) -> Vec<PluginStatus> {
        Vec::new()
    }
}
