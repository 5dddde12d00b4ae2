//! Limits, and what is used of them.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;
use tidegate_types::TenantId;

use super::Api;
use super::sandboxes::Asked;
use crate::error::{BAD_REQUEST, answer};

/// Whose.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Whose {
    tenant: Option<String>,
}

pub(super) async fn list(
    State(api): State<Api>,
    Asked(whose): Asked<Whose>,
) -> Result<Json<serde_json::Value>, Response> {
    let tenant = whose.tenant.as_deref().map(TenantId::new).transpose();
    let tenant = tenant.map_err(|error| answer(BAD_REQUEST, error.to_string()))?;
    Ok(Json(json!({ "usage": api.gateway.usage(tenant.as_ref()) })))
}
