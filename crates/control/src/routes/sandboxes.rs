//! Sandboxes: seen, woken, put to rest, ended, and what they wrote.

use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use http::request::Parts;
use http::{StatusCode, header};
use serde::Deserialize;
use serde_json::json;
use tidegate_types::{Incarnation, SandboxKey, SandboxName, TenantId};

use super::{Api, tail};
use crate::error::{BAD_REQUEST, INCARNATION_NEEDED, answer};
use crate::{ControlError, SandboxView};

/// The sandbox that a path names.
pub(super) struct Named(SandboxKey);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let bad = |why: String| answer(BAD_REQUEST, why);
        let Path((tenant, name)): Path<(String, String)> =
            Path::from_request_parts(parts, state).await.map_err(|error| bad(error.body_text()))?;
        let tenant = TenantId::new(&tenant).map_err(|error| bad(error.to_string()))?;
        let name = SandboxName::new(&name).map_err(|error| bad(error.to_string()))?;
        Ok(Self(SandboxKey { tenant, name }))
    }
}

/// What stands after the `?`.
pub(super) struct Asked<T>(pub(super) T);

impl<S: Send + Sync, T: serde::de::DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(asked)) => Ok(Self(asked)),
            Err(error) => Err(answer(BAD_REQUEST, error.body_text())),
        }
    }
}

/// Which life of a sandbox is meant.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Meant {
    incarnation: Option<Incarnation>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogQuery {
    /// Go on with what is written later.
    #[serde(default)]
    follow: bool,
    /// Only that many lines of what was written so far.
    lines: Option<u64>,
}

pub(super) async fn list(State(api): State<Api>) -> Result<Json<serde_json::Value>, ControlError> {
    Ok(Json(json!({ "sandboxes": api.gateway.sandboxes().await? })))
}

pub(super) async fn show(
    State(api): State<Api>,
    Named(key): Named,
) -> Result<Json<SandboxView>, ControlError> {
    api.gateway.sandbox(&key).await.map(Json)
}

pub(super) async fn wake(
    State(api): State<Api>,
    Named(key): Named,
) -> Result<Json<SandboxView>, ControlError> {
    api.gateway.wake(&key).await.map(Json)
}

pub(super) async fn sleep(
    State(api): State<Api>,
    Named(key): Named,
    Asked(meant): Asked<Meant>,
) -> Result<Json<SandboxView>, ControlError> {
    api.gateway.sleep(&key, meant.incarnation).await.map(Json)
}

pub(super) async fn stop(
    State(api): State<Api>,
    Named(key): Named,
    Asked(meant): Asked<Meant>,
) -> Result<Json<SandboxView>, ControlError> {
    api.gateway.stop(&key, meant.incarnation).await.map(Json)
}

/// The one call whose incarnation can't be left out: it takes the files along.
pub(super) async fn destroy(
    State(api): State<Api>,
    Named(key): Named,
    Asked(meant): Asked<Meant>,
) -> Result<Response, Response> {
    let Some(incarnation) = meant.incarnation else {
        return Err(answer(INCARNATION_NEEDED, format!("nothing says which `{key}` is meant")));
    };
    let done = api.gateway.destroy(&key, Some(incarnation)).await;
    done.map_err(IntoResponse::into_response)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn logs(
    State(api): State<Api>,
    Named(key): Named,
    Asked(query): Asked<LogQuery>,
) -> Result<Response, ControlError> {
    let path = api.gateway.log_path(&key).await?;
    let output = tail::Tail { path, lines: query.lines, follow: query.follow };
    let stop = api.stop.clone();
    let body = output.stream().take_until(async move { stop.cancelled().await });
    let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    Ok((kind, Body::from_stream(body)).into_response())
}
