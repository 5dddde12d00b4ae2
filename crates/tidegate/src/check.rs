//! What this machine makes of a configuration, before anything runs.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tidegate_sandbox::Driver;
use tidegate_sandbox::driver::Severity;
use tidegate_types::{Template, TemplateName};

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
