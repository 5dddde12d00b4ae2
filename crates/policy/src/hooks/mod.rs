//! The questions, one file each, and the one place where whatever a plugin does
//! becomes a decision or a named failure.
//!
//! To add a hook: its line in [`Hook`], its line in `instance`, and its file here
//! with a [`Question`].

mod activity;
mod authenticate;
mod egress;
mod messages;
mod mounts;
mod objects;
mod observe;
mod plausible;
mod quota;
mod resolve;

use std::hash::Hasher;

use tidegate_plausible::Implausible;
use tidegate_types::Denial;
use wasmtime::component::{ComponentNamedList, Lift, Lower, Resource};

pub(crate) use activity::DoesItCount;
pub(crate) use authenticate::WhoIsAsking;
pub(crate) use egress::MayConnect;
pub(crate) use messages::WhatBecomesOf;
pub(crate) use mounts::WhatIsSeen;
pub(crate) use objects::MayTouch;
pub(crate) use observe::{Told, told};
pub(crate) use quota::HowMuch;
pub(crate) use resolve::WhereTo;

use crate::bindings::tidegate::policy::types::Failure;
use crate::breaker::{DEATHS, Given, Standing};
use crate::instance::{HookFunc, Hooks};
use crate::plugin::{Plugin, explain};
use crate::state::{About, State};
use crate::surroundings::HookMeter;
use crate::witness::How;
use crate::{Decision, FailureReason, Hook, PolicyFailure};

/// One hook: how it is called, and what of an answer is believed.
pub(crate) trait Question: Sync {
    /// What the hook is given.
    type Params: ComponentNamedList + Lower + Send + Sync + 'static;
    /// What a plugin answers, as the contract has it.
    type Raw: Lift + Send + Sync + 'static;
    /// What that means once it was found plausible.
    type Value;

    const HOOK: Hook;

    /// Whether two calls can be the same question: what killed a plugin isn't asked
    /// again for ever.
    const REPEATS: bool = true;

    /// The hook of an instance; there where the plugin serves it.
    fn of(hooks: &Hooks) -> Option<HookFunc<Self::Params, Self::Raw>>;

    /// What the hook is given.
    fn params(&self) -> Self::Params;

    /// Hashes what the hook is given by value, where it is.
    fn given(&self, _: &mut dyn Hasher) {}

    /// Believes the answer, or says what is implausible about it.
    fn believe(&self, raw: Self::Raw) -> Result<Answer<Self::Value>, Implausible>;
}

/// A plausible answer.
pub(crate) enum Answer<T> {
    Granted(T),
    Denied(Denial),
    Abstained,
}

/// A handle on the one thing of its kind that a call is about.
pub(crate) fn the<T: 'static>() -> Resource<T> {
    Resource::new_borrow(0)
}

/// The plugins that serve a hook, in order.
fn serving(plugins: &[Plugin], hook: Hook) -> impl Iterator<Item = &Plugin> {
    plugins.iter().filter(move |plugin| plugin.serves(hook))
}

/// Asks the plugins that serve the hook, in order, until one doesn't abstain.
/// Total: whatever a plugin does, this returns, and never with more than the
/// plugin was allowed to say.
pub(crate) async fn decide<Q: Question>(
    question: &Q,
    plugins: &[Plugin],
    about: &About,
) -> Decision<Q::Value> {
    for plugin in serving(plugins, Q::HOOK) {
        let by = || plugin.spec().name.clone();
        match ask_one(question, plugin, about).await {
            Ok(Answer::Abstained) => {}
            Ok(Answer::Granted(value)) => return Decision::Granted { by: by(), value },
            Ok(Answer::Denied(denial)) => {
                plugin.witness(Q::HOOK, How::Denied(&denial), about);
                return Decision::Denied { by: by(), denial };
            }
            Err(failure) => return Decision::Failed(failure),
        }
    }
    Decision::Unanswered
}

/// Asks every plugin that serves the hook, in order: the values of all, or the
/// first failure. For hooks that know no refusal.
pub(crate) async fn ask_all<Q: Question>(
    question: &Q,
    plugins: &[Plugin],
    about: &About,
) -> Result<Vec<Q::Value>, PolicyFailure> {
    let mut values = Vec::new();
    for plugin in serving(plugins, Q::HOOK) {
        if let Answer::Granted(value) = ask_one(question, plugin, about).await? {
            values.push(value);
        }
    }
    Ok(values)
}

/// Asks one plugin. A failure has been logged and counted when it is returned.
///
/// # Cancel safety
/// Dropping it drops the instance that was asked, and counts that.
pub(crate) async fn ask_one<Q: Question>(
    question: &Q,
    plugin: &Plugin,
    about: &About,
) -> Result<Answer<Q::Value>, PolicyFailure> {
    let meter = plugin.around().lasting.meter(Q::HOOK);
    meter.begins();
    let abandoned = Abandoned(Some(meter));
    let answered = try_ask(question, plugin, about, meter).await;
    abandoned.not();
    answered.map_err(|(reason, detail)| failed(Q::HOOK, plugin, about, reason, detail))
}

