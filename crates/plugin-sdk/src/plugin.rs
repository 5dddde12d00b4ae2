//! The traits that a plugin implements, and the macro that exports them.

use std::cell::OnceCell;

use serde::de::DeserializeOwned;

pub use crate::worlds::activity::exports::tidegate::policy::activity::Meaning;
pub use crate::worlds::authenticate::exports::tidegate::policy::authenticate::{
    Credential, Outcome as Authenticated, Principal,
};
pub use crate::worlds::egress::exports::tidegate::policy::egress::{
    Destination, Grant, Outcome as Connected, Protocol,
};
pub use crate::worlds::messages::exports::tidegate::policy::messages::{
    CloseFrame, Direction, Outcome as Judged, Payload,
};
pub use crate::worlds::mounts::exports::tidegate::policy::mounts::{Mount, MountMode};
pub use crate::worlds::objects::exports::tidegate::policy::objects::Operation;
pub use crate::worlds::observe::exports::tidegate::policy::observe::Event;
pub use crate::worlds::plugin::exports::tidegate::policy::plugin::{ConfigError, Manifest};
use crate::worlds::plugin::tidegate::policy::types::{
    Denial, Failure, Identity, Request, Sandbox, Verdict,
};
pub use crate::worlds::quota::exports::tidegate::policy::quota::{Limit, Meter, Scope};
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

/// Serves the hook `quota`: how much may this identity use?
pub trait Quota: Plugin {
    /// Says what limits hold for `who`. All plugins' limits hold together.
    ///
    /// # Errors
    /// When it could not: the client gets 503.
    fn limits(&self, who: &Identity) -> Result<Vec<Limit>, Failure>;
}

/// Serves the hook `activity`: does this request wake a sandbox, or keep it awake?
pub trait Activity: Plugin {
    /// Says what the request means for the sandbox that it is for.
    ///
    /// # Errors
    /// When it could not: the client gets 503.
    fn classify(&self, request: &Request, target: &Sandbox) -> Result<Meaning, Failure>;
}

/// Serves the hook `messages`: what becomes of this WebSocket message?
pub trait Messages: Plugin {
    /// Judges one message of a WebSocket whose placement asks for that.
    ///
    /// # Errors
    /// When it could not: the WebSocket is closed with 1011.
    fn on_message(
        &self,
        who: &Identity,
        target: &Sandbox,
        way: Direction,
        message: Payload,
    ) -> Result<Judged, Failure>;
}

/// Serves the hook `mounts`: what of object storage does this sandbox see?
pub trait Mounts: Plugin {
    /// Says which prefixes appear in the sandbox, and where.
    ///
    /// # Errors
    /// When it could not: the sandbox isn't started.
    fn mounts(&self, target: &Sandbox) -> Result<Vec<Mount>, Failure>;
}

/// Serves the hook `objects`: may this sandbox do this to this object?
pub trait Objects: Plugin {
    /// Allows, refuses, or abstains.
    ///
    /// # Errors
    /// When it could not: it is refused.
    fn authorize_object(&self, who: &Sandbox, operation: Operation) -> Result<Verdict, Failure>;
}

/// Serves the hook `egress`: may this sandbox open this connection outwards?
pub trait Egress: Plugin {
    /// Allows, refuses, or abstains.
    ///
    /// # Errors
    /// When it could not: it is refused.
    fn authorize_egress(&self, who: &Sandbox, to: Destination) -> Result<Connected, Failure>;
}

