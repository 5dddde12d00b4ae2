//! An OpenID provider for tests: authorization-code flow with PKCE, refresh tokens
//! that rotate, key rotation, sign-out. Every user's password is `right`.
//!
//! | path | is |
//! |---|---|
//! | `/.well-known/openid-configuration` | the discovery document |
//! | `/jwks` | the key set |
//! | `/authorize` | the page to sign in, or a redirect back at once |
//! | `/sign-in` | what that page posts to |
//! | `/token` | codes and refresh tokens become tokens |
//! | `/end-session` | signs out here, and sends back |

mod grants;
mod keys;

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use grants::{Grant, Grants, Wanted, random};
pub use keys::Algorithm;
use keys::SigningKey;

/// What the one client is called, and its secret.
pub const CLIENT: (&str, &str) = ("tidegate", "client secret: ä+&=%");

/// The only password.
pub const PASSWORD: &str = "right";

/// A running provider; ends when it is dropped.
#[derive(Debug)]
pub struct OidcProvider {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

/// How it behaves; all as it should be by default.
#[derive(Debug, Clone)]
pub struct Behaviour {
    /// Answers everything with 503.
    pub down: bool,
    /// How long ID and access tokens live, in seconds.
    pub life: u64,
    /// Puts this in place of the nonce that was asked for.
    pub nonce: Option<String>,
    /// Whether refresh tokens are given.
    pub refresh: bool,
    /// More claims of ID tokens; replaces those of the same name.
    pub claims: Value,
}

/// What it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Asked {
    /// For the discovery document.
    pub discovery: u64,
    /// For the key set.
    pub jwks: u64,
    /// To exchange a code.
    pub codes: u64,
    /// To exchange a refresh token.
    pub refreshes: u64,
}

#[derive(Default)]
struct Counts {
    discovery: AtomicU64,
    jwks: AtomicU64,
    codes: AtomicU64,
    refreshes: AtomicU64,
}

struct Shared {
    issuer: String,
    counts: Counts,
    inner: Mutex<Inner>,
}

struct Inner {
    behaviour: Behaviour,
    algorithm: Algorithm,
    key: SigningKey,
    keys: usize,
    grants: Grants,
    /// Who is signed in here, by cookie.
    sessions: HashMap<String, String>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shared({})", self.issuer)
    }
}

impl Shared {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OidcProvider {
    /// Starts one on a free loopback port.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start(algorithm: Algorithm) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let behaviour =
            Behaviour { down: false, life: 3600, nonce: None, refresh: true, claims: json!({}) };
        let shared = Arc::new(Shared {
            issuer: format!("http://{address}"),
            counts: Counts::default(),
            inner: Mutex::new(Inner {
                behaviour,
                algorithm,
                key: SigningKey::new(algorithm, 0),
                keys: 1,
                grants: Grants::default(),
                sessions: HashMap::new(),
            }),
        });
        let serving = Arc::clone(&shared);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let shared = Arc::clone(&serving);
                connections.spawn(async move {
                    let service = service_fn(|request| answer(Arc::clone(&shared), request));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { address, shared, _tasks: tasks }
    }

    /// Its name, which is its URL.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.shared.issuer
    }

    /// Where its keys are.
    #[must_use]
    pub fn jwks_url(&self) -> String {
        format!("{}/jwks", self.shared.issuer)
    }

    /// Changes how it behaves from now on.
    pub fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.shared.inner().behaviour);
    }

    /// Signs with another key from now on, and publishes that one alone.
    pub fn rotate_keys(&self) {
        let mut inner = self.shared.inner();
        inner.key = SigningKey::new(inner.algorithm, inner.keys);
        inner.keys += 1;
    }

    /// Takes all refresh tokens back.
    pub fn revoke(&self) {
        self.shared.inner().grants.revoke_all();
    }

    /// How often it was asked what so far.
    #[must_use]
    pub fn asked(&self) -> Asked {
        let counts = &self.shared.counts;
        Asked {
            discovery: counts.discovery.load(SeqCst),
            jwks: counts.jwks.load(SeqCst),
            codes: counts.codes.load(SeqCst),
            refreshes: counts.refreshes.load(SeqCst),
        }
    }

    /// A token that it signs, with exactly these claims.
    #[must_use]
    pub fn token(&self, claims: &Value) -> String {
        self.shared.inner().key.sign(claims)
    }

    /// What happens when `user` signs in at `url`, a URL of [`Self::issuer`]'s
    /// `/authorize`: where the browser is sent.
    ///
    /// # Panics
    /// When it isn't such a URL.
    #[must_use]
    pub fn consent(&self, url: &str, user: &str) -> String {
        let query = url.strip_prefix(&format!("{}/authorize?", self.shared.issuer));
        let wanted = wanted(&pairs(query.expect("a URL of this provider's"))).expect("in order");
        self.shared.inner().agreed(user, wanted)
    }
}

