//! For tests of reloads: lets everybody in and says with every answer of two hooks
//! which edition it is. A test makes editions by writing over [`EDITION`] in the
//! component; a request that two of them answered would carry two names.

use std::hint::black_box;

use serde::Deserialize;
use tidegate_plugin::plugin::{Lifetime, RelayMode, WhenAsleep};
use tidegate_plugin::prelude::*;

/// What a test looks for in the component.
static EDITION: [u8; 16] = *b"edition-00000000";

struct Editions(Config);

#[derive(Deserialize)]
struct Config {
    template: String,
    port: u16,
}

fn edition() -> String {
    // Read when asked: the compiler must not know it.
    String::from_utf8_lossy(black_box(&EDITION)).into_owned()
}

fn says(name: &str, value: String) -> HeaderEdit {
    HeaderEdit::Set((name.to_owned(), value))
}

impl Plugin for Editions {
    type Config = Config;

    fn manifest() -> Manifest {
        manifest("editions", &edition(), "Says which edition it is.", "{}")
    }

    fn new(config: Config) -> Result<Self, ConfigError> {
        Ok(Self(config))
    }
}

impl Authenticate for Editions {
    fn authenticate(&self, request: &Request) -> Result<Authenticated, Failure> {
        let user = request.header("x-user").unwrap_or_else(|| "nobody".to_owned());
        let mut principal = principal(&user, "tests");
        principal.claims.push(("edition".to_owned(), edition()));
        principal.response_headers.push(says("x-authenticated-by", edition()));
        Ok(Authenticated::Authenticated(principal))
    }
}

impl Resolve for Editions {
    fn resolve(&self, _: &Request, who: &Identity) -> Result<Resolved, Failure> {
        let Config { template, port } = &self.0;
        let claimed = who.claim("edition").unwrap_or_default();
        Ok(Resolved::Place(Placement {
            sandbox: format!("user-{}", who.subject()),
            template: template.clone(),
            port: *port,
            lifetime: None::<Lifetime>,
            when_asleep: WhenAsleep::Hold,
            env: Vec::new(),
            labels: Vec::new(),
            path: None,
            request_headers: Vec::new(),
            response_headers: vec![says("x-claimed-by", claimed), says("x-resolved-by", edition())],
            relay: RelayMode::Raw,
        }))
    }
}

tidegate_plugin::export!(Editions: authenticate, resolve);
