//! What a sandbox needs to be started: the template's part that its keeper
//! remembers, so that a restarted gateway can start it again.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use tidegate_sandbox::driver::Spec;
use tidegate_types::{Limits, template};

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Recipe {
    /// What is seen as `/`.
    pub(crate) root: Root,
    /// Path on the machine and path inside.
    pub(crate) binds: Vec<(String, String)>,
    pub(crate) command: Vec<String>,
    pub(crate) workdir: String,
    /// Names for /etc/hosts.
    pub(crate) hosts: Vec<(String, IpAddr)>,
    memory: Option<u64>,
    cpu: Option<f64>,
    pids: Option<u32>,
    pub(crate) disk: Option<u64>,
    pub(crate) open_files: Option<u64>,
}

/// What a sandbox sees as `/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Root {
    /// The machine's programs and libraries.
    Host,
    /// This directory.
    Directory(String),
}

impl Recipe {
    /// Takes what is needed. Paths that are not UTF-8 were refused by `check`.
    pub(crate) fn of(spec: &Spec) -> Self {
        let template = &spec.template;
        let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
        Self {
            root: match &template.root {
                template::Root::Host => Root::Host,
                template::Root::Directory(path) => Root::Directory(text(path)),
            },
            binds: template.binds.iter().map(|b| (text(&b.source), text(&b.target))).collect(),
            command: template.command.clone(),
            workdir: text(&template.workdir),
            hosts: spec.hosts.clone(),
            memory: template.limits.memory,
            cpu: template.limits.cpu,
            pids: template.limits.pids,
            disk: template.limits.disk,
            open_files: template.limits.open_files,
        }
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits {
            memory: self.memory,
            cpu: self.cpu,
            pids: self.pids,
            disk: self.disk,
            open_files: self.open_files,
        }
    }
}