impl Inner {
    fn agreed(&mut self, user: &str, wanted: Wanted) -> String {
        let (back, state) = (wanted.redirect_uri.clone(), percent_encode(&wanted.state));
        let code = self.grants.code(user, wanted);
        format!("{back}?code={code}&state={state}")
    }

    fn tokens(&mut self, issuer: &str, grant: &Grant, with_nonce: bool) -> Value {
        let now = now();
        let behaviour = self.behaviour.clone();
        let mut claims = json!({
            "iss": issuer, "aud": CLIENT.0, "sub": format!("id-of-{}", grant.user),
            "iat": now, "exp": now + behaviour.life,
            "email": format!("{}@example.org", grant.user), "email_verified": true,
            "name": grant.user,
        });
        if with_nonce {
            claims["nonce"] = json!(behaviour.nonce.as_ref().unwrap_or(&grant.wanted.nonce));
        }
        for (name, value) in behaviour.claims.as_object().into_iter().flatten() {
            claims[name] = value.clone();
        }
        let mut tokens = json!({
            "token_type": "Bearer", "access_token": random(), "expires_in": behaviour.life,
            "id_token": self.key.sign(&claims),
        });
        if behaviour.refresh {
            tokens["refresh_token"] = json!(self.grants.refresh_token(grant));
        }
        tokens
    }
}

async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let body = String::from_utf8_lossy(&body).into_owned();
    let asked = pairs(head.uri.query().unwrap_or_default());
    let posted = pairs(&body);
    let mut inner = shared.inner();
    if inner.behaviour.down {
        return Ok(reply(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "down for maintenance"));
    }
    let issuer = &shared.issuer;
    let response = match (&head.method, head.uri.path()) {
        (&Method::GET, "/.well-known/openid-configuration") => {
            shared.counts.discovery.fetch_add(1, SeqCst);
            let document = json!({
                "issuer": issuer,
                "authorization_endpoint": format!("{issuer}/authorize"),
                "token_endpoint": format!("{issuer}/token"),
                "jwks_uri": format!("{issuer}/jwks"),
                "end_session_endpoint": format!("{issuer}/end-session"),
                "response_types_supported": ["code"],
                "code_challenge_methods_supported": ["S256"],
            });
            reply(StatusCode::OK, "application/json", document.to_string())
        }
        (&Method::GET, "/jwks") => {
            shared.counts.jwks.fetch_add(1, SeqCst);
            let keys = json!({ "keys": [inner.key.public()] });
            reply(StatusCode::OK, "application/json", keys.to_string())
        }
        (&Method::GET, "/authorize") => match wanted(&asked) {
            None => reply(StatusCode::BAD_REQUEST, "text/plain", "something is missing"),
            Some(wanted) => match cookie(&head.headers).and_then(|it| inner.sessions.get(&it)) {
                Some(user) => {
                    let user = user.clone();
                    redirect(&inner.agreed(&user, wanted))
                }
                None => reply(StatusCode::OK, "text/html", page(head.uri.query())),
            },
        },
        (&Method::POST, "/sign-in") => {
            let user = posted.get("user").cloned().unwrap_or_default();
            let wanted = posted.get("for").and_then(|query| wanted(&pairs(query)));
            match wanted {
                Some(wanted) if posted.get("password").is_some_and(|it| it == PASSWORD) => {
                    let session = random();
                    inner.sessions.insert(session.clone(), user.clone());
                    let mut response = redirect(&inner.agreed(&user, wanted));
                    let cookie = format!("provider={session}; Path=/; HttpOnly; SameSite=Lax");
                    let cookie = cookie.parse().expect("a value");
                    response.headers_mut().insert(header::SET_COOKIE, cookie);
                    response
                }
                _ => reply(StatusCode::FORBIDDEN, "text/plain", "wrong password"),
            }
        }
        (&Method::POST, "/token") => token(&shared, &mut inner, &posted),
        (&Method::GET, "/end-session") => {
            if let Some(session) = cookie(&head.headers) {
                inner.sessions.remove(&session);
            }
            match asked.get("post_logout_redirect_uri") {
                Some(back) => redirect(back),
                None => reply(StatusCode::OK, "text/html", "<p>Signed out.</p>"),
            }
        }
        _ => reply(StatusCode::NOT_FOUND, "text/plain", "there is nothing here"),
    };
    Ok(response)
}

