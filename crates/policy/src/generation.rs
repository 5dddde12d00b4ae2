//! One consistent set of plugins, asked in the order of the configuration.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use tidegate_types::{
    Activity, DecisionId, Destination, EgressGrant, Event, Identity, Limit, Message,
    MessageVerdict, Mount, ObjectOperation, Placement, PluginName, Principal, RequestFacts,
    SandboxFacts, TemplateName, Way,
};

use crate::hooks::{
    Answer, DoesItCount, HowMuch, MayConnect, MayTouch, Told, WhatBecomesOf, WhatIsSeen, WhereTo,
    WhoIsAsking, ask_all, ask_one, decide, implausible, told,
};
use crate::plugin::Plugin;
use crate::state::About;
use crate::{Decision, Hook, PolicyFailure};

/// One consistent set of plugins. Everything that one request asks goes to one
/// generation; it lives until its last request ends.
pub struct Generation {
    number: u64,
    plugins: Vec<Plugin>,
    /// By hook: whether any plugin serves it.
    served: [bool; Hook::ALL.len()],
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
        let mut served = [false; Hook::ALL.len()];
        for (served, hook) in served.iter_mut().zip(Hook::ALL) {
            *served = plugins.iter().any(|plugin| plugin.serves(*hook));
        }
        Self { number, plugins, served, templates }
    }

    /// Which generation this is; grows by one with each successful reload.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether any plugin serves `hook`.
    #[must_use]
    pub fn serves(&self, hook: Hook) -> bool {
        // Always there: `Hook`'s discriminants count its variants.
        self.served.get(hook as usize).copied().unwrap_or_default()
    }

    pub(crate) fn plugins(&self) -> &[Plugin] {
        &self.plugins
    }

    /// The place of the plugin called `name` among those that serve `hook`; 1 is
    /// asked first.
    pub(crate) fn order(&self, hook: Hook, name: &PluginName) -> usize {
        let serving = self.plugins.iter().filter(|plugin| plugin.serves(hook));
        serving.take_while(|plugin| plugin.spec().name != *name).count() + 1
    }

    /// Asks who is asking. Runs plugin code on the calling thread: microseconds,
    /// and at worst the deadline of each plugin that is asked. Waits only for plugins
    /// that call out; that holds for every question below.
    ///
    /// # Cancel safety
    /// Dropping it drops the instance that is being asked; that holds for every
    /// question below.
    pub async fn authenticate(
        &self,
        facts: &Arc<RequestFacts>,
        id: DecisionId,
    ) -> Decision<Principal> {
        let about = About { facts: Some(Arc::clone(facts)), id: Some(id), ..About::default() };
        decide(&WhoIsAsking, &self.plugins, &about).await
    }

    /// Asks how much `who` may use: the limits of all plugins, which all hold.
    ///
    /// # Errors
    /// The first plugin that could not say.
    pub async fn limits(
        &self,
        who: &Arc<Identity>,
        id: DecisionId,
    ) -> Result<Vec<Limit>, PolicyFailure> {
        let about = About { identity: Some(Arc::clone(who)), id: Some(id), ..About::default() };
        Ok(ask_all(&HowMuch, &self.plugins, &about).await?.concat())
    }

    /// Asks which sandbox serves `who`.
    pub async fn resolve(
        &self,
        facts: &Arc<RequestFacts>,
        who: &Arc<Identity>,
        id: DecisionId,
    ) -> Decision<Placement> {
        let judges_messages = self.serves(Hook::Messages);
        let question = WhereTo { templates: &self.templates, judges_messages };
        let about = About {
            facts: Some(Arc::clone(facts)),
            identity: Some(Arc::clone(who)),
            id: Some(id),
            sandbox: None,
        };
        decide(&question, &self.plugins, &about).await
    }

    /// Asks whether a request wakes its sandbox and keeps it awake: not when any
    /// plugin says that it doesn't.
    ///
    /// # Errors
    /// The first plugin that could not say.
    pub async fn classify(
        &self,
        facts: &Arc<RequestFacts>,
        target: &Arc<SandboxFacts>,
        id: DecisionId,
    ) -> Result<Activity, PolicyFailure> {
        let about = About { facts: Some(Arc::clone(facts)), ..within(target, id) };
        let meanings = ask_all(&DoesItCount, &self.plugins, &about).await?;
        Ok(meanings.into_iter().find(|it| *it == Activity::Passive).unwrap_or_default())
    }

    /// Asks what becomes of a WebSocket's message. Each plugin sees what the one
    /// before made of it.
    ///
    /// # Errors
    /// The first plugin that could not say.
    pub async fn on_message(
        &self,
        who: &Arc<Identity>,
        target: &Arc<SandboxFacts>,
        way: Way,
        mut message: Message,
        id: DecisionId,
    ) -> Result<MessageVerdict, PolicyFailure> {
        let about = About { identity: Some(Arc::clone(who)), ..within(target, id) };
        for plugin in self.plugins.iter().filter(|plugin| plugin.serves(Hook::Messages)) {
            let question = WhatBecomesOf { way, message: &message };
            match ask_one(&question, plugin, &about).await? {
                Answer::Granted(Some(MessageVerdict::Forward(replaced))) => message = replaced,
                Answer::Granted(Some(verdict)) => return Ok(verdict),
                Answer::Granted(None) | Answer::Denied(_) | Answer::Abstained => {}
            }
        }
        Ok(MessageVerdict::Forward(message))
    }

    /// Asks what of object storage a sandbox sees: what all plugins mount, together.
    ///
    /// # Errors
    /// The first plugin that could not say, or that mounts where another did.
    pub async fn mounts(
        &self,
        target: &Arc<SandboxFacts>,
        id: DecisionId,
    ) -> Result<Vec<Mount>, PolicyFailure> {
        let about = within(target, id);
        let mut mounts: Vec<Mount> = Vec::new();
        for plugin in self.plugins.iter().filter(|plugin| plugin.serves(Hook::Mounts)) {
            let Answer::Granted(more) = ask_one(&WhatIsSeen, plugin, &about).await? else {
                continue;
            };
            mounts.extend(more);
            tidegate_plausible::apart(&mounts)
                .map_err(|wrong| implausible(Hook::Mounts, plugin, &about, &wrong))?;
        }
        Ok(mounts)
    }

    /// Asks whether a sandbox may do something to an object.
    pub async fn authorize_object(
        &self,
        who: &Arc<SandboxFacts>,
        operation: &Arc<ObjectOperation>,
        id: DecisionId,
    ) -> Decision<()> {
        decide(&MayTouch(operation), &self.plugins, &within(who, id)).await
    }

    /// Asks whether a sandbox may connect to a destination outside.
    pub async fn authorize_egress(
        &self,
        who: &Arc<SandboxFacts>,
        to: &Arc<Destination>,
        id: DecisionId,
    ) -> Decision<EgressGrant> {
        decide(&MayConnect(to), &self.plugins, &within(who, id)).await
    }

    /// Tells every plugin that wants to know what happened. Failures are logged and
    /// counted, and change nothing. Under [`Isolation::Tenant`](crate::Isolation) a
    /// batch is nobody's: every one gets a fresh instance.
    pub async fn observe(&self, events: &[Event]) {
        for plugin in self.observers() {
            self.observe_by(plugin, events).await;
        }
    }

    /// Who is told what happened, in order.
    pub fn observers(&self) -> impl Iterator<Item = &PluginName> {
        let serve = self.plugins.iter().filter(|plugin| plugin.serves(Hook::Observe));
        serve.map(|plugin| &plugin.spec().name)
    }

    /// As [`observe`](Self::observe), for one plugin: each may have its own pace. Says
    /// whether it was told.
    pub async fn observe_by(&self, observer: &PluginName, events: &[Event]) -> bool {
        let named =
            |plugin: &&Plugin| plugin.spec().name == *observer && plugin.serves(Hook::Observe);
        let Some(plugin) = self.plugins.iter().find(named) else { return false };
        let batch = Told(events.iter().map(told).collect());
        ask_one(&batch, plugin, &About::default()).await.is_ok()
    }
}

/// A call about a sandbox.
fn within(target: &Arc<SandboxFacts>, id: DecisionId) -> About {
    About { sandbox: Some(Arc::clone(target)), id: Some(id), ..About::default() }
}
