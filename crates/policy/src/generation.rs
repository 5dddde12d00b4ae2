//! One consistent set of plugins, asked in the order of the configuration.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use tidegate_types::{DecisionId, Identity, Placement, Principal, RequestFacts, TemplateName};

use crate::hooks::{About, WhereTo, WhoIsAsking, decide};
use crate::plugin::Plugin;
use crate::{Decision, Hook};

/// One consistent set of plugins. Everything that one request asks goes to one
/// generation; it lives until its last request ends.
pub struct Generation {
    number: u64,
    plugins: Vec<Plugin>,
    templates: Arc<HashSet<TemplateName>>,
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plugins: Vec<_> = self.plugins.iter().map(|plugin| &plugin.spec().name).collect();
        f.debug_struct("Generation")
            .field("number", &self.number)
            .field("plugins", &plugins)
            .finish_non_exhaustive()
    }
}

impl Generation {
    pub(crate) fn new(
        number: u64,
        plugins: Vec<Plugin>,
        templates: Arc<HashSet<TemplateName>>,
    ) -> Self {
        Self { number, plugins, templates }
    }

    /// Which generation this is; grows by one with each successful reload.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether any plugin serves `hook`.
    #[must_use]
    pub fn serves(&self, hook: Hook) -> bool {
        self.plugins.iter().any(|plugin| plugin.serves(hook))
    }

    pub(crate) fn plugins(&self) -> &[Plugin] {
        &self.plugins
    }

    /// Asks who is asking. Runs plugin code on the calling thread: microseconds,
    /// and at worst the deadline of each plugin that is asked.
    #[must_use]
    pub fn authenticate(&self, facts: &Arc<RequestFacts>, id: DecisionId) -> Decision<Principal> {
        decide(&WhoIsAsking, &self.plugins, About { facts, identity: None, id })
    }

    /// Asks which sandbox serves `who`. Runs plugin code on the calling thread, as
    /// [`Generation::authenticate`] does.
    #[must_use]
    pub fn resolve(
        &self,
        facts: &Arc<RequestFacts>,
        who: &Arc<Identity>,
        id: DecisionId,
    ) -> Decision<Placement> {
        let question = WhereTo { templates: &self.templates };
        decide(&question, &self.plugins, About { facts, identity: Some(who), id })
    }
}
