//! What a plugin's author expects of it, in the component itself: asked before it
//! may serve, each in a fresh instance. One that answers otherwise is refused.
//!
//! They stand in the custom section [`SECTION`] as a JSON array. An entry has the
//! hook's name, what it is about, and what the answer must contain: every field that
//! `expect` names, and of lists every element. An entry with a `config` of its own
//! brings its whole world along (`secrets`, `templates`); one without is asked in the
//! operator's.

mod answer;
mod asked;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use futures_util::FutureExt as _;
use serde::Deserialize;
use serde_json::Value;
use tidegate_types::component::custom_section;
use tidegate_types::{DecisionId, Secret, TemplateName};

use self::answer::contains;
use crate::configuration;
use crate::contract::Breach;
use crate::plugin::{Plugin, Recipe};
use crate::population::Population;
use crate::surroundings::{Lasting, Surroundings};
use crate::{Generation, Isolation, PluginSpec};

/// The custom section that holds a component's fixtures.
pub const SECTION: &str = "tidegate:fixtures";

/// More of them are somebody's mistake: they are all asked at every load.
const MOST: usize = 256;

/// One expectation.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Fixture {
    name: String,
    hook: String,
    config: Option<Value>,
    #[serde(default)]
    secrets: BTreeMap<String, String>,
    #[serde(default)]
    templates: Vec<String>,
    #[serde(default)]
    request: asked::Request,
    #[serde(default)]
    identity: asked::Identity,
    #[serde(default)]
    sandbox: asked::Sandbox,
    #[serde(default)]
    message: asked::Message,
    #[serde(default)]
    operation: asked::Operation,
    #[serde(default)]
    destination: asked::Destination,
    expect: Value,
}

/// Those that a component brings along.
pub(crate) fn read(component: &[u8]) -> Result<Arc<[Fixture]>, Breach> {
    let Some(section) = custom_section(component, SECTION) else { return Ok(Arc::default()) };
    let bad = |why: String| {
        let what = format!("its fixtures can't be read: {why}");
        (what, "mend its `fixtures.json` and build it again".to_owned())
    };
    let fixtures: Vec<Fixture> =
        serde_json::from_slice(section).map_err(|error| bad(error.to_string()))?;
    if fixtures.len() > MOST {
        return Err(bad(format!("there are more than {MOST}")));
    }
    Ok(fixtures.into())
}

/// Asks all of them of a plugin that could serve.
pub(crate) fn rehearse(recipe: &Recipe, spec: &PluginSpec) -> Result<(), Breach> {
    for fixture in recipe.mould.kept.fixtures.iter() {
        let got = fixture.ask(recipe, spec).map_err(|(what, remedy)| {
            (format!("its fixture `{}` can't be asked: {what}", fixture.name), remedy)
        })?;
        if !contains(&got, &fixture.expect) {
            return Err((
                format!(
                    "its fixture `{}` fails: `{}` is to answer {}, and answers {got}",
                    fixture.name, fixture.hook, fixture.expect
                ),
                "mend the plugin, or the expectation in its `fixtures.json`".into(),
            ));
        }
    }
    Ok(())
}

impl Fixture {
    /// What the plugin answers.
    fn ask(&self, recipe: &Recipe, spec: &PluginSpec) -> Result<Value, Breach> {
        let bad = |what: String| (what, "mend its `fixtures.json`".to_owned());
        let theirs = &recipe.around;
        let (secrets, key_sets, templates) = match &self.config {
            None => (
                Arc::clone(&theirs.secrets),
                Arc::clone(&theirs.key_sets),
                Arc::clone(&theirs.templates),
            ),
            Some(_) => {
                let secrets = self.secrets.iter();
                let secrets =
                    secrets.map(|(name, value)| (name.clone(), Secret::new(value.clone())));
                let templates = self.templates.iter().map(|name| TemplateName::new(name));
                let templates: Result<HashSet<_>, _> = templates.collect();
                (
                    Arc::new(secrets.collect()),
                    Arc::new(HashMap::new()),
                    Arc::new(templates.map_err(|error| bad(error.to_string()))?),
                )
            }
        };
        let around = Arc::new(Surroundings {
            name: spec.name.clone(),
            secrets,
            key_sets,
            templates: Arc::clone(&templates),
            // Nothing outside is called or written because of a rehearsal.
            calls: None,
            journal: None,
            lasting: Arc::<Lasting>::default(),
        });
        let config = self.config.clone().unwrap_or_else(|| spec.config.clone());
        let recipe = Recipe {
            runtime: Arc::clone(&recipe.runtime),
            mould: recipe.mould.clone(),
            around,
            config: config.to_string(),
            memory: recipe.memory,
            population: Population::new(spec.instances),
            pool: recipe.runtime.pool(),
        };
        let (manifest, first) = recipe.first_instance()?;
        configuration::check(&manifest.config_schema, &config, &recipe.around)?;
        let first = recipe.configure_first(first)?;
        let spec = PluginSpec { isolation: Isolation::Call, ..spec.clone() };
        let plugin = Plugin::new(recipe, spec, String::new(), manifest, first).unwitnessed();
        let alone = Generation::new(0, vec![plugin], templates);
        let answer = self.answer_of(&alone).map_err(bad)?;
        Ok(answer)
    }

    fn answer_of(&self, alone: &Generation) -> Result<Value, String> {
        let id = DecisionId::random();
        let waited = "it waits for something outside, which a rehearsal has not";
        let answer = async {
            Ok::<_, String>(match self.hook.as_str() {
                "authenticate" => answer::who(alone.authenticate(&self.request.facts()?, id).await),
                "resolve" => {
                    let (facts, who) = (self.request.facts()?, self.identity.facts()?);
                    answer::placed(alone.resolve(&facts, &who, id).await)
                }
                "quota" => answer::limits(alone.limits(&self.identity.facts()?, id).await),
                "activity" => {
                    let (facts, sandbox) = (self.request.facts()?, self.sandbox.facts()?);
                    answer::activity(alone.classify(&facts, &sandbox, id).await)
                }
                "messages" => {
                    let (who, sandbox) = (self.identity.facts()?, self.sandbox.facts()?);
                    let (way, message) = self.message.facts()?;
                    answer::message(alone.on_message(&who, &sandbox, way, message, id).await)
                }
                "mounts" => answer::mounts(alone.mounts(&self.sandbox.facts()?, id).await),
                "objects" => {
                    let (who, operation) = (self.sandbox.facts()?, self.operation.facts());
                    answer::object(alone.authorize_object(&who, &operation, id).await)
                }
                "egress" => {
                    let (who, to) = (self.sandbox.facts()?, self.destination.facts()?);
                    answer::egress(alone.authorize_egress(&who, &to, id).await)
                }
                other => return Err(format!("`{other}` is no hook that can be rehearsed")),
            })
        };
        answer.now_or_never().unwrap_or_else(|| Err(waited.to_owned()))
    }
}
