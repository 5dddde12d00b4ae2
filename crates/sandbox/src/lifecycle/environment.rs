//! What an application finds in its environment.

use tidegate_types::{SandboxKey, Secret, SecretName, Template};

use crate::services::Fill;

/// The port that the template says, the template's own variables, the
/// placement's, and who the sandbox is; of two with one name the later counts.
/// So a plugin may override the operator's defaults, and neither can pretend to
/// be another sandbox.
pub(super) fn environment(
    key: &SandboxKey,
    template: &Template,
    placement: &[(String, String)],
    fill: &dyn Fill,
) -> Result<Vec<(String, Secret)>, SecretName> {
    let port = [("PORT".to_owned(), template.port.to_string())];
    let identity = [
        ("TIDEGATE_TENANT".to_owned(), key.tenant.to_string()),
        ("TIDEGATE_SANDBOX".to_owned(), key.name.to_string()),
    ];
    let mut filled: Vec<(String, Secret)> = Vec::new();
    for (name, value) in port.iter().chain(&template.env).chain(placement) {
        put(&mut filled, name, fill.fill(value)?);
    }
    for (name, value) in identity {
        // Not filled: a tenant's name is its own choice and mentions no secret.
        put(&mut filled, &name, Secret::new(value));
    }
    Ok(filled)
}

fn put(env: &mut Vec<(String, Secret)>, name: &str, value: Secret) {
    match env.iter_mut().find(|(existing, _)| existing == name) {
        Some((_, existing)) => *existing = value,
        None => env.push((name.to_owned(), value)),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use tidegate_types::template::Probe;
    use tidegate_types::{
        ClientAddress, Lifetime, Limits, Ready, Root, SandboxName, TemplateName, TenantId, secret,
    };

    use super::*;

    struct OneSecret;

    impl Fill for OneSecret {
        fn fill(&self, text: &str) -> Result<Secret, SecretName> {
            let key = Secret::new("k1".into());
            secret::fill_in(text, |name| (name == "KEY").then_some(&key))
        }
    }

    fn check(
        template: &[(&str, &str)],
        placement: &[(&str, &str)],
    ) -> Result<Vec<(String, String)>, SecretName> {
        let owned = |env: &[(&str, &str)]| -> Vec<(String, String)> {
            env.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
        };
        let key = SandboxKey {
            tenant: TenantId::new("secret:KEY").expect("valid"),
            name: SandboxName::new("box").expect("valid"),
        };
        let template = Template {
            name: TemplateName::new("app").expect("valid"),
            driver: "linux".into(),
            root: Root::Host,
            binds: Vec::new(),
            command: vec!["/bin/true".into()],
            workdir: PathBuf::from("/"),
            env: owned(template),
            port: 80,
            ready: Ready { probe: Probe::Tcp(80), timeout: Duration::from_secs(1) },
            lifetime: Lifetime::KeepAlive,
            stop_grace: Duration::ZERO,
            limits: Limits::default(),
            client_address: ClientAddress::Header,
            identity_headers: Vec::new(),
            upstreams: Vec::new(),
        };
        let env = environment(&key, &template, &owned(placement), &OneSecret)?;
        Ok(env.into_iter().map(|(n, v)| (n, v.reveal().to_owned())).collect())
    }

    fn get<'a>(env: &'a [(String, String)], name: &str) -> Vec<&'a str> {
        env.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect()
    }

    #[test]
    fn a_placement_overrides_the_template_and_secrets_are_filled_in() {
        let env = check(&[("A", "1"), ("B", "x secret:KEY")], &[("A", "2")]).expect("known");
        assert_eq!((get(&env, "A"), get(&env, "B")), (vec!["2"], vec!["x k1"]));
        assert_eq!(get(&env, "PORT"), ["80"]);
    }

    #[test]
    fn nobody_can_pretend_to_be_another_sandbox() {
        let env = check(&[("TIDEGATE_TENANT", "a")], &[("TIDEGATE_SANDBOX", "b")]).expect("ok");
        assert_eq!(get(&env, "TIDEGATE_TENANT"), ["secret:KEY"], "and a name is no secret");
        assert_eq!(get(&env, "TIDEGATE_SANDBOX"), ["box"]);
    }

    #[test]
    fn an_unknown_secret_is_named() {
        assert_eq!(check(&[], &[("A", "secret:NONE")]), Err(SecretName::new("NONE")));
    }
}
