//! The traits that a plugin implements, and the macro that exports them.

use std::cell::OnceCell;

use serde::de::DeserializeOwned;

pub use crate::worlds::authenticate::exports::tidegate::policy::authenticate::{
    Credential, Outcome as Authenticated, Principal,
};
pub use crate::worlds::plugin::exports::tidegate::policy::plugin::{ConfigError, Manifest};
use crate::worlds::plugin::tidegate::policy::types::{Denial, Failure, Identity, Request};
pub use crate::worlds::resolve::exports::tidegate::policy::resolve::{
    Lifetime, Outcome as Resolved, Placement, RelayMode, WhenAsleep,
};

/// What every plugin is: a configuration that has been understood.
pub trait Plugin: Sized + 'static {
    /// The configuration, as the operator wrote it.
    type Config: DeserializeOwned;

    /// What the plugin says about itself. See [`manifest`].
    fn manifest() -> Manifest;

    /// Takes a configuration that has passed the manifest's schema. Called once
    /// per instance.
    ///
    /// # Errors
    /// What the schema can't express, with the place in the configuration.
    fn new(config: Self::Config) -> Result<Self, ConfigError>;
}

/// Serves the hook `authenticate`: who is asking?
pub trait Authenticate: Plugin {
    /// Answers, refuses, or abstains.
    ///
    /// # Errors
    /// When it could not decide: the client gets 503.
    fn authenticate(&self, request: &Request) -> Result<Authenticated, Failure>;
}

/// Serves the hook `resolve`: which sandbox serves this request?
pub trait Resolve: Plugin {
    /// Answers, refuses, or abstains.
    ///
    /// # Errors
    /// When it could not decide: the client gets 503.
    fn resolve(&self, request: &Request, who: &Identity) -> Result<Resolved, Failure>;
}

/// A manifest whose answers are never reused. `config_schema` is a JSON Schema
/// (2020-12). A text that names something of the operator's says so with
/// `"format"`: `tidegate-template`, `tidegate-secret` or `tidegate-key-set`; a name
/// that isn't there is then refused at load.
#[must_use]
pub fn manifest(name: &str, version: &str, description: &str, config_schema: &str) -> Manifest {
    Manifest {
        name: name.into(),
        version: version.into(),
        description: description.into(),
        config_schema: config_schema.into(),
        reuse: Vec::new(),
    }
}

/// A principal of which only subject and tenant are known.
#[must_use]
pub fn principal(subject: &str, tenant: &str) -> Principal {
    Principal {
        subject: subject.into(),
        tenant: tenant.into(),
        claims: Vec::new(),
        expires_at_ms: None,
        response_headers: Vec::new(),
        used: None,
        consumed: Vec::new(),
    }
}

/// A refusal without header fields.
#[must_use]
pub fn denial(status: u16, code: &str, message: &str) -> Denial {
    Denial { status, code: code.into(), message: message.into(), headers: Vec::new() }
}

/// A failure that trying again won't mend.
#[must_use]
pub fn failure(code: &str, detail: &str) -> Failure {
    Failure { code: code.into(), detail: detail.into(), retryable: false }
}

/// The place where [`export!`](crate::export) keeps the configured plugin.
#[derive(Debug)]
pub struct Configured<P>(OnceCell<P>);

impl<P: Plugin> Configured<P> {
    /// Nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(OnceCell::new())
    }

    /// Parses the configuration and keeps the plugin.
    ///
    /// # Errors
    /// Where in the configuration, and what is wrong there.
    pub fn configure(&self, json: &str) -> Result<(), Vec<ConfigError>> {
        let config = serde_json::from_str(json)
            .map_err(|e| vec![ConfigError { path: String::new(), message: e.to_string() }])?;
        let plugin = P::new(config).map_err(|e| vec![e])?;
        self.0.set(plugin).map_err(|_| {
            vec![ConfigError { path: String::new(), message: "was configured already".into() }]
        })
    }

    /// Asks the plugin, if it was configured.
    ///
    /// # Errors
    /// What `ask` fails with, or that there was no configuration.
    pub fn ask<T>(&self, ask: impl FnOnce(&P) -> Result<T, Failure>) -> Result<T, Failure> {
        self.0.get().map_or_else(
            || Err(failure("not-configured", "a hook was called before `configure`")),
            ask,
        )
    }
}

impl<P: Plugin> Default for Configured<P> {
    fn default() -> Self {
        Self::new()
    }
}

/// Exports a plugin and the hooks it serves:
/// `tidegate_plugin::export!(Token: authenticate);`
#[macro_export]
macro_rules! export {
    ($plugin:ty: $($hook:ident),+ $(,)?) => {
        #[doc(hidden)]
        struct TidegateExports;

        ::std::thread_local! {
            static TIDEGATE_PLUGIN: $crate::plugin::Configured<$plugin> =
                const { $crate::plugin::Configured::new() };
        }

        impl $crate::worlds::plugin::exports::tidegate::policy::plugin::Guest for TidegateExports {
            fn describe() -> $crate::plugin::Manifest {
                <$plugin as $crate::plugin::Plugin>::manifest()
            }
            fn configure(
                json: ::std::string::String,
            ) -> ::std::result::Result<(), ::std::vec::Vec<$crate::plugin::ConfigError>> {
                TIDEGATE_PLUGIN.with(|plugin| plugin.configure(&json))
            }
        }
        $crate::worlds::plugin::export_plugin!(
            TidegateExports with_types_in $crate::worlds::plugin
        );
        $($crate::__export_hook!($plugin: $hook);)+
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_hook {
    ($plugin:ty: authenticate) => {
        impl $crate::worlds::authenticate::exports::tidegate::policy::authenticate::Guest
            for TidegateExports
        {
            fn authenticate(
                request: &$crate::prelude::Request,
            ) -> ::std::result::Result<$crate::plugin::Authenticated, $crate::prelude::Failure> {
                TIDEGATE_PLUGIN.with(|plugin| {
                    plugin.ask(|p| $crate::plugin::Authenticate::authenticate(p, request))
                })
            }
        }
        $crate::worlds::authenticate::export_authenticate!(
            TidegateExports with_types_in $crate::worlds::authenticate
        );
    };
    ($plugin:ty: resolve) => {
        impl $crate::worlds::resolve::exports::tidegate::policy::resolve::Guest
            for TidegateExports
        {
            fn resolve(
                request: &$crate::prelude::Request,
                who: &$crate::prelude::Identity,
            ) -> ::std::result::Result<$crate::plugin::Resolved, $crate::prelude::Failure> {
                TIDEGATE_PLUGIN.with(|plugin| {
                    plugin.ask(|p| $crate::plugin::Resolve::resolve(p, request, who))
                })
            }
        }
        $crate::worlds::resolve::export_resolve!(
            TidegateExports with_types_in $crate::worlds::resolve
        );
    };
}
