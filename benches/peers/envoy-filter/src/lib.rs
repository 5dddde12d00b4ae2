//! Bearer tokens as a WASM filter of Envoy's: what `builtin:token` and
//! `builtin:per-user` decide, as one would write it with the proxy-wasm SDK.
//!
//! A known token: its subject goes in as `x-forwarded-user`, the token itself stays
//! outside. No token or an unknown one: 401. Nothing else: no cookie, no query
//! parameter, no tenant, no choice of a sandbox.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Warn);
    proxy_wasm::set_root_context(|_| Box::new(Root::default()));
}}

/// The filter's configuration, as JSON.
#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Policy {
    /// How tokens are held.
    held: Held,
    /// The subject of each token, or of each token's SHA-256 in hexadecimal.
    subjects: HashMap<String, String>,
}

#[derive(Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Held {
    /// As they are: quickest, and everybody who sees the configuration has them all.
    #[default]
    Plainly,
    /// By their SHA-256, as the gateway holds them.
    Digested,
}

#[derive(Default)]
struct Root {
    policy: Rc<Policy>,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        let json = self.get_plugin_configuration().unwrap_or_default();
        match serde_json::from_slice(&json) {
            Ok(policy) => {
                self.policy = Rc::new(policy);
                true
            }
            Err(_) => false,
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Asked { policy: Rc::clone(&self.policy) }))
    }
}

struct Asked {
    policy: Rc<Policy>,
}

impl Context for Asked {}

impl HttpContext for Asked {
    fn on_http_request_headers(&mut self, _count: usize, _end: bool) -> Action {
        let field = self.get_http_request_header("authorization");
        let Some(token) = field.as_deref().and_then(bearer) else {
            return self.refuse("This needs a token.");
        };
        let Some(subject) = self.policy.subject(token) else {
            return self.refuse("That token isn't valid.");
        };
        self.set_http_request_header("x-forwarded-user", Some(subject));
        self.remove_http_request_header("authorization");
        Action::Continue
    }
}

impl Asked {
    fn refuse(&self, why: &str) -> Action {
        let headers = vec![("www-authenticate", "Bearer realm=\"envoy\"")];
        self.send_http_response(401, headers, Some(why.as_bytes()));
        Action::Pause
    }
}

impl Policy {
    fn subject(&self, token: &str) -> Option<&str> {
        let subject = match self.held {
            Held::Plainly => self.subjects.get(token),
            Held::Digested => self.subjects.get(&hexadecimal(&Sha256::digest(token.as_bytes()))),
        };
        subject.map(String::as_str)
    }
}

/// The token of `Bearer TOKEN`; the scheme's case doesn't matter (RFC 9110 §11.1).
fn bearer(field: &str) -> Option<&str> {
    let (scheme, token) = field.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_matches(' '))
}

fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |n: u8| char::from(DIGITS[usize::from(n & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}
