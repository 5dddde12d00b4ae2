//! The questions, one file each, and the one place where whatever a plugin does
//! becomes a decision or a named failure.
//!
//! To add a hook: its line in [`Hook`], its file here with a [`Question`], its
//! field in `Exports` and `Instance`, and the world in `bindings`.

mod authenticate;
mod plausible;
mod resolve;

use std::sync::Arc;

use tidegate_types::{DecisionId, Denial, Identity, RequestFacts, TenantId};

pub(crate) use authenticate::WhoIsAsking;
pub(crate) use resolve::WhereTo;

use crate::bindings::tidegate::policy::types::Failure;
use crate::instance::Instance;
use crate::plugin::{Plugin, explain};
use crate::state::Call;
use crate::{Decision, FailureReason, Hook, PolicyFailure};

/// One hook: how it is called, and what of an answer is believed.
pub(crate) trait Question {
    /// What a plugin answers, as the contract has it.
    type Raw;
    /// What that means once it was found plausible.
    type Value;

    const HOOK: Hook;

    /// Calls the hook. The instance serves it: [`decide`] asks no other.
    fn ask(&self, instance: &mut Instance) -> wasmtime::Result<Result<Self::Raw, Failure>>;

    /// Believes the answer, or says what is implausible about it.
    fn believe(&self, raw: Self::Raw) -> Result<Answer<Self::Value>, Implausible>;
}

/// A plausible answer.
pub(crate) enum Answer<T> {
    Granted(T),
    Denied(Denial),
    Abstained,
}

/// What is wrong with an answer; for the log.
#[derive(Debug)]
pub(crate) struct Implausible(pub(crate) String);

/// What a question is about.
#[derive(Clone, Copy)]
pub(crate) struct About<'r> {
    pub(crate) facts: &'r Arc<RequestFacts>,
    pub(crate) identity: Option<&'r Arc<Identity>>,
    pub(crate) id: DecisionId,
}

impl<'r> About<'r> {
    fn tenant(self) -> Option<&'r TenantId> {
        self.identity.map(|who| &who.tenant)
    }
}

/// Asks the plugins that serve the hook, in order, until one doesn't abstain.
/// Total: whatever a plugin does, this returns, and never with more than the
/// plugin was allowed to say.
pub(crate) fn decide<Q: Question>(
    question: &Q,
    plugins: &[Plugin],
    about: About<'_>,
) -> Decision<Q::Value> {
    for plugin in plugins.iter().filter(|plugin| plugin.serves(Q::HOOK)) {
        let by = || plugin.spec().name.clone();
        match ask_one(question, plugin, about) {
            Ok(Answer::Abstained) => {}
            Ok(Answer::Granted(value)) => return Decision::Granted { by: by(), value },
            Ok(Answer::Denied(denial)) => return Decision::Denied { by: by(), denial },
            Err((reason, detail)) => {
                return Decision::Failed(failed::<Q>(plugin, about, reason, detail));
            }
        }
    }
    Decision::Unanswered
}

fn ask_one<Q: Question>(
    question: &Q,
    plugin: &Plugin,
    about: About<'_>,
) -> Result<Answer<Q::Value>, (FailureReason, String)> {
    let meter = plugin.around().lasting.meter(Q::HOOK);
    meter.calls.add(1);
    let mut instance = plugin.lease(about.tenant())?;
    let call = Call::new(
        Some(Arc::clone(about.facts)),
        about.identity.cloned(),
        Some(about.id),
        plugin.spec().deadline,
    );
    let started = call.deadline.started();
    instance.begin(call);
    let answered = question.ask(&mut instance);
    meter.durations.observe(started.elapsed());
    // The instance returns to its pool on the two ways out that are answers;
    // on every other it is dropped here.
    match answered {
        Err(error) => Err(explain(&instance, &error)),
        Ok(Err(Failure { code, detail, retryable })) => {
            plugin.give_back(about.tenant(), instance);
            let detail = format!("`{code}`: {detail} (retryable: {retryable})");
            Err((FailureReason::Declared, cut(detail)))
        }
        Ok(Ok(raw)) => {
            let answer = question
                .believe(raw)
                .map_err(|Implausible(why)| (FailureReason::Nonsense, cut(why)))?;
            plugin.give_back(about.tenant(), instance);
            Ok(answer)
        }
    }
}

fn failed<Q: Question>(
    plugin: &Plugin,
    about: About<'_>,
    reason: FailureReason,
    detail: String,
) -> PolicyFailure {
    plugin.around().lasting.meter(Q::HOOK).count_failure(reason);
    tracing::error!(
        plugin = plugin.spec().name.as_str(),
        hook = Q::HOOK.as_str(),
        reason = reason.as_str(),
        decision = %about.id,
        detail,
        "a plugin could not decide"
    );
    PolicyFailure { plugin: plugin.spec().name.clone(), hook: Q::HOOK, reason, detail }
}

/// What a plugin wrote, fit for one line of a log.
fn cut(text: String) -> String {
    text.chars().take(1_024).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
