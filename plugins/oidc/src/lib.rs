//! `builtin:oidc`: people sign in at an OpenID provider; authorization-code flow with
//! PKCE. Who has signed in is in a sealed cookie, so that a request costs no call;
//! only signing in and renewing do.
//!
//! | file | idea |
//! |---|---|
//! | `config.rs` | what the operator says |
//! | `jar.rs` | sealed cookies, in pieces where they are long |
//! | `flow.rs` | one sign-in under way, in a cookie of its own |
//! | `session.rs` | who has signed in |
//! | `provider.rs` | the provider: its addresses, its tokens |
//! | `begin.rs`, `callback.rs`, `renew.rs`, `sign_out.rs` | what is done |

mod begin;
mod callback;
mod config;
mod flow;
mod jar;
mod provider;
mod renew;
mod session;
mod sign_out;

use tidegate_plugin::host::{clock, tokens};
use tidegate_plugin::prelude::*;

use config::Config;
use jar::Jar;
use provider::Provider;
use renew::Renewed;
use session::{Found, Session};

struct Oidc {
    config: Config,
    provider: Provider,
}

impl Plugin for Oidc {
    type Config = Config;

    fn manifest() -> Manifest {
        let version = env!("CARGO_PKG_VERSION");
        let about = "Sign-in at an OpenID provider, with a session in a cookie.";
        manifest("oidc", version, about, include_str!("../config.schema.json"))
    }

    fn new(mut config: Config) -> Result<Self, ConfigError> {
        config.tidy()?;
        // Now, and not when the first person signs in.
        tokens::seal(&config.session_secret, "", &[])
            .map_err(|message| ConfigError { path: "/session-secret".into(), message })?;
        let provider = Provider::new(&config);
        Ok(Self { config, provider })
    }
}

impl Authenticate for Oidc {
    fn authenticate(&self, request: &Request) -> Result<Authenticated, Failure> {
        let asked = Asked::new(&self.config, request);
        let path = request.path();
        if path == self.config.callback_path {
            return self.callback(&asked).map(Authenticated::Denied);
        }
        if let Some(rest) = path.strip_prefix(&self.config.sign_out_path) {
            match rest {
                "" => return self.sign_out(&asked).map(Authenticated::Denied),
                "/done" => return Ok(Authenticated::Denied(sign_out::done())),
                _ => {}
            }
        }
        match Session::of(&asked) {
            Found::One(session) => match self.renewed(&asked, session)? {
                Renewed::AsItIs(session) => {
                    Ok(Authenticated::Authenticated(session.principal(&asked, Vec::new())))
                }
                Renewed::Anew(session, cookies) => {
                    Ok(Authenticated::Authenticated(session.principal(&asked, cookies)))
                }
                Renewed::Over => self.sign_in_again(&asked),
            },
            Found::Ended => self.sign_in_again(&asked),
            Found::Nothing if asked.request.is_navigation() => {
                self.begin(&asked, flow::FIRST).map(Authenticated::Denied)
            }
            // Not a page that a person opens: nobody could sign in there.
            Found::Nothing => Ok(Authenticated::Abstain),
        }
    }
}

impl Oidc {
    /// A person does, at once; a program is told that it has to.
    fn sign_in_again(&self, asked: &Asked<'_>) -> Result<Authenticated, Failure> {
        if asked.request.is_navigation() {
            return self.begin(asked, flow::FIRST).map(Authenticated::Denied);
        }
        let message = "The session has ended: sign in again.";
        Ok(Authenticated::Denied(denial(401, "session-expired", message)))
    }
}

/// A request and what of it is needed more than once.
struct Asked<'r> {
    request: Remembered<'r, Request>,
    jar: Jar,
    /// `https://host:port`.
    origin: String,
    now_ms: u64,
}

impl<'r> Asked<'r> {
    fn new(config: &Config, request: &'r Request) -> Self {
        let request = Remembered::new(request);
        let https = request.is_https();
        let scheme = if https { "https://" } else { "http://" };
        let origin = [scheme, &request.authority()].concat();
        let jar = Jar::open(config, &request, https, &origin);
        Self { request, jar, origin, now_ms: clock::now_ms() }
    }
}

/// A redirect that no cache keeps and no other site learns of.
fn redirect(code: &str, to: String, cookies: Vec<(String, String)>) -> Denial {
    let mut redirect = denial(303, code, "Go on there.");
    redirect.headers = vec![
        ("location".into(), to),
        ("cache-control".into(), "no-store".into()),
        ("referrer-policy".into(), "no-referrer".into()),
    ];
    redirect.headers.extend(cookies);
    redirect
}

tidegate_plugin::export!(Oidc: authenticate);
