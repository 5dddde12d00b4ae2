//! What the gateway itself is and how it is.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde_json::json;

use super::Api;
use crate::{About, Exposition, Readiness};

/// The process is alive: it answers.
pub(super) async fn healthz() -> &'static str {
    "alive\n"
}

/// Whether tenants' requests are served.
pub(super) async fn readyz(State(api): State<Api>) -> Response {
    match api.gateway.ready() {
        Readiness::Ready => Json(json!({ "ready": true })).into_response(),
        Readiness::NotReady(reasons) => {
            let body = Json(json!({ "ready": false, "reasons": reasons }));
            (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
        }
    }
}

pub(super) async fn metrics(State(api): State<Api>) -> Response {
    let mut out = Exposition::default();
    api.gateway.metrics(&mut out);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], out.finish())
        .into_response()
}

pub(super) async fn about(State(api): State<Api>) -> Json<About> {
    Json(api.gateway.about())
}

pub(super) async fn plugins(State(api): State<Api>) -> Json<serde_json::Value> {
    Json(json!({
        "plugins": api.gateway.plugins(),
        "refused": api.gateway.refused(),
    }))
}