async fn try_ask<Q: Question>(
    question: &Q,
    plugin: &Plugin,
    about: &About,
    meter: &HookMeter,
) -> Result<Answer<Q::Value>, (FailureReason, String)> {
    let given: Given<'_> = &|hasher| question.given(hasher);
    let standing = plugin.breaker().standing(Q::HOOK, about, given);
    let mut instance = match standing {
        Standing::Good => plugin.lease(about.tenant()).await?,
        Standing::Suspect => plugin.fresh().await?,
        Standing::Poisonous => {
            let why = format!("calls like this one killed it {DEATHS} times; see its failures");
            return Err((FailureReason::Poisonous, why));
        }
    };
    let Some(hook) = Q::of(&instance.hooks) else {
        return Err((FailureReason::NotReady, "the hook is not served".into()));
    };
    let fresh = instance.begin_hook(plugin.call(about.clone()));
    let answered = instance.call(hook, question.params()).await;
    let took = instance.store.data().call.deadline.own();
    meter.took(took);
    // The instance returns to its pool on the two ways out that are answers;
    // on every other it is dropped here.
    match answered {
        Err(error) => {
            plugin.charge(about.tenant(), took);
            let (reason, mut detail) = explain(&instance, &error);
            let State { reads, call, .. } = instance.store.data();
            let deadly = match reason {
                FailureReason::TimedOut => call.deadline.is_to_blame(),
                FailureReason::Trap | FailureReason::StackOverflow | FailureReason::OutOfMemory => {
                    true
                }
                _ => false,
            };
            if Q::REPEATS && deadly && plugin.breaker().died(Q::HOOK, about, given, reads, fresh) {
                detail.push_str("; calls like this one are refused from now on, until a reload");
            }
            Err((reason, detail))
        }
        Ok((Err(Failure { code, detail, retryable }),)) => {
            acquit::<Q>(plugin, standing, about, given);
            plugin.give_back(about.tenant(), instance, took);
            let detail = format!("`{code}`: {detail} (retryable: {retryable})");
            Err((FailureReason::Declared, cut(detail)))
        }
        Ok((Ok(raw),)) => {
            acquit::<Q>(plugin, standing, about, given);
            let answer = question.believe(raw).map_err(|wrong| {
                plugin.charge(about.tenant(), took);
                (FailureReason::Nonsense, answered_wrong(Q::HOOK, &wrong))
            })?;
            plugin.give_back(about.tenant(), instance, took);
            Ok(answer)
        }
    }
}

/// A question that was suspect and was answered isn't any more.
fn acquit<Q: Question>(plugin: &Plugin, standing: Standing, about: &About, given: Given<'_>) {
    if standing == Standing::Suspect {
        plugin.breaker().lived(Q::HOOK, about, given);
    }
}

/// Counts a call whose asker went away before it ended.
struct Abandoned<'m>(Option<&'m HookMeter>);

impl Abandoned<'_> {
    fn not(mut self) {
        self.0 = None;
    }
}

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        if let Some(meter) = self.0 {
            meter.count_failure(FailureReason::Abandoned);
        }
    }
}

/// The failure of a plugin whose answer doesn't go with the others'.
pub(crate) fn implausible(
    hook: Hook,
    plugin: &Plugin,
    about: &About,
    wrong: &Implausible,
) -> PolicyFailure {
    failed(hook, plugin, about, FailureReason::Nonsense, answered_wrong(hook, wrong))
}

/// Names the hook and the field: the plugin is named by whoever shows this.
fn answered_wrong(hook: Hook, wrong: &Implausible) -> String {
    cut(format!("`{}` answered {wrong}", hook.as_str()))
}

fn failed(
    hook: Hook,
    plugin: &Plugin,
    about: &About,
    reason: FailureReason,
    detail: String,
) -> PolicyFailure {
    plugin.around().lasting.meter(hook).count_failure(reason);
    let (name, reason_is) = (plugin.spec().name.as_str(), reason.as_str());
    let (hook_is, decision) = (hook.as_str(), about.id.map(tracing::field::display));
    let what = "a plugin could not decide";
    // A plugin that fails at every request must not fill the disk with saying so.
    if plugin.around().lasting.failures.grants(name) {
        tracing::error!(
            plugin = name,
            hook = hook_is,
            reason = reason_is,
            decision,
            detail,
            "{what}"
        );
    } else {
        tracing::debug!(
            plugin = name,
            hook = hook_is,
            reason = reason_is,
            decision,
            detail,
            "{what}"
        );
    }
    plugin.witness(hook, How::Failed(reason, &detail), about);
    PolicyFailure { plugin: plugin.spec().name.clone(), hook, reason, detail }
}

/// What a plugin wrote, fit for one line of a log.
fn cut(text: String) -> String {
    text.chars().take(1_024).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