fn token(
    shared: &Shared,
    inner: &mut Inner,
    posted: &HashMap<String, String>,
) -> Response<Full<Bytes>> {
    let says = |name: &str| posted.get(name).map(String::as_str).unwrap_or_default();
    if (says("client_id"), says("client_secret")) != CLIENT {
        return refusal(StatusCode::UNAUTHORIZED, "invalid_client");
    }
    let (grant, with_nonce) = match says("grant_type") {
        "authorization_code" => {
            shared.counts.codes.fetch_add(1, SeqCst);
            let (code, verifier) = (says("code"), says("code_verifier"));
            (inner.grants.redeem(code, verifier, says("redirect_uri")), true)
        }
        "refresh_token" => {
            shared.counts.refreshes.fetch_add(1, SeqCst);
            (inner.grants.refresh(says("refresh_token")), false)
        }
        _ => return refusal(StatusCode::BAD_REQUEST, "unsupported_grant_type"),
    };
    match grant {
        None => refusal(StatusCode::BAD_REQUEST, "invalid_grant"),
        Some(grant) => {
            let tokens = inner.tokens(&shared.issuer, &grant, with_nonce);
            reply(StatusCode::OK, "application/json", tokens.to_string())
        }
    }
}

fn wanted(asked: &HashMap<String, String>) -> Option<Wanted> {
    let says = |name: &str| asked.get(name).filter(|value| !value.is_empty()).cloned();
    let scopes = says("scope")?;
    let fine = says("response_type")? == "code"
        && says("client_id")? == CLIENT.0
        && says("code_challenge_method")? == "S256"
        && scopes.split(' ').any(|scope| scope == "openid");
    let wanted = Wanted {
        redirect_uri: says("redirect_uri")?,
        state: says("state")?,
        nonce: says("nonce")?,
        challenge: says("code_challenge")?,
    };
    fine.then_some(wanted)
}

fn page(query: Option<&str>) -> String {
    let wanted = query.unwrap_or_default().replace('&', "&amp;").replace('"', "&quot;");
    format!(
        "<!doctype html><title>Sign in</title><form method=post action=/sign-in>\
         <input type=hidden name=for value=\"{wanted}\">\
         <input name=user id=user autofocus><input name=password id=password type=password>\
         <button id=go>Sign in</button></form>"
    )
}

fn reply(status: StatusCode, kind: &str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let response = Response::builder().status(status).header(header::CONTENT_TYPE, kind);
    response.body(Full::new(body.into())).expect("a response")
}

fn refusal(status: StatusCode, error: &str) -> Response<Full<Bytes>> {
    reply(status, "application/json", json!({ "error": error }).to_string())
}

fn redirect(to: &str) -> Response<Full<Bytes>> {
    let response = Response::builder().status(StatusCode::FOUND).header(header::LOCATION, to);
    response.body(Full::default()).expect("a response")
}

fn cookie(headers: &http::HeaderMap) -> Option<String> {
    let text = headers.get(header::COOKIE)?.to_str().ok()?;
    let mut pairs = text.split(';').filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == "provider").map(|(_, value)| value.to_owned())
}

/// Seconds of Unix time.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

fn pairs(form: &str) -> HashMap<String, String> {
    form.split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (percent_decode(name), percent_decode(value)))
        .collect()
}

fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        let escaped = (byte == b'%').then(|| tail.get(..2)).flatten();
        let escaped = escaped.and_then(|hex| std::str::from_utf8(hex).ok());
        match escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(decoded) => {
                bytes.push(decoded);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => bytes.push(if byte == b'+' { b' ' } else { byte }),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn percent_encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
        encoded
    })
}