/// Serves the hook `observe`: what happened?
pub trait Observe: Plugin {
    /// Is told what happened, some time afterwards.
    ///
    /// # Errors
    /// When it could not: the events are lost to this plugin.
    fn on_events(&self, events: Vec<Event>) -> Result<(), Failure>;
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
    ($plugin:ty: quota) => {
        impl $crate::worlds::quota::exports::tidegate::policy::quota::Guest for TidegateExports {
            fn limits(
                who: &$crate::prelude::Identity,
            ) -> ::std::result::Result<::std::vec::Vec<$crate::plugin::Limit>, $crate::prelude::Failure> {
                TIDEGATE_PLUGIN
                    .with(|plugin| plugin.ask(|p| $crate::plugin::Quota::limits(p, who)))
            }
        }
        $crate::worlds::quota::export_quota!(
            TidegateExports with_types_in $crate::worlds::quota
        );
    };
    ($plugin:ty: activity) => {
        impl $crate::worlds::activity::exports::tidegate::policy::activity::Guest for TidegateExports {
            fn classify(
                request: &$crate::prelude::Request,
                target: &$crate::prelude::Sandbox,
            ) -> ::std::result::Result<$crate::plugin::Meaning, $crate::prelude::Failure> {
                TIDEGATE_PLUGIN
                    .with(|plugin| plugin.ask(|p| $crate::plugin::Activity::classify(p, request, target)))
            }
        }
        $crate::worlds::activity::export_activity!(
            TidegateExports with_types_in $crate::worlds::activity
        );
    };
    ($plugin:ty: messages) => {
        impl $crate::worlds::messages::exports::tidegate::policy::messages::Guest for TidegateExports {
            fn on_message(
                who: &$crate::prelude::Identity,
                target: &$crate::prelude::Sandbox,
                way: $crate::plugin::Direction,
                message: $crate::plugin::Payload,
            ) -> ::std::result::Result<$crate::plugin::Judged, $crate::prelude::Failure> {
                TIDEGATE_PLUGIN
                    .with(|plugin| plugin.ask(|p| $crate::plugin::Messages::on_message(p, who, target, way, message)))
            }
        }
        $crate::worlds::messages::export_messages!(
            TidegateExports with_types_in $crate::worlds::messages
        );
    };
    ($plugin:ty: mounts) => {
        impl $crate::worlds::mounts::exports::tidegate::policy::mounts::Guest for TidegateExports {
            fn mounts(
                target: &$crate::prelude::Sandbox,
            ) -> ::std::result::Result<::std::vec::Vec<$crate::plugin::Mount>, $crate::prelude::Failure> {
                TIDEGATE_PLUGIN
                    .with(|plugin| plugin.ask(|p| $crate::plugin::Mounts::mounts(p, target)))
            }
        }
        $crate::worlds::mounts::export_mounts!(
            TidegateExports with_types_in $crate::worlds::mounts
        );
    };
    ($plugin:ty: objects) => {
        impl $crate::worlds::objects::exports::tidegate::policy::objects::Guest for TidegateExports {
            fn authorize_object(
                who: &$crate::prelude::Sandbox,
                operation: $crate::plugin::Operation,
            ) -> ::std::result::Result<$crate::prelude::Verdict, $crate::prelude::Failure> {
                TIDEGATE_PLUGIN
                    .with(|plugin| plugin.ask(|p| $crate::plugin::Objects::authorize_object(p, who, operation)))
            }
        }
        $crate::worlds::objects::export_objects!(
            TidegateExports with_types_in $crate::worlds::objects
        );
    };
    ($plugin:ty: egress) => {
        impl $crate::worlds::egress::exports::tidegate::policy::egress::Guest for TidegateExports {
            fn authorize_egress(
                who: &$crate::prelude::Sandbox,
                to: $crate::plugin::Destination,
            ) -> ::std::result::Result<$crate::plugin::Connected, $crate::prelude::Failure> {
                TIDEGATE_PLUGIN
                    .with(|plugin| plugin.ask(|p| $crate::plugin::Egress::authorize_egress(p, who, to)))
            }
        }
        $crate::worlds::egress::export_egress!(
            TidegateExports with_types_in $crate::worlds::egress
        );
    };
    ($plugin:ty: observe) => {
        impl $crate::worlds::observe::exports::tidegate::policy::observe::Guest for TidegateExports {
            fn on_events(
                events: ::std::vec::Vec<$crate::plugin::Event>,
            ) -> ::std::result::Result<(), $crate::prelude::Failure> {
                TIDEGATE_PLUGIN
                    .with(|plugin| plugin.ask(|p| $crate::plugin::Observe::on_events(p, events)))
            }
        }
        $crate::worlds::observe::export_observe!(
            TidegateExports with_types_in $crate::worlds::observe
        );
    };
}
