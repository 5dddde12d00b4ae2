//! The host's side of version 0.1 of the contract: today's, under the names of then.
//! Nothing happens here. Goes when 0.3 comes.

use wasmtime::component::{HasSelf, Linker, Resource};

use super::{IdentityHandle, RequestHandle, SandboxHandle};
use crate::bindings::since_v0_1::tidegate::{host, policy};
use crate::bindings::tidegate as now;
use crate::state::State;

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    policy::types::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    host::log::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    host::clock::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    host::tokens::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    host::secrets::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    host::counters::add_to_linker::<_, HasSelf<_>>(linker, |state| state)
}

/// Forwards functions, unchanged, from an interface of then to the one of now.
macro_rules! unchanged {
    ($($then:path => $now:path {
        $(fn $name:ident(&mut self $(, $arg:ident: $kind:ty)*) -> $ret:ty;)*
    })+) => {
        $(impl $then for State {
            $(fn $name(&mut self $(, $arg: $kind)*) -> wasmtime::Result<$ret> {
                <Self as $now>::$name(self $(, $arg)*)
            })*
        })+
    };
}

unchanged! {
    policy::types::Host => now::policy::types::Host {}
    policy::types::HostRequest => now::policy::types::HostRequest {
        fn method(&mut self, it: Resource<RequestHandle>) -> String;
        fn scheme(&mut self, it: Resource<RequestHandle>) -> String;
        fn authority(&mut self, it: Resource<RequestHandle>) -> String;
        fn path(&mut self, it: Resource<RequestHandle>) -> String;
        fn query(&mut self, it: Resource<RequestHandle>) -> Option<String>;
        fn query_param(&mut self, it: Resource<RequestHandle>, name: String) -> Option<String>;
        fn header(&mut self, it: Resource<RequestHandle>, name: String) -> Option<String>;
        fn header_values(&mut self, it: Resource<RequestHandle>, name: String) -> Vec<Vec<u8>>;
        fn header_names(&mut self, it: Resource<RequestHandle>) -> Vec<String>;
        fn cookie(&mut self, it: Resource<RequestHandle>, name: String) -> Option<String>;
        fn client_ip(&mut self, it: Resource<RequestHandle>) -> String;
        fn is_websocket(&mut self, it: Resource<RequestHandle>) -> bool;
        fn client_certificate_subject(&mut self, it: Resource<RequestHandle>) -> Option<String>;
        fn drop(&mut self, it: Resource<RequestHandle>) -> ();
    }
    policy::types::HostIdentity => now::policy::types::HostIdentity {
        fn subject(&mut self, it: Resource<IdentityHandle>) -> String;
        fn tenant(&mut self, it: Resource<IdentityHandle>) -> String;
        fn claim(&mut self, it: Resource<IdentityHandle>, name: String) -> Option<String>;
        fn drop(&mut self, it: Resource<IdentityHandle>) -> ();
    }
    policy::types::HostSandbox => now::policy::types::HostSandbox {
        fn id(&mut self, it: Resource<SandboxHandle>) -> String;
        fn tenant(&mut self, it: Resource<SandboxHandle>) -> String;
        fn subject(&mut self, it: Resource<SandboxHandle>) -> String;
        fn template(&mut self, it: Resource<SandboxHandle>) -> String;
        fn label(&mut self, it: Resource<SandboxHandle>, name: String) -> Option<String>;
        fn drop(&mut self, it: Resource<SandboxHandle>) -> ();
    }
    host::clock::Host => now::host::clock::Host {
        fn now_ms(&mut self) -> u64;
    }
    host::secrets::Host => now::host::secrets::Host {
        fn matches(&mut self, name: String, candidate: String) -> bool;
        fn exists(&mut self, name: String) -> bool;
    }
    host::counters::Host => now::host::counters::Host {
        fn add(&mut self, key: String, delta: i64, ttl_ms: u64) -> i64;
    }
}

impl host::log::Host for State {
    fn log(&mut self, level: host::log::Level, message: String) -> wasmtime::Result<()> {
        use host::log::Level as Then;
        use now::host::log::Level as Now;
        let level = match level {
            Then::Trace => Now::Trace,
            Then::Debug => Now::Debug,
            Then::Info => Now::Info,
            Then::Warn => Now::Warn,
            Then::Error => Now::Error,
        };
        now::host::log::Host::log(self, level, message)
    }
}

impl host::tokens::Host for State {
    fn verify_jwt(
        &mut self,
        key_set: String,
        token: String,
    ) -> wasmtime::Result<Result<host::tokens::Claims, host::tokens::Invalid>> {
        use host::tokens::Invalid as Then;
        use now::host::tokens::Invalid as Now;
        let verified = now::host::tokens::Host::verify_jwt(self, key_set, token)?;
        let verified = verified.map(|claims| host::tokens::Claims { json: claims.json });
        Ok(verified.map_err(|invalid| match invalid {
            Now::Malformed => Then::Malformed,
            Now::UnknownKey(id) => Then::UnknownKey(id),
            Now::BadSignature => Then::BadSignature,
            Now::Expired => Then::Expired,
            Now::NotYetValid => Then::NotYetValid,
            Now::WrongIssuer => Then::WrongIssuer,
            Now::WrongAudience => Then::WrongAudience,
            Now::ForbiddenAlgorithm => Then::ForbiddenAlgorithm,
        }))
    }

    fn hmac_sha256(
        &mut self,
        secret: String,
        message: Vec<u8>,
    ) -> wasmtime::Result<Result<Vec<u8>, String>> {
        now::host::tokens::Host::hmac_sha256(self, secret, message)
    }

    fn sha256(&mut self, message: Vec<u8>) -> wasmtime::Result<Vec<u8>> {
        now::host::tokens::Host::sha256(self, message)
    }

    fn equal(&mut self, a: Vec<u8>, b: Vec<u8>) -> wasmtime::Result<bool> {
        now::host::tokens::Host::equal(self, a, b)
    }

    fn random(&mut self, n: u32) -> wasmtime::Result<Vec<u8>> {
        now::host::tokens::Host::random(self, n)
    }
}
