//! The control API over real sockets, in front of a gateway of a few lines.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use expect_test::{Expect, expect};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tidegate_control::{
    About, Access, ControlError, Exposition, Gateway, OpenMetrics, PluginView, Readiness,
    SandboxView, Token, UsageView, metrics,
};
use tidegate_types::{Incarnation, SandboxKey, Secret, TenantId};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A gateway with one sandbox, `acme/web`, at incarnation 3.
struct OneSandbox {
    log: PathBuf,
    ready: Mutex<Readiness>,
}

impl OneSandbox {
    fn view(&self, key: &SandboxKey, state: &str) -> Result<SandboxView, ControlError> {
        if key.to_string() != "acme/web" && key.to_string() != "a/b@c/web" {
            return Err(ControlError::Unknown(key.clone()));
        }
        Ok(SandboxView {
            tenant: key.tenant.to_string(),
            name: key.name.to_string(),
            incarnation: 3,
            state: state.into(),
            ..SandboxView::default()
        })
    }

    fn fence(&self, key: &SandboxKey, meant: Option<Incarnation>) -> Result<(), ControlError> {
        match meant {
            Some(meant) if meant != Incarnation(3) => {
                Err(ControlError::Stale { key: key.clone(), meant, current: Incarnation(3) })
            }
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Gateway for OneSandbox {
    fn about(&self) -> About {
        About {
            version: "1.2.3".into(),
            pid: 1,
            started_at_ms: 1500,
            listen: "127.0.0.1:8080".into(),
            state_dir: "/state".into(),
            config: None,
            warnings: Vec::new(),
        }
    }
    fn ready(&self) -> Readiness {
        self.ready.lock().expect("not poisoned").clone()
    }
    async fn sandboxes(&self) -> Result<Vec<SandboxView>, ControlError> {
        Ok(vec![SandboxView { tenant: "acme".into(), name: "web".into(), ..Default::default() }])
    }
    async fn sandbox(&self, key: &SandboxKey) -> Result<SandboxView, ControlError> {
        self.view(key, "running")
    }
    async fn wake(&self, key: &SandboxKey) -> Result<SandboxView, ControlError> {
        let reason = "`/bin/web` cannot be started".into();
        self.view(key, "running")?;
        Err(ControlError::Start { key: key.clone(), reason })
    }
    async fn sleep(
        &self,
        key: &SandboxKey,
        meant: Option<Incarnation>,
    ) -> Result<SandboxView, ControlError> {
        self.fence(key, meant)?;
        Err(ControlError::Busy { key: key.clone(), why: "2 requests in flight".into() })
    }
    async fn stop(
        &self,
        key: &SandboxKey,
        meant: Option<Incarnation>,
    ) -> Result<SandboxView, ControlError> {
        self.fence(key, meant)?;
        self.view(key, "stopped")
    }
    async fn destroy(
        &self,
        key: &SandboxKey,
        meant: Option<Incarnation>,
    ) -> Result<(), ControlError> {
        self.fence(key, meant)
    }
    async fn log_path(&self, key: &SandboxKey) -> Result<PathBuf, ControlError> {
        self.view(key, "")?;
        Ok(self.log.clone())
    }
    fn plugins(&self) -> Vec<PluginView> {
        vec![PluginView { name: "gatekeeper".into(), ..Default::default() }]
    }
    fn refused(&self) -> Vec<String> {
        vec!["plugin `gatekeeper`: it is no component".into()]
    }
    fn usage(&self, tenant: Option<&TenantId>) -> Vec<UsageView> {
        let lines = ["acme", "beta"].map(|tenant| UsageView {
            tenant: tenant.into(),
            meter: "requests".into(),
            amount: Some(60),
            used: 20,
            ..Default::default()
        });
        let wanted = |line: &UsageView| tenant.is_none_or(|it| it.as_str() == line.tenant);
        lines.into_iter().filter(wanted).collect()
    }
    fn metrics(&self, out: &mut Exposition) {
        out.counter(&metrics::REQUESTS, &["2xx"], 7);
    }
}

struct TestApi {
    address: String,
    gateway: Arc<OneSandbox>,
    stop: CancellationToken,
    _stop: DropGuard,
    dir: tempfile::TempDir,
}

impl TestApi {
    async fn start(open_metrics: OpenMetrics) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let ready = Mutex::new(Readiness::Ready);
        let gateway = Arc::new(OneSandbox { log: dir.path().join("log"), ready });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let stop = CancellationToken::new();
        let token = Token::new(Secret::new(TOKEN.into()));
        let access = Access { token, hosts: Vec::new(), open_metrics };
        let serving =
            tidegate_control::serve(listener, Arc::clone(&gateway) as _, access, stop.clone());
        // Ends with `stop`, which is cancelled when this is dropped.
        tokio::spawn(serving);
        Self { address, gateway, _stop: stop.clone().drop_guard(), stop, dir }
    }

    async fn answer(&self, request: http::request::Builder) -> Response<Incoming> {
        let client = Client::builder(TokioExecutor::new()).build_http();
        let request = request.body(Empty::<bytes::Bytes>::new()).expect("a request");
        client.request(request).await.expect("an answer")
    }

    async fn send(&self, request: http::request::Builder) -> (StatusCode, String) {
        let response = self.answer(request).await;
        let status = response.status();
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    fn request(&self, method: Method, path: &str) -> http::request::Builder {
        Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address))
            .header("authorization", format!("Bearer {TOKEN}"))
    }

    async fn ask(&self, method: Method, path: &str) -> (StatusCode, String) {
        self.send(self.request(method, path)).await
    }

    async fn ask_without_token(&self, path: &str) -> StatusCode {
        self.send(Request::get(format!("http://{}{path}", self.address))).await.0
    }

    async fn refused(&self, method: Method, path: &str, expected: Expect) {
        let (status, body) = self.ask(method, path).await;
        expected.assert_eq(&format!("{} {body}", status.as_u16()));
    }
}

#[tokio::test]
async fn health_is_open_and_everything_else_needs_the_token() {
    let api = TestApi::start(OpenMetrics::No).await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(api.ask_without_token(path).await, StatusCode::OK, "{path}");
    }
    for path in ["/metrics", "/v1/sandboxes", "/v1/plugins", "/v1/about", "/nothing", "/healthz/"] {
        assert_eq!(api.ask_without_token(path).await, StatusCode::UNAUTHORIZED, "{path}");
    }
    let open = TestApi::start(OpenMetrics::Yes).await;
    assert_eq!(open.ask_without_token("/metrics").await, StatusCode::OK);
    assert_eq!(open.ask_without_token("/v1/about").await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_name_that_a_web_page_could_own_is_not_answered() {
    let api = TestApi::start(OpenMetrics::Yes).await;
    for path in ["/healthz", "/metrics", "/v1/sandboxes"] {
        let request = Request::get(format!("http://{}{path}", api.address))
            .header("host", "evil.example.org")
            .header("authorization", format!("Bearer {TOKEN}"));
        let (status, body) = api.send(request).await;
        assert_eq!(status, StatusCode::MISDIRECTED_REQUEST, "{path}");
        assert!(body.contains("unknown-host"), "{body}");
    }
}

#[tokio::test]
async fn readiness_says_why_not() {
    let api = TestApi::start(OpenMetrics::No).await;
    *api.gateway.ready.lock().expect("not poisoned") = Readiness::NotReady(vec!["draining".into()]);
    let (status, body) = api.ask(Method::GET, "/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body, r#"{"ready":false,"reasons":["draining"]}"#);
    assert_eq!(api.ask(Method::GET, "/healthz").await.0, StatusCode::OK);
}

#[tokio::test]
async fn what_there_is_is_shown() {
    let api = TestApi::start(OpenMetrics::No).await;
    let shows = async |path: &str, part: &str| {
        let (status, body) = api.ask(Method::GET, path).await;
        assert!(status == StatusCode::OK && body.contains(part), "{path}: {status} {body}");
    };
    shows("/v1/sandboxes", r#"{"sandboxes":[{"awake":null,"cpu_ms""#).await;
    shows("/v1/sandboxes/acme/web", r#""incarnation":3"#).await;
    shows("/v1/usage", r#""tenant":"beta","#).await;
    let (status, body) = api.ask(Method::GET, "/v1/usage?tenant=acme").await;
    assert!(status == StatusCode::OK && !body.contains("beta"), "{body}");
    shows("/v1/sandboxes/a%2Fb%40c/web", r#""tenant":"a/b@c""#).await;
    shows("/v1/plugins", r#"{"plugins":[{"calls":0"#).await;
    shows("/v1/about", r#""version":"1.2.3""#).await;
    shows("/metrics", "tidegate_requests_total{status=\"2xx\"} 7\n").await;
}

#[tokio::test]
async fn what_was_asked_is_done() {
    let api = TestApi::start(OpenMetrics::No).await;
    let (status, body) = api.ask(Method::POST, "/v1/sandboxes/acme/web/stop").await;
    assert!(status == StatusCode::OK && body.contains(r#""state":"stopped""#), "{body}");
    let (status, _) = api.ask(Method::DELETE, "/v1/sandboxes/acme/web?incarnation=3").await;
    assert_eq!(status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn refusals_are_problem_details() {
    let api = TestApi::start(OpenMetrics::No).await;
    api.refused(Method::GET, "/v1/sandboxes/acme/none", expect![[r#"404 {"type":"urn:tidegate:problem:unknown-sandbox","title":"There is no such sandbox","status":404,"code":"unknown-sandbox","detail":"there is no sandbox `acme/none`","advice":"List what there is with `tidegate ps`"}"#]]).await;
    api.refused(Method::GET, "/v1/sandboxes/acme/Web", expect![[r#"400 {"type":"urn:tidegate:problem:bad-request","title":"The request makes no sense","status":400,"code":"bad-request","detail":"`Web` is not a sandbox name: 1 to 63 characters of a-z, 0-9 and -","advice":"Put the request right"}"#]]).await;
    api.refused(Method::DELETE, "/v1/sandboxes/acme/web", expect![[r#"400 {"type":"urn:tidegate:problem:incarnation-needed","title":"Destroying needs the incarnation that is meant","status":400,"code":"incarnation-needed","detail":"nothing says which `acme/web` is meant","advice":"Add `?incarnation=N` with the number that the sandbox's description shows"}"#]]).await;
    api.refused(Method::DELETE, "/v1/sandboxes/acme/web?incarnation=2", expect![[r#"409 {"type":"urn:tidegate:problem:stale-incarnation","title":"The sandbox was made anew meanwhile","status":409,"code":"stale-incarnation","detail":"sandbox `acme/web` is at incarnation 3, the call meant 2","advice":"Look at it again and decide anew"}"#]]).await;
    api.refused(Method::POST, "/v1/sandboxes/acme/web/stop?incarnation=x", expect![[r#"400 {"type":"urn:tidegate:problem:bad-request","title":"The request makes no sense","status":400,"code":"bad-request","detail":"Failed to deserialize query string: incarnation: invalid digit found in string","advice":"Put the request right"}"#]]).await;
    api.refused(Method::POST, "/v1/sandboxes/acme/web/sleep", expect![[r#"409 {"type":"urn:tidegate:problem:busy","title":"The sandbox is in use","status":409,"code":"busy","detail":"sandbox `acme/web` is busy: 2 requests in flight","advice":"Try again later, or stop it"}"#]]).await;
    api.refused(Method::POST, "/v1/sandboxes/acme/web/wake", expect![[r#"502 {"type":"urn:tidegate:problem:start-failed","title":"The sandbox did not start","status":502,"code":"start-failed","detail":"sandbox `acme/web` did not start: `/bin/web` cannot be started","advice":"Read what it wrote with `tidegate logs`"}"#]]).await;
    api.refused(Method::POST, "/v1/sandboxes/acme/web/stop?incarnatoin=3", expect![[r#"400 {"type":"urn:tidegate:problem:bad-request","title":"The request makes no sense","status":400,"code":"bad-request","detail":"Failed to deserialize query string: incarnatoin: unknown field `incarnatoin`, expected `incarnation`","advice":"Put the request right"}"#]]).await;
    api.refused(Method::PUT, "/v1/sandboxes", expect![[r#"405 {"type":"urn:tidegate:problem:method-not-allowed","title":"This path does not have that method","status":405,"code":"method-not-allowed","detail":"`/v1/sandboxes` does not take PUT","advice":"Use the method that stands in `allow`"}"#]]).await;
    api.refused(Method::GET, "/v2", expect![[r#"404 {"type":"urn:tidegate:problem:not-found","title":"There is nothing at this path","status":404,"code":"not-found","detail":"`/v2` is no path of the control API","advice":"Look at the paths of the control API"}"#]]).await;
}

#[tokio::test]
async fn a_log_is_read_in_part_or_whole() {
    let api = TestApi::start(OpenMetrics::No).await;
    let logs = "/v1/sandboxes/acme/web/logs";
    assert_eq!(api.ask(Method::GET, logs).await, (StatusCode::OK, String::new()));
    std::fs::write(api.dir.path().join("log"), "one\ntwo\nthree\n").expect("written");
    assert_eq!(api.ask(Method::GET, logs).await.1, "one\ntwo\nthree\n");
    assert_eq!(api.ask(Method::GET, &format!("{logs}?lines=1")).await.1, "three\n");
}

#[tokio::test]
async fn a_followed_log_ends_with_the_gateway() {
    let api = TestApi::start(OpenMetrics::No).await;
    std::fs::write(api.dir.path().join("log"), "one\n").expect("written");
    let response =
        api.answer(api.request(Method::GET, "/v1/sandboxes/acme/web/logs?follow=true")).await;
    let mut body = response.into_body();
    let first = body.frame().await.expect("output").expect("a frame").into_data();
    assert_eq!(first.expect("data"), "one\n");
    api.stop.cancel();
    assert!(body.frame().await.is_none(), "it goes on");
}
