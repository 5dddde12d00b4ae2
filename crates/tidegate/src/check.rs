//! What this machine makes of a configuration, before anything runs.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use tidegate_config::Config;
use tidegate_policy::PolicyHost;
use tidegate_sandbox::Driver;
use tidegate_sandbox::driver::Severity;
use tidegate_types::{Template, TemplateName};

use crate::live::Loaded;
use crate::serve::components::{Components, When};
use crate::serve::outside::Outside;
use crate::serve::{blocking, drivers, plugins, upstreams};

/// Does everything that `serve` does before it listens, in a directory of its own:
/// reads secrets, loads plugins, asks the drivers. Returns what is only a warning.
///
/// # Errors
/// Everything that would keep the gateway from starting, a line each.
pub(crate) async fn machine(config: Config) -> Result<Vec<String>, Vec<String>> {
    let scratch = Scratch::new().map_err(|error| vec![error])?;
    let checked = async {
        let loaded = blocking(move || Loaded::of(config)).await?;
        let outside = Outside::new(&loaded.config.server, &scratch.0).map_err(|it| vec![it])?;
        let published = outside.key_sets(&loaded.config).await?;
        let (server, dir) = (loaded.config.server.clone(), scratch.0.clone());
        let components =
            blocking(move || Components::new(&server, &dir).map_err(|it| vec![it])).await?;
        let means = plugins::Means {
            state_dir: &scratch.0,
            outgoing: outside.outgoing(),
            published: &published,
            components: components.gather(&loaded, When::Start).await?,
        };
        let input = plugins::input(&loaded, means)?;
        blocking(move || {
            PolicyHost::new(input.host, input.plugins)
                .map(drop)
                .map_err(|problems| plugins::describe(&problems))
        })
        .await?;
        upstreams::gate(&loaded)?;
        let drivers = drivers(&scratch.0).map_err(|error| vec![error])?;
        let (warnings, errors) = templates(&loaded.templates, &drivers);
        if errors.is_empty() { Ok(warnings) } else { Err(errors) }
    };
    checked.await
}

/// A directory that is removed with what is in it.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, String> {
        let path =
            std::env::temp_dir().join(format!("tidegate-check-{:016x}", rand::random::<u64>()));
        std::fs::DirBuilder::new()
            .mode(0o711)
            .create(&path)
            .map_err(|error| format!("`{}` cannot be made: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left in a temporary directory is nobody's loss.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Asks the drivers about every template. Returns warnings, then errors, a line each.
pub(crate) fn templates(
    templates: &BTreeMap<TemplateName, Arc<Template>>,
    drivers: &HashMap<String, Arc<dyn Driver>>,
) -> (Vec<String>, Vec<String>) {
    let (mut warnings, mut errors) = (Vec::new(), Vec::new());
    for (name, template) in templates {
        let Some(driver) = drivers.get(&template.driver) else {
            let known: Vec<_> = drivers.keys().map(|name| format!("`{name}`")).collect();
            errors.push(format!(
                "`templates.{name}.driver`: there is no driver `{}`; there is {}",
                template.driver,
                known.join(", ")
            ));
            continue;
        };
        for complaint in driver.check(template) {
            let line = format!("`templates.{name}.{}`: {}", complaint.key, complaint.message);
            match complaint.severity {
                Severity::Warning => warnings.push(line),
                Severity::Error => errors.push(line),
            }
        }
    }
    (warnings, errors)
}
