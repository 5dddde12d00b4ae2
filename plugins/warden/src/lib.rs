//! For tests: storage and egress as an operator would rule them. Not first-party:
//! the gateway doesn't embed it.

use serde::Deserialize;
use tidegate_plugin::prelude::*;

struct Warden(Config);

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Config {
    /// Hosts that sandboxes may connect to.
    hosts: Vec<String>,
    /// Where the prefix appears inside.
    path: String,
}

impl Plugin for Warden {
    type Config = Config;

    fn manifest() -> Manifest {
        manifest("warden", env!("CARGO_PKG_VERSION"), "Storage and egress, for tests.", "{}")
    }

    fn new(config: Config) -> Result<Self, ConfigError> {
        Ok(Self(config))
    }
}

impl Mounts for Warden {
    fn mounts(&self, target: &Sandbox) -> Result<Vec<Mount>, Failure> {
        Ok(vec![Mount {
            bucket: "user-storage".into(),
            prefix: format!("{}/{}/", target.tenant(), target.subject()),
            path: self.0.path.clone(),
            mode: MountMode::Workspace,
            read_only: target.label("plan").as_deref() == Some("free"),
            max_bytes: Some(1 << 30),
            max_objects: None,
        }])
    }
}

impl Objects for Warden {
    fn authorize_object(&self, _: &Sandbox, operation: Operation) -> Result<Verdict, Failure> {
        Ok(match operation.action.as_str() {
            "GetObject" | "ListObjectsV2" => Verdict::Allow,
            "DeleteObject" if operation.key.starts_with("keep/") => {
                Verdict::Deny(denial(403, "kept", "What lies under keep/ stays."))
            }
            _ => Verdict::Abstain,
        })
    }
}

impl Egress for Warden {
    fn authorize_egress(&self, _: &Sandbox, to: Destination) -> Result<Connected, Failure> {
        if !self.0.hosts.contains(&to.host) {
            return Ok(Connected::Denied(denial(403, "not-listed", "This host isn't listed.")));
        }
        let key = ("authorization".into(), "Bearer secret:ALICE_TOKEN".into());
        let request_headers = vec![HeaderEdit::Set(key)];
        Ok(Connected::Allow(Grant { request_headers, max_bytes: Some(1 << 20) }))
    }
}

tidegate_plugin::export!(Warden: mounts, objects, egress);
