//! The API: which path is answered by what.

mod health;
mod sandboxes;
mod tail;
mod usage;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use http::{HeaderValue, header};
use tokio_util::sync::CancellationToken;

use crate::access::Barred;
use crate::error::{METHOD, NO_TOKEN, NOT_FOUND, NOT_OURS, answer};
use crate::{Access, Gateway};

/// What every handler may use.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) gateway: Arc<dyn Gateway>,
    pub(crate) access: Arc<Access>,
    /// Ends log streams when the gateway ends.
    pub(crate) stop: CancellationToken,
}

pub(crate) fn router(api: Api) -> Router {
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .route("/v1/about", get(health::about))
        .route("/v1/plugins", get(health::plugins))
        .route("/v1/usage", get(usage::list))
        .route("/v1/sandboxes", get(sandboxes::list))
        .route("/v1/sandboxes/{tenant}/{name}", get(sandboxes::show).delete(sandboxes::destroy))
        .route("/v1/sandboxes/{tenant}/{name}/wake", post(sandboxes::wake))
        .route("/v1/sandboxes/{tenant}/{name}/sleep", post(sandboxes::sleep))
        .route("/v1/sandboxes/{tenant}/{name}/stop", post(sandboxes::stop))
        .route("/v1/sandboxes/{tenant}/{name}/logs", get(sandboxes::logs))
        .fallback(|request: Request| async move {
            answer(NOT_FOUND, format!("`{}` is no path of the control API", request.uri().path()))
        })
        .method_not_allowed_fallback(|request: Request| async move {
            answer(METHOD, format!("`{}` does not take {}", request.uri().path(), request.method()))
        })
        // Around everything above, the fallbacks included.
        .layer(middleware::from_fn_with_state(api.clone(), guard))
        .with_state(api)
}

async fn guard(State(api): State<Api>, request: Request, next: Next) -> Response {
    let uri = request.uri();
    let authority = uri.authority().map(http::uri::Authority::as_str);
    let mut response = match api.access.judge(uri.path(), authority, request.headers()) {
        Ok(()) => next.run(request).await,
        Err(Barred::Host) => answer(NOT_OURS, "this request is addressed to somebody else".into()),
        Err(Barred::Token) => answer(NO_TOKEN, "this request carries no valid token".into()),
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
